# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# What the appliance tells of itself while it works, as the programs read it that others have for that: rsyslogd by UDP and by TLS, Prometheus and
# promtool, nfcapd and nfdump, all of Debian. They run in the host's own network, where control does, at an address of this lab's own. The network
# is that of border.bash. Sourced by scripts/demo.

# seeing_up: the lab, the appliance, which tells from its first connection on, and who listens to it.
seeing_up() {
    # shellcheck source=border.bash
    . scripts/lab/border.bash
    lab_init
    monitor=$(lab_loopback)
    lab_up
    lab_certs
    lab_leaf collector local-ca collector.local.example
    collectors_up
    appliance_up <(
        cat scripts/lab/fedgate.cfg.in
        printf '%s\n' 'logging enable' 'logging timestamp' 'logging device-id hostname' 'logging trap informational' \
            "logging host inside $monitor udp/5514" \
            "logging host inside $monitor tcp/6514 format rfc5424 secure trustpoint inside reference-identity collector.local.example" \
            "flow-export destination inside $monitor 4739" "metrics http $monitor 9478"
    )
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    lab_web_server web "$LAB_WEB" 80
    lab_spawn web dns socat -u UDP-RECV:53 OPEN:/dev/null
    lab_sip_servers local-ca
}

# collectors_up: rsyslogd writes a message a line, with what it made of it, to $LAB_DIR/log/{udp,tls}; nfcapd keeps what comes in $LAB_DIR/flows.
collectors_up() {
    local input
    cat >"$LAB_DIR/rsyslog.conf" <<RSYSLOG
global(workDirectory="$LAB_DIR" maxMessageSize="8k" defaultNetstreamDriverCAFile="$LAB_DIR/certs/local-ca.crt"
    defaultNetstreamDriverCertFile="$LAB_DIR/certs/collector.crt" defaultNetstreamDriverKeyFile="$LAB_DIR/certs/collector.key")
module(load="imudp")
module(load="imtcp")
template(name="line" type="string" string="%syslogfacility%|%syslogseverity%|%protocol-version%|%hostname%|%app-name%|%rawmsg-after-pri%\n")
ruleset(name="udp") { action(type="omfile" file="$LAB_DIR/log/udp" template="line") }
ruleset(name="tls") { action(type="omfile" file="$LAB_DIR/log/tls" template="line") }
input(type="imudp" address="$monitor" port="5514" ruleset="udp")
input(type="imtcp" address="$monitor" port="6514" ruleset="tls" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
RSYSLOG
    cat >"$LAB_DIR/prometheus.yml" <<PROMETHEUS
global: { scrape_interval: 1s }
scrape_configs: [{ job_name: fedgate, static_configs: [{ targets: ["$monitor:9478"] }] }]
PROMETHEUS
    mkdir "$LAB_DIR/flows"
    lab_spawn host rsyslogd rsyslogd -n -iNONE -f "$LAB_DIR/rsyslog.conf"
    lab_spawn host nfcapd nfcapd -b "$monitor" -p 4739 -w "$LAB_DIR/flows" -t 3600
    lab_spawn host prometheus prometheus --config.file="$LAB_DIR/prometheus.yml" --storage.tsdb.path="$LAB_DIR/prometheus" \
        --web.listen-address="$monitor:9090" --log.level=warn
    for input in tcp:6514 udp:5514 udp:4739 tcp:9090; do
        lab_wait 20 "who listens at $input" lab_listens_here "${input%:*}" "$monitor:${input#*:}"
    done
}

seeing_demo() {
    local began=$SECONDS seen port bytes id text input edge=edge.foreign.example
    title 'What the appliance tells, and who reads it'
    seeing_up
    check 'rsyslogd is called by TLS, its name and its authority verified' lab_wait 10 'the collector' collector_is_up tcp/6514
    # All of it, from the first connection on, so that what is told must add up to what is counted.
    same 'connections before' 0 "$(count conns_built show counters)"

    title 'What happens'
    lab_meter work
    seen=$(lab_in work curl -sS -m 5 -w '%{stderr}%{local_port}' "http://$LAB_WEB/me" 2>"$LAB_DIR/port")
    port=$(<"$LAB_DIR/port")
    same 'the workstation asks the web server whom it sees' "$LAB_APPLIANCE" "${seen%:*}"
    check 'the routing server pings it' quietly lab_in routing ping -c 1 -W 2 "$LAB_WEB"
    check 'and sends it a datagram' lab_in routing socat -u STDIN "UDP-SENDTO:$LAB_WEB:53" <<<'a question'
    for _ in 1 2 3; do
        # Shorter than the first retransmission: one SYN each.
        check 'the web server cannot open a connection inward' not lab_in web curl -s --connect-timeout 0.5 "http://$LAB_WORK/"
    done
    check 'x of foreign.example and bob talk' lab_sipp foreign chat x@foreign.example bob@local.example
    check 'y of other.example may not' lab_sipp other message-403 y@other.example bob@local.example
    text=$(lab_message x@foreign.example bob@local.example "$edge" stranger1)
    same 'an edge whose certificate nobody vouches for gets no answer' '' "$(lab_tls_once foreign "$LAB_STRAY" routing "$text")"
    bytes=$(($(octets work heard "$LAB_WEB") + $(octets work said "$LAB_WEB")))
    check 'clear conn address, of the web server' quietly cli clear conn address "$LAB_WEB"

    title 'By syslog: rsyslogd'
    for input in udp tls; do
        check "$input: it has all that was sent, by show logging" lab_wait 5 'messages' has_all "$input"
        same "$input: messages whose severity is not that of their text" 0 "$(awk -F'|' '{ split($6, tag, "%ASA-") } $2 != substr(tag[2], 1, 1)' "$LAB_DIR/log/$input" | wc -l)"
        same "$input: facility, form and host" "20 $([[ $input == tls ]] && echo 1 || echo 0) fedgate" \
            "$(awk -F'|' '{ print $1, $3, $4 }' "$LAB_DIR/log/$input" | sort -u)"
    done
    same 'by TLS it has what it has by UDP' "$(told udp | sha256sum)" "$(told tls | sha256sum)"
    id=$(told tls 302013 " for outside:$LAB_WEB/80 " | sed 's/.* connection \([0-9]*\) .*/\1/')
    same 'the fetch, with whom the web server saw' \
        "Built outbound TCP connection $id for outside:$LAB_WEB/80 ($LAB_WEB/80) to inside:$LAB_WORK/$port (${seen/:/\/})" "$(told tls 302013 " $id ")"
    same 'and its end, with the octets that the workstation had and sent' \
        "Teardown TCP connection $id for outside:$LAB_WEB/80 to inside:$LAB_WORK/$port bytes $bytes TCP FINs" \
        "$(told tls 302014 " $id " | sed 's/ duration [0-9:]*//')"
    same 'the ping' 'Built Teardown' "$(told tls 30202 "faddr $LAB_WEB/" | awk '{ print $1 }' | paste -sd ' ')"
    same 'the end of the datagram: 11 octets and two headers' 'bytes 39' "$(told tls 302016 "outside:$LAB_WEB/53 " | grep -o 'bytes .*')"
    same 'SYNs denied' 3 "$(told tls 106023 "Deny tcp src outside:$LAB_WEB/" | grep -c "dst inside:$LAB_WORK/80 by access-group \"outside-in\"")"
    same 'TLS handshakes done, by leg' 'client 198.51.100.20 client 198.51.100.21 server 10.10.0.11' \
        "$(told tls 725002 | sed 's/.* with \(client\|server\) [a-z]*:\([0-9.]*\).*/\1 \2/' | sort | paste -sd ' ')"
    same 'failed' "Device failed SSL handshake with client outside:$LAB_STRAY" "$(told tls 725006 | sed 's,/[0-9]*$,,')"
    same 'a text denied' 'From domain other.example, certificate edge.other.example other.example' \
        "$(told tls 607002 "Request MESSAGE from outside:$LAB_OTHER/" | sed 's/.*not_permitted: //')"
    same 'the command' "executed 'clear conn address $LAB_WEB'" "$(told tls 111010 'clear conn' | sed 's/.*, //')"
    same 'connections begun, by log and by show counters' "$(count conns_built show counters)" "$(begun_and_over | cut -d ' ' -f 1)"
    same 'connections over' "$(count conns_torn_down show counters)" "$(begun_and_over | cut -d ' ' -f 2)"
    same 'the dataplane lost of them' 0 "$(count flow_notes_lost show counters)"

    title 'By metrics: Prometheus'
    curl -sS -m 5 -o "$LAB_DIR/log/metrics" "http://$monitor:9478/metrics"
    check 'promtool finds nothing to say of the page' promtool check metrics <"$LAB_DIR/log/metrics"
    check "Prometheus reads it: SYNs denied, as show drops has them, $(dropped acl-drop)" \
        comes_to_have 'fedgate_drops_total{reason="acl-drop"}' "$(dropped acl-drop)"
    check 'that it works as configured' comes_to_have 'fedgate_dataplane_up * fedgate_configuration_in_force' 1
    check 'connections begun, as above' comes_to_have fedgate_conns_built_total "$(begun_and_over | cut -d ' ' -f 1)"
    check 'handshakes, done and failed, as above' comes_to_have 'fedgate_tls_handshake_seconds_count + fedgate_tls_failures_total' 4
    check "packets outside, as show interface has them" sampled_packets
    check 'texts denied, by their domain' comes_to_have 'sum(fedgate_unlisted_domain_requests_total{verdict!="in"})' 1

    title 'By IPFIX: nfcapd and nfdump'
    check 'it has events of all of them' lab_wait 5 'records of IPFIX' exported_all
    lab_kill nfcapd
    nfdump -R "$LAB_DIR/flows" -o json >"$LAB_DIR/log/flows"
    same 'the fetch: created and deleted, with whom the web server saw' "create delete" \
        "$(events "$LAB_WORK:$port" "$LAB_WEB:80" "$seen" "$LAB_WEB:80")"
    same "the session of foreign.example's edge, which is not over" create "$(events "$LAB_FOREIGN:*" "$LAB_PUBLIC:5061" "$LAB_FOREIGN:*" "$LAB_ROUTING:5061")"
    same 'of all, connections begun and over' "$(begun_and_over)" "$(grep -c 'session create"' "$LAB_DIR/log/flows") $(grep -c 'session delete"' "$LAB_DIR/log/flows")"
    same 'nothing was missing or malformed, says nfcapd' 'Sequence Errors: 0, Bad Packets: 0' "$(grep -o 'Sequence Errors: .*' "$LAB_DIR/log/nfcapd.log" | tail -n 1)"
    shown show logging
    shown show flow-export counters
    printf '  this took %d s\n' $((SECONDS - began))
}

