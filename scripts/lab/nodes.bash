# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# An enterprise, alpha.example, with two presence nodes behind one appliance, and its partner foreign.example, a Kamailio with SIPp for its users. All that
# comes from outside comes to the routing node; anna is at home there, alma on the other, which is killed and comes back, and then, having got a second
# process on the same PostgreSQL, is killed and taken over. Sourced by scripts/demo.
#
#   outsw (198.51.100.0/24)                      insw (10.10.0.0/24), default route .1
#     foreign .20  the partner's SIP server        alpha1 .11  cup.alpha.example, the routing node and anna's home
#     .2  the appliance                            alpha2 .12  cup2.alpha.example, alma's home
#     .3  what the partner calls: alpha1           alpha3 .13  the same, on another machine: waits
#                                                  anna .50, alma .51  baresip

readonly FOREIGN=198.51.100.20
declare -rA ADDRESS=([alpha1]=10.10.0.11 [alpha2]=10.10.0.12 [alpha3]=10.10.0.13 [anna]=10.10.0.50 [alma]=10.10.0.51)

nodes_up() {
    local host user
    # shellcheck disable=SC2034 # peers.bash reads them
    LAB_OUR_DOMAIN=alpha.example
    lab_init
    lab_sip_node foreign foreign.example edge.foreign.example:5061 foreign.example:5061
    lab_switch outsw
    lab_switch insw
    # cup2 is where a node says to be reached in the dialogs that it begins outward; from there all ways lead to the routing node.
    lab_node foreign <<HOSTS
$FOREIGN edge.foreign.example foreign.example
198.51.100.3 cup.alpha.example cup2.alpha.example
HOSTS
    lab_cable outsw foreign "$FOREIGN/24"
    for host in "${!ADDRESS[@]}"; do
        lab_node "$host" </dev/null
        lab_cable insw "$host" "${ADDRESS[$host]}/24"
        ip -n "$(lab_ns "$host")" route add default via 10.10.0.1
    done
    lab_authorities
    # Requests in the dialogs of each node name that node: to the appliance a host of ours is one that its public certificate names.
    lab_leaf foreign foreign-ca foreign.example edge.foreign.example
    lab_leaf public local-ca cup.alpha.example cup2.alpha.example alpha.example
    lab_leaf inside local-ca inside.alpha.example
    lab_leaf cup local-ca cup.alpha.example
    lab_leaf cup2 local-ca cup2.alpha.example
    postgres_up
    appliance_up scripts/lab/nodes.cfg.in
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    for user in anna alma; do
        printf '[[user]]\naddress = "%s@alpha.example"\npassword = "secret-%s"\n' "$user" "$user"
    done >"$LAB_DIR/users.toml"
    node_configured alpha1 cup "sqlite:$LAB_DIR/store" cup2 "\"${ADDRESS[alpha2]}:5061\", \"${ADDRESS[alpha3]}:5061\""
    for host in alpha2 alpha3; do
        node_configured "$host" cup2 "postgres://fedgate@localhost/presence?host=$LAB_DIR/postgres" cup "\"${ADDRESS[alpha1]}:5061\""
    done
    for host in alpha1 alpha2; do node_started "$host"; done
    lab_sip_server foreign "$FOREIGN" both-ca
    for host in alpha1 alpha2; do lab_wait 20 "the node on $host" serves "$host"; done
    lab_sip_servers_up foreign
}

# postgres_up: a server at a Unix socket in the lab's folder, with one database. It will not run as root. Its own IPC namespace, and no shared memory
# outside of its folder: nothing of it stays if it must be killed.
postgres_up() {
    local dir=$LAB_DIR/postgres bin
    local -a as=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
    mkdir "$dir"
    chown postgres: "$dir"
    (
        cd "$dir" || exit
        "${as[@]}" "$bin/initdb" -D "$dir/data" -U fedgate -A trust -E UTF8 --locale=C --no-sync --no-instructions >"$LAB_DIR/log/initdb.log" 2>&1
        lab_spawn host postgres unshare --ipc -- "${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off \
            -c dynamic_shared_memory_type=mmap
    )
    lab_wait 20 PostgreSQL "$bin/pg_isready" -q -h "$dir"
    "$bin/createdb" -h "$dir" -U fedgate presence
}

# node_configured HOST NAME STORE OTHER OTHER-AT: what the node there is to be; the other one is called so and found at these.
node_configured() {
    lab_fill scripts/lab/nodes.toml.in "HOST=$1" "NAME=$2" "STORE=$3" "OTHER=$4" "OTHER_AT=$5" "ADDRESS=${ADDRESS[$1]}" "EDGE=$FOREIGN" "DIR=$LAB_DIR" \
        >"$LAB_DIR/$1.toml"
}

# node_started HOST. What it stores the sockets and the keys for is nobody else's.
# shellcheck disable=SC2154 # bin
node_started() {
    (umask 077 && lab_spawn "$1" "node-$1" "$bin/fedgate-presence" run --config "$LAB_DIR/$1.toml")
}

# node HOST COMMAND...: asks the node there.
node() {
    "$bin/fedgate-presence" "${@:2}" --socket "$LAB_DIR/presence-$1.sock"
}

serves() {
    lab_listens "$1" tcp 5061
}

waits() {
    grep -qF 'this node waits' <<<"$(node "$1" statistics 2>&1)"
}

# killed HOST: its node, as a fault would.
killed() {
    kill -9 "$(lab_pid "node-$1")"
    lab_wait 5 "the end of the node on $1" not serves "$1"
}

# at_home USER: where the routing node says that is.
at_home() {
    node alpha1 home "$1@alpha.example" | sed -n 's/^ *"node": "\(.*\)".*/\1/p'
}

