# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# A pool of three Kamailios behind one appliance: shares by weight, a partner's rate, health checks, watchers that stay with their server,
# death in the middle of a request, return, draining. A partner's requests are sent by hand over one TLS connection, so that it is known what had no
# answer when; where they come to is read from the servers' own logs. Sourced by scripts/demo.
#
#   outsw (198.51.100.0/24)                  insw (10.10.0.0/24), default route .1
#     edge .20  the partner's SIP server       front1 .11 (weight 2), front2 .12, front3 .13: presence servers of one domain
#     .3 is what partners call; the appliance sends it to the pool

readonly LAB_EDGE=198.51.100.20

pools_up() {
    local node n
    # shellcheck disable=SC2034 # peers.bash reads them
    LAB_OUR_DOMAIN=corp.example LAB_PUBLIC_NAME=cup.corp.example LAB_PUBLIC=198.51.100.3
    lab_init
    lab_sip_node edge partner.example edge.partner.example:5061 partner.example:5061
    for n in 1 2 3; do lab_sip_node "front$n" corp.example cup.corp.example:5061 cup.corp.example:5061; done
    lab_switch outsw
    lab_switch insw
    for node in edge front1 front2 front3; do
        lab_node "$node" <<<"$LAB_EDGE edge.partner.example partner.example
$LAB_PUBLIC cup.corp.example"
    done
    lab_cable outsw edge "$LAB_EDGE/24"
    lab_authorities
    lab_leaf edge foreign-ca partner.example edge.partner.example
    lab_leaf public local-ca cup.corp.example corp.example
    lab_leaf inside local-ca inside.corp.example
    for n in 1 2 3; do
        lab_cable insw "front$n" "10.10.0.1$n/24"
        ip -n "$(lab_ns "front$n")" route add default via 10.10.0.1
        lab_leaf "front$n" local-ca cup.corp.example corp.example
    done
    appliance_up scripts/lab/pools.cfg.in
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    lab_sip_server edge "$LAB_EDGE" both-ca
    for n in 1 2 3; do lab_sip_server "front$n" "10.10.0.1$n" local-ca; done
    lab_sip_servers_up edge front1 front2 front3
}

# of_member N FIELD: what `show sip-pool` says of front<N>.
of_member() {
    cli --json show sip-pool front | grep -F "\"10.10.0.1$1:5061\"" | grep -oP "\"$2\":(\"\\K[^\"]+|\\K[^,}]+)"
}

is_member() {
    [[ $(of_member "$1" state) == "$2" ]]
}

# seen_by CALL-ID: which of the three received requests with it, as "1 2".
seen_by() {
    local n
    for n in 1 2 3; do
        if grep -qF " $1 " <(grep -aF '<script>: seen request' "$LAB_DIR/log/kamailio-front$n.log"); then echo "$n"; fi
    done | paste -sd ' '
}

requests_at() {
    local n
    for n in 1 2 3; do lab_seen "front$n" request "$1"; done | paste -sd ' '
}

# text NAME: a new MESSAGE for bob.
text() {
    lab_message x@partner.example bob@corp.example edge.partner.example "$1"
}

# A watcher by hand: what its requests are made of, by number. The edge answers the NOTIFYs for it.
declare -A WATCHER_TO WATCHER_AT WATCHER_ROUTES WATCHER_CSEQ WATCHER_HOME
# watches N [EXPIRES]: the SUBSCRIBE that begins it, or another in its dialog; the answer's status is in REPLY.
watches() {
    local n=$1 head text
    WATCHER_CSEQ[$n]=$((${WATCHER_CSEQ[$n]:-0} + 1))
    text=$(
        printf '%s\r\n' "SUBSCRIBE ${WATCHER_AT[$n]:-sip:bob@corp.example} SIP/2.0" \
            "Via: SIP/2.0/TLS edge.partner.example:5061;branch=z9hG4bKw$n.${WATCHER_CSEQ[$n]}" 'Max-Forwards: 69' \
            ${WATCHER_ROUTES[$n]:+"Route: ${WATCHER_ROUTES[$n]}"} "From: <sip:w$n@partner.example>;tag=w$n" \
            "To: ${WATCHER_TO[$n]:-<sip:bob@corp.example>}" "Call-ID: watch$n@edge.partner.example" \
            "CSeq: ${WATCHER_CSEQ[$n]} SUBSCRIBE" "Contact: <sip:w$n@partner.example:5061;transport=tls;gr=hand>" \
            'Event: presence' 'Accept: application/pidf+xml' "Expires: ${2:-7200}" 'Content-Length: 0' ''
        printf .
    )
    lab_tls_send "${text%.}"
    head=$(lab_tls_answer) || head='SIP/2.0 none'
    REPLY=${head:8:3}
    if [[ $REPLY == 2* && -z ${WATCHER_TO[$n]:-} ]]; then
        WATCHER_TO[$n]=$(sed -n 's/^To: //p' <<<"$head")
        WATCHER_AT[$n]=$(sed -n 's/^Contact: <\([^>]*\)>.*/\1/p' <<<"$head")
        WATCHER_ROUTES[$n]=$(sed -n 's/^Record-Route: //p' <<<"$head" | paste -sd ,)
        WATCHER_HOME[$n]=$(seen_by "watch$n@edge.partner.example")
    fi
}

