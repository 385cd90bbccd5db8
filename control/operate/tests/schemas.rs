// SPDX-License-Identifier: MIT OR Apache-2.0
//! What commands print as JSON, held against the schemas that docs/schema has of them.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    SerialNumber,
};

use super::{CONFIG, Lab};
use crate::operate::protocol::Request;
use crate::operate::show::schema::{ROWS, schema};

/// Lines that let each command have something to show.
const MORE: &str = "\
interface tap fgo
 ipv6 enable
object network cup
 host 10.10.0.11
 nat (inside,outside) static 203.0.113.9 service tcp 5062 5061
object-group network edges
 network-object host 198.51.100.20
time-range office
 periodic weekdays 8:00 to 17:59
access-list a extended permit tcp object-group edges object cup eq 5062 time-range office
access-group a in interface inside
class-map all
 match any
policy-map p
 class all
  set connection conn-max 9
service-policy p global
ip verify reverse-path interface outside
route outside 0.0.0.0 0.0.0.0 203.0.113.1
ipv6 route outside ::/0 fe80::1
local domain example.com
permit domain abc.example peer edge.abc.example
block domain *.bad.example
logging enable
logging buffered informational
logging message 106023 level errors
crypto ca trustpoint t
 enrollment self
 subject-name CN=cup.example.com
 keypair k
crypto ca trustpoint partners
 ca file ca.crt
 revocation-check crl
 crl file ca.crl
sip-pool front
 member 10.10.0.11
flow-export destination inside 127.0.0.1 9
";

/// An authority, and its list of what it revoked.
fn revocation_list(lab: &Lab) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(lab.path("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let now = time::OffsetDateTime::now_utc();
    let list = CertificateRevocationListParams {
        this_update: now - time::Duration::DAY,
        next_update: now + time::Duration::DAY,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    std::fs::write(lab.path("ca.crl"), list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap())
        .unwrap();
}

/// Of each command, with the arguments that bring other kinds of rows.
const ALSO: &[&str] = &[
    "show conn count",
    "show conn address 10.10.0.7 count",
    "show conn detail",
    "show xlate count",
    "show local-host 10.10.0.7 detail",
    "show cpu detailed",
    "show nat detail",
    "show conn | count",
    "ping 10.10.0.11",
];

#[test]
fn what_is_printed_is_what_the_schemas_say() {
    let lab = Lab::new();
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{MORE}")).unwrap();
    revocation_list(&lab);
    let fake = lab.fake();
    fake.state().conns = 20;
    fake.state().counters.drop(fedgate_tables::drops::DropReason::AclDrop);
    let _control = lab.control();
    lab.good("crypto key generate ecdsa label k");
    lab.good("crypto ca enroll t");
    lab.good("capture c type asp-drop acl-drop");
    let mut wrong = Vec::new();
    let mut rows_of = std::collections::BTreeMap::<&str, usize>::new();
    for rows in ROWS {
        let validator = jsonschema::validator_for(&schema(rows)).unwrap();
        let also = ALSO.iter().copied().filter(|line| {
            let longest =
                ROWS.iter().filter(|other| line.starts_with(other.command)).map(|other| other.command.len());
            longest.max() == Some(rows.command.len()) && line.starts_with(rows.command)
        });
        // What asks for nothing more than its words, that too.
        let bare = Some(rows.command).filter(|command| *command != "ping");
        for line in bare.into_iter().chain(also) {
            let request = Request { line: line.to_owned(), json: true, ..Request::default() };
            let (answer, out, err) = lab.ask(&request);
            assert_eq!(answer.code, 0, "{line}: {err}");
            for row in out.lines() {
                let value: serde_json::Value =
                    serde_json::from_str(row).unwrap_or_else(|why| panic!("{line}: {why}: {row}"));
                if !validator.is_valid(&value) {
                    wrong.push(format!("{line}: {row}"));
                }
                *rows_of.entry(rows.command).or_default() += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "not as their schemas say:\n{}", wrong.join("\n"));
    // A schema that nothing was held against says nothing.
    let silent: Vec<&str> =
        ROWS.iter().map(|rows| rows.command).filter(|command| !rows_of.contains_key(command)).collect();
    assert!(silent.is_empty(), "without a row: {silent:?}");
}
