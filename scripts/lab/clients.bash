# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# Real clients of a lab: baresip, registered over TLS with its domain's server, without sound; it is typed to, and read by what it
# prints, its SIP trace too. It asks no hosts file, so its server is an address. Sourced after certs.bash and peers.bash.

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
