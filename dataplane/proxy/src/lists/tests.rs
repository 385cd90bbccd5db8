// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared table, asked as the verdict asks it.

use super::*;
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;

#[test]
fn the_table_answers_through_the_trait() {
    let mut writer = DomainWriter::create(16).unwrap();
    let plain = writer.permit("foreign.example", false, None).unwrap();
    let pinned = writer.permit("partner.example", false, Some("edge.partner.example")).unwrap();
    let blocked = writer.block("bad.example", false).unwrap();
    let fd = writer.region().fd().try_clone_to_owned().unwrap();
    let reader = DomainReader::attach(Region::map_rw(fd).unwrap()).unwrap();
    let list = Federated(&reader);
    let edge = Domain::canonical(b"edge.partner.example").unwrap();
    assert_eq!(list.lookup("foreign.example"), verdict::Listed::Permitted { id: plain, peer: None });
    assert_eq!(list.lookup("partner.example"), verdict::Listed::Permitted { id: pinned, peer: Some(edge) });
    assert_eq!(list.lookup("bad.example"), verdict::Listed::Blocked { id: blocked });
    assert_eq!(list.lookup("sub.foreign.example"), verdict::Listed::Unlisted);
}

#[test]
fn own_domains_are_those_of_the_policy_and_no_others() {
    let mut policy = PolicyBuilder::new();
    policy.local_domain("local.example");
    policy.local_domain("a.example");
    let segment = policy.finish(1).unwrap();
    let own = OwnDomains::of(&PolicyView::parse(&segment).unwrap());
    assert!(own.is_local("local.example") && own.is_local("a.example"));
    for other in ["sub.local.example", "example", "", "xlocal.example"] {
        assert!(!own.is_local(other), "{other}");
    }
}
