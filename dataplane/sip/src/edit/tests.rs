// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edits against a slow copy of the message's text, and the length that follows the body.

use super::*;
use proptest::prelude::*;

fn message(body: &str) -> String {
    format!(
        "MESSAGE sip:b@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: <sip:a@f.example>;tag=1\r\n\
         To: <sip:b@local.example>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nl:  {}\r\nX: y\r\n\r\n{body}",
        body.len()
    )
}

fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    let scanned = Message::scan(text.as_bytes()).expect("well formed");
    let edits = edits.iter().map(|(old, new)| {
        let at = text.find(old).expect("it stands there");
        Edit { at: at..at + old.len(), text: (*new).to_owned() }
    });
    String::from_utf8(apply(&scanned, edits.collect())).expect("text")
}

#[test]
fn nothing_is_nothing() {
    let text = message("hello");
    assert_eq!(edited(&text, &[]), text);
}

#[test]
fn head_and_body_change_and_the_length_with_it() {
    let text = message("c=IN IP4 10.0.0.5\r\n");
    let after = edited(&text, &[("10.0.0.5", "192.0.2.5"), ("X: y\r\n", "")]);
    assert_eq!(after, message("c=IN IP4 192.0.2.5\r\n").replace("X: y\r\n", ""));
    assert!(after.contains("l:  20\r\n"));
    Message::scan(after.as_bytes()).expect("still well formed");
}

#[test]
fn of_two_that_overlap_the_first_counts() {
    let text = message("");
    assert_eq!(edited(&text, &[("X: y\r\n", "Z: z\r\n"), (": y", "")]), text.replace("X: y", "Z: z"));
}

proptest! {
    #[test]
    fn as_a_slow_copy_does(body in "[a-z]{0,40}", places in prop::collection::vec((0usize..400, 0usize..9, "[a-z]{0,5}"), 0..8)) {
        let text = message(&body);
        let head = text.find("\r\n\r\n").expect("an end") + 4;
        let scanned = Message::scan(text.as_bytes()).expect("well formed");
        let length = text.find("l:  ").expect("a length") + 4;
        let length = length..length + body.len().to_string().len();
        // Sorted, apart, clear of the length, and not over the end of the head.
        let mut edits: Vec<Edit> = Vec::new();
        let mut places = places;
        places.sort();
        for (at, len, new) in places {
            let end = (at + len).min(text.len());
            let apart = edits.last().is_none_or(|last| last.at.end <= at);
            let off = at > length.end || end < length.start;
            let across = at < head && end > head;
            if at <= end && apart && off && !across {
                edits.push(Edit { at: at..end, text: new });
            }
        }
        let mut slow = text.clone();
        for edit in edits.iter().rev() {
            slow.replace_range(edit.at.clone(), &edit.text);
        }
        let grown: isize = edits.iter().filter(|e| e.at.start >= head).map(|e| e.text.len() as isize - e.at.len() as isize).sum();
        let now = (body.len() as isize + grown).to_string();
        if grown != 0 {
            let shift: isize = edits.iter().filter(|e| e.at.start < length.start || (e.at.is_empty() && e.at.start == length.start)).map(|e| e.text.len() as isize - e.at.len() as isize).sum();
            let start = (length.start as isize + shift) as usize;
            slow.replace_range(start..start + length.len(), &now);
        }
        prop_assert_eq!(String::from_utf8(apply(&scanned, edits)).expect("text"), slow);
    }
}
