#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the TLS scanners of scan.bash found, a finding a line: its name, a tab, its value.

Reads sslscan.xml, sslyze.json, stranger.json and testssl.json in the folder given; a file that is missing or that its
scanner did not finish has no lines, so that what is expected of it is not met. No judgement here: that is scan.bash's.
"""

import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

# sslyze calls suites of TLS 1.2 by IANA's names; these are OpenSSL's, as on an ASA.
OPENSSL = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}

ATTACKS = (
    "heartbleed CCS ROBOT secure_renego secure_client_renego CRIME_TLS POODLE_SSL fallback_SCSV "
    "SWEET32 FREAK DROWN LOGJAM LOGJAM-common_primes BEAST LUCKY13 RC4"
).split()


def words(found):
    """A set as one line, `none` without any."""
    return " ".join(sorted(set(found))) or "none"


def sslscan(path):
    test = xml.parse(path).getroot().find("ssltest")
    protocols = [p for p in test.iter("protocol") if p.get("enabled") == "1"]
    yield "versions", words(f"{p.get('type').upper()}v{p.get('version')}" for p in protocols)
    for version, label in (("TLSv1.2", "suites12"), ("TLSv1.3", "suites13")):
        yield label, words(c.get("cipher") for c in test.iter("cipher") if c.get("sslversion") == version)
    yield "groups", words(g.get("name").split()[0] for g in test.iter("group"))
    faults = [f"heartbleed:{h.get('sslversion')}" for h in test.iter("heartbleed") if h.get("vulnerable") != "0"]
    faults += ["renegotiation" for r in test.iter("renegotiation") if r.get("supported") != "0"]
    faults += ["compression" for c in test.iter("compression") if c.get("supported") != "0"]
    faults += ["no answer to heartbleed"] if test.find("heartbleed") is None else []
    yield "faults", words(faults)
    certificate = test.find("certificates/certificate")
    yield "certificate", f"{certificate.findtext('subject')} by {certificate.findtext('issuer')}"


def scanned(path):
    """The one server of a report of sslyze, and what its scans came to; a scan that failed is an error."""
    server = json.loads(path.read_text())["server_scan_results"][0]
    scans = {name: scan for name, scan in server["scan_result"].items() if scan["status"] != "NOT_SCHEDULED"}
    return server, {name: scan["result"] for name, scan in scans.items()}


def sslyze(path):
    _, scans = scanned(path)
    suites = {s["tls_version_used"]: s for s in scans.values() if "accepted_cipher_suites" in s}
    yield "versions", words(v for v, s in suites.items() if s["accepted_cipher_suites"])
    for version, label in (("TLS_1_2", "suites12"), ("TLS_1_3", "suites13")):
        names = [s["cipher_suite"]["name"] for s in suites[version]["accepted_cipher_suites"]]
        yield label, words(OPENSSL.get(name, name) for name in names)
    faults = {
        "compression": scans["tls_compression"]["supports_compression"],
        "ccs": scans["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "heartbleed": scans["heartbleed"]["is_vulnerable_to_heartbleed"],
        "robot": not scans["robot"]["robot_result"].startswith("NOT_VULNERABLE"),
        "renegotiation": scans["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"],
        "no-rfc5746": not scans["session_renegotiation"]["supports_secure_renegotiation"],
        "no-rfc7627": not scans["tls_extended_master_secret"]["supports_ems_extension"],
    }
    yield "faults", words(name for name, true in faults.items() if true)
    (shown,) = scans["certificate_info"]["certificate_deployments"]
    chain = [c["subject"]["rfc4514_string"].split(",")[0].removeprefix("CN=") for c in shown["verified_certificate_chain"]]
    order = "in order" if shown["received_chain_has_valid_order"] else "out of order"
    anchor = ", with its anchor" if shown["received_chain_contains_anchor_certificate"] else ""
    ours = [p for p in shown["path_validation_results"] if p["trust_store"]["name"].startswith("Supplied CA")]
    verified = "verified" if any(p["was_validation_successful"] for p in ours) else "not verified"
    yield "chain", f"{' '.join(chain)}, {order}{anchor}, {verified}"


def stranger(path):
    server, _ = scanned(path)
    yield "stranger", server["connectivity_result"]["client_auth_requirement"]


def testssl(path):
    findings = json.loads(path.read_text())
    by_id = {f["id"]: f for f in findings}
    versions = [v for v in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3") if v in by_id]
    yield "versions", words(v for v in versions if not by_id[v]["finding"].startswith("not offered"))
    yield "suites", words(by_id["PFS_ciphers"]["finding"].split())
    yield "attacks", words(a for a in ATTACKS if by_id.get(a, {}).get("severity") != "OK")
    yield "chain", by_id["cert_chain_of_trust"]["finding"]
    yield "tickets", by_id["sessionresumption_ticket"]["finding"]
    weighty = [f["id"] for f in findings if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL")]
    yield "others", words(set(weighty) - set(ATTACKS))


def main():
    folder = Path(sys.argv[1])
    reports = (
        ("sslscan", sslscan, "sslscan.xml"),
        ("sslyze", sslyze, "sslyze.json"),
        ("sslyze", stranger, "stranger.json"),
        ("testssl", testssl, "testssl.json"),
    )
    for scanner, read, file in reports:
        try:
            for name, value in read(folder / file):
                print(f"{scanner}.{name}\t{value}")
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, xml.ParseError) as error:
            print(f"scan: {file}: {error!r}", file=sys.stderr)


main()
