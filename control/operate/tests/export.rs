// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT events from the dataplane's telling to what tshark reads in the datagrams.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use fedgate_tables::link::{Event, FlowEnd, FlowNote, Over};

use super::{CONFIG, Lab, wait};
use crate::operate::messages::flows::tests::{inbound, outbound};

/// Datagrams as a capture file of raw IPv4 (LINKTYPE_RAW), sent to IPFIX's port.
fn pcap(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for datagram in datagrams {
        let len = 28 + datagram.len();
        for word in [0, 0, len as u32, len as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&[0x45, 0]);
        file.extend_from_slice(&(len as u16).to_be_bytes());
        file.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        file.extend_from_slice(&4739u16.to_be_bytes());
        file.extend_from_slice(&4739u16.to_be_bytes());
        file.extend_from_slice(&(8 + datagram.len() as u16).to_be_bytes());
        file.extend_from_slice(&[0, 0]);
        file.extend_from_slice(datagram);
    }
    file
}

#[test]
fn tshark_reads_the_nat_events() {
    let lab = Lab::new();
    let collector = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = collector.local_addr().unwrap().port();
    let line = format!("flow-export destination m 127.0.0.1 {port}\n");
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{line}")).unwrap();
    let fake = lab.fake();
    let _control = lab.control();
    let flags = fake.state().policy.as_ref().unwrap().view().globals().flags;
    assert_ne!(flags & fedgate_tables::policy::TELL_FLOWS, 0, "the dataplane is asked to tell");
    let over = Some(FlowEnd { seconds: 5, bytes: 100, over: Over::Fin });
    let block = Event::PortBlock {
        given: true,
        proto: 6,
        real_if: 1,
        real: 0x0a0a_000b,
        mapped_if: 0,
        mapped: 0xcb00_7103,
        first: 1024,
        last: 1535,
        share: 1,
    };
    let flows = Event::Flows { notes: vec![inbound(), outbound(), FlowNote { end: over, ..inbound() }] };
    fake.state().events.extend([flows, block]);
    wait("they are sent", || {
        lab.good("show flow-export counters").contains("records sent                            4")
    });
    // What is sent over the loopback is there.
    collector.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2000];
    let datagrams: Vec<Vec<u8>> =
        std::iter::from_fn(|| collector.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect();
    let path = lab.path("ipfix.pcap");
    std::fs::File::create(&path).unwrap().write_all(&pcap(&datagrams)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-d", "udp.port==4739,cflow", "-T", "json"]);
    let output = tshark.output().expect("tshark is there: scripts/setup installs it");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("_ws.malformed"), "{said}");
    for value in ["10.10.0.11", "203.0.113.3", "203.0.113.2", "198.51.100.20", "1027", "5062", "1024", "1535"]
    {
        assert!(said.contains(&format!("\"{value}\"")), "{value}:\n{said}");
    }
}
