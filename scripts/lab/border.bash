# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The lab of scripts/demo and of scripts/lab/selftest: one border, two foreign edges. Sourced after lib.bash, certs.bash and peers.bash.
#
#   outsw (bridge, 198.51.100.0/24)                        insw (bridge, 10.10.0.0/24)
#     foreign .20   the permitted domain's edge              routing .11   the SIP routing server
#     other   .21   another domain's edge                    work    .50   a workstation, default route 10.10.0.1
#     web     .30   a web server
#     .2 and .3 are the appliance's own and its public address for the routing server; inside it is 10.10.0.1

# What the peers and the configuration of the appliance agree on.
# shellcheck disable=SC2034 # used by the scripts that source this
# What the peers and the configuration of the appliance agree on.
LAB_APPLIANCE=198.51.100.2
LAB_PUBLIC=198.51.100.3
LAB_FOREIGN=198.51.100.20
LAB_STRAY=198.51.100.22 # a second address of the foreign edge's host, for clients whose packets must be told apart
LAB_OTHER=198.51.100.21
LAB_WEB=198.51.100.30
LAB_GATEWAY=10.10.0.1
LAB_ROUTING=10.10.0.11
LAB_WORK=10.10.0.50
LAB_PUBLIC_NAME=cup.local.example
LAB_OUR_DOMAIN=local.example
readonly LAB_APPLIANCE LAB_PUBLIC LAB_FOREIGN LAB_STRAY LAB_OTHER LAB_PUBLIC_NAME LAB_OUR_DOMAIN \
    LAB_WEB LAB_GATEWAY LAB_ROUTING LAB_WORK

lab_sip_node foreign foreign.example edge.foreign.example:5061 foreign.example:5061
lab_sip_node other other.example edge.other.example:5061 other.example:5061
lab_sip_node routing local.example cup.local.example:5061 cup.local.example:5061

# lab_up: switches, nodes and cables; the two taps come with lab_plug_tap.
lab_up() {
    local node
    lab_switch outsw
    lab_switch insw
    for node in foreign other web routing work; do
        lab_node "$node" <<HOSTS
$LAB_FOREIGN edge.foreign.example foreign.example
$LAB_OTHER edge.other.example other.example
$LAB_PUBLIC cup.local.example
$LAB_WEB www.web.example
HOSTS
    done
    lab_cable outsw foreign "$LAB_FOREIGN/24"
    ip -n "$(lab_ns foreign)" address add "$LAB_STRAY/24" dev eth0
    lab_cable outsw other "$LAB_OTHER/24"
    lab_cable outsw web "$LAB_WEB/24"
    lab_cable insw routing "$LAB_ROUTING/24"
    lab_cable insw work "$LAB_WORK/24"
    for node in routing work; do ip -n "$(lab_ns "$node")" route add default via "$LAB_GATEWAY"; done
    # In flight to the workstation there is never more than fits into a tap's queue (500 frames): nothing is lost by bursts alone.
    lab_in work sysctl -qw net.ipv4.tcp_rmem='4096 131072 262144'
    # The web server knows a way inward, so that what stops it is the appliance and not a missing route.
    ip -n "$(lab_ns web)" route add 10.10.0.0/24 via "$LAB_APPLIANCE"
}

# lab_certs: of the edges, of the appliance's two faces, of the routing server.
lab_certs() {
    lab_authorities
    lab_leaf foreign foreign-ca foreign.example edge.foreign.example
    lab_leaf other foreign-ca other.example edge.other.example
    lab_leaf wrong foreign-ca wrong.example
    # The appliance stands for the routing server towards the world, and for the world towards the routing server.
    lab_leaf public local-ca cup.local.example local.example
    lab_leaf inside local-ca inside.local.example
    lab_leaf routing local-ca cup.local.example local.example
}

# lab_sip_servers ROUTING_TRUST: all three, and waits until they listen.
lab_sip_servers() {
    lab_sip_server foreign "$LAB_FOREIGN" both-ca
    lab_sip_server other "$LAB_OTHER" both-ca
    lab_sip_server routing "$LAB_ROUTING" "$1"
    lab_sip_servers_up foreign other routing
}
