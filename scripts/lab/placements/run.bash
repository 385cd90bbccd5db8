# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# What the placements have in common: the internet, an enterprise of two presence servers, and the federation that must work
# wherever the appliance stands. docs/placements.md has the pictures. Sourced by scripts/demo.
#
#   world (198.51.100.0/24)            outsw (203.0.113.0/28)             insw (10.10.0.0/24), the presence servers' default route is .1
#     one .20  a foreign edge            what the enterprise has there      routing .11  takes what comes from outside
#     two .21  another                                                      second  .12  hosts dave, and calls out by itself
#     web .30  a web server
#        isp   .1 in both, has no way to private addresses and counts what comes from one
#
# A placement is a file NAME.bash with a function placement_NAME, which builds what stands between outsw and insw, and checks.

# shellcheck disable=SC2034 # some are for the placements
readonly LAB_ONE=198.51.100.20 LAB_TWO=198.51.100.21 LAB_WEB=198.51.100.30 LAB_ROUTING=10.10.0.11 LAB_SECOND=10.10.0.12

# run_placements NAME...: each in a lab of its own; ends the script. With --keep the last of them stays.
# shellcheck disable=SC2154 # keep and failed are scripts/demo's and checks.bash's
run_placements() {
    local name before status=0
    for name; do
        # shellcheck source=/dev/null
        . "scripts/lab/placements/$name.bash"
        before=$failed
        "placement_$name"
        if ((failed > before)); then keep_logs "target/demo/$name"; fi
        if ! $keep || [[ $name != "${!#}" ]]; then lab_down; fi
    done
    title 'Summary'
    verdict || status=1
    if $keep; then leave_running; fi
    exit "$status"
}

# world_up OUR-DOMAIN DOMAIN-OF-ONE DOMAIN-OF-TWO PUBLIC SECOND-PUBLIC PUBLISHED: the picture above without what stands between. PUBLIC and
# SECOND-PUBLIC (address:port) are where the world finds the presence servers, PUBLISHED where it finds our web server.
world_up() {
    local node outside inside
    LAB_OUR_DOMAIN=$1 LAB_PUBLIC_NAME=cup.$1 LAB_PUBLIC=$4 LAB_PUBLISHED=$6
    lab_sip_node one "$2" "edge.$2:5061" "$2:5061"
    lab_sip_node two "$3" "edge.$3:5061" "$3:5061"
    lab_sip_node routing "$1" "cup.$1:5061" "cup.$1:5061"
    lab_sip_node second "$1" "cup2.$1:${5#*:}" "cup2.$1:${5#*:}"
    # Two name servers, as it were: inside, our servers' names are their own addresses.
    printf -v outside '%s\n' "$LAB_ONE edge.$2 $2" "$LAB_TWO edge.$3 $3" "$4 cup.$1" "${5%:*} cup2.$1"
    printf -v inside '%s\n' "$LAB_ONE edge.$2 $2" "$LAB_TWO edge.$3 $3" "$LAB_ROUTING cup.$1" "$LAB_SECOND cup2.$1"

    lab_init
    for node in world outsw insw; do lab_switch "$node"; done
    for node in one two web isp; do lab_node "$node" <<<"$outside"; done
    lab_cable world one "$LAB_ONE/24"
    lab_cable world two "$LAB_TWO/24"
    lab_cable world web "$LAB_WEB/24"
    lab_cable world isp 198.51.100.1/24 world
    lab_cable outsw isp 203.0.113.1/28 customer
    for node in one two web; do ip -n "$(lab_ns "$node")" route add default via 198.51.100.1; done
    lab_routes isp <<'NFT'
table ip isp {
    counter private { }
    chain prerouting {
        type filter hook prerouting priority raw; policy accept;
        iifname "customer" ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } counter name private drop
    }
}
NFT
    for node in routing second; do lab_node "$node" <<<"$inside"; done
    lab_cable insw routing "$LAB_ROUTING/24"
    lab_cable insw second "$LAB_SECOND/24"
    for node in routing second; do ip -n "$(lab_ns "$node")" route add default via 10.10.0.1; done

    lab_authorities
    lab_leaf one foreign-ca "$2" "edge.$2"
    lab_leaf two foreign-ca "$3" "edge.$3"
    lab_leaf public local-ca "cup.$1" "$1" "cup2.$1"
    lab_leaf inside local-ca "inside.$1"
    lab_leaf routing local-ca "cup.$1" "$1"
    lab_leaf second local-ca "cup2.$1" "$1"
}

# lab_routes NODE: it forwards, by the ruleset on the standard input.
lab_routes() {
    lab_in "$1" sysctl -qw net.ipv4.ip_forward=1
    lab_in "$1" nft -f -
}

