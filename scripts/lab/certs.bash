# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# The lab's certificates: made anew for each run in $LAB_DIR/certs, good for two days, trusted by nobody else.
#
# Two authorities, as between two enterprises: "foreign-ca" for the foreign edges, "local-ca" for ours. Each <name>.crt
# has its <name>.key beside it. All are ECDSA P-256, and each may be client and server, as mutual TLS between servers needs.
# Sourced after lib.bash.

# lab_openssl_req ARGUMENTS...: `openssl req` without the machine's openssl.cnf, whose defaults would mark every leaf as an authority.
lab_openssl_req() {
    openssl req -config <(printf '[req]\ndistinguished_name = dn\n[dn]\n') -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -noenc -days 2 "$@" 2>"$LAB_DIR/log/openssl.log" || { cat "$LAB_DIR/log/openssl.log" >&2 && return 1; }
}

# lab_authority NAME
lab_authority() {
    lab_openssl_req -subj "/O=fedgate lab/CN=$1" -keyout "$1.key" -out "$1.crt" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
}

# lab_authorities [NAME...]: these, or foreign-ca and local-ca, and before any leaf. both-ca.crt has all.
lab_authorities() {
    local name
    (($# > 0)) || set -- foreign-ca local-ca
    mkdir -m 700 "$LAB_DIR/certs"
    (
        umask 077
        cd "$LAB_DIR/certs" || exit
        for name; do lab_authority "$name"; done
        cat "${@/%/.crt}" >both-ca.crt
    )
}

# lab_leaf NAME AUTHORITY DNSNAME...: the first name is the common name too.
lab_leaf() {
    local name=$1 authority=$2 dns
    shift 2
    printf -v dns ',DNS:%s' "$@"
    (
        umask 077
        cd "$LAB_DIR/certs" || exit
        lab_openssl_req -subj "/O=fedgate lab/CN=$1" -keyout "$name.key" -out "$name.crt" -CA "$authority.crt" \
            -CAkey "$authority.key" -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
            -addext extendedKeyUsage=serverAuth,clientAuth -addext "subjectAltName=${dns#,}"
    )
}
