// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often a message that comes in parts is looked at.

use super::*;

/// However long a message is, it is looked at a few times.
#[test]
fn a_long_head_is_not_read_by_the_byte() {
    let filler = "X: 345678\r\n".repeat(150).replace("345678", &"x".repeat(400));
    let text =
        format!("MESSAGE sip:a@b SIP/2.0\r\n{filler}Content-Length: 60000\r\n\r\n{}", "y".repeat(60_000));
    let (mut framer, mut head, mut looks) = (Framer::new(LIMITS), Head::default(), 0);
    loop {
        looks += 1;
        let have = text.len().min(head.allowed());
        match framer.next(&text.as_bytes()[..have]) {
            Frame::Incomplete { needed_at_least } => {
                head = head.still_unread(needed_at_least, false, Micros(1));
            }
            frame => {
                break assert!(matches!(frame, Frame::Message { body_len: 60_000, .. }), "{frame:?}");
            }
        }
    }
    assert!(looks <= 2 + text.len() / READ_AHEAD, "{looks}");
    assert!(head.allowed() <= MESSAGE_BYTES + READ_AHEAD);
}