# collector_is_up TCP-OR-UDP/PORT: whether `show logging` has it so.
collector_is_up() {
    cli show logging | grep -F " $1 " | grep -q ' up,'
}

quietly() {
    "$@" >>"$LAB_DIR/log/commands.log"
}

# has_all udp|tls: whether rsyslogd wrote as many messages as `show logging` says were sent, none was lost, and the ends of the two connections
# to the web server that are no proxy session's are there, which were told last.
has_all() {
    local lines
    [[ -n $(told "$1" 302014) && -n $(told "$1" 302016) ]] || return 1
    lines=$(wc -l <"$LAB_DIR/log/$1")
    cli show logging | grep -F "$([[ $1 == udp ]] && echo udp/5514 || echo tcp/6514) " | grep -q " up, $lines sent, 0 lost"
}

# told udp|tls [NUMBER [TEXT]]: what messages say whose number begins so and that have the text in them.
told() {
    awk -F '%ASA-' -v number="${2:-}" -v text="${3:-}" '
        { said = $2; sub(/^[0-9]-/, "", said) }
        index(said, number) == 1 && index(said, text) { sub(/^[0-9]+: /, "", said); print said }' "$LAB_DIR/log/$1"
}

# begun_and_over: messages of connections, of every protocol, built and torn down.
begun_and_over() {
    echo "$(told tls 3020 'Built ' | wc -l) $(told tls 3020 'Teardown ' | wc -l)"
}

