# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# What TLS scanners find at the appliance's public address, port 5061, as the permitted domain's edge, with its certificate and
# without: sslscan, testssl.sh (both Debian's) and sslyze (of PyPI, sslyze.txt, into a folder under the build's). Their
# findings are read from their XML and JSON by scan.py; what is expected of them stands here. About a minute. Sourced after
# lib.bash, certs.bash and checks.bash, with the lab up and the appliance in it.

# What a face speaks without an `ssl` or `cipher-suite` line, to a client that knows all suites, with an ECDSA certificate.
LAB_SUITES_12='ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305'
LAB_SUITES_13='TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256'
readonly LAB_SUITES_12 LAB_SUITES_13

# lab_sslyze: the path of sslyze, installed once; fails where PyPI cannot be reached.
lab_sslyze() {
    local venv=${CARGO_TARGET_DIR:-$PWD/target}/sslyze
    if [[ ! -x $venv/bin/sslyze || $LAB_SCRIPTS/sslyze.txt -nt $venv/bin/sslyze ]]; then
        python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q -r "$LAB_SCRIPTS/sslyze.txt" || return 1
        touch "$venv/bin/sslyze"
    fi >&2
    printf '%s' "$venv/bin/sslyze"
}

# lab_scan_with LABEL COMMAND...: runs a scanner at the foreign edge, for at most 80 seconds. Scanners' exit codes count findings, so they say nothing here.
lab_scan_with() {
    local label=$1
    shift
    lab_in foreign timeout 80 "$@" >"$LAB_DIR/log/scan/$label.log" 2>&1 || true
}

# lab_scan: the three scanners, and what they must have found.
lab_scan() {
    local dir=$LAB_DIR/log/scan certs=$LAB_DIR/certs began=$SECONDS sslyze scanner
    local -a jobs=() at=("$LAB_PUBLIC:5061") with
    local -A found=()
    mkdir -p "$dir"
    # testssl.sh 3.0 has no option for a client certificate, but one for the openssl to use. A ticket of TLS 1.3 comes after the handshake, when a client
    # whose input has ended is gone: where it is waited for (-sess_out), the input ends a second later.
    # shellcheck disable=SC2016 # expanded by that script
    printf '#!/bin/sh\n[ "$1" = s_client ] || exec openssl "$@"\nshift\nset -- s_client -cert %q -key %q "$@"\n%s\n%s\n' \
        "$certs/foreign.crt" "$certs/foreign.key" 'case "$*" in *-sess_out*) sleep 1 | openssl "$@"; exit ;; esac' \
        'exec openssl "$@"' >"$dir/openssl"
    chmod 755 "$dir/openssl"

    lab_scan_with testssl testssl --quiet --warnings off --color 0 --nodns none --ip "$LAB_PUBLIC" --add-ca "$certs/local-ca.crt" \
        --openssl "$dir/openssl" --jsonfile "$dir/testssl.json" -p -f -S -U cup.local.example:5061 &
    jobs+=($!)
    lab_scan_with sslscan sslscan --no-colour --certs="$certs/foreign.crt" --pk="$certs/foreign.key" --sni-name=cup.local.example \
        --xml="$dir/sslscan.xml" "${at[@]}" &
    jobs+=($!)
    sslyze=$(lab_sslyze) || sslyze=''
    if [[ -n $sslyze ]]; then
        with=(--cert "$certs/foreign.crt" --key "$certs/foreign.key" --certinfo_ca_file "$certs/local-ca.crt" --certinfo)
        lab_scan_with sslyze "$sslyze" --quiet --sni cup.local.example --json_out "$dir/sslyze.json" "${with[@]}" --sslv2 --sslv3 --tlsv1 \
            --tlsv1_1 --tlsv1_2 --tlsv1_3 --compression --heartbleed --robot --openssl_ccs --reneg --ems "${at[@]}"
        lab_scan_with sslyze-stranger "$sslyze" --quiet --sni cup.local.example --json_out "$dir/stranger.json" --tlsv1_3 "${at[@]}"
    fi
    wait "${jobs[@]}"
    # One that cannot be had has found nothing, which is not to be taken for good.
    check 'sslyze is here, or to be had from PyPI' test -n "$sslyze"
    while IFS=$'\t' read -r scanner with; do found[$scanner]=$with; done < <("$LAB_SCRIPTS/scan.py" "$dir")

    same 'sslscan: versions' 'TLSv1.2 TLSv1.3' "${found[sslscan.versions]:-}"
    same 'sslscan: suites of TLS 1.2' "$LAB_SUITES_12" "${found[sslscan.suites12]:-}"
    same 'sslscan: suites of TLS 1.3' "$LAB_SUITES_13" "${found[sslscan.suites13]:-}"
    same 'sslscan: groups' 'secp256r1 secp384r1 x25519' "${found[sslscan.groups]:-}"
    same 'sslscan: renegotiation, heartbleed, compression' none "${found[sslscan.faults]:-}"
    same 'sslscan: certificate' 'cup.local.example by local-ca' "${found[sslscan.certificate]:-}"
    if [[ -n $sslyze ]]; then
        same 'sslyze: versions' 'TLS_1_2 TLS_1_3' "${found[sslyze.versions]:-}"
        same 'sslyze: suites of TLS 1.2' "$LAB_SUITES_12" "${found[sslyze.suites12]:-}"
        same 'sslyze: suites of TLS 1.3' "$LAB_SUITES_13" "${found[sslyze.suites13]:-}"
        same 'sslyze: compression, CCS injection, heartbleed, ROBOT, renegotiation by the client, no RFC 5746, no RFC 7627' none "${found[sslyze.faults]:-}"
        same 'sslyze: chain, without the authority' 'cup.local.example local-ca, in order, verified' "${found[sslyze.chain]:-}"
        same 'sslyze: a client certificate is' REQUIRED "${found[sslyze.stranger]:-}"
    fi
    same 'testssl.sh: versions' 'TLS1_2 TLS1_3' "${found[testssl.versions]:-}"
    same 'testssl.sh: forward secrecy by' "$LAB_SUITES_12 $LAB_SUITES_13" "${found[testssl.suites]:-}"
    same 'testssl.sh: of 16 known attacks, not shown to be harmless' none "${found[testssl.attacks]:-}"
    same 'testssl.sh: chain of trust' passed. "${found[testssl.chain]:-}"
    same 'testssl.sh: sessions resumed by tickets' supported "${found[testssl.tickets]:-}"
    # The lab's certificates are good for two days and name no revocation list.
    same 'testssl.sh: other findings of weight' 'cert_expirationStatus cert_notAfter cert_revocation' "${found[testssl.others]:-}"
    check "the scans took $((SECONDS - began)) s: expected within 90" test $((SECONDS - began)) -lt 90
}
