// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames, limits and Content-Length rules (attack rows 1-10), and that chunking changes nothing.

use super::*;
use proptest::prelude::*;

/// All frames of `stream` fed in pieces that end at `cuts`, and what is left unconsumed.
fn frames(stream: &[u8], limits: Limits, cuts: impl Iterator<Item = usize>) -> (Vec<Frame>, usize) {
    let mut framer = Framer::new(limits);
    let (mut consumed, mut out) = (0, Vec::new());
    for end in cuts {
        loop {
            let frame = framer.next(&stream[consumed..end]);
            match frame {
                Frame::Incomplete { needed_at_least } => {
                    assert!(needed_at_least > end - consumed);
                    break;
                }
                Frame::KeepAlive { len } => consumed += len,
                Frame::Message { head_len, body_len } => consumed += head_len + body_len,
                Frame::Bad(_) => {
                    out.push(frame);
                    assert_eq!(framer.next(&stream[consumed..end]), frame, "bad is final");
                    return (out, consumed);
                }
            }
            assert!(consumed <= end);
            out.push(frame);
        }
    }
    (out, consumed)
}

fn whole(stream: &[u8]) -> Vec<Frame> {
    frames(stream, Limits::DEFAULT, std::iter::once(stream.len())).0
}

fn fault(stream: &[u8]) -> Option<FrameFault> {
    match whole(stream).pop() {
        Some(Frame::Bad(error)) => Some(error.fault),
        _ => None,
    }
}

fn with_length(lines: &str) -> Vec<u8> {
    format!("OPTIONS sip:a@b SIP/2.0\r\n{lines}\r\n\r\nhello").into_bytes()
}

#[test]
fn one_message_with_a_body() {
    let stream = with_length("Content-Length: 5");
    assert_eq!(whole(&stream), [Frame::Message { head_len: stream.len() - 5, body_len: 5 }]);
}

#[test]
fn legal_ways_to_say_the_length() {
    for line in [
        "l:5",
        "L : 5",
        "CONTENT-LENGTH\t:\t0005  ",
        "Content-Length   : 5",
        "Content-Length: 5\r\nSubject: x\r\n length: 3\r\n Content-Length 3\r\n Content-Lengths: 3\r\n x l: 3",
        "l: 5\r\nContent-Length-Of: 3\r\nContent_Type: 3\r\nll: 3\r\n_l: 3\r\n l",
    ] {
        let stream = with_length(line);
        assert_eq!(whole(&stream), [Frame::Message { head_len: stream.len() - 5, body_len: 5 }], "{line:?}");
    }
}

#[test]
fn row_2_missing_length() {
    assert_eq!(fault(&with_length("To: x")), Some(FrameFault::LengthMissing));
    assert_eq!(fault(&with_length("Content-Lengt\u{43d}: 5")), Some(FrameFault::LengthMissing));
}

#[test]
fn row_3_malformed_length() {
    for value in [
        "-1",
        "+5",
        "0x10",
        "1e3",
        "",
        "5 5",
        "5,5",
        "5;x",
        "2147483649",
        "111111111111111111111111111111",
        "٥",
        "5\r\n 0",
    ] {
        assert_eq!(
            fault(&with_length(&format!("Content-Length: {value}"))),
            Some(FrameFault::LengthBad),
            "{value:?}"
        );
    }
}

#[test]
fn row_4_two_lengths() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nl: 4",
        "l: x\r\nl: 5",
        "L:5\r\nTo: x\r\ncontent-length : 5",
    ] {
        assert_eq!(fault(&with_length(lines)), Some(FrameFault::LengthTwice), "{lines:?}");
    }
}

/// Legal by RFC 3261 and taken until a reader by physical lines was seen to take another length.
#[test]
fn a_folded_length_is_refused() {
    for lines in
        ["Content-Length:\r\n 5", "l:\r\n\t\r\n 5 \r\n ", "Content-Length: 5\r\n ", "l\r\n : 5\r\nl: 5\r\n "]
    {
        assert_eq!(fault(&with_length(lines)), Some(FrameFault::LengthBad), "{lines:?}");
    }
}

#[test]
fn a_length_in_disguise_is_a_malformed_length() {
    for line in [
        "Subject: x\r\n Content-Length: 5",
        "Subject: x\r\n l: 5",
        "Subject: x\r\n\t \tL\t : 5",
        "Subject:\r\n content-LENGTH \t: 5",
        "Subject: x\r\n y\r\n Content_Length: 5",
        "Subject: x\r\n l:",
        "Content_Length: 5",
        "CONTENT_LENGTH\t:5",
    ] {
        assert_eq!(fault(&with_length(line)), Some(FrameFault::LengthBad), "{line:?}");
        for both in [format!("{line}\r\nl: 5"), format!("Content-Length: 5\r\n{line}")] {
            assert_eq!(fault(&with_length(&both)), Some(FrameFault::LengthTwice), "{both:?}");
        }
    }
}

