# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# Two enterprises, alpha.example and beta.example, with nothing but fedgate: each has an appliance at its border and a presence node behind it.
# Their users (baresip, linphonec, and curl for the node's web service) see each other come and go and write to each other. Sourced by scripts/demo.
#
#   world (198.51.100.0/24)                                inside, 10.10.0.0/24 of alpha and 10.20.0.0/24 of beta
#     .2  .3    alpha's appliance, and its node's address    .1   the appliance, everybody's default route
#     .12 .13   beta's, likewise                             .11  the presence node
#     .53 .63   alpha's and beta's DMZ name servers          .53  the private name server
#     .40       the edge of gamma.example, a stranger        .2   the appliance's control, which asks that server
#                                                            .50  anna of alpha, bert of beta
#                                                            .51  carl of beta
#
# In the world an enterprise is what its DMZ server says: _sipfederationtls._tcp of its domain, and the address of the host that this names. The private
# one knows its own hosts by their own addresses, and asks the other enterprise's DMZ server for all that is theirs, through the appliance.

readonly GAMMA=198.51.100.40
# Of each: the network inside, the appliance's address outside, its node's, its DMZ server's; the other.
declare -rA NET=([alpha]=10.10.0 [beta]=10.20.0) OUTSIDE=([alpha]=198.51.100.2 [beta]=198.51.100.12)
declare -rA PUBLIC=([alpha]=198.51.100.3 [beta]=198.51.100.13) DMZ=([alpha]=198.51.100.53 [beta]=198.51.100.63)
declare -rA PARTNER=([alpha]=beta [beta]=alpha)

# at ENTERPRISE COMMAND...: a command about that enterprise's appliance.
at() {
    # shellcheck disable=SC2034 # appliance.bash's
    local appliance=${1:0:1} control_at=control-$1 control_socket=$LAB_DIR/control${1:0:1}.sock dataplane_socket=$LAB_DIR/dataplane${1:0:1}.sock
    shift
    "$@"
}

# node ENTERPRISE COMMAND...: asks its presence node.
# shellcheck disable=SC2154 # bin
node() {
    "$bin/fedgate-presence" "${@:2}" --socket "$LAB_DIR/presence-$1.sock"
}

federation_up() {
    local name
    lab_init
    lab_switch world
    lab_node gamma </dev/null
    lab_cable world gamma "$GAMMA/24"
    lab_authorities ca-alpha ca-beta ca-gamma
    lab_leaf gamma ca-gamma gamma.example sip.gamma.example
    for name in alpha beta; do network_up "$name"; done
    for name in alpha beta; do enterprise_up "$name"; done
}

# network_up ENTERPRISE: its hosts, its name servers and its certificates.
network_up() {
    local name=$1 other=${PARTNER[$1]} net=${NET[$1]} host last=50
    local -a users=(anna)
    [[ $name == alpha ]] || users=(bert carl)
    lab_switch "in-$name"
    for host in "dmz-$name" "dns-$name" "node-$name" "control-$name" "${users[@]}"; do
        lab_node "$host" </dev/null
        echo "nameserver $net.53" >"/etc/netns/$(lab_ns "$host")/resolv.conf"
    done
    lab_cable world "dmz-$name" "${DMZ[$name]}/24"
    lab_cable "in-$name" "control-$name" "$net.2/24"
    lab_cable "in-$name" "node-$name" "$net.11/24"
    for host in "${users[@]}"; do lab_cable "in-$name" "$host" "$net.$((last++))/24"; done
    lab_cable "in-$name" "dns-$name" "$net.53/24"
    for host in "dns-$name" "node-$name" "control-$name" "${users[@]}"; do ip -n "$(lab_ns "$host")" route add default via "$net.1"; done
    name_server "dmz-$name" --listen-address="${DMZ[$name]}" --no-resolv --local="/$name.example/" \
        --srv-host="_sipfederationtls._tcp.$name.example,cup.$name.example,5061,10,0" --host-record="cup.$name.example,${PUBLIC[$name]}"
    name_server "dns-$name" --listen-address="$net.53" --no-resolv --local="/$name.example/" --host-record="cup.$name.example,$net.11" \
        --server="/$other.example/${DMZ[$other]}"

    lab_leaf "public-$name" "ca-$name" "cup.$name.example" "$name.example"
    lab_leaf "inside-$name" "ca-$name" "inside.$name.example"
    lab_leaf "node-$name" "ca-$name" "cup.$name.example" "$name.example"
    # Who is known is not who is permitted: gamma's authority is believed too.
    cat "$LAB_DIR/certs/ca-"{"$other",gamma}.crt >"$LAB_DIR/certs/partners-$name.crt"
}