# lab_office SWITCH GATEWAY WORKSTATION WWW: the enterprise's other hosts, neither of which speaks SIP: a workstation, and a web server on port 8080.
lab_office() {
    local node
    for node in work www; do lab_node "$node" </dev/null; done
    lab_cable "$1" work "$3/24"
    lab_cable "$1" www "$4/24"
    for node in work www; do ip -n "$(lab_ns "$node")" route add default via "$2"; done
    lab_web_server www "$4" 8080
    lab_web_server web "$LAB_WEB" 80
    lab_meter web
}

# servers_up: the SIP servers. Ours know only our own authority: TLS from the world ends at the appliance.
servers_up() {
    lab_sip_server one "$LAB_ONE" both-ca
    lab_sip_server two "$LAB_TWO" both-ca
    lab_sip_server routing "$LAB_ROUTING" local-ca '^dave$' "$LAB_SECOND:${LAB_SIP_AT[second]#*:}"
    lab_sip_server second "$LAB_SECOND" local-ca
    lab_sip_servers_up one two routing second
    check 'bob is there, at the routing server' lab_sipp routing publish "bob@$LAB_OUR_DOMAIN" "bob@$LAB_OUR_DOMAIN"
    check 'dave is there, at the second server' lab_sipp second publish "dave@$LAB_OUR_DOMAIN" "dave@$LAB_OUR_DOMAIN"
}

