// SPDX-License-Identifier: MIT OR Apache-2.0
//! `capture` as an operator has it: what the dataplane is told, what is kept of what it gives, and the file that tshark reads.

use super::*;
use fedgate_tables::capture::{Record, Ring, Seen};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{CaptureEnd, CaptureMatch, CaptureSpec, Source};

/// Waits until something is so.
fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn told(fake: &Fake) -> Vec<CaptureSpec> {
    fake.state().captures.iter().flatten().cloned().collect()
}

/// An IPv4 UDP datagram of `len` bytes in a frame.
fn frame(len: usize) -> Vec<u8> {
    let mut ip = vec![0; len];
    ip[..2].copy_from_slice(&[0x45, 0]);
    ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..20].copy_from_slice(&[10, 10, 0, 5, 198, 51, 100, 9]);
    ip[20..28].copy_from_slice(&[0x10, 0, 0, 53, 0, len as u8 - 20, 0, 0]);
    let sum = fedgate_wire::checksum::of(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &ip].concat()
}

fn record(captures: u8) -> Record {
    let [real, mapped, peer] = [0x0a0a_0005, 0xcb00_7102, 0xc633_6409];
    Record {
        captures,
        seen: Seen::In,
        ifindex: 1,
        reason: None,
        headers: 42,
        len: 114,
        micros: 1_700_000_000_123_456,
        translation: Some([(real, 4096), (peer, 53), (mapped, 1024), (peer, 53)]),
    }
}

/// As a worker would.
fn put(fake: &Fake, record: &Record) {
    let state = fake.state();
    let rings = state.rings.as_ref().expect("memory for captures");
    assert!(Ring::of(rings.atomics(), 0).unwrap().put(record, &frame(100)));
}

#[test]
fn the_dataplane_is_told_what_to_capture() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("capture one interface outside match tcp host 198.51.100.9 10.10.0.0 255.255.255.0 eq 5061 headers-only");
    lab.good("capture two type asp-drop acl-drop packet-length 100 circular-buffer buffer 2000");
    lab.good("capture three type asp-drop");
    wait("three captures", || told(&fake).len() == 3);
    let end = |net: &str, len, ports| CaptureEnd {
        net: Some((net.parse::<std::net::IpAddr>().unwrap().into(), len)),
        ports,
    };
    let matches = CaptureMatch {
        proto: Some(6),
        ends: [end("198.51.100.9", 32, None), end("10.10.0.0", 24, Some([5061; 2]))],
    };
    let all = told(&fake);
    let outside = Source::Interface("outside".into());
    assert_eq!(
        all[0],
        CaptureSpec { source: outside, matches: Some(matches), length: 1518, headers_only: true }
    );
    assert_eq!((&all[1].source, all[1].length), (&Source::Drops(Some(DropReason::AclDrop)), 100));
    assert_eq!(all[2].source, Source::Drops(None));
    assert!(lab.good("show capture").starts_with(
        "capture one type raw-data interface outside match tcp host 198.51.100.9 10.10.0.0 255.255.255.0 eq 5061 headers-only \
         [Capturing - 0 bytes]\ncapture two type asp-drop acl-drop"
    ));
    lab.good("no capture two");
    wait("two captures", || told(&fake).len() == 2);
    // Another dataplane is told as well.
    fake.state().captures.clear();
    fake.state().hang_up = true;
    wait("told anew", || told(&fake).len() == 2);
    lab.good("no capture one");
    lab.good("no capture three");
    wait("none", || told(&fake).is_empty());
    for (typed, code, said) in [
        ("capture x interface dmz", 2, "there is no complete interface"),
        ("capture x type asp-drop bogus", 2, "bogus"),
        ("capture x interface outside match udp any eq 70000 any", 2, "not a port"),
        ("capture x interface outside buffer 10", 2, "1534"),
        ("no capture x", 1, "Capture <x> does not exist"),
        ("show capture x", 1, "Capture <x> does not exist"),
        ("copy /pcap capture:x /tmp/x", 1, "Capture <x> does not exist"),
        ("copy /pcap capture:x relative", 2, "absolute"),
    ] {
        let (got, _, err) = lab.cli(typed);
        assert!(got == code && err.contains(said), "{typed}: {got} {err}");
    }
}

#[test]
fn frames_are_kept_within_bounds_shown_and_written() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("capture all interface inside");
    lab.good("capture few interface inside buffer 2000 circular-buffer");
    lab.good("capture full interface inside buffer 2000 headers-only");
    wait("three captures", || told(&fake).len() == 3);
    for n in 0..50u64 {
        put(&fake, &Record { micros: record(7).micros + n, ..record(7) });
    }
    put(
        &fake,
        &Record { seen: Seen::Dropped, reason: Some(DropReason::AclDrop), translation: None, ..record(1) },
    );
    wait("a full buffer ends its capture", || told(&fake).len() == 2);
    let shown = |name: &str| lab.good(&format!("show capture {name}"));
    assert!(
        shown("all").starts_with(
            "\n51 packets captured\n\n   1: 22:13:20.123456       10.10.0.5.4096 > 198.51.100.9.53: udp 72\n"
        ),
        "{}",
        shown("all")
    );
    assert!(
        shown("all")
            .contains("Drop-reason: (acl-drop) Flow is denied by configured rule\n51 packets shown\n")
    );
    let kept = 2000 / (114 + 128);
    assert!(
        shown("few").contains(&format!("{kept} packets captured")) && shown("few").contains("123505 "),
        "{}",
        shown("few")
    );
    assert!(shown("full").contains(&format!("{} packets captured", 2000 / (42 + 128))), "{}", shown("full"));
    let heads = lab.good("show capture");
    assert!(
        heads.contains("headers-only [Buffer Full - ")
            && heads.contains("capture all type raw-data interface inside [Capturing - "),
        "{heads}"
    );
    let detail = lab.good("show capture all detail");
    assert!(detail.contains("0200.0000.0002 0200.0000.0001 0x0800 Length: 114\n      10.10.0.5.4096 > 198.51.100.9.53: udp 72 (ttl 64) arrives 10.10.0.5/4096 -> 198.51.100.9/53, leaves 203.0.113.2/1024 -> 198.51.100.9/53 [in inside]"), "{detail}");
    assert!(
        lab.good("show capture full dump").contains("\n0x0000   0200 0000 0001 0200 0000 0002 0800 4500")
    );
    let file = lab.path("all.pcapng");
    assert_eq!(lab.good(&format!("copy /pcap capture:all {}", file.display())), "51 packets copied\n");
    lab.good("clear capture full");
    wait("it goes on", || told(&fake).len() == 3);

    // tshark reads the file, comments and all.
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        "udp.dstport",
        "-e",
        "frame.comment",
        "-e",
        "frame.interface_name",
    ];
    let read = std::process::Command::new("tshark").arg("-r").arg(&file).args(fields).output();
    let read = read.expect("tshark, which scripts/setup installs");
    let text = String::from_utf8_lossy(&read.stdout);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 51, "{text}");
    assert_eq!(
        lines[0],
        "1\t53\tarrives 10.10.0.5/4096 -> 198.51.100.9/53, leaves 203.0.113.2/1024 -> 198.51.100.9/53\tinside"
    );
    assert!(lines[50].contains("Drop-reason: (acl-drop) Flow is denied by configured rule"), "{}", lines[50]);
}
