// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages taken apart by a slow reader of RFC 7011, and how they are sent. By tshark: the daemon's tests.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use fedgate_tables::link::{Bound, Event, Packet5};
use proptest::prelude::*;

use super::Exporter;
use super::ipfix::{ALL, Body, MOST, Record};
use crate::config::model::Model;
use crate::config::model::logging::{Destination, Export};
use crate::operate::messages::flows::tests::{inbound, outbound};
use crate::operate::messages::tests::Known;

/// Elements with their values.
type Fields = Vec<(u16, u64)>;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A message: its sequence number, and the records by template, each a list of element and value. Templates must be those of [`ALL`].
fn read(message: &[u8]) -> (u64, Vec<(u16, Fields)>) {
    assert_eq!((number(&message[..2]), number(&message[2..4])), (10, message.len() as u64));
    let (mut rest, mut records) = (&message[16..], Vec::new());
    while !rest.is_empty() {
        let (id, len) = (number(&rest[..2]) as u16, number(&rest[2..4]) as usize);
        let (mut set, after) = (&rest[4..len], &rest[len..]);
        rest = after;
        if id == 2 {
            for (template, fields) in ALL {
                assert_eq!((number(&set[..2]), number(&set[2..4])), (template.into(), fields.len() as u64));
                for (at, (element, len)) in fields.iter().enumerate() {
                    let field = &set[4 + at * 4..8 + at * 4];
                    assert_eq!(
                        (number(&field[..2]), number(&field[2..])),
                        ((*element).into(), (*len).into())
                    );
                }
                set = &set[4 + fields.len() * 4..];
            }
            assert!(set.is_empty());
            continue;
        }
        let (_, fields) = ALL.iter().find(|(template, _)| *template == id).expect("a template");
        while !set.is_empty() {
            let mut record = Vec::new();
            for (element, len) in *fields {
                let (value, after) = set.split_at((*len).into());
                record.push((*element, number(value)));
                set = after;
            }
            records.push((id, record));
        }
    }
    (number(&message[8..12]), records)
}

fn record() -> impl Strategy<Value = Record> {
    let end = || (any::<u32>(), any::<u16>());
    prop_oneof![
        (any::<u64>(), any::<bool>(), any::<u8>(), (end(), end(), end(), end()), any::<[u8; 2]>()).prop_map(
            |(at, began, proto, (src, shown_src, dst, real_dst), interfaces)| Record::Session {
                at,
                began,
                proto,
                src,
                shown_src,
                dst,
                real_dst,
                interfaces
            }
        ),
        (any::<u64>(), any::<bool>(), any::<u8>(), any::<u32>(), any::<u32>(), any::<[u16; 2]>()).prop_map(
            |(at, given, proto, real, mapped, ports)| Record::Block { at, given, proto, real, mapped, ports }
        ),
        (any::<u64>(), any::<u32>(), any::<u8>()).prop_map(|(at, mapped, proto)| Record::Exhausted {
            at,
            mapped,
            proto
        }),
        (any::<u64>(), any::<u32>()).prop_map(|(at, real)| Record::Quota { at, real }),
    ]
}

/// The same by element number.
fn fields(record: &Record) -> Fields {
    match *record {
        Record::Session { at, began, proto, src, shown_src, dst, real_dst, interfaces } => vec![
            (323, at),
            (230, if began { 4 } else { 5 }),
            (4, proto.into()),
            (8, src.0.into()),
            (7, src.1.into()),
            (225, shown_src.0.into()),
            (227, shown_src.1.into()),
            (12, dst.0.into()),
            (11, dst.1.into()),
            (226, real_dst.0.into()),
            (228, real_dst.1.into()),
            (10, interfaces[0].into()),
            (14, interfaces[1].into()),
        ],
        Record::Block { at, given, proto, real, mapped, ports } => vec![
            (323, at),
            (230, if given { 16 } else { 17 }),
            (4, proto.into()),
            (8, real.into()),
            (225, mapped.into()),
            (361, ports[0].into()),
            (362, ports[1].into()),
        ],
        Record::Exhausted { at, mapped, proto } => {
            vec![(323, at), (230, 12), (4, proto.into()), (225, mapped.into())]
        }
        Record::Quota { at, real } => vec![(323, at), (230, 13), (466, 3), (8, real.into())],
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in proptest::collection::vec(record(), 0..60), templates: bool, sequence: u32) {
        let (mut body, mut taken) = (Body::default(), Vec::new());
        for record in records {
            if body.has_room(&record) {
                body.add(&record);
                taken.push(record);
            }
        }
        let message = body.message(templates, 1, sequence);
        prop_assert!(message.len() <= MOST);
        let (number, got) = read(&message);
        prop_assert_eq!(number, u64::from(sequence));
        let got: Vec<_> = got.into_iter().map(|(_, record)| record).collect();
        prop_assert_eq!(got, taken.iter().map(fields).collect::<Vec<_>>());
        prop_assert_eq!(body.records() as usize, taken.len());
    }
}

