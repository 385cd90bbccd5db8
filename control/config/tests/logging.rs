// SPDX-License-Identifier: MIT OR Apache-2.0
//! `logging` lines: what they come to, what is printed, what `no` takes out.

use super::super::model::logging::*;
use super::super::print::to_text;
use super::try_load;

fn syslog(text: &str) -> Syslog {
    try_load(text).unwrap_or_else(|report| panic!("{text}: {}", report.render(false))).config.model.syslog
}

const ALL: &str = "\
logging enable
logging timestamp rfc5424
logging buffer-size 65536
logging buffered informational
logging trap debugging
logging facility 23
logging queue 2048
logging device-id string edge-1
logging host inside 10.10.0.50
logging host inside 10.10.0.50 tcp/1470 format rfc5424
logging host inside 2001:db8::50 udp/5514
no logging message 106015
logging message 106023 level errors
logging rate-limit 100 1 level debugging
logging rate-limit unlimited message 302013
";

#[test]
fn the_dataplane_tells_of_connections_only_where_somebody_asks() {
    let model =
        |text: &str| try_load(text).unwrap_or_else(|report| panic!("{}", report.render(false))).config.model;
    for (text, tells) in [
        ("", false),
        ("logging enable\nlogging trap notifications\n", false),
        ("logging trap informational\n", false),
        ("logging enable\nlogging trap informational\n", true),
        ("logging enable\nlogging buffered debugging\nlogging trap errors\n", true),
        ("logging enable\nlogging trap errors\nlogging message 302013 level alerts\n", true),
        ("flow-export destination m 10.0.0.1 4739\n", true),
    ] {
        assert_eq!(model(text).tells_flows(), tells, "{text}");
    }
    let lines = "flow-export destination m 10.0.0.1 4739\nflow-export destination m 2001:db8::1 2055\nflow-export template timeout-rate 5\n";
    let exports = model(lines);
    assert!(to_text(&exports).contains(lines));
    let gone = "no flow-export destination m 10.0.0.1 4739\nno flow-export destination m 2001:db8::1 2055\nno flow-export template timeout-rate\n";
    assert_eq!(model(&format!("{lines}{gone}")).export, Export::default());
}

#[test]
fn metrics_are_off_until_an_address_is_said() {
    let model =
        |text: &str| try_load(text).unwrap_or_else(|report| panic!("{}", report.render(false))).config.model;
    assert_eq!(model("").metrics, None);
    let one = model("metrics http ::1 9478\n");
    assert_eq!(one.metrics, Some("[::1]:9478".parse().unwrap()));
    assert!(to_text(&one).contains("metrics http ::1 9478\n"));
    assert_eq!(model("metrics http 127.0.0.1 9478\nno metrics http\n").metrics, None);
}

/// What is printed is what was said, and loads to the same.
#[test]
fn every_line_is_printed_as_it_is_written() {
    let text =
        to_text(&try_load(ALL).unwrap_or_else(|report| panic!("{}", report.render(false))).config.model);
    let printed: String =
        text.lines().filter(|line| line.contains("logging")).map(|l| format!("{l}\n")).collect();
    assert_eq!(printed, ALL);
}

#[test]
fn no_takes_out_what_was_said_whatever_its_value() {
    let gone = "\
no logging enable
no logging timestamp
no logging buffer-size
no logging buffered
no logging trap debugging
no logging facility
no logging queue 2048
no logging device-id
no logging host inside 10.10.0.50
no logging host inside 2001:db8::50 17/5514
logging message 106015
no logging message 106023 level
no logging rate-limit level debugging
no logging rate-limit unlimited message 302013
";
    assert_eq!(syslog(&format!("{ALL}{gone}")), Syslog::default());
}

#[test]
fn transports_have_the_asas_ports_and_numbers() {
    let hosts = syslog(
        "logging host m 10.0.0.1 6/1500\nlogging host m 10.0.0.1 tcp\nlogging host m 10.0.0.2 17/514\n",
    )
    .hosts;
    let hosts: Vec<String> = hosts.keys().map(|key| key.to_string()).collect();
    assert_eq!(hosts, ["m 10.0.0.1 tcp/1470", "m 10.0.0.1 tcp/1500", "m 10.0.0.2"]);
}

#[test]
fn there_is_a_bound_on_collectors() {
    let lines: String = (1..=17).map(|n| format!("logging host m 10.0.0.{n}\n")).collect();
    let report = try_load(&lines).err().expect("is refused").render(false);
    assert!(report.contains("there are 16 collectors already"), "{report}");
}
