// SPDX-License-Identifier: MIT OR Apache-2.0
//! A capture as a pcapng file: an interface block a name, a packet block a frame, with what became of it in its comment.
//!
//! `pcap-file` writes the blocks. Wireshark shows the comments, and finds them (`frame.comment`).

use fedgate_tables::capture::Seen;
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use std::borrow::Cow;
use std::time::Duration;

use super::{Capture, Captured};

/// Directions in the flags of a packet block (draft-ietf-opsawg-pcapng 4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// All of it, in memory: a capture is bounded.
///
/// # Errors
/// What the writer says.
pub fn pcapng(capture: &Capture, lost: u64) -> Result<Vec<u8>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("pcapng: {why}");
    let mut writer = PcapNgWriter::new(Vec::new()).map_err(|why| wrong(&why))?;
    let mut names: Vec<&str> = Vec::new();
    for frame in &capture.frames {
        if !names.contains(&frame.interface.as_str()) {
            names.push(&frame.interface);
        }
    }
    for name in &names {
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: capture.spec.length.into(),
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfDescription(Cow::Owned(format!(
                    "capture {} {}; {lost} lost in all",
                    capture.name, capture.words
                ))),
            ],
        };
        writer.write_block(&block.into_block()).map_err(|why| wrong(&why))?;
    }
    for frame in &capture.frames {
        let interface = names.iter().position(|name| *name == frame.interface).unwrap_or(0);
        let mut options: Vec<EnhancedPacketOption<'_>> = match frame.record.seen {
            Seen::In => vec![EnhancedPacketOption::Flags(INBOUND)],
            Seen::Out => vec![EnhancedPacketOption::Flags(OUTBOUND)],
            Seen::Dropped => vec![],
        };
        let comment = comment(frame);
        if !comment.is_empty() {
            options.push(EnhancedPacketOption::Common(CommonOption::Comment(Cow::Owned(comment))));
        }
        let block = EnhancedPacketBlock {
            interface_id: interface as u32,
            timestamp: Duration::from_micros(frame.record.micros),
            original_len: u32::from(frame.record.len).max(frame.bytes.len() as u32),
            data: Cow::Borrowed(&frame.bytes),
            options,
        };
        writer.write_block(&block.into_block()).map_err(|why| wrong(&why))?;
    }
    Ok(writer.into_inner())
}

/// What became of a frame, and how its packet arrives and leaves.
pub fn comment(frame: &Captured) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = frame.record.reason {
        parts.push(format!("Drop-reason: ({}) {}", reason.name(), reason.text()));
    }
    if let Some(ends) = frame.record.sockets() {
        let [src, dst, src_out, dst_out] = ends.map(|end| format!("{}/{}", end.addr, end.port));
        parts.push(match ends[..2] == ends[2..] {
            true => format!("{src} -> {dst}, not translated"),
            false => format!("arrives {src} -> {dst}, leaves {src_out} -> {dst_out}"),
        });
    }
    parts.join("; ")
}
