// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scanner takes any octets; what it accepts can be answered, and the answer is well formed and says the same.
//! Fuzzed by `fuzz_targets`, replayed by `tests/fuzzed.rs`.
use fedgate_sip::answer;
use fedgate_sip::message::Message;

/// Holds for any octets.
pub fn check(data: &[u8]) {
    let _ = answer::compose_unread(data, 400, "Bad Request", "t");
    let Ok(message) = Message::scan(data) else { return };
    for header in message.headers() {
        assert_eq!(&data[header.value_start..][..header.value.len()], header.value.as_bytes());
    }
    match answer::compose(&message, 403, "Forbidden", "t") {
        Err(_) => assert!(!message.is_answerable()),
        Ok(octets) => {
            let answer = Message::scan(&octets).expect("an answer is well formed");
            assert_eq!(
                (answer.call_id, answer.cseq, answer.from),
                (message.call_id, message.cseq, message.from)
            );
        }
    }
}
