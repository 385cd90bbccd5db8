# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The appliance is the enterprise's only firewall: federation, and everything else too. Our domain is a child of one partner's and a
# sibling of the other's. Sourced by run.bash.

placement_firewall() {
    title 'Placement: the enterprise firewall itself'
    world_up eng.corp.example corp.example sales.corp.example 203.0.113.3 203.0.113.3:45061 203.0.113.4:80
    appliance_up <(cat scripts/lab/placements/{firewall,federation}.cfg.in) SECOND_PORT=45061
    lab_plug_tap "fg${LAB_TAG}o" outsw
    lab_plug_tap "fg${LAB_TAG}i" insw
    lab_office insw 10.10.0.1 10.10.0.50 10.10.0.30
    # The world knows a way inward, so that what stops it is the appliance and not a missing route.
    ip -n "$(lab_ns isp)" route add 10.10.0.0/24 via 203.0.113.2
    servers_up

    federates one
    federates two
    answered 'a child of the partner, which is not listed, with its certificate: 403' 403 one one y@evil.corp.example
    answered 'the parent, with the certificate of the sibling: 403' 403 two two x@corp.example
    answered 'our own domain, from outside: 403' 403 one one bob@eng.corp.example
    answered 'the parent, in capitals and with a dot behind: 200' 200 one one x@Corp.Example.
    real_clients
    settled 203.0.113.3 203.0.113.3

    check 'the world has no way to another port of our web server' no_answer "${LAB_PUBLISHED%:*}:443"
    check 'nor of the routing server' no_answer "$LAB_PUBLIC:80"
    same 'SYNs to ports that no static PAT is for: sent; dropped, by the appliance' \
        "$(tried "${LAB_PUBLISHED%:*}" "$LAB_PUBLIC")" "$(dropped nat-no-xlate-to-pat-pool)"
    check 'nor to the workstation by its own address' no_answer 10.10.0.50:80
    check 'nor to our web server by its own address, on another port' no_answer 10.10.0.30:22
    same 'SYNs that no line permits: sent; dropped, by the appliance' "$(tried 10.10.0.50 10.10.0.30)" "$(dropped acl-drop)"
    published
    fetches 'the workstation' work 203.0.113.2
    fetches 'a presence server' second 203.0.113.3
    same 'pings of the workstation that the world answers' 3 "$(lab_in work ping -i 0.2 -c 3 -W 5 "$LAB_WEB" | grep -c 'bytes from')"
    shown show domains
    shown show drops
}

# real_clients: alice, on the workstation, and zoe, of corp.example and out in the world, see each other come and go, and write. Their
# Contacts are their addresses: NAT stands between, and what is sent to alice is sent to the address that it shows of her.
real_clients() {
    lab_node phone </dev/null
    lab_cable world phone 198.51.100.50/24
    lab_client work alice@eng.corp.example "$LAB_ROUTING" local-ca zoe@corp.example
    lab_client phone zoe@corp.example "$LAB_ONE" foreign-ca alice@eng.corp.example
    check 'a real client, alice, registers with the routing server' lab_wait 10 'alice' lab_client_said work 'registered successfully'
    check 'another, zoe, with the edge of corp.example' lab_wait 10 'zoe' lab_client_said phone 'registered successfully'
    check 'alice sees zoe online' lab_client_comes_to_see work Online phone
    check 'zoe sees alice online' lab_client_comes_to_see phone Online work
    lab_client_type work '/message good morning'
    check 'zoe reads what alice writes' lab_wait 10 'a message' lab_client_said phone 'sip:alice@eng.corp.example: "good morning"'
    lab_client_type phone '/message good night'
    check 'alice reads what zoe writes' lab_wait 10 'a message' lab_client_said work 'sip:zoe@corp.example: "good night"'
    lab_client_type phone /presence_offline
    check 'alice sees zoe leave' lab_client_comes_to_see work Offline phone
    lab_client_type work /presence_offline
    check 'zoe sees alice leave' lab_client_comes_to_see phone Offline work
    more "messages in which NAT changed alice's address, outward" 0 "$(count 'from inside in which NAT changed' show proxy)"
    more 'and back' 0 "$(count 'from outside in which NAT changed' show proxy)"
}
