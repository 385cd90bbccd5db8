# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The lab: network namespaces, switches and cables, the processes in them, and their removal. To be sourced by a script that
# has `set -euo pipefail`. What is built of them: border.bash (scripts/demo, selftest) and placements/. certs.bash and
# peers.bash build on it.
#
# Each lab has a tag, the pid of the script that made it: namespaces are named fgl-<tag>-<node>, and everything else
# is in /run/fedgate-lab/<tag>, so two runs at once do not meet. Its owner is a process (pid and start time, so that a
# recycled pid is not taken for it). A lab whose owner is dead was left by a killed run; the next run sweeps it, and nothing else.
# Processes are ended by the pid recorded when they were started, never by name.
#
# Use:   lab_init; trap lab_down EXIT; lab_switch outsw; lab_node web; lab_cable outsw web 198.51.100.30/24; ... lab_plug_tap IFNAME outsw

# shellcheck disable=SC2034 # used by the scripts that source this
LAB_HOME=/run/fedgate-lab
LAB_SCRIPTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly LAB_HOME LAB_SCRIPTS

lab_die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}

# lab_started PID: when it started, in clock ticks since boot (field 22 of stat; the name in field 2 may hold spaces).
lab_started() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    awk '{ print $20 }' <<<"$stat"
}

# lab_alive PID STARTED: whether that very process still runs.
lab_alive() {
    [[ $(lab_started "$1") == "$2" ]]
}

lab_ns() {
    printf 'fgl-%s-%s' "$LAB_TAG" "$1"
}

# lab_in NODE COMMAND...: runs a command in a node's namespace.
lab_in() {
    local node=$1
    shift
    ip netns exec "$(lab_ns "$node")" "$@"
}

# lab_loopback: an address of this lab's own in the host's network, for what control, which runs there, sends to and asks.
lab_loopback() {
    printf '127.77.%d.%d' $((LAB_TAG / 254 % 254 + 1)) $((LAB_TAG % 254 + 1))
}

# lab_init: names this run's lab and sweeps what killed runs left. Under a lock, so that nobody sweeps a lab that has no owner yet.
lab_init() {
    local lock
    [[ $EUID -eq 0 ]] || lab_die 'network namespaces need root'
    mkdir -p "$LAB_HOME"
    exec {lock}>"$LAB_HOME/lock"
    flock "$lock"
    lab_sweep
    LAB_TAG=$$
    LAB_DIR=$LAB_HOME/$LAB_TAG
    mkdir "$LAB_DIR" "$LAB_DIR/log"
    lab_own "$$"
    exec {lock}>&-
}

# lab_own PID: from now on the lab is alive as long as that process is (for --keep: the dataplane).
lab_own() {
    printf '%s %s\n' "$1" "$(lab_started "$1")" >"$LAB_DIR/owner.new"
    mv "$LAB_DIR/owner.new" "$LAB_DIR/owner"
}

# lab_sweep: removes every lab whose owner is dead.
lab_sweep() {
    local dir pid started
    for dir in "$LAB_HOME"/*/; do
        [[ -d $dir ]] || continue
        dir=${dir%/}
        read -r pid started 2>/dev/null <"$dir/owner" || { pid=0 started=0; }
        if ! lab_alive "$pid" "$started"; then
            LAB_TAG=${dir##*/} LAB_DIR=$dir lab_down
        fi
    done
}

# lab_spawn NODE LABEL COMMAND...: starts it in the background in a node's namespace ("host": in ours), in a process group of its own, with its
# output in $LAB_DIR/log/LABEL.log, and records it under LABEL.
lab_spawn() {
    local node=$1 label=$2 pid
    shift 2
    [[ $node == host ]] || set -- ip netns exec "$(lab_ns "$node")" "$@"
    # setsid keeps the pid (we are no group leader here); the pid is then the group's number too.
    setsid "$@" </dev/null >>"$LAB_DIR/log/$label.log" 2>&1 &
    pid=$!
    disown "$pid"
    printf '%s %s %s\n' "$label" "$pid" "$(lab_started "$pid")" >>"$LAB_DIR/pids"
}

# lab_pid LABEL: the pid it was last started with, if that runs.
lab_pid() {
    local label pid started found=
    while read -r label pid started; do
        [[ $label == "$1" ]] && lab_alive "$pid" "$started" && found=$pid
    done <"$LAB_DIR/pids"
    [[ -n $found ]] && printf '%s' "$found"
}