# lab_watch NODE ip|bridge HOOK[:MATCH]...: counts from now on every IPv4 packet that passes these hooks there, by its two addresses.
lab_watch() {
    local node=$1 family=$2 hook chains=''
    shift 2
    for hook; do
        printf -v hook 'chain %s {\n type filter hook %s priority filter - 10; policy accept;\n %s update @crossed { ip saddr . ip daddr }\n}\n' \
            "${hook%%:*}" "${hook%%:*}" "$([[ $hook != *:* ]] || printf '%s' "${hook#*:}")"
        chains+=$hook
    done
    lab_in "$node" nft -f - <<NFT
table $family watch {
    set crossed {
        type ipv4_addr . ipv4_addr
        size 4096
        flags dynamic
        counter
    }
    $chains
}
NFT
}

# lab_watch_port SWITCH PORT: all that crosses a switch's port.
lab_watch_port() {
    lab_watch "$1" bridge "prerouting:iifname \"$2\"" "postrouting:oifname \"$2\""
}

# lab_crossed NODE ip|bridge ADDRESS: how many of the packets watched were from or to the address.
lab_crossed() {
    lab_in "$1" nft list set "$2" watch crossed | tr ',' '\n' | sed 's/.*{//' | awk -v address="$3" '
        $1 == address || $3 == address { for (i = 4; i < NF; i++) if ($i == "packets") n += $(i + 1) }
        END { print n + 0 }'
}

# lab_counter NODE TABLE COUNTER: the packets of a counter with a name.
lab_counter() {
    lab_in "$1" nft list counter ip "$2" "$3" | awk '/packets/ { print $2 }'
}

# lab_ours_heard NODE: the enterprise's addresses from which the node heard anything, public and private.
lab_ours_heard() {
    lab_in "$1" nft list set ip lab heard | grep -oE '\b(203\.0\.113|10|172\.16)(\.[0-9]+)+' | sort -u | paste -sd ' '
}

# fetches WHO NODE SOURCE: a host of ours gets a page of the web server, which hears it from SOURCE.
fetches() {
    local log=$LAB_DIR/web/access.log
    same "$1 fetches a page" "$(<"$LAB_DIR/web/www/page.html")" "$(lab_in "$2" curl -sS -m 5 "http://$LAB_WEB/page.html?$2")"
    # The line of the log comes behind the answer.
    lab_wait 5 'a line of the log' grep -qF "?$2 " "$log" || true
    same 'which the web server sent to' "$3" "$(awk -v node="?$2" 'index($7, node) { print $1 }' "$log")"
}

# published: the world gets a page of our web server.
published() {
    same 'the world fetches a page of ours' "$(<"$LAB_DIR/www/www/page.html")" "$(lab_in web curl -sS -m 5 "http://$LAB_PUBLISHED/page.html")"
}

# tried ADDRESS...: packets that the web server sent there; none is no number, and so equal to no count.
tried() {
    local total=0 address
    for address; do total=$((total + $(lab_metered web said "$address"))); done
    ((total > 0)) && echo "$total" || echo none
}

# no_answer ADDRESS:PORT: whether the web server gets no connection there.
no_answer() {
    ! lab_in web curl -s --connect-timeout 0.5 "http://$1/"
}

# federates NODE: presence and texts with that edge's domain both ways, of both our servers.
federates() {
    local domain=${LAB_SIP_DOMAIN[$1]} x=x@${LAB_SIP_DOMAIN[$1]} bob=bob@$LAB_OUR_DOMAIN dave=dave@$LAB_OUR_DOMAIN call
    check "$domain: x is there" lab_sipp "$1" publish "$x" "$x"
    check "$domain in: SUBSCRIBE to bob, answer, NOTIFY, end" lab_sipp "$1" subscribe "$x" "$bob"
    check "$domain in: SUBSCRIBE to dave, by the routing server to the second" lab_sipp "$1" subscribe "$x" "$dave"
    check "$domain in: INVITE of bob, MESSAGE, BYE" lab_sipp "$1" chat "$x" "$bob"
    check "$domain in: INVITE of dave, MESSAGE, BYE" lab_sipp "$1" chat "$x" "$dave"
    check "$domain out: SUBSCRIBE of bob, by the routing server" lab_sipp routing subscribe "$bob" "$x"
    check "$domain out: SUBSCRIBE of dave, by the second server itself" lab_sipp second subscribe "$dave" "$x"
    call=$(lab_call second subscribe)
    same "$domain: messages of that call at the second server: 200, NOTIFY, 200, NOTIFY" 4 "$(lab_seen_call second "$call")"
    same "$domain: messages of that call at the routing server" 0 "$(lab_seen_call routing "$call")"
    check "$domain out: INVITE of dave, MESSAGE, BYE" lab_sipp second chat "$dave" "$x"
    call=$(lab_call second chat)
    same "$domain: messages of that call at the routing server" 0 "$(lab_seen_call routing "$call")"
}

# lab_call NODE SCENARIO: the Call-ID of the last call of that kind.
lab_call() {
    awk '/^Call-ID: / { sub(/\r$/, ""); print $2; exit }' "$LAB_DIR/log/sipp-$1-$2.log"
}

# lab_seen_call NODE CALL-ID: messages of that call that the node's SIP server received over TLS, without provisional answers.
lab_seen_call() {
    awk -v call="$2" 'sub(/.*<script>: seen /, "") && $5 == call && $3 !~ /^1/ { n++ } END { print n + 0 }' "$LAB_DIR/log/kamailio-$1.log"
}

# answered WHAT STATUS NODE CERTIFICATE FROM: a MESSAGE for bob, by hand from an edge's host, with any certificate and From.
HAND=0
answered() {
    local text answer
    HAND=$((HAND + 1))
    text=$(lab_message "$5" "bob@$LAB_OUR_DOMAIN" "edge.${LAB_SIP_DOMAIN[$3]}" "hand$HAND")
    answer=$(lab_tls_once "$3" "$([[ $3 == one ]] && echo "$LAB_ONE" || echo "$LAB_TWO")" "$4" "$text")
    same "$1" "SIP/2.0 $2" "${answer:0:11}"
}

# settled ONE TWO [RECEIVED]: what each side counted is the same, and the world heard the enterprise by its public addresses only: the first
# edge by those, the second by these.
settled() {
    local world='198[.]51[.]100[.].*' ours='203[.]0[.]113[.].*'
    same 'requests let in, by the appliance; received from outside, by both servers' \
        "$(($(count 'SIP requests from outside' show proxy) - $(sum 'Denied: From domain' 'Denied: certificate' \
            'Denied: Request-URI' 'Denied: one of our domains' 'Denied: method' 'SIP messages dropped')))" \
        "$(($(lab_seen routing request any - "$world") + $(lab_seen second request any - "$world")))"
    same 'requests let out, by the appliance; received, by both edges' \
        "$(($(count 'SIP requests from inside' show proxy) - $(sum 'Denied: outbound')))" \
        "$(($(lab_seen one request any - "$ours") + $(lab_seen two request any - "$ours")))"
    same 'addresses of ours that the first edge heard' "$1" "$(lab_ours_heard one)"
    same 'addresses of ours that the second edge heard' "$2" "$(lab_ours_heard two)"
    same 'packets with private addresses on the internet' 0 "$(lab_counter isp isp private)"
    # An address that NAT gives us on a leg between is one for the firewall in front to see to, and that knows no SIP.
    same "private addresses in SIP outside${3:+, but for a Via received from $3}" 0 \
        "$(find "$LAB_DIR/log" -regextype egrep -regex '.*/(sipp|answering|client)-(one|two|phone).*' -exec cat {} + |
        grep -avF ";received=${3:-nowhere};" | grep -acE '\b(10\.[0-9]+|172\.16)\.[0-9]+\.[0-9]+\b')"
}
