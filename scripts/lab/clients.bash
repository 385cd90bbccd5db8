# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# Real clients of a lab, registered over TLS with their domain's server, without sound: baresip and linphonec, typed to, and read by what
# they print, baresip's SIP trace too. It asks no hosts file, so its server is an address. Sourced after certs.bash and peers.bash.

# lab_client NODE USER@DOMAIN SERVER AUTHORITY FRIEND@DOMAIN [PASSWORD [OTHER@DOMAIN]]: a client on that node: it says that it is there, and watches whether
# FRIEND is, its contact, and OTHER, if it has another. AUTHORITY signs its certificate.
lab_client() {
    local dir=$LAB_DIR/client-$1 login=''
    [[ -z ${6:-} ]] || login=";auth_user=${2%@*};auth_pass=$6"
    mkdir "$dir"
    mkfifo "$dir/keys"
    lab_leaf "client-$1" "$4" "client.${2#*@}"
    cat "$LAB_DIR/certs/client-$1."{crt,key} >"$dir/identity.pem"
    cat >"$dir/config" <<CONFIG
sip_certificate $dir/identity.pem
sip_cafile $LAB_DIR/certs/$4.crt
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app presence.so
CONFIG
    echo "<sip:$2;transport=tls>;outbound=\"sip:$3:5061;transport=tls\";regint=600;pubint=600$login" >"$dir/accounts"
    echo "\"friend\" <sip:$5>;presence=p2p" >"$dir/contacts"
    [[ -z ${7:-} ]] || echo "\"other\" <sip:$7>;presence=p2p" >>"$dir/contacts"
    # Read and write: the keyboard stays when nobody types.
    lab_spawn "$1" "client-$1" bash -c "exec baresip -4 -s -f '$dir' <>'$dir/keys'"
}

# lab_client_type NODE LINE
lab_client_type() {
    printf '%s\n' "$2" >"$LAB_DIR/client-$1/keys"
}

# lab_client_said NODE TEXT: whether it has printed that.
lab_client_said() {
    grep -aqF "$2" "$LAB_DIR/log/client-$1.log"
}

# lab_client_sees NODE Online|Offline|Unknown [other]: whether its list of contacts has the friend, or the other, so.
lab_client_sees() {
    lab_client_type "$1" /contacts
    sleep 0.2
    [[ $(grep -a "^[> ] .* ${3:-friend} <sip:" "$LAB_DIR/log/client-$1.log" | tail -n 1) == *"$2"* ]]
}

# lab_client_comes_to_see NODE Online|Offline FRIEND-NODE: whether it does, within ten seconds. If not, what both of them had from the network and said last
# is told; whole it is in the logs that are kept.
lab_client_comes_to_see() {
    local node
    if lab_wait 10 "the friend of $1 $2" lab_client_sees "$1" "$2"; then return 0; fi
    for node in "$1" "$3"; do
        printf 'lab: the last of client-%s.log:\n' "$node"
        tail -n 60 "$LAB_DIR/log/client-$node.log"
    done >&2
    return 1
}

# lab_linphone NODE USER@DOMAIN SERVER AUTHORITY PASSWORD FRIEND@DOMAIN: linphonec on that node. It looks for SERVER's name in the certificate it is shown, by AUTHORITY.
lab_linphone() {
    local dir=$LAB_DIR/client-$1
    # It keeps its conversations in a database there, and does not make the folder.
    mkdir -p "$dir/.local/share/linphone"
    mkfifo "$dir/keys"
    # The node asks devices for a certificate and does without; linphonec would ask its user.
    lab_leaf "client-$1" "$4" "client.${2#*@}"
    cat >"$dir/config" <<CONFIG
[sip]
sip_port=0
sip_tcp_port=0
sip_tls_port=-1
root_ca=$LAB_DIR/certs/$4.crt
client_cert_chain=$LAB_DIR/certs/client-$1.crt
client_cert_key=$LAB_DIR/certs/client-$1.key
default_proxy=0
publish_presence=1
[auth_info_0]
username=${2%@*}
passwd=$5
realm=${2#*@}
domain=${2#*@}
[proxy_0]
reg_proxy=<sip:$3:5061;transport=tls>
reg_route=<sip:$3:5061;transport=tls>
reg_identity=sip:$2
reg_expires=600
reg_sendregister=1
publish=1
publish_expires=600
[friend_0]
url="friend" <sip:$6>
pol=accept
subscribe=1
CONFIG
    lab_spawn "$1" "client-$1" env HOME="$dir" bash -c "exec linphonec -c '$dir/config' -d 6 -l '$LAB_DIR/log/linphone-$1.log' <>'$dir/keys'"
}

# lab_linphone_sees NODE Online|Offline: whether that is what it last said of its friend.
lab_linphone_sees() {
    [[ $(grep -a '^\(linphonec> \)*Friend ' "$LAB_DIR/log/client-$1.log" | tail -n 1) == *" is $2"* ]]
}
