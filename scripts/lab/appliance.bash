# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance in a lab: starting it, asking it, keeping what it logged. Sourced by scripts/demo, which says in $bin where the three
# programs are, after lib.bash, peers.bash and checks.bash.

# Where there are several in a lab, which one is meant; federation.bash says so. Names its processes, files and taps.
appliance=''
# In which node's network its control runs.
control_at=host

# appliance_up TEMPLATE [WORD=VALUE...]: both halves, with that configuration; its taps are fg<tag>o and fg<tag>i. The lab's certificates must be there.
# shellcheck disable=SC2154 # bin
appliance_up() {
    local pages=() template=$1 side
    shift
    dataplane_socket=$LAB_DIR/dataplane$appliance.sock
    control_socket=$LAB_DIR/control$appliance.sock
    lab_hugepages 256 || { echo '  no hugepages to be had here: running without' && pages=(--no-huge); }
    lab_fill "$template" "TAG=$LAB_TAG$appliance" "$@" >"$LAB_DIR/fedgate$appliance.cfg"
    lab_spawn host "dataplane$appliance" "$bin/fedgate-dataplane" --socket "$dataplane_socket" --cpu-main 0 --cpu-workers 1 --idle-sleep "${pages[@]}"
    lab_wait 20 'the dataplane' test -S "$dataplane_socket"
    start_control
    # Before it says so, DPDK still works on a tap by its name: it must not be moved.
    for side in o i; do
        lab_wait 20 "the appliance's port fg$LAB_TAG$appliance$side" \
            grep -qF "port attached device=\"net_tap_fg$LAB_TAG$appliance$side," "$LAB_DIR/log/dataplane$appliance.log"
    done
}

# keep_logs FOLDER: what there is to read of a run, where it stays when the lab is gone.
keep_logs() {
    rm -rf "$1"
    mkdir -p "$1"
    cp -r "$LAB_DIR/log" "$LAB_DIR"/fedgate*.cfg "$1" 2>/dev/null || true
    tail -n 5 "$1"/log/{dataplane,control}*.log >&2 || true
    printf 'logs of this run: %s/log\n' "$1" >&2
}

cli() {
    "$bin/fedgate" --socket "$control_socket" "$@"
}

start_control() {
    lab_spawn "$control_at" "control$appliance" "$bin/fedgate-control" --config "$LAB_DIR/fedgate$appliance.cfg" --state "$LAB_DIR/state$appliance" \
        --dataplane "$dataplane_socket" --listen "$control_socket"
}

# shown COMMAND...: prints what the CLI says, indented.
shown() {
    printf '  fedgate> %s\n' "$*"
    cli "$@" 2>&1 | sed 's/^/    /' || true
}

# count LABEL COMMAND...: the last number in the first line of the output that has the label in it; without one, -999999: equal to no count.
count() {
    local label=$1
    shift
    { cli "$@" 2>/dev/null || true; } | awk -v label="$label" '
        !found && index($0, label) {
            while (match($0, /[0-9]+/)) { n = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH); found = 1 }
        }
        END { print found ? n : -999999 }'
}

# dropped REASON: frames dropped for it; a reason that dropped none has no line, and one that there is not is no count.
dropped() {
    local n
    if ! grep -qF " \"$1\" \"" "$LAB_SCRIPTS/../../dataplane/tables/src/drops.rs"; then
        printf 'lab: no frame is ever dropped as %s\n' "$1" >&2
        echo -999999
        return
    fi
    n=$(count "($1)" show drops)
    if ((n < 0)) && cli show drops | grep -q '^Frame drop:'; then n=0; fi
    echo "$n"
}

title() {
    printf '\n%s\n' "$*"
}

# sum LABEL...: several counters of `show proxy` together.
sum() {
    local total=0 label
    for label; do total=$((total + $(count "$label" show proxy))); done
    echo "$total"
}

# packets_in INTERFACE: the first number of its "packets input" line.
packets_in() {
    cli show interface "$1" | awk '/packets input/ { print $1 }'
}

# let_in DOMAIN: requests from a domain that were let in, by `show domains`: the first number after the list's name.
let_in() {
    cli show domains | awk -v domain="$1" '$1 == domain { print $3 }'
}
