# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The lab's peers, none of them written here: Kamailio as SIP servers, SIPp as their users, nginx as the web server,
# `openssl s_client` for SIP over TLS by hand with any certificate; and what each of them counted. Sourced after lib.bash
# and certs.bash. kamailio.cfg.in says how the SIP servers work.

# lab_fill TEMPLATE WORD=VALUE...: the template with each @WORD@ replaced; a word left over is an error.
lab_fill() {
    local text pair
    text=$(<"$1")
    shift
    for pair; do text=${text//"@${pair%%=*}@"/"${pair#*=}"}; done
    if [[ $text =~ @[A-Z_]+@ ]]; then lab_die "nothing given for ${BASH_REMATCH[0]}"; fi
    printf '%s\n' "$text"
}

# What belongs to a SIP node: its domain; its server's name and port, as others are told them; where its users say
# they can be reached: OCS names the domain there (a GRUU), CUP its own host.
# Where a translation has another port for it, LAB_SIP_LISTENS has the one that its server listens on.
declare -A LAB_SIP_DOMAIN LAB_SIP_AT LAB_SIP_CONTACT LAB_SIP_LISTENS
# lab_sip_node NODE DOMAIN HOST:PORT CONTACTHOST:PORT
lab_sip_node() {
    LAB_SIP_DOMAIN[$1]=$2 LAB_SIP_AT[$1]=$3 LAB_SIP_CONTACT[$1]=$4
}

# lab_sip_server NODE ADDRESS TRUST [USERS SERVER]: starts a node's SIP server and its answering user agent. TRUST names the
# authorities it accepts. Users of the domain whose names match USERS are hosted by another server of ours, at SERVER.
lab_sip_server() {
    local dir=$LAB_DIR/$1 at=${LAB_SIP_AT[$1]} contact=${LAB_SIP_CONTACT[$1]}
    local -a words=("NAME=$1" "DIR=$dir" "CERTS=$LAB_DIR/certs" "TRUST=$3" "ADDRESS=$2" "DOMAIN=${LAB_SIP_DOMAIN[$1]}"
        "HOST=${at%:*}" "PORT=${at#*:}" "LISTENS=${LAB_SIP_LISTENS[$1]:-${at#*:}}" "CONTACT=${contact%:*}" "CONTACT_PORT=${contact#*:}" "OUR_DOMAIN=$LAB_OUR_DOMAIN"
        "ELSEWHERE=${4:-^$}" "ELSEWHERE_AT=${5:-127.0.0.1:9}")
    mkdir -p "$dir/run"
    cp -r /usr/share/kamailio/dbtext/kamailio "$dir/dbtext"
    lab_fill "$LAB_SCRIPTS/kamailio.cfg.in" "${words[@]}" >"$dir/kamailio.cfg"
    lab_fill "$LAB_SCRIPTS/tls.cfg.in" "${words[@]}" >"$dir/tls.cfg"
    lab_meter "$1"
    lab_sip_server_start "$1"
    lab_spawn "$1" "answering-$1" sipp 127.0.0.1:5060 -sf "$LAB_SCRIPTS/sipp/uas.xml" -i 127.0.0.1 -p 5070 -nostdin \
        -key user answering -key contact "${contact%:*}" -key contact_port "${contact#*:}" \
        -trace_msg -message_file "$LAB_DIR/log/answering-$1.messages" -trace_err -error_file "$LAB_DIR/log/answering-$1.err"
}

# lab_sip_server_start NODE: its SIP server alone, again, after it was ended.
lab_sip_server_start() {
    lab_spawn "$1" "kamailio-$1" kamailio -DD -E -f "$LAB_DIR/$1/kamailio.cfg" -Y "$LAB_DIR/$1/run" -m 32 -M 4
}

# lab_sip_servers_up NODE...: waits until they listen.
lab_sip_servers_up() {
    local node
    for node; do
        lab_wait 30 "the SIP server of $node" lab_listens "$node" tcp "${LAB_SIP_LISTENS[$node]:-${LAB_SIP_AT[$node]#*:}}"
        lab_wait 30 "the user agent of $node" lab_listens "$node" udp 5070
    done
}

# lab_listens NODE tcp|udp PORT
lab_listens() {
    [[ -n $(lab_in "$1" ss -Hln "--$2" "sport = $3") ]]
}

# lab_sipp NODE SCENARIO FROM TO [SIPP-OPTION...]: one call of one of the node's own users through its server.
# Fails unless every step of the scenario went as written; the messages are in $LAB_DIR/log/sipp-<node>-<scenario>.log.
LAB_SIPP_PORT=5080
lab_sipp() {
    local node=$1 scenario=$2 from=$3 to=$4 log=$LAB_DIR/log/sipp-$1-$2 contact=${LAB_SIP_CONTACT[$1]}
    shift 4
    LAB_SIPP_PORT=$((LAB_SIPP_PORT + 1))
    rm -f "$log.log" "$log.err"
    lab_in "$node" timeout 40 sipp 127.0.0.1:5060 -sf "$LAB_SCRIPTS/sipp/$scenario.xml" -i 127.0.0.1 -p "$LAB_SIPP_PORT" -m 1 -nostdin \
        -timeout 30 -timeout_error -key from "$from" -key to "$to" -key user "${from%@*}" -key contact "${contact%:*}" \
        -key contact_port "${contact#*:}" -trace_msg -message_file "$log.log" -trace_err -error_file "$log.err" "$@" </dev/null >"$log.out" 2>&1
}

# lab_seen NODE request|reply METHOD|any [CODE|- [SOURCE]]: how many of these the node's SIP server received over TLS. SOURCE is a pattern.
lab_seen() {
    awk -v kind="$2" -v method="$3" -v code="${4:--}" -v from="${5:-}" '
        sub(/.*<script>: seen /, "") && $1 == kind && (method == "any" || $2 == method) && (code == "-" || $3 == code) &&
            (from == "" || $4 ~ "^" from "$") { n++ }
        END { print n + 0 }' "$LAB_DIR/log/kamailio-$1.log"
}

# lab_seen_names NODE: the names in the certificates that requests came with.
lab_seen_names() {
    awk 'sub(/.*<script>: seen request /, "") { print $NF }' "$LAB_DIR/log/kamailio-$1.log" | sort -u | paste -sd ' '
}

# lab_meter NODE: counts from now on every IPv4 packet that arrives at the node, by source, and that leaves it, by destination.
lab_meter() {
    lab_in "$1" nft -f - <<'NFT'
table ip lab {
    set heard {
        type ipv4_addr
        size 256
        flags dynamic
        counter
    }
    set said {
        type ipv4_addr
        size 256
        flags dynamic
        counter
    }
    chain arriving {
        type filter hook prerouting priority raw; policy accept;
        iifname "eth0" update @heard { ip saddr }
    }
    chain leaving {
        type filter hook postrouting priority raw; policy accept;
        oifname "eth0" update @said { ip daddr }
    }
}
NFT
}

# lab_metered NODE heard|said ADDRESS: how many packets the node got from the address, or sent to it.
lab_metered() {
    lab_in "$1" nft list set ip lab "$2" | awk -v address="$3" '
        { for (i = 1; i <= NF; i++) if ($i == address) for (j = i; j <= NF; j++) if ($j == "packets") { n = $(j + 1); break } }
        END { print n + 0 }'
}

# lab_heard_any NODE ADDRESS: whether even one packet came from there.
lab_heard_any() {
    (($(lab_metered "$1" heard "$2") > 0))
}

# lab_web_server NODE ADDRESS PORT: nginx with /page.html of known content, the node's name in it, and /me, which is whom it sees; its log is in
# $LAB_DIR/NODE/access.log.
lab_web_server() {
    local dir=$LAB_DIR/$1
    mkdir -p "$dir/www"
    printf '<p>%s, seen through fedgate.</p>\n' "$1" >"$dir/www/page.html"
    cat >"$dir/nginx.conf" <<NGINX
daemon off;
user root;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 512; }
http {
    access_log $dir/access.log;
    sendfile on;
    client_body_temp_path $dir/tmp;
    proxy_temp_path $dir/tmp;
    fastcgi_temp_path $dir/tmp;
    uwsgi_temp_path $dir/tmp;
    scgi_temp_path $dir/tmp;
    server {
        listen $2:$3;
        root $dir/www;
        location = /me { default_type text/plain; return 200 "\$remote_addr:\$remote_port"; }
    }
}
NGINX
    lab_spawn "$1" "nginx-$1" nginx -c "$dir/nginx.conf" -e "$dir/error.log"
    lab_wait 10 "the web server of $1" lab_listens "$1" tcp "$3"
}