/// What Kamailio was seen to cut into two requests, the second one from anybody.
#[test]
fn smuggling_by_a_length_that_another_reader_takes_first() {
    let inner = "MESSAGE sip:bob@local.example SIP/2.0\r\nFrom: <sip:ceo@bank.example>;tag=1\r\nContent-Length: 0\r\n\r\n";
    for first in ["Subject: x\r\n Content-Length: 0", "Subject: x\r\n l: 0", "Content_Length: 0"] {
        let stream = format!(
            "MESSAGE sip:bob@local.example SIP/2.0\r\nCall-ID: outer\r\n{first}\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        );
        let Some(Frame::Bad(error)) = whole(stream.as_bytes()).pop() else { panic!("framed: {first:?}") };
        assert_eq!((error.fault, error.fault.status()), (FrameFault::LengthTwice, 400), "{first:?}");
        assert!(stream[..error.lines].contains("Call-ID: outer"), "it can be answered");
    }
}

#[test]
fn row_5_body_limit() {
    assert_eq!(fault(&with_length("l: 65537")), Some(FrameFault::Body));
    assert_eq!(fault(&with_length("l: 2147483648")), Some(FrameFault::Body));
    let stream = with_length("l: 65536");
    assert_eq!(whole(&stream), []);
}

#[test]
fn row_6_tail_is_the_next_message() {
    let inner = "BYE sip:x@evil SIP/2.0\r\nl: 0\r\n\r\n";
    let outer = format!("MESSAGE sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi{inner}");
    let first = outer.len() - inner.len() - 2;
    assert_eq!(
        whole(outer.as_bytes()),
        [
            Frame::Message { head_len: first, body_len: 2 },
            Frame::Message { head_len: inner.len(), body_len: 0 }
        ]
    );
}

#[test]
fn row_8_keep_alives_are_frames() {
    let stream = b"\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\nl:0\r\n\r\n\r\n";
    assert_eq!(
        whole(stream),
        [
            Frame::KeepAlive { len: 2 },
            Frame::KeepAlive { len: 2 },
            Frame::Message { head_len: 32, body_len: 0 },
            Frame::KeepAlive { len: 2 },
        ]
    );
}

#[test]
fn row_9_folded_start_line() {
    assert_eq!(fault(b"OPTIONS sip:a@b SIP/2.0\r\n To: x\r\nl: 0\r\n\r\n"), Some(FrameFault::Fold));
}

#[test]
fn row_10_line_ends_and_nul() {
    for (stream, want) in [
        (&b"\n"[..], FrameFault::BareLf),
        (b"\rX", FrameFault::BareCr),
        (b"\r\r\n", FrameFault::BareCr),
        (b"OPTIONS sip:a@b SIP/2.0\nl: 0\n\n", FrameFault::BareLf),
        (b"OPTIONS sip:a@b SIP/2.0\r\nTo: a\nl: 0\r\n\r\n", FrameFault::BareLf),
        (b"OPTIONS sip:a@b SIP/2.0\r\nTo: a\rl: 0\r\n\r\n", FrameFault::BareCr),
        (b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\n", FrameFault::BareLf),
        (b"OPTIONS sip:a@b SIP/2.0\r\nTo: \0\r\nl: 0\r\n\r\n", FrameFault::Nul),
        (b"\0", FrameFault::Nul),
    ] {
        assert_eq!(fault(stream), Some(want), "{:?}", String::from_utf8_lossy(stream));
    }
    assert_eq!(fault(b"OPTIONS sip:a@b SIP/2.0\r\nTo: \"\\\0\"\r\nl: 0\r\n\r\n"), None);
    assert_eq!(fault(b"OPTIONS sip:a@b SIP/2.0\r\nl: 1\r\n\r\n\0"), None, "a body is any octets");
}

#[test]
fn row_1_sizes() {
    let options = "OPTIONS sip:a@b SIP/2.0\r\n";
    let line = |n: usize| format!("{options}X: {}\r\nl: 0\r\n\r\n", "x".repeat(n - 3)).into_bytes();
    assert_eq!(fault(&line(8192)), None);
    assert_eq!(fault(&line(8193)), Some(FrameFault::HeaderLine));
    let folded = format!("{options}X: {}\r\n {}\r\nl: 0\r\n\r\n", "x".repeat(5000), "x".repeat(5000));
    assert_eq!(fault(folded.as_bytes()), Some(FrameFault::HeaderLine));
    assert_eq!(fault(&vec![b'x'; 8193]), Some(FrameFault::StartLine));
    assert_eq!(fault(&vec![b'x'; 8192]), None);
    let many = |n: usize| format!("{options}{}l: 0\r\n\r\n", "X: y\r\n".repeat(n - 1)).into_bytes();
    assert_eq!(fault(&many(200)), None);
    assert_eq!(fault(&many(201)), Some(FrameFault::Headers));
    let big = format!("{options}{}l: 0\r\n\r\n", format!("X: {}\r\n", "x".repeat(8000)).repeat(9));
    assert_eq!(fault(big.as_bytes()), Some(FrameFault::Head));
}

#[test]
fn a_fault_tells_how_much_can_be_answered_from() {
    let stream = b"OPTIONS sip:a@b SIP/2.0\r\nTo: a\r\nFrom: b\nl: 0\r\n\r\n";
    let Some(Frame::Bad(error)) = whole(stream).pop() else { panic!("framed") };
    assert_eq!(&stream[..error.lines], b"OPTIONS sip:a@b SIP/2.0\r\nTo: a\r\n");
    let stream = with_length("To: a");
    let Some(Frame::Bad(error)) = whole(&stream).pop() else { panic!("framed") };
    assert_eq!(error.lines, stream.len() - 5);
}

/// Feeding one octet at a time must not look at old octets again: they are spoilt behind the framer's back, and it must
/// not notice.
#[test]
fn one_octet_at_a_time_is_linear() {
    let mut stream = b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\nX: ".to_vec();
    let spoil_from = stream.len();
    stream.extend_from_slice("x".repeat(4000).as_bytes());
    let spoil_to = stream.len();
    stream.extend_from_slice(b"\r\n folded\r\n\r\n");
    let mut framer = Framer::new(Limits::DEFAULT);
    for end in 0..stream.len() {
        assert_eq!(framer.next(&stream[..end]), Frame::Incomplete { needed_at_least: end + 1 });
        if let Some(seen) = end.checked_sub(1).filter(|seen| (spoil_from..spoil_to).contains(seen)) {
            stream[seen] = b'\n';
        }
    }
    assert_eq!(framer.next(&stream), Frame::Message { head_len: stream.len(), body_len: 0 });
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        "\0",
        "\\\0",
        " ",
        "\t",
        "l: 3\r\n",
        "l:0\r\n",
        "Content-Length: 1\r\n",
        "l",
        ":",
        "0",
        "OPTIONS sip:a@b SIP/2.0\r\n",
        "OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n",
        "OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\n\r\nabcd",
        "To: x\r\n",
        "X: long long long long\r\n",
        "\r\n folded",
        "c",
        "\r\n l: 3\r\n",
        "\tContent-Length: 2\r\n",
        "Content_Length: 1\r\n",
        "_",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat().into_bytes())
}

/// The length as a server finds it that reads physical lines and believes the first: blanks, `l` or `content-length` with
/// `-` or `_`, blanks, a colon, blanks, digits.
fn length_by_physical_lines(head: &str) -> Option<usize> {
    let blank = [' ', '\t'];
    head.split("\r\n").skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_matches(blank).to_ascii_lowercase();
        let value = value.trim_start_matches(blank);
        let digits = &value[..value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len())];
        let is_length = matches!(name.as_str(), "l" | "content-length" | "content_length");
        is_length.then(|| digits.parse().ok()).flatten()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_reader_by_physical_lines_cuts_the_same(stream in stream()) {
        let mut at = 0;
        for frame in whole(&stream) {
            match frame {
                Frame::KeepAlive { len } => at += len,
                Frame::Message { head_len, body_len } => {
                    let head = std::str::from_utf8(&stream[at..at + head_len]).expect("text");
                    prop_assert_eq!(length_by_physical_lines(head), Some(body_len), "{:?}", head);
                    at += head_len + body_len;
                }
                Frame::Incomplete { .. } | Frame::Bad(_) => break,
            }
        }
    }

    #[test]
    fn chunking_changes_nothing(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        tight in any::<bool>(),
    ) {
        let limits = if tight {
            Limits { start_line: 30, header_line: 20, head: 70, headers: 4, vias: 1, body: 3 }
        } else {
            Limits::DEFAULT
        };
        let all = frames(&stream, limits, std::iter::once(stream.len()));
        prop_assert_eq!(&frames(&stream, limits, 0..=stream.len()), &all, "one octet at a time");
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(stream.len());
        prop_assert_eq!(&frames(&stream, limits, ends.into_iter()), &all, "random pieces");
    }

    #[test]
    fn no_more_is_asked_for_than_the_limits_allow(stream in stream()) {
        let limits = Limits { start_line: 30, header_line: 20, head: 70, headers: 4, vias: 1, body: 3 };
        let mut framer = Framer::new(limits);
        if let Frame::Incomplete { needed_at_least } = framer.next(&stream) {
            prop_assert!(needed_at_least <= limits.max_frame());
        }
    }
}