# name_server NODE OPTION...
name_server() {
    lab_spawn "$1" "$1" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --user=root --pid-file="$LAB_DIR/$1.pid" --local-ttl=60 "${@:2}"
}

# enterprise_up ENTERPRISE: its appliance and its node.
enterprise_up() {
    local name=$1 letter=${1:0:1} user
    local -a words=("NAME=$name" "PARTNER=${PARTNER[$1]}" "NET=${NET[$1]}" "OUTSIDE=${OUTSIDE[$1]}" "PUBLIC=${PUBLIC[$1]}" "DIR=$LAB_DIR")
    at "$name" appliance_up scripts/lab/federation.cfg.in "${words[@]}"
    lab_plug_tap "fg$LAB_TAG${letter}o" world
    lab_plug_tap "fg$LAB_TAG${letter}i" "in-$name"
    lab_fill scripts/lab/presence.toml.in "${words[@]}" >"$LAB_DIR/presence-$name.toml"
    for user in $([[ $name == alpha ]] && echo anna || echo bert carl); do
        printf '[[user]]\naddress = "%s@%s.example"\npassword = "secret-%s"\n' "$user" "$name" "$user"
    done >"$LAB_DIR/users-$name.toml"
    # What it stores the sockets and the keys for is nobody else's.
    (umask 077 && lab_spawn "node-$name" "node-$name" "$bin/fedgate-presence" run --config "$LAB_DIR/presence-$name.toml")
    lab_meter "node-$name"
    lab_wait 20 "the node of $name" lab_listens "node-$name" tcp 5061
}