# lab_listens_here tcp|udp ADDRESS:PORT: in the host's own network.
lab_listens_here() {
    ss -Hln "--$1" | grep -qF " $2 "
}

# lab_message FROM TO VIA-HOST CALL-ID: a MESSAGE as an edge would send it.
lab_message() {
    local body="hello from $1"
    printf '%s\r\n' "MESSAGE sip:$2 SIP/2.0" "Via: SIP/2.0/TLS $3:5061;branch=z9hG4bK$4" "Max-Forwards: 69" \
        "From: <sip:$1>;tag=t$4" "To: <sip:$2>" "Call-ID: $4@$3" "CSeq: 1 MESSAGE" "Content-Type: text/plain" \
        "Content-Length: ${#body}" ''
    printf '%s' "$body"
}

# lab_tls_open NODE ADDRESS CERTIFICATE: mutual TLS by hand from that node and address to the public address (LAB_PORT, 5061), with one of our
# certificates; the name and the chain of the far side are verified. Then lab_tls_send TEXT and lab_tls_answer, any
# number of times, and lab_tls_close. One connection at a time. A far side that hangs up shows in that no answer comes.
lab_tls_open() {
    local pipe=$LAB_DIR/tls
    rm -f "$pipe.in" "$pipe.out"
    mkfifo "$pipe.in" "$pipe.out"
    lab_in "$1" openssl s_client -quiet -no_ign_eof -nocommands -connect "$LAB_PUBLIC:${LAB_PORT:-5061}" -bind "$2:0" \
        -cert "$LAB_DIR/certs/$3.crt" -key "$LAB_DIR/certs/$3.key" -CAfile "$LAB_DIR/certs/${LAB_PUBLIC_CA:-local-ca}.crt" \
        -verify_hostname "$LAB_PUBLIC_NAME" -verify_return_error <"$pipe.in" >"$pipe.out" 2>>"$LAB_DIR/log/s_client.log" &
    LAB_TLS_CLIENT=$!
    # Read and write on the first: to write to a client that has gone is then no SIGPIPE.
    exec {LAB_TLS_IN}<>"$pipe.in" {LAB_TLS_OUT}<"$pipe.out"
}