# octets NODE heard|said ADDRESS: as lab_metered, in octets.
octets() {
    lab_in "$1" nft -j list set ip lab "$2" | grep -oP "\"elem\": \{\"val\": \"${3//./\\.}\", \"counter\": \{\"packets\": [0-9]+, \"bytes\": \K[0-9]+" || echo none
}

# comes_to_have QUERY VALUE: whether that is what Prometheus has before long: it reads once a second.
comes_to_have() {
    lab_wait 5 "Prometheus to have $1" sampled "$@"
}

# sampled QUERY VALUE: whether that is what it has.
sampled() {
    [[ $(promtool query instant "http://$monitor:9090" "$1") == *"=> $2 @"* ]]
}

sampled_packets() {
    local before
    before=$(packets_in outside)
    comes_to_have 'fedgate_interface_rx_packets_total{interface="outside"}' "$before"
}

# exported_all: whether as many events were sent as connections began and ended, all of which are translated.
exported_all() {
    local all
    read -ra all <<<"$(begun_and_over)"
    cli --json show flow-export counters | grep -q "\"records\":$((all[0] + all[1])),"
}

# events INITIATOR RESPONDER AS TO: what nfdump has of a session between these, each ADDRESS:PORT before and after translation; * is any port.
# shellcheck disable=SC2016 # python
events() {
    python3 -c 'import json, sys
want = sys.argv[2:]
for flow in json.load(open(sys.argv[1])):
    ends = [(flow[a], str(flow.get(p))) for a, p in (("src4_addr", "src_port"), ("dst4_addr", "dst_port"), ("src4_xlt_ip", "src_xlt_port"), ("dst4_xlt_ip", "dst_xlt_port"))]
    if all(end[0] == w.split(":")[0] and w.split(":")[1] in ("*", end[1]) for end, w in zip(ends, want)):
        print(flow["nat_event"].split()[-1])' "$LAB_DIR/log/flows" "$@" | paste -sd ' '
}
