// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edits of any places of any message: what is left is the message with the good ones made, octet for octet, by a slow second way,
//! and a body whose length has changed still has the length that its header says. The first octet is the number of edits, four
//! octets are one, the rest is the message. Fuzzed by `fuzz_targets`, replayed by `tests/fuzzed.rs`.

use fedgate_sip::edit::{self, Edit};
use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Message;

/// Holds for any octets.
pub fn check(data: &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((places, text)) = rest.split_at_checked(4 * usize::from(count % 16)) else { return };
    let Ok(message) = Message::scan(text) else { return };
    let head = message.head().len();
    let edits: Vec<Edit> = places
        .chunks_exact(4)
        .map(|place| {
            let at = usize::from(u16::from_be_bytes([place[0], place[1]]));
            Edit { at: at..at + usize::from(place[2]), text: "x".repeat(usize::from(place[3] % 32)) }
        })
        .collect();
    let after = edit::apply(&message, edits.clone());

    // In order; left out is what begins before another's end, touches the length, or lies across the end of the head.
    let length = message.headers().find(|header| header.id == HeaderName::ContentLength);
    let length = length.map(|header| header.value_start..header.value_start + header.value.len());
    let mut sorted = edits;
    sorted.sort_by_key(|edit| edit.at.start);
    let mut made: Vec<Edit> = Vec::new();
    for edit in sorted {
        let after = edit.at.start >= made.last().map_or(0, |last| last.at.end) && edit.at.end <= text.len();
        let off = length.as_ref().is_none_or(|at| edit.at.end < at.start || edit.at.start > at.end);
        if after && off && (edit.at.end <= head || edit.at.start >= head) {
            made.push(edit);
        }
    }
    let grown: isize = made
        .iter()
        .filter(|edit| edit.at.start >= head)
        .map(|edit| edit.text.len() as isize - edit.at.len() as isize)
        .sum();
    if let Some(at) = length.filter(|_| grown != 0) {
        let now = (message.body.len() as isize + grown).to_string();
        let place = made.iter().position(|edit| edit.at.start >= at.end).unwrap_or(made.len());
        made.insert(place, Edit { at, text: now });
    }
    let mut slow = text.to_vec();
    for edit in made.iter().rev() {
        slow.splice(edit.at.clone(), edit.text.bytes());
    }
    assert_eq!(String::from_utf8_lossy(&after), String::from_utf8_lossy(&slow));
}