# lab_tls_send TEXT: the text goes as it is, without a newline after it.
lab_tls_send() {
    printf '%s' "$1" >&"$LAB_TLS_IN"
}

# lab_tls_answer: prints the next message's head, and takes away its body; fails if none comes within five seconds.
lab_tls_answer() {
    local line length=0 body
    while IFS= read -r -t 5 -u "$LAB_TLS_OUT" line; do
        line=${line%$'\r'}
        case $line in
        'Content-Length: '*) length=${line#*: } ;;
        '')
            ((length == 0)) || LC_ALL=C IFS= read -r -t 5 -N "$length" -u "$LAB_TLS_OUT" body
            return
            ;;
        esac
        printf '%s\n' "$line"
    done
    return 1
}

lab_tls_close() {
    exec {LAB_TLS_IN}>&- {LAB_TLS_OUT}<&-
    wait "$LAB_TLS_CLIENT" 2>/dev/null || true
}

# lab_tls_once NODE ADDRESS CERTIFICATE TEXT: one message on a connection of its own; prints the answer's first line.
lab_tls_once() {
    local answer
    lab_tls_open "$1" "$2" "$3"
    lab_tls_send "$4"
    answer=$(lab_tls_answer) || true
    lab_tls_close
    printf '%s\n' "${answer%%$'\n'*}"
}