federation_demo() {
    local began=$SECONDS before text name
    title 'Two enterprises: an appliance and a presence node each'
    federation_up
    for name in alpha beta; do
        check "cup.$name.example is ${NET[$name]}.11 to who is inside" resolves "node-$name" "cup.$name.example" "${NET[$name]}.11"
        check "${PUBLIC[$name]} to ${PARTNER[$name]}.example, by its DMZ server" \
            lab_wait 10 'the name' resolves "node-${PARTNER[$name]}" "cup.$name.example" "${PUBLIC[$name]}"
        check "${PARTNER[$name]}.example's appliance has that by the SRV record of $name.example" \
            lab_wait 10 'the SRV record' edge_of "${PARTNER[$name]}" "cup.$name.example" "${PUBLIC[$name]}"
    done
    at alpha shown show dns

    title 'Their users log in'
    lab_client anna anna@alpha.example 10.10.0.11 ca-alpha bert@beta.example secret-anna carl@beta.example
    lab_client bert bert@beta.example 10.20.0.11 ca-beta anna@alpha.example secret-bert
    check 'anna, of alpha' lab_wait 10 'anna' lab_client_said anna 'registered successfully'
    check 'bert, of beta' lab_wait 10 'bert' lab_client_said bert 'registered successfully'

    title 'Who may see whom is what they say themselves'
    check 'anna asks to see bert' lab_wait 10 'the question' watched beta bert@beta.example anna@alpha.example pending
    check 'and carl, who has no device' lab_wait 10 'the question' watched beta carl@beta.example anna@alpha.example pending
    check 'bert asks to see anna' lab_wait 10 'the question' watched alpha anna@alpha.example bert@beta.example pending
    check 'anna is told nothing of bert' lab_client_sees anna Unknown
    check 'bert allows anna' node beta allow bert@beta.example anna@alpha.example
    check 'anna sees bert online' lab_client_comes_to_see anna Online bert
    check 'bert is told nothing of anna' lab_client_sees bert Unknown
    check 'anna allows all of beta.example' node alpha allow anna@alpha.example beta.example
    check 'bert sees anna online' lab_client_comes_to_see bert Online anna
    check "carl, who has no device, is told at his node's web service that anna asks" told_by_web carl watchers \
        '{"address":"anna@alpha.example","status":"pending"}'
    check 'carl allows anna there' web carl PUT decisions/anna@alpha.example '{"verdict": "allow"}'
    check 'anna sees carl offline' lab_wait 10 "carl's presence" lab_client_sees anna Offline other

    title 'They come and go'
    lab_client_type bert /presence_offline
    check 'anna sees bert leave' lab_client_comes_to_see anna Offline bert
    lab_client_type bert /presence_online
    check 'and return' lab_client_comes_to_see anna Online bert
    lab_client_type anna /presence_offline
    check 'bert sees anna leave' lab_client_comes_to_see bert Offline anna
    lab_client_type anna /presence_online
    check 'and return' lab_client_comes_to_see bert Online anna

    title 'They write to each other'
    check 'anna to bert' writes anna bert 'good morning'
    check 'bert to anna' writes bert anna 'good morning, anna'
    check 'anna to bert' writes anna bert 'how are you'
    same 'in one session, by the nodes' '1 1' "$(of_node alpha sessions) $(of_node beta sessions)"
    same "which is a call in the dialogs of beta's border" 1 "$(at beta cli --json show dialogs domain alpha.example | grep -c '"usage":"call"')"
    check "whose peer is alpha's, by its certificate" grep -q 'Peer: .*cup.alpha.example' <<<"$(at beta cli show proxy)"
    same "requests of alpha's users let out at its border; let in at beta's" "$(at alpha let_out beta.example)" "$(at beta let_in alpha.example)"
    same "and of beta's" "$(at beta let_out alpha.example)" "$(at alpha let_in beta.example)"

    title 'A polite block'
    check 'bert blocks anna' node beta block bert@beta.example anna@alpha.example
    check 'anna sees bert leave' lab_client_comes_to_see anna Offline bert
    more 'octets that she was told of carl, who has no device' 300 "$(told_of carl | wc -c)"
    same 'of bert she is told the same: SHA-256' "$(told_of carl | sha256sum)" "$(told_of bert | sha256sum)"
    check 'her text is refused' refused anna 'are you there'
    check 'and bert does not read it' not lab_client_said bert 'are you there'
    check 'bert still sees anna' lab_client_sees bert Online
    check 'bert takes it back' node beta allow bert@beta.example anna@alpha.example
    check 'anna sees bert return' lab_client_comes_to_see anna Online bert
    check 'and writes to him' writes anna bert 'there you are'

    title 'A block of a domain'
    check 'bert blocks alpha.example' node beta block bert@beta.example alpha.example
    check 'anna, allowed by name, sees bert leave' lab_client_comes_to_see anna Offline bert
    check 'bert takes it back' node beta forget bert@beta.example alpha.example
    check 'anna sees bert return' lab_client_comes_to_see anna Online bert

    title 'A client of another make'
    lab_linphone carl carl@beta.example cup.beta.example ca-beta secret-carl anna@alpha.example
    check 'carl logs in with linphone, and anna sees him online' lab_wait 20 'carl' lab_client_sees anna Online other
    check 'carl sees anna online' lab_wait 10 'anna' lab_linphone_sees carl Online
    lab_client_type anna /presence_offline
    check 'and leave' lab_wait 10 'anna' lab_linphone_sees carl Offline
    lab_client_type anna /presence_online
    check 'and return' lab_wait 10 'anna' lab_linphone_sees carl Online
    lab_client_type carl 'chat sip:anna@alpha.example hello from linphone'
    check 'carl writes to anna' lab_wait 10 'the text' lab_client_said anna 'sip:carl@beta.example: "hello from linphone"'
    lab_client_type anna /contact_next
    lab_client_type anna '/message hello from baresip'
    check 'anna to carl' lab_wait 10 'the text' lab_client_said carl 'hello from baresip'
    check 'carl blocks anna, at the web service' web carl PUT decisions/anna@alpha.example '{"verdict": "block"}'
    check 'anna sees carl leave' lab_wait 10 'carl' lab_client_sees anna Offline other
    check 'her text is refused' refused anna 'are you there, carl'
    check 'and carl does not read it' not lab_client_said carl 'are you there, carl'
    check 'carl still sees anna' lab_linphone_sees carl Online
    check 'carl allows her again' web carl PUT decisions/anna@alpha.example '{"verdict": "allow"}'
    check 'anna sees carl return' lab_wait 10 'carl' lab_client_sees anna Online other
    lab_client_type anna /contact_prev
    lab_client_type carl quit
    check 'carl ends his client, and anna sees him leave' lab_wait 10 'carl' lab_client_sees anna Offline other

    title 'A domain refused at the border'
    # shellcheck disable=SC2034 # lab_tls_open's
    LAB_PUBLIC=${PUBLIC[beta]} LAB_PUBLIC_NAME=cup.beta.example LAB_PUBLIC_CA=ca-beta
    before=$(at beta sum 'Denied: From domain')
    text=$(lab_message greta@gamma.example bert@beta.example sip.gamma.example stranger1)
    same 'a text of gamma.example, with its certificate' 'SIP/2.0 403' "$(lab_tls_once gamma "$GAMMA" gamma "$text" | cut -c 1-11)"
    same 'its SUBSCRIBE' 'SIP/2.0 403' "$(lab_tls_once gamma "$GAMMA" gamma "${text//MESSAGE/SUBSCRIBE}" | cut -c 1-11)"
    text=$(lab_message anna@alpha.example bert@beta.example sip.gamma.example stranger2)
    same "a text in anna's name" 'SIP/2.0 403' "$(lab_tls_once gamma "$GAMMA" gamma "$text" | cut -c 1-11)"
    check "beta's node heard no packet of gamma's edge" not lab_heard_any node-beta "$GAMMA"
    check 'but of alpha' lab_heard_any node-beta "${PUBLIC[alpha]}"
    same 'denied for the domain, by show proxy' $((before + 2)) "$(at beta sum 'Denied: From domain')"
    same 'for the certificate' 1 "$(at beta sum 'Denied: certificate')"

    title 'A partner that is no partner any more'
    # `no permit` would let the session that there is go on to its end.
    check 'block domain alpha.example, at beta' at beta cli block domain alpha.example
    check "anna's text is refused" refused anna 'hello again'
    check 'and bert does not read it' not lab_client_said bert 'hello again'
    check 'no block domain alpha.example; permit domain alpha.example' at beta permitted alpha.example
    check 'anna writes to bert' writes anna bert 'back again'
    at beta shown show domains
    printf '  this took %d s\n' $((SECONDS - began))
    # What --keep leaves is asked of alpha's.
    # shellcheck disable=SC2034 # appliance.bash's
    appliance=a control_socket=$LAB_DIR/controla.sock
}

# permitted DOMAIN: a domain that was blocked may federate again.
permitted() {
    cli no block domain "$1" && cli permit domain "$1"
}

# watched ENTERPRISE USER WATCHER STATUS: whether its node has the watcher so.
watched() {
    node "$1" show "$2" | python3 -c 'import json, sys
sys.exit({"address": sys.argv[1], "status": sys.argv[2]} not in json.load(sys.stdin)["watchers"])' "$3" "$4"
}

# web USER METHOD PATH [JSON]: what the web service of beta's node answers that user; fails where it refuses.
web() {
    local at=https://cup.beta.example:8443/api/v1 token
    local -a curl=(lab_in "$1" curl -sf --cacert "$LAB_DIR/certs/ca-beta.crt")
    token=$("${curl[@]}" "$at/session" --json "{\"user\": \"$1\", \"password\": \"secret-$1\", \"bearer\": true}" | sed 's/.*"token":"\([^"]*\)".*/\1/')
    "${curl[@]}" -H "Authorization: Bearer $token" -X "$2" ${4:+--json "$4"} "$at/$3"
}

# told_by_web USER PATH TEXT: whether that is in its answer.
told_by_web() {
    [[ $(web "$1" GET "$2") == *"$3"* ]]
}

# of_node ENTERPRISE FIELD: a number of its node's statistics.
of_node() {
    node "$1" statistics | sed -n "s/^  \"$2\": \([0-9]*\),*$/\1/p"
}

# let_out DOMAIN: requests to a domain that were let out, by `show domains`.
let_out() {
    cli show domains | awk -v domain="$1" '$1 == domain { print $4 }'
}

# writes FROM TO TEXT: whether what the one types, to the contact that stands first, comes to stand on the other's screen.
writes() {
    local from=anna@alpha.example
    [[ $1 == anna ]] || from=bert@beta.example
    lab_client_type "$1" "/message $3"
    lab_wait 10 "the text $3" lab_client_said "$2" "sip:$from: \"$3\""
}

# refused CLIENT TEXT: whether the client is told that its text was not delivered.
refused() {
    local before
    before=$(texts_refused "$1")
    lab_client_type "$1" "/message $2"
    lab_wait 10 "the refusal of $2" more_refused "$1" "$before"
}

more_refused() {
    (($(texts_refused "$1") > $2))
}

# texts_refused CLIENT: answers of 4xx and 5xx to its texts.
texts_refused() {
    awk '/^SIP\/2.0 [45]/ { refused = 1 } /^CSeq: / { if (refused && $3 ~ /^MESSAGE/) n++; refused = 0 } END { print n + 0 }' \
        "$LAB_DIR/log/client-anna.log"
}

# told_of USER: the last NOTIFY of that user of beta that anna's client got, but for the name, and for what is another in each.
told_of() {
    tr -d '\r' <"$LAB_DIR/log/client-anna.log" | awk -v from="^From: <sip:$1@beta.example>" '
        /^NOTIFY / { notify = 1; text = "" }
        notify { text = text $0 "\n" }
        notify && $0 ~ from { its = 1 }
        /^.\[;m|^SIP\/2.0 / { if (notify && its) last = text; notify = 0; its = 0 }
        END { printf "%s", last }' | sed -E "s/$1@/user@/g; s/(branch=|tag=|Call-ID: |CSeq: |expires=)[[:alnum:]]+/\1/g"
}

# resolves NODE NAME ADDRESS: whether the name is that address there.
resolves() {
    [[ $(lab_in "$1" getent ahostsv4 "$2" | awk 'NR == 1 { print $1 }') == "$3" ]]
}

# edge_of ENTERPRISE HOST ADDRESS: whether its appliance has that edge, usable.
edge_of() {
    at "$1" cli show dns | grep -F "$2" | grep -F " $3 " | grep -q usable
}