# watch_all N...: the same of several; what they are answered, each with how often, is in REPLY.
watch_all() {
    local n statuses=''
    for n; do
        watches "$n"
        statuses+=$REPLY$'\n'
    done
    REPLY=$(tally <<<"${statuses%$'\n'}")
}

# tally: the lines of the standard input, each with how often.
tally() {
    sort | uniq -c | awk '{ print $2 " x" $1 }' | paste -sd ' '
}

# at_home HOME...: the watchers whose server is one of these.
at_home() {
    local n
    for n in "${!WATCHER_HOME[@]}"; do
        if [[ " $* " == *" ${WATCHER_HOME[$n]} "* ]]; then echo "$n"; fi
    done | sort -n
}

# homes: where each watcher's requests have come to so far.
homes() {
    local n
    for n in $(at_home 1 2 3); do printf '%s:%s ' "$n" "$(seen_by "watch$n@edge.partner.example" | tr ' ' ,)"; done
}

pools_demo() {
    local n before seen one two three began=$SECONDS
    title 'A pool of three presence servers behind one address'
    pools_up
    for n in 1 2 3; do
        check "front$n is asked by OPTIONS, answers and is up" lab_wait 10 "front$n" is_member "$n" up
        more "OPTIONS that front$n received" 0 "$(lab_seen "front$n" request OPTIONS)"
        same "which it answered, by show sip-pool" 200 "$(of_member "$n" last_answer)"
    done

    title 'Shares by weight: 2, 1, 1'
    lab_tls_open edge "$LAB_EDGE" edge
    for ((n = 1; n <= 120; n++)); do
        lab_tls_send "$(text "share$n")"
        lab_tls_answer || break
    done >"$LAB_DIR/shares"
    same '120 texts on one connection: answered 200' 120 "$(grep -c '^SIP/2.0 200' "$LAB_DIR/shares")"
    read -r one two three <<<"$(requests_at MESSAGE)"
    same 'received by front1, front2 and front3 together' 120 "$((one + two + three))"
    check "of them by front1, with weight 2: expected 48 to 72, seen $one" test "$one" -ge 48 -a "$one" -le 72
    check "by front2: expected 18 to 42, seen $two" test "$two" -ge 18 -a "$two" -le 42
    check "by front3: expected 18 to 42, seen $three" test "$three" -ge 18 -a "$three" -le 42
    same 'requests that each got, by show sip-pool' "$one $two $three" \
        "$(of_member 1 requests) $(of_member 2 requests) $(of_member 3 requests)"

    title 'More texts than the partner may send'
    check 'rate-limit 5 burst 5' partner_lines 'rate-limit 5 burst 5'
    before=$(($(requests_at MESSAGE | tr ' ' +)))
    seen=$(count sip_denied_rate show counters)
    for n in {1..20}; do lab_tls_send "$(text "much$n")"; done
    for n in {1..20}; do lab_tls_answer || break; done >"$LAB_DIR/rate"
    one=$(grep -c '^SIP/2.0 200' "$LAB_DIR/rate" || true)
    two=$(grep -c '^SIP/2.0 503' "$LAB_DIR/rate" || true)
    same '20 texts at once: answered 200 or 503' 20 $((one + two))
    check "200: expected 5 to 10, seen $one" test "$one" -ge 5 -a "$one" -le 10
    same '503 with Retry-After: 1' "$two" "$(grep -c '^Retry-After: 1$' "$LAB_DIR/rate" || true)"
    same 'received by the three' "$one" "$(($(requests_at MESSAGE | tr ' ' +) - before))"
    same 'above the limit, by show domains' "$two" "$(cli show domains | awk '$1 == "partner.example" { print $8 }')"
    same 'and by show counters' "$two" "$(($(count sip_denied_rate show counters) - seen))"
    check 'no rate-limit' partner_lines 'no rate-limit'
    for n in {1..20}; do
        lab_tls_send "$(text "free$n")"
        status
    done >"$LAB_DIR/rate"
    same '20 more' '200 x20' "$(tally <"$LAB_DIR/rate")"

    title 'Watchers stay with their server'
    watch_all {1..8}
    same 'SUBSCRIBE of eight watchers' '200 x8' "${REPLY//202/200}"
    before=$(homes)
    printf '  watcher:server  %s\n' "$before"
    same 'dialogs that each has, by show sip-pool' \
        "$(at_home 1 | wc -l) $(at_home 2 | wc -l) $(at_home 3 | wc -l)" "$(of_member 1 dialogs) $(of_member 2 dialogs) $(of_member 3 dialogs)"
    check 'each of the three has one at least' test -n "$(at_home 1)" -a -n "$(at_home 2)" -a -n "$(at_home 3)"
    lab_wait 5 'NOTIFYs' notified 8 || true
    same 'NOTIFYs at the edge, one of each' 8 "$(lab_seen edge request NOTIFY)"
    same 'dialogs of partner.example, by show dialogs' 8 "$(dialogs_now)"
    same 'which the default timeout sip is too short for' 8 "$(dialogs_with 'WARNING: timeout sip 0:30:00')"
    check 'timeout sip 2:10:00' cli timeout sip 2:10:00
    same 'and now' 0 "$(dialogs_with WARNING)"
    watch_all {1..8}
    same 'they come again on the same connection' '200 x8' "${REPLY//202/200}"
    lab_tls_close
    lab_tls_open edge "$LAB_EDGE" edge
    watch_all {1..8}
    same 'and on another: a server that does not know the dialog would say 481' '200 x8' "${REPLY//202/200}"
    same 'watcher:server, still' "$before" "$(homes)"
    shown show dialogs detail domain partner.example | head -n 13

    title 'front2 hangs and dies'
    n=$(lab_pid kamailio-front2)
    kill -STOP -- "-$n"
    seen=$(sum 'requests moved to another member')
    before=$(of_member 2 requests)
    for n in {1..12}; do lab_tls_send "$(text "orphan$n")"; done
    sleep 0.5
    more 'twelve texts, of which front2 is sent some: its requests, by show sip-pool' "$before" "$(of_member 2 requests)"
    kill -KILL -- "-$(lab_pid kamailio-front2)"
    same 'it is killed: all twelve are answered, by others' '200 x12' "$(for _ in {1..12}; do status; done | tally)"
    more 'requests moved to another member' 0 "$(($(sum 'requests moved to another member') - seen))"
    # shellcheck disable=SC2046 # a word each
    watch_all $(at_home 1 3)
    same 'watchers of front1 and front3: as if nothing had been' "200 x$(at_home 1 3 | wc -l)" "${REPLY//202/200}"
    # shellcheck disable=SC2046
    watch_all $(at_home 2)
    check "watchers of front2 are told to begin anew: expected 408 or 503, seen $REPLY" grep -qE '^(408|503) x[0-9]+( (408|503) x[0-9]+)?$' <<<"$REPLY"
    check 'and it is found to be down' lab_wait 15 'front2 down' is_member 2 down
    shown show sip-pool front

    title 'front2 returns'
    lab_sip_server_start front2
    check 'it is up again' lab_wait 15 'front2 up' is_member 2 up
    before=$(lab_seen front2 request MESSAGE)
    for n in {1..24}; do
        lab_tls_send "$(text "again$n")"
        status
    done >"$LAB_DIR/shares"
    same '24 new texts: answered' '200 x24' "$(tally <"$LAB_DIR/shares")"
    more 'and front2 has its share again' 0 "$(($(lab_seen front2 request MESSAGE) - before))"

    title 'front1 is drained'
    check 'member 10.10.0.11 weight 2 drain' front_lines 'member 10.10.0.11 weight 2 drain'
    check 'show sip-pool says so' is_member 1 'up, draining'
    before=$(lab_seen front1 request MESSAGE)
    for n in {1..24}; do
        lab_tls_send "$(text "drained$n")"
        status
    done >"$LAB_DIR/shares"
    same '24 new texts: answered' '200 x24' "$(tally <"$LAB_DIR/shares")"
    same 'of them by front1' 0 "$(($(lab_seen front1 request MESSAGE) - before))"
    # shellcheck disable=SC2046
    watch_all $(at_home 1)
    same 'its watchers are still its own' "200 x$(at_home 1 | wc -l)" "${REPLY//202/200}"
    check 'member 10.10.0.11 weight 2' front_lines 'member 10.10.0.11 weight 2'
    check 'and when it is not drained any more it is up' is_member 1 up
    lab_tls_close
    shown show sip-pool

    title 'What is forgotten'
    check 'clear dialogs domain partner.example' cli clear dialogs domain partner.example
    same 'dialogs of it' 0 "$(dialogs_now)"
    same 'packets dropped that have no session' 0 "$(dropped tls-proxy-no-session)"
    printf '  this took %d s\n' $((SECONDS - began))
}

# status: that of the next answer.
status() {
    local head
    head=$(lab_tls_answer) || head='SIP/2.0 none'
    echo "${head:8:3}"
}

notified() {
    (($(lab_seen edge request NOTIFY) >= $1))
}

dialogs_now() {
    dialogs_with '^call-id' domain partner.example
}

# dialogs_with PATTERN [WORDS...]: how many lines of `show dialogs WORDS` match; `unknown` where it failed.
dialogs_with() {
    local shown
    if ! shown=$(cli show dialogs "${@:2}"); then
        echo unknown
        return
    fi
    grep -c -- "$1" <<<"$shown" || true
}

# front_lines LINE...: lines of the pool's sub-mode, as typed.
front_lines() {
    printf '%s\n' 'sip-pool front' "$@" | cli
}

# partner_lines LINE...: the same of what is said of the partner's domain.
partner_lines() {
    printf '%s\n' 'federation domain partner.example' "$@" | cli
}
