# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance stands beside a firewall that was there before (nftables): it is the presence servers' default route and
# their public address, and nothing else has to do with it. Our domain is the parent of both partners'. Sourced by run.bash.

placement_parallel() {
    local address
    title 'Placement: in parallel to an existing firewall'
    world_up corp.example eng.corp.example sales.corp.example 203.0.113.3 203.0.113.3:45061 203.0.113.6:80
    lab_node fw </dev/null
    lab_cable outsw fw 203.0.113.6/28 outside
    lab_cable insw fw 10.10.0.254/24 inside
    ip -n "$(lab_ns fw)" route add default via 203.0.113.1
    lab_routes fw <<'NFT'
table ip border {
    counter refused { }
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "outside" ip daddr 203.0.113.6 tcp dport 80 dnat to 10.10.0.30:8080
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "outside" masquerade
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "inside" accept
        ct status dnat accept
        counter name refused
    }
}
NFT
    lab_watch fw ip forward
    appliance_up <(cat scripts/lab/placements/{parallel,federation}.cfg.in) SECOND_PORT=45061
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    lab_watch_port outsw "fg${LAB_TAG}o"
    lab_watch_port insw "fg${LAB_TAG}i"
    lab_office insw 10.10.0.254 10.10.0.50 10.10.0.30
    # The world knows a way inward by the other firewall, so that what stops it is that one and not a missing route.
    ip -n "$(lab_ns isp)" route add 10.10.0.0/24 via 203.0.113.6
    servers_up

    federates one
    federates two
    answered 'our own domain, which is the parent of theirs, from outside: 403' 403 one one bob@corp.example
    answered 'one child, with the certificate of the other: 403' 403 two two x@eng.corp.example
    answered 'a child that is not listed: 403' 403 one one y@hr.corp.example
    settled 203.0.113.3 203.0.113.3

    # By the other firewall, both.
    fetches 'the workstation' work 203.0.113.6
    published
    check 'the world reaches no workstation' no_answer 10.10.0.50:80
    same 'SYNs to it: sent; refused, by the other firewall' "$(tried 10.10.0.50)" "$(lab_counter fw border refused)"
    check 'and nothing but SIP at the appliance' no_answer "$LAB_PUBLIC:80"

    # What went which way, packet by packet.
    for address in 10.10.0.50 10.10.0.30; do
        more "packets of $address through the other firewall" 0 "$(lab_crossed fw ip "$address")"
        same "packets of $address at the appliance's inside port" 0 "$(lab_crossed insw bridge "$address")"
    done
    for address in "$LAB_ROUTING" "$LAB_SECOND"; do
        same "packets of $address through the other firewall" 0 "$(lab_crossed fw ip "$address")"
        more "packets of $address at the appliance's inside port" 0 "$(lab_crossed insw bridge "$address")"
    done
    same "packets of 203.0.113.6 at the appliance's outside port" 0 "$(lab_crossed outsw bridge 203.0.113.6)"
    same "packets of the web server at the appliance's outside port: the SYNs to the public address alone" "$(tried "$LAB_PUBLIC")" "$(lab_crossed outsw bridge "$LAB_WEB")"
    shown show domains
}
