# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The site that the firmware's box stands in (scripts/test-image): that of tests/corpus/asa/03, the running-config of an ASA, which the box is given
# as it is. Sourced after lib.bash, certs.bash and peers.bash.
#
#   world (198.51.100.0/24)                 outsw: 203.0.113.2, .3          insw (10.10.0.0/24)
#     abc   .20  a permitted domain's edge    the box; isp .1 is its router    cup  .11  the presence server, :5062 (outside 5061)
#     def   .40  another edge                                                  work .50  a workstation
#     web   .99  a web server               mgmtsw (192.0.2.0/24)
#     isp   .1                                admin .1: NTP, SSH; the box .5

# shellcheck disable=SC2034 # used by the scripts that source this
LAB_ABC=198.51.100.20 LAB_DEF=198.51.100.40 LAB_WEB=198.51.100.99 LAB_PUBLIC=203.0.113.3 LAB_CUP=10.10.0.11
# shellcheck disable=SC2034
LAB_PUBLIC_NAME=cup.example.com LAB_OUR_DOMAIN=example.com

lab_sip_node abc abc.example edge.abc.example:5061 abc.example:5061
lab_sip_node def def.example edge.def.example:5061 def.example:5061
lab_sip_node cup example.com cup.example.com:5061 cup.example.com:5061
LAB_SIP_LISTENS+=([cup]=5062)

# site_up: switches, nodes, cables, certificates, servers; the box's taps come with lab_plug_tap.
site_up() {
    local node names
    for node in world outsw insw mgmtsw; do lab_switch "$node"; done
    printf -v names '%s\n' "$LAB_ABC edge.abc.example abc.example" "$LAB_DEF edge.def.example def.example" "$LAB_PUBLIC cup.example.com"
    for node in abc def web isp cup work admin; do lab_node "$node" <<<"$names"; done
    lab_cable world abc $LAB_ABC/24
    lab_cable world def $LAB_DEF/24
    lab_cable world web $LAB_WEB/24
    lab_cable world isp 198.51.100.1/24 world
    lab_cable outsw isp 203.0.113.1/29 customer
    lab_in isp sysctl -qw net.ipv4.ip_forward=1
    for node in abc def web; do ip -n "$(lab_ns $node)" route add default via 198.51.100.1; done
    lab_cable insw cup $LAB_CUP/24
    lab_cable insw work 10.10.0.50/24
    for node in cup work; do ip -n "$(lab_ns $node)" route add default via 10.10.0.1; done
    lab_cable mgmtsw admin 192.0.2.1/24

    lab_authorities
    lab_leaf abc foreign-ca abc.example edge.abc.example
    lab_leaf def foreign-ca def.example edge.def.example
    lab_leaf public local-ca cup.example.com example.com
    lab_leaf inside local-ca inside.example.com
    lab_leaf cup local-ca cup.example.com example.com
    lab_web_server web $LAB_WEB 80
    lab_sip_server abc $LAB_ABC both-ca
    lab_sip_server def $LAB_DEF both-ca
    lab_sip_server cup $LAB_CUP local-ca
    lab_sip_servers_up abc def cup
}

# site_config: the ASA's running-config, and what no ASA's can hold: which ports of the box are meant, identities, who vouches for whom, domains.
site_config() {
    awk '{ print } /^interface GigabitEthernet0\/0/ { print " hardware pci 0000:00:04.0" } /^interface GigabitEthernet0\/1/ { print " hardware pci 0000:00:05.0" }' \
        "$LAB_SCRIPTS/../../tests/corpus/asa/03-multinode-two-domains-asa83.cfg"
    cat <<'CONFIG'
crypto ca trustpoint cup_proxy
 certificate file certs/inside.crt
 key file certs/inside.key
crypto ca trustpoint public_ca
 certificate file certs/public.crt
 key file certs/public.key
crypto ca trustpoint cert_from_cup
 ca file certs/local-ca.crt
crypto ca trustpoint abc_root
 ca file certs/foreign-ca.crt
tls-proxy ent_cup_to_external
 server trust-point cert_from_cup verify
 client trust-point abc_root verify
tls-proxy ent_external_to_cup
 server trust-point abc_root verify
 client trust-point cert_from_cup verify
local domain example.com
permit domain abc.example
enable password Lab-Enable-Secret-1
username admin password Lab-Admin-Secret-2 privilege 15
CONFIG
}

# site_page: whether the workstation gets a page of the world's within a second.
site_page() {
    lab_in work curl -sS -m 1 -o /dev/null "http://$LAB_WEB/page.html"
}

# site_forgets: peers start anew. (A box that does has forgotten their connections, which they go on using until their own timers end that.)
site_forgets() {
    local node
    lab_kill kamailio-abc kamailio-def kamailio-cup
    for node in abc def cup; do lab_sip_server_start $node; done
    lab_sip_servers_up abc def cup
}