# lab_kill [LABEL...]: ends those processes (all, without an argument): TERM, after three seconds KILL, to the group.
lab_kill() {
    local label pid started signal tries
    local -a left=()
    [[ -e $LAB_DIR/pids ]] || return 0
    while read -r label pid started; do
        if [[ $# -eq 0 || " $* " == *" $label "* ]]; then left+=("$pid $started"); fi
    done <"$LAB_DIR/pids"
    for signal in TERM KILL; do
        for label in "${left[@]}"; do
            read -r pid started <<<"$label"
            if lab_alive "$pid" "$started"; then kill -s "$signal" -- "-$pid" 2>/dev/null || true; fi
        done
        for ((tries = 0; tries < 60; tries++)); do
            for label in "${left[@]}"; do
                read -r pid started <<<"$label"
                if lab_alive "$pid" "$started"; then
                    sleep 0.05
                    continue 2
                fi
            done
            return 0
        done
    done
    return 0
}

# lab_wait SECONDS WHAT COMMAND...: repeats the command until it succeeds.
lab_wait() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            printf 'lab: waited in vain for %s\n' "$what" >&2
            return 1
        fi
        sleep 0.05
    done
}

# lab_hugepages COUNT: adds that many 2 MiB pages to the machine's pool until lab_down; fails, changing nothing, where they cannot be had.
lab_hugepages() {
    local pool=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages before
    before=$(cat "$pool" 2>/dev/null) || return 1
    echo $((before + $1)) >"$pool" 2>/dev/null || true
    if (($(<"$pool") < before + $1)); then
        echo "$before" >"$pool"
        return 1
    fi
    echo $(($(cat "$LAB_DIR/hugepages" 2>/dev/null || echo 0) + $1)) >"$LAB_DIR/hugepages"
}

# lab_hugepages_back: takes out what lab_hugepages added, and no more: others may have changed the pool since.
lab_hugepages_back() {
    local pool=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages added now
    added=$(cat "$LAB_DIR/hugepages" 2>/dev/null) || return 0
    now=$(<"$pool")
    echo $((now > added ? now - added : 0)) >"$pool"
    rm "$LAB_DIR/hugepages"
}

# lab_namespace NODE: without IPv6, which would speak unasked.
lab_namespace() {
    ip netns add "$(lab_ns "$1")"
    lab_in "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    ip -n "$(lab_ns "$1")" link set lo up
}

# lab_switch NAME
lab_switch() {
    lab_namespace "$1"
    ip -n "$(lab_ns "$1")" link add br0 type bridge stp_state 0 forward_delay 0
    ip -n "$(lab_ns "$1")" link set br0 up
}

# lab_node NODE: a host; the names that it knows, lines of a hosts file, come on the standard input.
lab_node() {
    # What Kamailio and others resolve in there (its own resolver reads no hosts file, so its configuration
    # leaves names to the C library; /etc/netns/<ns>/* is bound over /etc by `ip netns exec`).
    mkdir -p "/etc/netns/$(lab_ns "$1")"
    : >"/etc/netns/$(lab_ns "$1")/resolv.conf"
    { echo '127.0.0.1 localhost' && cat; } >"/etc/netns/$(lab_ns "$1")/hosts"
    lab_namespace "$1"
}

# lab_cable SWITCH NODE ADDRESS [PORT]: a veth between a switch and a node's PORT (eth0). No segmentation offload: a packet
# that one node counts is one packet for every other.
lab_cable() {
    local port=${4:-eth0}
    ip link add "$2" netns "$(lab_ns "$1")" type veth peer name "$port" netns "$(lab_ns "$2")"
    ip -n "$(lab_ns "$1")" link set "$2" master br0 up
    ip -n "$(lab_ns "$2")" address add "$3" dev "$port"
    ip -n "$(lab_ns "$2")" link set "$port" up gso_max_segs 1
}

# lab_plug_tap IFNAME SWITCH: takes the kernel's side of a tap that the dataplane made, and has attached, into a switch.
lab_plug_tap() {
    local switch
    switch=$(lab_ns "$2")
    lab_wait 10 "interface $1" lab_is_up "$1" || return 1
    ip link set dev "$1" netns "$switch"
    # DPDK gives its port and the kernel's side the same MAC, and a bridge keeps frames for its own ports' MACs to itself.
    ip -n "$switch" link set dev "$1" address "$(printf '02:00:00:%02x:%02x:%02x' $((RANDOM % 256)) $((RANDOM % 256)) $((RANDOM % 256)))"
    ip -n "$switch" link set dev "$1" master br0 up
}

lab_is_up() {
    [[ -n $(ip link show dev "$1" up) ]]
}

# lab_down: ends and removes everything of this lab, half made or whole.
lab_down() {
    local namespace
    [[ -n ${LAB_DIR:-} && -d $LAB_DIR ]] || return 0
    lab_kill
    lab_hugepages_back
    # Both, as either may be there alone.
    for namespace in /run/netns/"$(lab_ns '')"* /etc/netns/"$(lab_ns '')"*; do
        ip netns delete "${namespace##*/}" 2>/dev/null || true
        rm -rf "/etc/netns/${namespace##*/}"
    done
    rm -rf "$LAB_DIR"
}
