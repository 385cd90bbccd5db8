// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forms of messages, rates and the buffer, and collectors that are not there, not trusted, or slow. Against rsyslogd: the daemon's tests.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::task::LocalSet;

use super::{Counts, Syslog, line};
use crate::config::{Config, load};
use crate::operate::messages::Message;

fn config(text: &str) -> Config {
    match load(text, "test", std::path::Path::new("/")) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{}", report.render(false)),
    }
}

fn message(severity: u8, number: u32, text: &str) -> Message {
    Message { severity, number, text: text.to_owned() }
}

/// 9 November 2022, 10:01:59.
fn then() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_667_988_119).unwrap()
}

/// The daemon's one thread, for a test's time.
fn local<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// The real shapes of the facts (asa.md 6.1).
#[test]
fn lines_are_as_an_asa_writes_them() {
    let line = line::Line { severity: 6, number: 302_013, text: "Built".into(), at: then() };
    for (text, wanted) in [
        ("", "<166>%ASA-6-302013: Built"),
        ("logging timestamp", "<166>Nov 09 2022 10:01:59: %ASA-6-302013: Built"),
        ("logging timestamp\nclock timezone CET 1", "<166>Nov 09 2022 11:01:59: %ASA-6-302013: Built"),
        ("logging timestamp rfc5424", "<166>2022-11-09T10:01:59Z: %ASA-6-302013: Built"),
        ("logging device-id string HQ-ASA5585", "<166>HQ-ASA5585 : %ASA-6-302013: Built"),
        (
            "logging timestamp\nlogging device-id hostname\nhostname fw\nlogging facility 16",
            "<134>Nov 09 2022 10:01:59 fw : %ASA-6-302013: Built",
        ),
    ] {
        assert_eq!(super::head(&config(text)).asa(&line), wanted, "{text}");
    }
    let pid = std::process::id();
    assert_eq!(
        super::head(&config("hostname fw")).rfc5424(&line),
        format!("<166>1 2022-11-09T10:01:59.000000Z fw fedgate {pid} 302013 - %ASA-6-302013: Built")
    );
    assert_eq!(line::cleaned("a\nb\u{7f}c"), "a b c");
    assert_eq!(line::cleaned(&"ä".repeat(5000)).len(), super::MOST_TEXT);
}

#[test]
fn levels_rates_and_the_buffer_are_the_configurations() {
    let lines = "logging enable\nlogging buffered warnings\nlogging buffer-size 4096\nno logging message 106015\n\
                 logging message 302013 level errors\nlogging rate-limit 2 10 level warnings\nlogging rate-limit unlimited message 106023\n";
    let (syslog, start) = (Syslog::default(), Instant::now());
    syslog.adopt(&config(lines));
    let tell =
        |message: Message, second| syslog.tell_at(&message, then(), start + Duration::from_secs(second));
    tell(message(6, 725_002, "too low"), 0);
    tell(message(2, 106_015, "not wanted"), 0);
    tell(message(6, 302_013, "raised"), 0);
    for n in 0..5 {
        tell(message(4, 607_002, &format!("limited {n}")), 0);
        tell(message(4, 106_023, &format!("unlimited {n}")), 0);
    }
    tell(message(4, 607_002, "another window"), 10);
    let kept = syslog.buffer();
    let has = |text: &str| kept.iter().filter(|line| line.contains(text)).count();
    assert_eq!(kept[0], "%ASA-3-302013: raised");
    assert_eq!([has("limited "), has("unlimited "), has("another window"), kept.len()], [7, 5, 1, 9]);
    assert_eq!(syslog.counts(), Counts { buffered: 9, trapped: 0, limited: 3, disabled: 1 });
    // The oldest go, and no more is held than was said.
    for n in 0..1000 {
        tell(message(4, 106_023, &format!("{n} {}", "x".repeat(100))), 20);
    }
    let kept = syslog.buffer();
    assert!(
        kept.last().unwrap().contains(": 999 ") && kept.iter().map(|l| l.len() + 1).sum::<usize>() <= 4096
    );
    syslog.adopt(&config("logging enable\n"));
    assert!(syslog.buffer().is_empty());
    tell(message(1, 106_101, "nobody wants it"), 21);
    assert_eq!(syslog.counts().buffered, 1009);
}