# to_other FIELD: what the routing node says of the other one.
to_other() {
    node alpha1 nodes | sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p"
}

# counted HOST NAME: what the node there has counted.
counted() {
    node "$1" statistics | sed -n "s/^ *\"$2\": \([0-9]*\),*$/\1/p"
}

# writes FROM TO TEXT: whether what the one types, to the contact that stands first, comes to stand on the other's screen.
writes() {
    lab_client_type "$1" "/message $3"
    lab_wait 10 "the text $3" lab_client_said "$2" "sip:$1@alpha.example: \"$3\""
}

# reads USER: whether the text of a chat from outside stands on the screen.
reads() {
    lab_wait 10 "the text to $1" lab_client_said "$1" "Good morning, $1@alpha.example."
}

# heard_by_watcher: CSeq of the NOTIFYs that SIPp's watcher got, in their order.
heard_by_watcher() {
    tr -d '\r' <"$LAB_DIR/log/sipp-foreign-watch.log" |
        awk '/^[A-Z]+ sip:|^SIP\/2.0 / { notify = /^NOTIFY / } notify && /^CSeq: / { print $2 }'
}

watcher_heard_once() {
    [[ $(heard_by_watcher | wc -l) -eq 1 ]]
}

nodes_demo() {
    local began=$SECONDS before user watcher
    local -a heard
    title 'One enterprise, two presence nodes, one appliance'
    nodes_up
    same 'anna is at home on' cup.alpha.example "$(at_home anna)"
    same 'alma is at home on' cup2.alpha.example "$(at_home alma)"
    check 'which is not where her decisions are taken elsewhere' not node alpha1 allow alma@alpha.example foreign.example
    check 'anna lets foreign.example see her' node alpha1 allow anna@alpha.example foreign.example
    check 'alma too, on her node' node alpha2 allow alma@alpha.example foreign.example
    check 'x of foreign.example is there' lab_sipp foreign publish x@foreign.example x@foreign.example

    title 'Users of the two nodes'
    lab_client anna anna@alpha.example "${ADDRESS[alpha1]}" local-ca alma@alpha.example secret-anna
    lab_client alma alma@alpha.example "${ADDRESS[alpha2]}" local-ca anna@alpha.example secret-alma x@foreign.example
    for user in anna alma; do
        check "$user logs in" lab_wait 10 "$user" lab_client_said "$user" 'registered successfully'
    done
    check 'anna sees alma online' lab_client_comes_to_see anna Online alma
    check 'alma sees anna online' lab_client_comes_to_see alma Online anna
    check 'anna writes to alma' writes anna alma 'good morning, alma'
    check 'alma to anna' writes alma anna 'good morning, anna'
    check 'alma sees x online, whom her node asked by itself' lab_wait 10 'x' lab_client_sees alma Online other

    title 'From outside, by the routing node'
    before=$(to_other passed)
    check 'x watches anna' lab_sipp foreign watch x@foreign.example anna@alpha.example
    check 'and writes to her' lab_sipp foreign chat x@foreign.example anna@alpha.example
    check 'she reads it' reads anna
    same 'of which the routing node passed on' 0 $(($(to_other passed) - before))
    check 'x watches alma' lab_sipp foreign watch x@foreign.example alma@alpha.example
    check 'and writes to her' lab_sipp foreign chat x@foreign.example alma@alpha.example
    check 'she reads it' reads alma
    # SUBSCRIBE three times, INVITE, MESSAGE, BYE; and its ACK.
    more 'requests that it passed on' 5 $(($(to_other passed) - before))

    lab_client_type alma /contact_next
    lab_client_type alma '/message good evening, x'
    check 'alma writes to x' lab_wait 10 'the text' grep -qaF 'good evening, x' "$LAB_DIR/log/answering-foreign.messages"

    title 'The home node killed'
    before=$(to_other unanswered)
    killed alpha2
    check 'x asks for alma: 480' lab_sipp foreign subscribe-480 x@foreign.example alma@alpha.example
    same 'unanswered, by the routing node; 480s, by the partner' $(($(to_other unanswered) - before)) "$(lab_seen foreign reply any 480)"
    check 'x watches anna as before' lab_sipp foreign watch x@foreign.example anna@alpha.example
    check 'and writes to her' lab_sipp foreign chat x@foreign.example anna@alpha.example
    node_started alpha2
    check 'it is back, its lease having run out' lab_wait 10 'the node on alpha2' serves alpha2
    check 'x watches alma, who is there by what is stored' lab_sipp foreign watch x@foreign.example alma@alpha.example

    title 'The home node taken over'
    node_started alpha3
    check 'a second process on its PostgreSQL waits' lab_wait 10 'the second process' waits alpha3
    check 'and listens to nothing' not serves alpha3
    lab_sipp foreign watch x@foreign.example alma@alpha.example -d 7000 &
    watcher=$!
    check 'x watches alma' lab_wait 10 'the first NOTIFY' watcher_heard_once
    killed alpha2
    check 'the other serves' lab_wait 7 'the takeover' serves alpha3
    check 'x refreshes in the same dialog and ends it: 200, NOTIFY' wait "$watcher"
    mapfile -t heard < <(heard_by_watcher)
    same 'NOTIFYs: one before, two after' 3 "${#heard[@]}"
    more 'CSeq after' "${heard[0]:-}" "${heard[1]:-}"
    check 'x watches alma anew' lab_sipp foreign watch x@foreign.example alma@alpha.example
    shown show domains
    printf '  alpha1> fedgate-presence nodes\n'
    node alpha1 nodes | sed 's/^/    /'
    printf '  this took %d s\n' $((SECONDS - began))
}
