// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of an ASA's running-config that fedgate has no use for: known, so that such a file loads, and each reported with what it
//! would have done there and what takes its place here.
//!
//! Only what lets nothing pass that would not pass anyway is listed. A line whose absence would open something, or
//! translate something otherwise, is refused like any unknown one. Nothing of them is kept: the running-config shows what is in force.

use super::{Effect, Spec};
use crate::config::parse::system;
use crate::config::raw::Mode;

const fn idle(
    mode: Mode,
    words: &'static str,
    usage: &'static str,
    help: &'static str,
    instead: &'static str,
) -> Spec {
    Spec {
        mode,
        words,
        usage,
        help,
        example: "",
        enters: None,
        effect: Effect::None(instead),
        parse: system::idle,
    }
}

const fn always(mode: Mode, words: &'static str, usage: &'static str, help: &'static str) -> Spec {
    Spec { mode, words, usage, help, example: "", enters: None, effect: Effect::Always, parse: system::idle }
}

const HOST: &str = "the machine's own services are the operating system's: configure it there";
const BY_LISTS: &str = "it passes by the access-lists alone: permit what it needs there";
const READ: &str = "`show logging` has the buffer, and standard error of fedgate-control every message";
const COLLECT: &str = "name a collector: `logging host`";
const BY_MESSAGE: &str = "name levels and messages one by one: `logging trap`, `logging message`";
const ONE: &str = "one appliance stands alone: a second one takes nothing over";

