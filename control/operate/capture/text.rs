// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures and their frames as `show capture` prints them: the ASA's lines.

use std::fmt::Write;

use fedgate_tables::capture::Seen;
use fedgate_tables::link::Source;
use fedgate_wire::arp::Operation;
use fedgate_wire::{Arp, Kind, TcpFlags, ethernet, parse, parse6, proto};
use serde_json::json;

use super::order::Layout;
use super::{Capture, Captured, file};
use crate::config::types::Mac;

/// A capture in a line, and as JSON.
pub fn head(capture: &Capture) -> (String, serde_json::Value) {
    let state = if capture.full { "Buffer Full" } else { "Capturing" };
    let kind = match capture.spec.source {
        Source::Interface(_) => "type raw-data ",
        Source::Drops(_) => "",
    };
    let line = format!("capture {} {kind}{} [{state} - {} bytes]", capture.name, capture.words, capture.held);
    let json = json!({
        "capture": capture.name, "command": capture.words, "full": capture.full, "packets": capture.frames.len(),
        "bytes": capture.held, "buffer": capture.buffer, "circular": capture.circular,
    });
    (line, json)
}

/// A frame as it is shown.
pub fn frame(number: u32, frame: &Captured, layout: Layout) -> String {
    let mut line = format!("{number:4}: {} ", clock(frame.record.micros));
    let [dst, src] =
        [0, 6].map(|at| frame.bytes.get(at..at + 6).and_then(|mac| mac.first_chunk::<6>()).map(|m| Mac(*m)));
    if let (Layout::Detail, Some(src), Some(dst)) = (layout, src, dst) {
        let ethertype = frame.bytes.get(12..14).map_or(0, |t| u16::from_be_bytes([t[0], t[1]]));
        let _ = write!(line, "{src} {dst} {ethertype:#06x} Length: {}\n      ", frame.record.len);
    } else {
        line.push_str("      ");
    }
    line.push_str(&packet(frame));
    if layout == Layout::Detail
        && let Some(ttl) = ttl(&frame.bytes)
    {
        let _ = write!(line, " (ttl {ttl})");
    }
    let way = match frame.record.seen {
        Seen::In => "in",
        Seen::Out => "out",
        Seen::Dropped => "",
    };
    let comment = file::comment(frame);
    if !comment.is_empty() && (layout != Layout::Line || frame.record.reason.is_some()) {
        let _ = write!(line, " {comment}");
    }
    if layout == Layout::Detail && !way.is_empty() {
        let _ = write!(line, " [{way} {}]", frame.interface);
    }
    if layout == Layout::Dump {
        for (at, chunk) in frame.bytes.chunks(16).enumerate() {
            let words =
                chunk.chunks(2).map(|pair| pair.iter().map(|b| format!("{b:02x}")).collect::<String>());
            let words: Vec<String> = words.collect();
            let text: String =
                chunk.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect();
            let _ = write!(line, "\n0x{:04x}   {:<39}      {text}", at * 16, words.join(" "));
        }
    }
    line
}

/// The same as JSON.
pub fn json(number: u32, frame: &Captured) -> serde_json::Value {
    let record = &frame.record;
    let ends = record.sockets().map(|ends| ends.map(|end| format!("{}/{}", end.addr, end.port)));
    json!({
        "packet": number, "micros": record.micros, "length": record.len, "interface": frame.interface,
        "direction": match record.seen { Seen::In => "in", Seen::Out => "out", Seen::Dropped => "dropped" },
        "drop_reason": record.reason.map(|reason| reason.name()), "summary": packet(frame),
        "arrives": ends.as_ref().map(|ends| &ends[..2]), "leaves": ends.as_ref().map(|ends| &ends[2..]),
        "bytes": frame.bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(),
    })
}

/// Time of day, UTC.
fn clock(micros: u64) -> String {
    let (seconds, micros) = (micros / 1_000_000 % 86_400, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn ttl(frame: &[u8]) -> Option<u8> {
    match frame.get(12..14)? {
        [8, 0] => frame.get(22).copied(),
        [0x86, 0xdd] => frame.get(21).copied(),
        _ => None,
    }
}

/// A frame in the ASA's words. Of one that was cut the rest counts as zeros.
fn packet(frame: &Captured) -> String {
    let mut whole = frame.bytes.clone();
    whole.resize(whole.len().max(frame.record.len.into()), 0);
    let frame = &whole[..];
    if let Ok(parsed) = parse6(frame) {
        let key = parsed.tuple;
        let [src, dst] = [key.src, key.dst].map(std::net::Ipv6Addr::from);
        let rest = segment(
            frame,
            parsed.l4.into(),
            key.proto,
            parsed.tcp_flags,
            (parsed.icmp_type, parsed.icmp_code),
        );
        return match key.proto {
            proto::TCP | proto::UDP => format!("{src}.{} > {dst}.{}: {rest}", key.sport, key.dport),
            _ => format!("{src} > {dst}: {rest}"),
        };
    }
    let parsed = match parse(frame) {
        Ok(parsed) if parsed.kind == Kind::Arp => return arp(frame),
        Ok(parsed) => parsed,
        Err(_) => return format!("{} bytes", frame.len()),
    };
    let key = parsed.tuple;
    let [src, dst] = [key.src, key.dst].map(std::net::Ipv4Addr::from);
    let rest =
        segment(frame, parsed.l4.into(), key.proto, parsed.tcp_flags, (parsed.icmp_type, parsed.icmp_code));
    match key.proto {
        proto::TCP | proto::UDP => format!("{src}.{} > {dst}.{}: {rest}", key.sport, key.dport),
        _ => format!("{src} > {dst}: {rest}"),
    }
}

fn arp(frame: &[u8]) -> String {
    let Some(Ok(arp)) = frame.get(ethernet::HEADER_LEN..).map(Arp::new_checked) else { return "arp".into() };
    let [sender, target] = [arp.sender_ip(), arp.target_ip()].map(std::net::Ipv4Addr::from);
    match arp.operation() {
        Operation::Request => format!("arp who-has {target} tell {sender}"),
        Operation::Reply => format!("arp reply {sender} is-at {}", Mac(arp.sender_mac().0)),
    }
}

fn segment(frame: &[u8], l4: usize, proto: u8, flags: TcpFlags, icmp: (u8, u8)) -> String {
    let word = |at: usize| {
        frame.get(l4 + at..l4 + at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    };
    let half = |at: usize| frame.get(l4 + at..l4 + at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    match proto {
        proto::TCP => {
            let names =
                [(TcpFlags::SYN, 'S'), (TcpFlags::FIN, 'F'), (TcpFlags::RST, 'R'), (TcpFlags::PSH, 'P')];
            let mut letters: String =
                names.iter().filter(|(flag, _)| flags.0 & flag.0 != 0).map(|(_, letter)| *letter).collect();
            if letters.is_empty() {
                letters.push('.');
            }
            let ack =
                if flags.0 & TcpFlags::ACK.0 != 0 { format!(" ack {}", word(8)) } else { String::new() };
            format!("{letters} {}{ack} win {}", word(4), half(14))
        }
        proto::UDP => format!("udp {}", half(4).saturating_sub(8)),
        proto::ICMP | proto::ICMPV6 => format!("icmp: type {}, code {}", icmp.0, icmp.1),
        other => format!("ip-proto-{other}"),
    }
}
