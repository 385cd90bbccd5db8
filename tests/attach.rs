// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dataplane as control sees it: attach, refuse what is wrong and keep the last good, outlive control, come back.

#[expect(dead_code, reason = "what tests with traffic need")]
mod common;

use common::{Dataplane, PATIENCE, policy, sealed};
use fedgate_tables::counters::{Counter, CountersReader, Gauge};
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::link::{Filter, LinkSocket, Rows, ToControl, ToDataplane, What};
use fedgate_tables::region::Region;

#[track_caller]
fn refused(verdict: ToControl, word: &str) {
    match verdict {
        ToControl::Refused { reason, .. } => {
            assert!(reason.contains(word), "{reason:?} does not say {word:?}")
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// What is bad is refused with its reason, and the last good policy stays.
#[test]
fn bad_segments_are_refused() {
    let mut dataplane = Dataplane::start();
    let control = dataplane.attach();
    assert_eq!(control.in_force(), (0, 0));
    assert_eq!(control.policy(7, &sealed(&policy(7, "net_null0"))), ToControl::Adopted { generation: 7 });

    let good = policy(8, "net_null0");
    let mut bent = good.clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    refused(control.policy(8, &sealed(&bent)), "checksum");
    refused(control.policy(8, &sealed(&[b'.'; 300])), "magic");
    refused(control.policy(8, &sealed(&good[..100])), "bytes");
    refused(control.policy(9, &sealed(&good)), "announced");
    refused(control.policy(7, &sealed(&policy(7, "net_null0"))), "newer");
    refused(control.policy(8, &sealed(&policy(8, "net_nonsense0"))), "net_nonsense0");

    // A segment that could still change under the workers.
    let open = Region::shared("unsealed", 4096).unwrap();
    control.link.send(&ToDataplane::Policy { generation: 8 }, &[open.fd()], Some(PATIENCE)).unwrap();
    refused(control.verdict(), "seal");

    assert_eq!(control.policy(8, &sealed(&good)), ToControl::Adopted { generation: 8 });
    assert!(dataplane.is_running());
    assert!(dataplane.terminate().success());
}

/// Control dies and another comes: the policy is in force, the same counters and domain table are handed over.
#[test]
fn control_comes_and_goes() {
    let dataplane = Dataplane::start();
    let first = dataplane.attach();
    let mut domains = DomainWriter::create(16).unwrap();
    domains.permit("foreign.example", false, None).unwrap();
    first
        .link
        .send(&ToDataplane::Domains { generation: 3 }, &[domains.region().fd()], Some(PATIENCE))
        .unwrap();
    assert_eq!(first.verdict(), ToControl::Adopted { generation: 3 });
    assert_eq!(first.policy(5, &sealed(&policy(5, "net_null0"))), ToControl::Adopted { generation: 5 });
    drop(first);
    drop(domains);

    let mut second = dataplane.attach();
    assert_eq!(second.in_force(), (5, 3));
    let mut fds = second.fds.drain(..);
    let counters = CountersReader::attach(Region::map_rw(fds.next().unwrap()).unwrap()).unwrap();
    assert_eq!(counters.sum(Counter::Gauge(Gauge::PolicyGeneration)), 5);
    let adopted = DomainWriter::adopt(Region::map_rw(fds.next().unwrap()).unwrap()).unwrap();
    assert_eq!(adopted.entries().map(|e| e.name).collect::<Vec<_>>(), ["foreign.example"]);
    let segment = Region::map_ro(fds.next().unwrap()).unwrap();
    assert_eq!(segment.bytes(), policy(5, "net_null0"));
    assert!(fds.next().is_none());
}

/// A second control takes over; the first one's connection ends.
#[test]
fn the_newer_control_takes_over() {
    let dataplane = Dataplane::start();
    let old = dataplane.attach();
    let new = dataplane.attach();
    assert!(old.is_hung_up_on());
    new.link.send(&ToDataplane::Ping { id: 4 }, &[], Some(PATIENCE)).unwrap();
    assert_eq!(new.verdict(), ToControl::Pong { id: 4 });
}

/// Nonsense on the socket, no hello, another layout: the connection ends or the answer says why; nothing else happens.
#[test]
fn nonsense_ends_the_connection() {
    let dataplane = Dataplane::start();
    let rude = LinkSocket::connect(dataplane.socket()).unwrap();
    rude.send(&ToDataplane::Ping { id: 1 }, &[], Some(PATIENCE)).unwrap();
    assert!(matches!(rude.recv::<ToControl>(Some(PATIENCE)), Err(fedgate_tables::link::LinkError::Closed)));

    let other = LinkSocket::connect(dataplane.socket()).unwrap();
    other.send(&ToDataplane::Hello { layout: 999, pid: 1 }, &[], Some(PATIENCE)).unwrap();
    refused(other.recv::<ToControl>(Some(PATIENCE)).unwrap().0, "layout");

    let garbled = LinkSocket::connect(dataplane.socket()).unwrap();
    rustix::net::send(&garbled, b"{\"Policy\":", rustix::net::SendFlags::empty()).unwrap();
    assert!(matches!(
        garbled.recv::<ToControl>(Some(PATIENCE)),
        Err(fedgate_tables::link::LinkError::Closed)
    ));
    assert_eq!(dataplane.attach().in_force(), (0, 0));
}

/// A control that never reads costs the dataplane nothing but a bounded queue, and the next one is served.
#[test]
fn a_control_that_hangs_is_only_its_own_trouble() {
    let mut dataplane = Dataplane::start();
    let stuck = dataplane.attach();
    assert_eq!(stuck.policy(5, &sealed(&policy(5, "net_null0"))), ToControl::Adopted { generation: 5 });
    let dump = |id| ToDataplane::Dump { id, what: What::Arp, filter: Filter::default() };
    let mut asked = 0;
    while asked < 5_000
        && stuck.link.send(&dump(asked), &[], Some(std::time::Duration::from_millis(300))).is_ok()
    {
        asked += 1;
    }
    assert!(dataplane.is_running());
    let next = dataplane.attach();
    assert_eq!(next.in_force().0, 5);
    next.link.send(&dump(9), &[], Some(PATIENCE)).unwrap();
    match next.verdict() {
        ToControl::Rows { id: 9, rows: Rows::Arp(rows), done: true } => assert_eq!(rows.len(), 1),
        other => panic!("not the listing that was asked for: {other:?}"),
    }
}
