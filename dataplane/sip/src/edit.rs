// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes to a message that crosses: places of its bytes, and what stands there instead.
//!
//! A message is never taken apart and put together again. Inspection lists the ranges it wants changed, [`apply`] copies
//! everything else byte for byte, and where the body's length changes the Content-Length is changed with it. What was
//! scanned before is scanned alike after, as long as each replacement is good where it stands; that is the business of
//! whoever makes the edit.
//!
//! Off the common path: called for the messages that have something to change. Allocates.

use crate::headers::HeaderName;
use crate::message::Message;
use std::ops::Range;

/// One change: what stands instead of these bytes of the message. Empty text cuts them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Octets from the start of the message.
    pub at: Range<usize>,
    /// What stands there instead.
    pub text: String,
}

/// The message with the changes made. Edits may come in any order. Left out are, of two that overlap, the later one; what touches the
/// value of Content-Length, which is nobody's to change; and what begins in the head and ends in the body.
pub fn apply(message: &Message<'_>, mut edits: Vec<Edit>) -> Vec<u8> {
    let (head, body) = (message.head().as_bytes(), message.body);
    edits.sort_by_key(|edit| edit.at.start);
    let length = message.headers().find(|header| header.id == HeaderName::ContentLength);
    let length = length.map(|header| header.value_start..header.value_start + header.value.len());
    let mut end = 0;
    edits.retain(|Edit { at, .. }| {
        let within = at.start <= at.end && at.end <= head.len() + body.len();
        let of_one = at.end <= head.len() || at.start >= head.len();
        let off = length.as_ref().is_none_or(|length| at.end < length.start || at.start > length.end);
        let good = at.start >= end && within && of_one && off;
        end = if good { at.end } else { end };
        good
    });
    let in_body = |edit: &&Edit| edit.at.start >= head.len();
    let shorter: usize = edits.iter().filter(in_body).map(|edit| edit.at.len()).sum();
    let longer: usize = edits.iter().filter(in_body).map(|edit| edit.text.len()).sum();
    if shorter != longer
        && let Some(at) = length
    {
        edits.push(Edit { at, text: (body.len() + longer - shorter).to_string() });
        edits.sort_by_key(|edit| edit.at.start);
    }
    let grown: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = Vec::with_capacity(head.len() + body.len() + grown);
    let mut done = 0;
    for edit in &edits {
        copy(&mut out, message, done..edit.at.start);
        out.extend_from_slice(edit.text.as_bytes());
        done = edit.at.end;
    }
    copy(&mut out, message, done..head.len() + body.len());
    out
}

/// Copies a range of the message, of whose bytes head and body are kept apart.
fn copy(out: &mut Vec<u8>, message: &Message<'_>, range: Range<usize>) {
    let (head, body) = (message.head().as_bytes(), message.body);
    let in_body = |at: usize| at.saturating_sub(head.len());
    out.extend_from_slice(&head[range.start.min(head.len())..range.end.min(head.len())]);
    out.extend_from_slice(&body[in_body(range.start)..in_body(range.end)]);
}

#[cfg(test)]
mod tests;
