// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page over HTTP, as promtool judges it, and readers that misbehave.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use fedgate_tables::counters::{Histo, Stat};
use fedgate_tables::drops::DropReason;

use super::{CONFIG, Lab, wait};
use crate::operate::metrics::serve::SEATS;

fn get(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// promtool's verdict on a page: empty where it has nothing to say against it.
fn promtool(page: &str) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: scripts/setup installs it");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}

#[test]
fn the_page_is_what_promtool_takes() {
    let lab = Lab::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}metrics http 127.0.0.1 {port}\n")).unwrap();
    let fake = lab.fake();
    let _control = lab.control();
    {
        let state = fake.state();
        state.counters.drop(DropReason::TtlExceeded);
        state.counters.add(Stat::ConnsBuilt, 12);
        state.counters.rx(1, 3, 400);
        state.counters.observe(Histo::HandshakeUs, 1500);
    }
    wait("it listens", || lab.good("show metrics").contains("0 pages"));
    let answer = get(port, "GET /metrics HTTP/1.1");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    for line in [
        "fedgate_dataplane_up 1",
        "fedgate_configuration_in_force 1",
        "fedgate_drops_total{reason=\"ttl-exceeded\"} 1",
        "fedgate_conns_built_total 12",
        "fedgate_interface_rx_bytes_total{interface=\"inside\"} 400",
        "fedgate_tls_handshake_seconds_bucket{le=\"0.001\"} 0",
        "fedgate_tls_handshake_seconds_bucket{le=\"0.002\"} 1",
        "fedgate_tls_handshake_seconds_bucket{le=\"+Inf\"} 1",
        "fedgate_tls_handshake_seconds_count 1",
        "fedgate_cycles_busy_total{worker=\"0\"} 0",
    ] {
        assert!(page.lines().any(|l| l.starts_with(line)), "{line}:\n{page}");
    }
    assert_eq!(promtool(page), "");
    // A parser that takes everything would show nothing.
    assert_ne!(
        promtool(&page.replace("# TYPE fedgate_drops_total counter", "# TYPE fedgate_drops_total count")),
        ""
    );
    let open = get(port, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0");
    assert!(
        open.contains("content-type: application/openmetrics-text") && open.ends_with("# EOF\n"),
        "{open}"
    );
    assert!(get(port, "GET / HTTP/1.1").starts_with("HTTP/1.1 404 "));
    assert!(get(port, "POST /metrics HTTP/1.1\r\nContent-Length: 0").starts_with("HTTP/1.1 405 "));
    assert!(lab.good("show metrics").contains("2 pages"));
    lab.good("no metrics http");
    wait("it is closed", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    assert_eq!(lab.good("show metrics"), "Metrics: disabled\n");
}

/// Readers that say nothing have their seats for a bounded time, and control is there all the while.
#[test]
fn readers_that_hang_cost_their_seats_alone() {
    let lab = Lab::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}metrics http 127.0.0.1 {port}\n")).unwrap();
    let _fake = lab.fake();
    let _control = lab.control();
    wait("it listens", || lab.good("show metrics").contains("0 pages"));
    let hanging: Vec<TcpStream> =
        (0..SEATS + 3).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    wait("three are turned away", || lab.good("show metrics").contains("3 readers refused"));
    assert!(lab.good("show version").contains("fedgate"));
    wait("the others are ended", || {
        lab.good("show metrics").contains(&format!("{} readers refused", SEATS + 3))
    });
    assert!(get(port, "GET /metrics HTTP/1.1").starts_with("HTTP/1.1 200 "));
    drop(hanging);
}