/// Every such line.
#[rustfmt::skip]
pub const IDLE: &[Spec] = &[
    idle(Mode::Global, "pager", "pager lines N", "stops output after so many lines", "`fedgate show ... | less` does"),
    idle(Mode::Global, "terminal", "terminal width N", "cuts lines of output", "take it out"),
    idle(Mode::Global, "prompt", "prompt WORD ...", "says what the prompt shows", "it shows the hostname: take it out"),
    always(Mode::Global, "logging permit-hostdown", "logging permit-hostdown", "connections go on while a collector is down: always so"),
    idle(Mode::Global, "logging asdm", "logging asdm WORD ...", "shows messages in ASDM", READ),
    idle(Mode::Global, "logging asdm-buffer-size", "logging asdm-buffer-size WORD ...", "says how many", READ),
    idle(Mode::Global, "logging console", "logging console WORD ...", "shows messages on the console", READ),
    idle(Mode::Global, "logging monitor", "logging monitor WORD ...", "shows messages in SSH sessions", READ),
    idle(Mode::Global, "logging history", "logging history WORD ...", "sends messages as SNMP traps", COLLECT),
    idle(Mode::Global, "logging mail", "logging mail WORD ...", "sends messages as mail", COLLECT),
    idle(Mode::Global, "logging from-address", "logging from-address WORD ...", "says from whom", COLLECT),
    idle(Mode::Global, "logging recipient-address", "logging recipient-address WORD ...", "says to whom", COLLECT),
    idle(Mode::Global, "logging debug-trace", "logging debug-trace WORD ...", "makes messages of debug output", "take it out"),
    idle(Mode::Global, "logging standby", "logging standby WORD ...", "sends messages of the standby unit", ONE),
    idle(Mode::Global, "logging emblem", "logging emblem WORD ...", "is the EMBLEM format's", "take it out"),
    idle(Mode::Global, "logging flash-bufferwrap", "logging flash-bufferwrap WORD ...", "saves the buffer", READ),
    idle(Mode::Global, "logging ftp-bufferwrap", "logging ftp-bufferwrap WORD ...", "saves the buffer", READ),
    idle(Mode::Global, "logging ftp-server", "logging ftp-server WORD ...", "says where the buffer is saved", READ),
    idle(Mode::Global, "logging flash-maximum-allocation", "logging flash-maximum-allocation WORD ...", "bounds saved buffers", READ),
    idle(Mode::Global, "logging flash-minimum-free", "logging flash-minimum-free WORD ...", "bounds saved buffers", READ),
    idle(Mode::Global, "logging list", "logging list WORD ...", "names several messages", BY_MESSAGE),
    idle(Mode::Global, "logging class", "logging class WORD ...", "says where messages of a kind go", BY_MESSAGE),
    idle(Mode::Global, "logging hide username", "logging hide username WORD ...", "hides users that are not known", "take it out"),
    idle(Mode::Global, "logging flow-export-syslogs", "logging flow-export-syslogs WORD ...", "keeps back what NetFlow has too", BY_MESSAGE),
    idle(Mode::Global, "flow-export delay", "flow-export delay flow-create SECONDS", "waits before it tells of a connection", "each is told of: take it out"),
    idle(Mode::Global, "flow-export active", "flow-export active refresh-interval MINUTES", "tells of connections that go on", "their beginning and end are told: take it out"),
    idle(Mode::Global, "failover", "failover WORD ...", "pairs two units", ONE),
    idle(Mode::Global, "monitor-interface", "monitor-interface NAMEIF", "makes a failing interface a reason for failover", ONE),
    idle(Mode::Global, "icmp unreachable", "icmp unreachable rate-limit N burst-size N", "limits ICMP errors of the unit itself", "they are limited by a rate of our own: take it out"),
    idle(Mode::Global, "ntp", "ntp server ADDRESS ...", "sets the clock", "let chrony or systemd-timesyncd keep the machine's clock: certificates and time-ranges go by it"),
    idle(Mode::Global, "ssh", "ssh WORD ...", "lets administrators log in", HOST),
    idle(Mode::Global, "telnet", "telnet WORD ...", "lets administrators log in", HOST),
    idle(Mode::Global, "http", "http WORD ...", "lets administrators use ASDM", HOST),
    idle(Mode::Global, "console", "console timeout N", "ends idle sessions of the console", HOST),
    idle(Mode::Global, "snmp-server", "snmp-server WORD ...", "answers SNMP", HOST),
    idle(Mode::Global, "aaa", "aaa WORD ...", "says who checks administrators", HOST),
    idle(Mode::Global, "username", "username NAME ...", "makes an administrator", "who may open the control socket is an administrator"),
    idle(Mode::Global, "enable password", "enable password WORD ...", "guards privileged commands", "who may open the control socket is an administrator"),
    idle(Mode::Global, "passwd", "passwd WORD ...", "guards telnet", HOST),
    idle(Mode::Global, "banner", "banner WORD ...", "greets administrators", HOST),
    idle(Mode::Global, "ftp mode", "ftp mode passive", "says how the unit itself fetches files", HOST),
    idle(Mode::Global, "dns", "dns WORD ...", "asks names for the unit itself", "names are not asked: take it out"),
    idle(Mode::Global, "asdm", "asdm WORD ...", "says where ASDM is", "take it out"),
    idle(Mode::Global, "boot", "boot WORD ...", "says what to start", HOST),
    idle(Mode::Global, "call-home", "call-home", "reports to Cisco", "take it out"),
    idle(Mode::Global, "threat-detection", "threat-detection WORD ...", "counts attacks", "`show drops` and Prometheus have counts of every drop: take it out"),
    idle(Mode::Global, "dynamic-access-policy-record", "dynamic-access-policy-record NAME", "belongs to remote access VPNs", "take it out"),
    idle(Mode::Global, "user-identity", "user-identity WORD ...", "maps users to addresses", "take it out"),
    idle(Mode::Global, "ssl trust-point", "ssl trust-point TRUSTPOINT [NAMEIF]", "names the certificate of the unit's own web pages", "there are none: take it out"),
    idle(Mode::Global, "policy-map type inspect dns", "policy-map type inspect dns NAME", "says how DNS is inspected", BY_LISTS),
    idle(Mode::Global, "policy-map type inspect ftp", "policy-map type inspect ftp NAME", "says how FTP is inspected", BY_LISTS),
    idle(Mode::Global, "policy-map type inspect esmtp", "policy-map type inspect esmtp NAME", "says how ESMTP is inspected", BY_LISTS),
    idle(Mode::Global, "policy-map type inspect h323", "policy-map type inspect h323 NAME", "says how H.323 is inspected", BY_LISTS),
    idle(Mode::Interface, "speed", "speed WORD", "fixes the port's speed", "ports negotiate: take it out"),
    idle(Mode::Interface, "duplex", "duplex WORD", "fixes the port's duplex mode", "ports negotiate: take it out"),
    idle(Mode::Trustpoint, "client-types", "client-types {ssl | ipsec}", "says what the CA's certificates may be used for", "name the trustpoint where it is to vouch: `server trust-point NAME verify` under `tls-proxy`"),
    idle(Mode::Trustpoint, "validation-usage", "validation-usage WORD", "says what the CA's certificates may be used for", "name the trustpoint where it is to vouch: `server trust-point NAME verify` under `tls-proxy`"),
    always(Mode::PolicyClass, "inspect icmp", "inspect icmp [error]", "ICMP has state, and errors are translated: always so"),
    idle(Mode::PolicyClass, "inspect dns", "inspect dns [MAP]", "inspects DNS", BY_LISTS),
    idle(Mode::PolicyClass, "inspect ftp", "inspect ftp [strict]", "opens FTP's data connections", BY_LISTS),
    idle(Mode::PolicyClass, "inspect esmtp", "inspect esmtp [MAP]", "inspects ESMTP", BY_LISTS),
    idle(Mode::PolicyClass, "inspect h323", "inspect h323 {h225|ras} [MAP]", "opens H.323's media", BY_LISTS),
    idle(Mode::PolicyClass, "inspect ip-options", "inspect ip-options [MAP]", "lets some IP options pass", "`show drops` says what becomes of them: take it out"),
    idle(Mode::PolicyClass, "inspect netbios", "inspect netbios", "translates NetBIOS", BY_LISTS),
    idle(Mode::PolicyClass, "inspect rsh", "inspect rsh", "opens RSH's second connection", BY_LISTS),
    idle(Mode::PolicyClass, "inspect rtsp", "inspect rtsp [MAP]", "opens RTSP's media", BY_LISTS),
    idle(Mode::PolicyClass, "inspect skinny", "inspect skinny [MAP]", "opens SCCP's media", BY_LISTS),
    idle(Mode::PolicyClass, "inspect sqlnet", "inspect sqlnet", "opens SQL*Net's second connection", BY_LISTS),
    idle(Mode::PolicyClass, "inspect sunrpc", "inspect sunrpc", "opens RPC's ports", BY_LISTS),
    idle(Mode::PolicyClass, "inspect tftp", "inspect tftp", "opens TFTP's second flow", BY_LISTS),
    idle(Mode::PolicyClass, "inspect xdmcp", "inspect xdmcp", "opens X11's connections", BY_LISTS),
];