/// A port of the loopback that nobody has.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn counts(syslog: &Syslog) -> std::rc::Rc<super::feed::Counts> {
    syslog.feeds().remove(0).2
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Telling never waits, the queue is bounded, each loss is counted; what waits is delivered once the collector is there, in order.
#[test]
fn a_collector_that_comes_late_gets_what_waited() {
    local(async {
        let (syslog, port) = (Syslog::default(), free_port());
        let lines = format!(
            "logging enable\nlogging trap 7\nlogging queue 100\nlogging host m 127.0.0.1 tcp/{port}\n"
        );
        syslog.adopt(&config(&lines));
        for n in 0..1000 {
            syslog.tell(&message(6, 302_013, &format!("number {n}")));
        }
        let counts = counts(&syslog);
        assert_eq!(counts.lost.get(), 900);
        until("it is not reached", || !counts.why.borrow().is_empty()).await;
        assert!(!counts.up.get());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        until("it is reached", || counts.sent.get() >= 100).await;
        // A change of something else leaves the connection.
        syslog.adopt(&config(&format!("{lines}hostname other\n")));
        syslog.tell(&message(6, 302_013, "the last"));
        until("all is sent", || counts.sent.get() >= 101).await;
        assert_eq!(counts.connections.get(), 1);
        let (mut stream, _) = listener.accept().unwrap();
        // Without the collector the connection ends, and the stream can be read to its end.
        syslog.adopt(&config("logging enable\n"));
        until("the feed is gone", || syslog.feeds().is_empty()).await;
        tokio::task::yield_now().await;
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let got: Vec<&str> = text.lines().collect();
        assert!(got[0].starts_with("<166>%ASA-6-302013: number 0"), "{}", got[0]);
        let waited: Vec<&&str> = got.iter().filter(|line| line.contains("number")).collect();
        assert_eq!(waited.len(), 100);
        assert!(waited[99].ends_with("number 99") && got.last().unwrap().ends_with("the last"), "{text}");
    });
}

/// One that went is noticed without a word being sent to it, is told of, and gets no message twice that it took.
#[test]
fn a_collector_that_goes_is_called_again() {
    local(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let syslog = Syslog::default();
        syslog.adopt(&config(&format!(
            "logging enable\nlogging trap 7\nlogging buffered 7\nlogging host m 127.0.0.1 tcp/{port} format rfc5424\n"
        )));
        let counts = counts(&syslog);
        until("it is reached", || counts.up.get()).await;
        drop(listener.accept().unwrap());
        until("it is missed", || !counts.up.get()).await;
        until("it is called again", || counts.connections.get() == 2 && counts.sent.get() >= 2).await;
        let told = syslog.buffer().join("\n");
        assert!(
            told.contains(&format!("%ASA-3-414003: TCP Syslog Server m:127.0.0.1/{port} not responding.")),
            "{told}"
        );
        assert!(
            told.contains(&format!(
                "%ASA-6-414004: TCP Syslog Server m:127.0.0.1/{port} - Connection restored"
            ))
        );
        syslog.adopt(&config(""));
        tokio::task::yield_now().await;
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        // Counted by octets, whole.
        let (mut rest, mut frames) = (text.as_str(), 0);
        while let Some((len, after)) = rest.split_once(' ') {
            let (frame, after) = after.split_at(len.parse().unwrap());
            assert!(frame.starts_with("<16") && frame.contains(" - %ASA-"), "{frame}");
            (rest, frames) = (after, frames + 1);
        }
        assert_eq!((rest, frames), ("", 2));
    });
}

/// A collector that is set otherwise, or taken out, gets no more of what waited for it: that is lost, and counted.
#[test]
fn what_waits_for_a_collector_that_is_replaced_is_counted() {
    local(async {
        let (syslog, port) = (Syslog::default(), free_port());
        let lines = |more: &str| {
            config(&format!(
                "logging enable\nlogging trap 7\nlogging queue 100\nlogging host m 127.0.0.1 tcp/{port} {more}\n"
            ))
        };
        syslog.adopt(&lines(""));
        let counts = counts(&syslog);
        // Some are with the sender already.
        for n in 0..70 {
            syslog.tell(&message(6, 302_013, &format!("number {n}")));
            if n == 35 {
                until("it is not reached", || !counts.why.borrow().is_empty()).await;
            }
        }
        syslog.adopt(&lines("format rfc5424"));
        until("what waited is counted", || counts.lost.get() >= 70).await;
        let others = counts.lost.get() - 70;
        assert!(others <= 2, "what is told of the collector itself: {others}");
    });
}

#[test]
fn datagrams_that_nobody_takes_are_counted() {
    local(async {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = receiver.local_addr().unwrap().port();
        let syslog = Syslog::default();
        syslog.adopt(&config(&format!(
            "logging enable\nlogging trap 7\nlogging host m 127.0.0.1 udp/{port}\n"
        )));
        let counts = counts(&syslog);
        syslog.tell(&message(4, 106_023, "one"));
        until("it is sent", || counts.sent.get() == 1).await;
        let mut datagram = [0; 100];
        let len = receiver.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..len], b"<164>%ASA-4-106023: one");
        drop(receiver);
        // The first draws an ICMP error; whatever is counted sent or lost, nothing is forgotten and the feed lives on.
        for n in 2..=20 {
            syslog.tell(&message(4, 106_023, "more"));
            until("it is accounted for", || counts.sent.get() + counts.lost.get() == n).await;
        }
        assert!(counts.up.get());
    });
}
