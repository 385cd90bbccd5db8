# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance stands behind a firewall that was there before (nftables), on a leg of its own, and is the presence servers' default
# route. In front only port 5061 is let through. Twice: with public addresses on the leg, of which the appliance's own
# outside address is the one that the world knows; and with private ones that the firewall in front translates. Each server has an
# address of its own here, so that both are at 5061. Our domain is a child, as others are that one wildcard permits; their
# parent it does not. Sourced by run.bash.

placement_behind() {
    title 'Placement: behind an existing firewall, by public addresses'
    world_up sales.corp.example eng.corp.example corp.example 203.0.113.18 203.0.113.19:5061 203.0.113.5:80
    behind_fw 203.0.113.17/29
    ip -n "$(lab_ns isp)" route add 203.0.113.16/29 via 203.0.113.2
    front_rules '' 'iifname "outside" oifname "dmz" ip daddr { 203.0.113.18, 203.0.113.19 } tcp dport 5061 accept'
    behind_checks 203.0.113.18 203.0.113.19 255.255.255.248 203.0.113.17 203.0.113.18 203.0.113.19
    lab_down

    title 'Placement: behind an existing firewall, which translates'
    world_up sales.corp.example eng.corp.example corp.example 203.0.113.3 203.0.113.4:5061 203.0.113.5:80
    behind_fw 172.16.50.1/24
    front_rules 'iifname "outside" tcp dport 5061 dnat to ip daddr map { 203.0.113.3 : 172.16.50.2, 203.0.113.4 : 172.16.50.3 }' \
        'iifname "outside" oifname "dmz" ct status dnat accept' 'ip saddr 172.16.50.2 snat to 203.0.113.3'
    behind_checks 172.16.50.2 172.16.50.3 255.255.255.0 172.16.50.1 203.0.113.3 203.0.113.4
    shown show domains
}

# behind_fw ADDRESS: the firewall in front and its three legs; ADDRESS is on that of the appliance.
behind_fw() {
    local address
    lab_switch dmz
    lab_switch lan
    lab_node fw </dev/null
    lab_cable outsw fw 203.0.113.2/28 outside
    for address in 3 4 5; do ip -n "$(lab_ns fw)" address add "203.0.113.$address/28" dev outside; done
    lab_cable dmz fw "$1" dmz
    lab_cable lan fw 10.20.0.1/24 lan
    ip -n "$(lab_ns fw)" route add default via 203.0.113.1
    lab_office lan 10.20.0.1 10.20.0.50 10.20.0.30
}

# front_rules DNAT FORWARD [SNAT]: what the firewall in front does for the appliance, beside what it did before.
front_rules() {
    lab_routes fw <<NFT
table ip border {
    counter refused { }
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "outside" ip daddr 203.0.113.5 tcp dport 80 dnat to 10.20.0.30:8080
        $1
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "outside" ip saddr 10.20.0.0/24 snat to 203.0.113.2
        ${3:+oifname \"outside\" $3}
    }
    chain input {
        type filter hook input priority filter; policy accept;
        iifname "outside" ct state new counter name refused drop
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan" oifname "outside" accept
        oifname "lan" ct status dnat accept
        iifname "dmz" oifname "outside" tcp dport 5061 accept
        $2
        counter name refused
    }
}
NFT
}

# behind_checks OUTSIDE SECOND-OUTSIDE MASK GATEWAY PUBLIC SECOND-PUBLIC: the appliance with those outside addresses; what the world knows them by.
behind_checks() {
    local address
    lab_leaf nested foreign-ca a.b.corp.example
    appliance_up <(cat scripts/lab/placements/{behind,federation}.cfg.in) SECOND_PORT=5061 "OUTSIDE=$1" "SECOND_OUTSIDE=$2" "MASK=$3" "GATEWAY=$4"
    lab_plug_tap "fg${LAB_TAG}o" dmz
    lab_plug_tap "fg${LAB_TAG}i" insw
    lab_watch_port dmz "fg${LAB_TAG}o"
    servers_up

    federates one
    check 'the parent, which *.corp.example does not hold for: 403' lab_sipp two message-403 x@corp.example bob@sales.corp.example
    check 'and out to it: 403' lab_sipp second message-403 dave@sales.corp.example x@corp.example
    answered 'a name two labels under it: 200' 200 one nested y@a.b.corp.example
    answered 'our own domain, which it would hold for too: 403' 403 one one bob@sales.corp.example
    # The second server is heard by its own address where it answers, by the other where it calls.
    settled "$5 $6" "$5" "$([[ $2 == 172.16.* ]] && echo "$2")"

    # By the firewall in front, both.
    fetches 'the workstation' work 203.0.113.2
    published
    check 'nothing but SIP gets through to the appliance' no_answer "$LAB_PUBLIC:80"
    same 'SYNs for it: sent; refused, by the firewall in front' "$(tried "$LAB_PUBLIC")" "$(lab_counter fw border refused)"
    check 'nor from a presence server to the web' not lab_in second curl -s --connect-timeout 0.5 "http://$LAB_WEB/"
    for address in "$LAB_WEB" 10.20.0.50 10.20.0.30; do
        same "packets of $address at the appliance's outside port" 0 "$(lab_crossed dmz bridge "$address")"
    done
    more "packets of the edge at the appliance's outside port" 0 "$(lab_crossed dmz bridge "$LAB_ONE")"
}
