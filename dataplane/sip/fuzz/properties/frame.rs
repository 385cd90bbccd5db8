// SPDX-License-Identifier: MIT OR Apache-2.0
//! The framer gives the same frames for any chunking. The first octet is the size of the chunks; the rest is the stream.
//! Fuzzed by `fuzz_targets`, replayed by `tests/fuzzed.rs`.
use fedgate_sip::frame::{Frame, Framer, Limits};

const TIGHT: Limits =
    Limits { start_line: 80, header_line: 200, head: 1000, headers: 20, vias: 5, body: 300 };

fn frames(stream: &[u8], chunk: usize) -> (Vec<Frame>, usize) {
    let mut framer = Framer::new(TIGHT);
    let (mut at, mut end, mut out) = (0, 0, Vec::new());
    loop {
        match framer.next(&stream[at..end]) {
            Frame::Incomplete { needed_at_least } => {
                assert!(needed_at_least > end - at && needed_at_least <= TIGHT.max_frame());
                if end == stream.len() {
                    return (out, at);
                }
                end = stream.len().min(end + chunk);
            }
            frame => {
                out.push(frame);
                match frame {
                    Frame::KeepAlive { len } => at += len,
                    Frame::Message { head_len, body_len } => at += head_len + body_len,
                    Frame::Bad(_) | Frame::Incomplete { .. } => return (out, at),
                }
            }
        }
    }
}

/// Holds for any octets.
pub fn check(data: &[u8]) {
    let Some((&chunk, stream)) = data.split_first() else { return };
    assert_eq!(frames(stream, usize::from(chunk) + 1), frames(stream, stream.len().max(1)));
}