/// An ICMP error to one datagram fails the next send, which sent nothing: no record may go by that.
#[test]
fn one_error_does_not_lose_the_next_record() {
    let collector = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = collector.local_addr().unwrap();
    drop(collector);
    let mut socket = None;
    super::send(&mut socket, at, b"into the void").unwrap();
    let collector = UdpSocket::bind(at).unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    super::send(&mut socket, at, b"a record").unwrap();
    let mut datagram = [0; 100];
    let len = collector.recv(&mut datagram).unwrap();
    assert_eq!(&datagram[..len], b"a record");
}

#[test]
fn events_of_nat_and_no_others_are_sent() {
    let collector = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let at = collector.local_addr().unwrap();
    let destinations = [Destination { interface: "m".into(), at }].into();
    let model = Model { export: Export { destinations, template_minutes: None }, ..Model::default() };
    let exporter = Exporter::default();
    exporter.note(&Event::Flows { notes: vec![inbound()] }, &Known);
    exporter.adopt(&model);
    let receive = || {
        let mut datagram = [0; 2000];
        let len = collector.recv(&mut datagram).unwrap();
        read(&datagram[..len])
    };
    // Templates go before there is anything to say.
    exporter.flush();
    assert_eq!(receive(), (0, vec![]));
    let plain = fedgate_tables::link::FlowNote { dst: inbound().real_dst, ..inbound() };
    exporter.note(&Event::Flows { notes: vec![inbound(), plain, outbound()] }, &Known);
    let packet = Packet5 { proto: 17, src: inbound().src.0, ..Packet5::default() };
    exporter.note(&Event::Limit { bound: Bound::Pool { rule: 0 }, packet }, &Known);
    exporter.note(&Event::Limit { bound: Bound::Blocks, packet }, &Known);
    exporter.note(&Event::Limit { bound: Bound::Conns, packet }, &Known);
    exporter.flush();
    let (sequence, records) = receive();
    assert_eq!(sequence, 0);
    assert_eq!(records.iter().map(|(template, _)| *template).collect::<Vec<_>>(), [256, 256, 258, 259]);
    let value = |record: usize, element| records[record].1.iter().find(|(e, _)| *e == element).unwrap().1;
    // Inbound: the public address and port become the server's.
    assert_eq!([value(0, 230), value(0, 12), value(0, 11)], [4, 0xcb00_7103, 5061]);
    assert_eq!([value(0, 226), value(0, 228)], [0x0a0a_000b, 5062]);
    assert_eq!([value(1, 8), value(1, 225), value(1, 227)], [0x0a0a_0014, 0xcb00_7102, 1027]);
    assert_eq!([value(2, 230), value(2, 225)], [12, 0xcb00_7103]);
    assert_eq!(value(3, 8), 0xc633_6414);
    // Many at once come in several messages, none too long, none missing.
    exporter.note(&Event::Flows { notes: vec![inbound(); 64] }, &Known);
    exporter.flush();
    let (mut records, mut sequences) = (0, Vec::new());
    while records < 64 {
        let (sequence, got) = receive();
        sequences.push(sequence - 4);
        assert_eq!(records as u64, sequence - 4);
        records += got.len();
    }
    assert!(sequences.len() > 1 && records == 64);
    let feed = exporter.feeds().remove(0);
    assert_eq!((feed.records, feed.lost, feed.packets), (68, 0, 2 + sequences.len() as u64));
}
