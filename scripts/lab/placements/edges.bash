# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance stands as in `parallel`, and one partner has two edges, a Kamailio each, which DNS (dnsmasq on the host's own network, where
# control asks) names in an order: our servers know the first alone. It is killed, and what they send comes to the second. Sourced by run.bash.

readonly LAB_SPARE=198.51.100.25

placement_edges() {
    local moved lost dns domain=eng.corp.example
    title 'Placement: a partner with two edges, of which the first dies'
    world_up corp.example "$domain" sales.corp.example 203.0.113.3 203.0.113.3:45061 203.0.113.6:80
    # To our servers the two are one: the same name, the same Contact.
    lab_sip_node spare "$domain" "edge.$domain:5061" "$domain:5061"
    lab_node spare <<<"203.0.113.3 cup.corp.example cup2.corp.example"
    lab_cable world spare "$LAB_SPARE/24"
    ip -n "$(lab_ns spare)" route add default via 198.51.100.1
    lab_leaf spare foreign-ca "$domain" "edge.$domain"
    dns=$(lab_loopback)
    lab_spawn host dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --bind-interfaces --user=root \
        --listen-address="$dns" --pid-file="$LAB_DIR/dnsmasq.pid" --local-ttl=60 \
        --srv-host="_sipfederationtls._tcp.$domain,edge1.$domain,5061,10,0" --srv-host="_sipfederationtls._tcp.$domain,edge2.$domain,5061,20,0" \
        --srv-host="_sipfederationtls._tcp.$domain,inside.$domain,5061,5,0" \
        --host-record="edge1.$domain,$LAB_ONE" --host-record="edge2.$domain,$LAB_SPARE" --host-record="inside.$domain,$LAB_ROUTING"
    appliance_up <(
        cat scripts/lab/placements/{parallel,federation}.cfg.in
        printf '%s\n' 'dns server-group DefaultDNS' " name-server $dns" "federation domain $domain" ' srv'
    ) SECOND_PORT=45061
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    servers_up
    lab_sip_server spare "$LAB_SPARE" both-ca
    lab_sip_servers_up spare

    check 'DNS has three edges of the partner' lab_wait 10 'the edges of the partner' dns_says "Domain $domain" ', 3 targets,'
    check 'of which the one that it places inside is refused' dns_says "inside.$domain" 'refused: it is behind inside'
    check 'and the first' dns_says "edge1.$domain" usable
    check 'and the second are to be had' dns_says "edge2.$domain" usable
    check 'x is there, at the first edge' lab_sipp one publish "x@$domain" "x@$domain"
    check 'and at the second' lab_sipp spare publish "x@$domain" "x@$domain"
    check 'out: a text' lab_sipp routing message bob@corp.example "x@$domain"
    same 'texts at the first edge and at the second' '1 0' "$(at_edges MESSAGE)"

    # Of the other partner, DNS is not asked; nor does it hear of this.
    federates two

    moved=$(count 'went on to another edge' show counters)
    lost=$(count 'could not be reached, or did not answer' show counters)
    kill -KILL -- "-$(lab_pid kamailio-one)"
    lab_wait 5 'the death of the first edge' not lab_listens one tcp 5061
    check 'the first edge is killed; out: a text, by the routing server' lab_sipp routing message bob@corp.example "x@$domain"
    same 'texts at the first edge and at the second' '1 1' "$(at_edges MESSAGE)"
    check 'out: SUBSCRIBE, answer, NOTIFY, end, by the second server, which had no connection' lab_sipp second subscribe dave@corp.example "x@$domain"
    # The subscription's own, and the one that ends it.
    same 'SUBSCRIBEs at the first edge and at the second' '0 2' "$(at_edges SUBSCRIBE)"
    more 'connections that went on to another edge' "$moved" "$(count 'went on to another edge' show counters)"
    more 'edges that could not be reached' "$lost" "$(count 'could not be reached, or did not answer' show counters)"
    check 'show dns has the first as lost' lab_wait 5 'the first edge lost' dns_says "edge1.$domain" 'lost '
    check 'and the second as usable' dns_says "edge2.$domain" usable
    same 'certificates that the second edge saw' cup.corp.example "$(lab_seen_names spare)"
    same 'addresses of ours that the second edge heard' 203.0.113.3 "$(lab_ours_heard spare)"
    shown show dns

    check 'with both edges dead' kill -KILL -- "-$(lab_pid kamailio-spare)"
    lab_wait 5 'the death of the second edge' not lab_listens spare tcp 5061
    check 'a text is refused' not lab_sipp routing message bob@corp.example "x@$domain"
    same 'by the appliance: 503' 1 "$(lab_seen routing reply MESSAGE 503)"
    lab_sip_server_start one
    lab_sip_servers_up one
    check 'the first returns; out: a text' lab_sipp routing message bob@corp.example "x@$domain"
    same 'texts at the first edge and at the second' '2 1' "$(at_edges MESSAGE)"
    shown show domains
}

# dns_says NAME TEXT: whether a line of `show dns` has both.
dns_says() {
    cli show dns | grep -F "$1" | grep -qF "$2"
}

# at_edges METHOD: requests at each of the two.
at_edges() {
    echo "$(lab_seen one request "$1") $(lab_seen spare request "$1")"
}
