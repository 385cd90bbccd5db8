// SPDX-License-Identifier: MIT OR Apache-2.0
//! A model as the text that makes it: `show running-config`, and the file the daemon keeps.
//!
//! The order is the ASA's, which is also one in which every name is defined before it is used. What is at its default is left
//! out, but for the timers, which an ASA always prints. Property-tested: what is printed loads to an equal model.

use std::fmt::{self, Display, Write};
use std::sync::Arc;

use super::model::users::User;
use super::model::{
    ClassMatch, Connections, DomainEntry, DomainKey, DomainRule, Interface, Model, Note, Permit, Place,
    PolicyClass, Route, Route6, Timeouts,
};
use super::ports;

mod acl;
mod crypto;
mod federation;
mod logging;
mod nat;

pub use acl::{group_text, time_range_text};
pub use crypto::serial;
pub use nat::target;

/// Writes all of `model`.
pub fn print(model: &Model, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "! fedgate running-config")?;
    system(model, out)?;
    objects(model, out)?;
    logging::logging(&model.syslog, out)?;
    for to in &model.export.destinations {
        writeln!(out, "flow-export destination {to}")?;
    }
    line(out, "flow-export template timeout-rate", &model.export.template_minutes)?;
    if let Some(at) = model.metrics {
        writeln!(out, "metrics http {} {}", at.ip(), at.port())?;
    }
    for (name, lines) in &model.acls {
        for line in &**lines {
            writeln!(out, "access-list {name} {line}")?;
        }
    }
    line(out, "access-list deny-flow-max", &model.acl_deny_flow_max)?;
    line(out, "access-list alert-interval", &model.acl_alert_interval)?;
    nat::nat(model, out)?;
    for (place, acl) in &model.access_groups {
        writeln!(out, "access-group {acl} {place}")?;
    }
    for route in &model.routes {
        writeln!(out, "{route}")?;
    }
    for route in &model.routes6 {
        writeln!(out, "{route}")?;
    }
    line(out, "fragment size", &model.fragment_size)?;
    line(out, "fragment chain", &model.fragment_chain)?;
    line(out, "fragment timeout", &model.fragment_timeout)?;
    timeouts(&model.timeouts, out)?;
    federation::dns(model, out)?;
    crypto::crypto(model, out)?;
    inspection(model, out)?;
    for name in &model.local_domains {
        writeln!(out, "local domain {name}")?;
    }
    federation::federations(model, out)?;
    for (key, entry) in model.domains.iter() {
        if let Some(permit) = &entry.permit {
            let trustpoint = model.domain_trust.get(key).map(String::as_str);
            writeln!(out, "{}", domain_line(key, &DomainRule::Permit(permit.clone()), trustpoint))?;
        }
        if let Some(note) = &entry.block {
            writeln!(out, "{}", domain_line(key, &DomainRule::Block(note.clone()), None))?;
        }
    }
    writeln!(out, "! end")
}

/// The same without the domain lists, but for what is bound to a trustpoint: that is part of the policy.
pub fn without_lists(model: &Model) -> String {
    let bound = model.domain_trust.keys().filter_map(|key| {
        let permit = model.domains.get(key)?.permit.clone()?;
        Some((key.clone(), DomainEntry { permit: Some(permit), block: None }))
    });
    to_text(&Model { domains: Arc::new(bound.collect()), ..model.clone() })
}

/// [`print()`] into a string.
pub fn to_text(model: &Model) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = print(model, &mut text);
    text
}

/// `permit domain ...` or `block domain ...`.
pub fn domain_line(key: &DomainKey, rule: &DomainRule, trustpoint: Option<&str>) -> String {
    let (mut line, note) = match rule {
        DomainRule::Permit(Permit { peer: None, note }) => (format!("permit domain {key}"), note),
        DomainRule::Permit(Permit { peer: Some(peer), note }) => {
            (format!("permit domain {key} peer {peer}"), note)
        }
        DomainRule::Block(note) => (format!("block domain {key}"), note),
    };
    if let Some(trustpoint) = trustpoint {
        line.push_str(&format!(" trustpoint {trustpoint}"));
    }
    line + &note.to_string()
}

impl Display for Note {
    /// ` until 2026-12-31T23:59 comment why`, with a blank before each word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(until) = self.until {
            write!(f, " until {}", until.iso())?;
        }
        self.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment {comment}"))
    }
}

fn system(model: &Model, out: &mut impl Write) -> fmt::Result {
    line(out, "hostname", &model.hostname)?;
    line(out, "domain-name", &model.domain_name)?;
    if let Some(password) = &model.enable {
        writeln!(out, "enable password {password}")?;
    }
    for (name, User { password, privilege }) in &model.users {
        let password = password.as_ref().map_or("nopassword".to_owned(), |it| format!("password {it}"));
        writeln!(out, "username {name} {password} privilege {privilege}")?;
    }
    line(out, "clock timezone", &model.timezone)?;
    if model.names {
        writeln!(out, "names")?;
    }
    for (name, address) in &model.name_table {
        writeln!(out, "name {address} {name}")?;
    }
    for interface in &model.interfaces {
        print_interface(interface, out)?;
    }
    for (set, words) in [(model.same_security_inter, "inter"), (model.same_security_intra, "intra")] {
        if set {
            writeln!(out, "same-security-traffic permit {words}-interface")?;
        }
    }
    for interface in &model.interfaces {
        let Some(name) = &interface.nameif else { continue };
        if interface.mtu != 1500 {
            writeln!(out, "mtu {name} {}", interface.mtu)?;
        }
        if interface.verify_reverse_path {
            writeln!(out, "ip verify reverse-path interface {name}")?;
        }
        if interface.no_proxy_arp {
            writeln!(out, "sysopt noproxyarp {name}")?;
        }
    }
    Ok(())
}

fn print_interface(interface: &Interface, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "interface {}", interface.device)?;
    line(out, " hardware", &interface.hardware)?;
    line(out, " description", &interface.description)?;
    line(out, " nameif", &interface.nameif)?;
    line(out, " security-level", &interface.security_level)?;
    if let Some((addr, mask)) = interface.address {
        writeln!(out, " ip address {addr} {mask}")?;
    }
    if let Some((addr, prefix)) = interface.address6 {
        writeln!(out, " ipv6 address {addr}/{prefix}")?;
    }
    if interface.ipv6 {
        writeln!(out, " ipv6 enable")?;
    }
    line(out, " mac-address", &interface.mac)?;
    if interface.shutdown {
        writeln!(out, " shutdown")?;
    }
    Ok(())
}

fn objects(model: &Model, out: &mut impl Write) -> fmt::Result {
    for (name, object) in &*model.networks {
        writeln!(out, "object network {name}")?;
        if let Some(addr) = &object.addr {
            writeln!(out, " {addr}")?;
        }
        line(out, " description", &object.description)?;
    }
    for (name, service) in &*model.services {
        writeln!(out, "object service {name}")?;
        line(out, " service", service)?;
    }
    acl::groups(model, out)?;
    acl::time_ranges(model, out)
}

fn timeouts(t: &Timeouts, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "arp timeout {}", t.arp.0)?;
    writeln!(out, "timeout xlate {}", t.xlate)?;
    writeln!(out, "timeout pat-xlate {}", t.pat_xlate)?;
    writeln!(out, "timeout conn {} half-closed {} udp {} icmp {}", t.conn, t.half_closed, t.udp, t.icmp)?;
    writeln!(out, "timeout embryonic {}", t.embryonic)?;
    writeln!(
        out,
        "timeout sip {} sip_media {} sip-invite {} sip-disconnect {}",
        t.sip, t.sip_media, t.sip_invite, t.sip_disconnect
    )?;
    writeln!(out, "timeout sip-provisional-media {}", t.sip_provisional_media)?;
    for (name, value) in &t.unused {
        let absolute = if *name == "uauth" { " absolute" } else { "" };
        writeln!(out, "timeout {name} {value}{absolute}")?;
    }
    if t.floating_conn.0 != 0 {
        writeln!(out, "timeout floating-conn {}", t.floating_conn)?;
    }
    writeln!(out, "timeout conn-holddown {}", t.conn_holddown)
}

fn inspection(model: &Model, out: &mut impl Write) -> fmt::Result {
    for (name, matches) in &model.class_maps {
        writeln!(out, "class-map {name}")?;
        line(out, " match", matches)?;
    }
    sip(model, out)?;
    for (name, classes) in &model.policy_maps {
        writeln!(out, "policy-map {name}")?;
        classes.iter().try_for_each(|class| policy_class(class, out))?;
    }
    match &model.service_policy {
        Some(name) => writeln!(out, "service-policy {name} global"),
        None => Ok(()),
    }
}

/// A class of a policy-map.
fn policy_class(class: &PolicyClass, out: &mut impl Write) -> fmt::Result {
    writeln!(out, " class {}", class.class)?;
    if let Some(inspect) = &class.inspect {
        let map = inspect.map.as_ref().map_or(String::new(), |map| format!(" {map}"));
        writeln!(out, "  inspect sip{map} tls-proxy {}", inspect.tls_proxy)?;
    }
    connections(&class.connections, out)
}

/// A class of a policy-map, as text.
pub fn class_text(class: &PolicyClass) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = policy_class(class, &mut text);
    text
}

fn line(out: &mut impl Write, words: &str, value: &Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => writeln!(out, "{words} {value}"),
        None => Ok(()),
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(name) => write!(f, "in interface {name}"),
            Self::Out(name) => write!(f, "out interface {name}"),
            Self::Global => f.write_str("global"),
        }
    }
}

/// `set connection` lines, each with what it says.
fn connections(c: &Connections, out: &mut impl Write) -> fmt::Result {
    let limits = [
        ("conn-max", c.conn_max),
        ("embryonic-conn-max", c.embryonic_max),
        ("per-client-max", c.per_client_max),
        ("per-client-embryonic-max", c.per_client_embryonic_max),
    ];
    let timers = [("embryonic", c.embryonic), ("half-closed", c.half_closed), ("idle", c.idle)];
    if limits.iter().any(|(_, value)| value.is_some()) {
        out.write_str("  set connection")?;
        for (word, value) in limits {
            value.map_or(Ok(()), |value| write!(out, " {word} {value}"))?;
        }
        writeln!(out)?;
    }
    if timers.iter().any(|(_, value)| value.is_some()) {
        out.write_str("  set connection timeout")?;
        for (word, value) in timers {
            value.map_or(Ok(()), |value| write!(out, " {word} {value}"))?;
        }
        writeln!(out)?;
    }
    if c.bypass {
        writeln!(out, "  set connection advanced-options tcp-state-bypass")?;
    }
    Ok(())
}

impl Display for ClassMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acl(name) => write!(f, "access-list {name}"),
            Self::Any => f.write_str("any"),
            Self::Default => f.write_str("default-inspection-traffic"),
            Self::Port(proto, op) => write!(f, "port {}{}", ports::proto_text(*proto), op.text(*proto)),
        }
    }
}

impl Display for Route6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipv6 route {} {} {} {}", self.interface, self.net, self.gateway, self.metric)
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {} {} {} {}", self.interface, self.net, self.gateway, self.metric)
    }
}

/// Regexes, classes of them, classes of SIP messages, and the maps that use them.
fn sip(model: &Model, out: &mut impl Write) -> fmt::Result {
    for (name, pattern) in &model.regexes {
        writeln!(out, "regex {name} \"{pattern}\"")?;
    }
    for (name, members) in &model.regex_classes {
        writeln!(out, "class-map type regex match-any {name}")?;
        members.iter().try_for_each(|regex| writeln!(out, " match regex {regex}"))?;
    }
    for (name, class) in &model.sip_classes {
        let kind = if class.any { "match-any" } else { "match-all" };
        writeln!(out, "class-map type inspect sip {kind} {name}")?;
        class.matches.iter().try_for_each(|one| writeln!(out, " {one}"))?;
    }
    for (name, map) in &model.inspect_maps {
        writeln!(out, "policy-map type inspect sip {name}\n parameters")?;
        for (text, action) in map.parameters.set() {
            match map.parameters.no_im && text == "no im" {
                true => writeln!(out, "  {text}")?,
                false => writeln!(out, "  {text} action {action}")?,
            }
        }
        if let Some(rtp) = map.parameters.rtp {
            let payloads = if rtp.enforce_payloads { " enforce-payloadtype" } else { "" };
            writeln!(out, "  rtp-conformance{payloads}")?;
        }
        if map.parameters.strip_identities {
            writeln!(out, "  asserted-identity strip")?;
        }
        for rule in &map.rules {
            writeln!(out, " {}", rule.subject)?;
            rule.action.iter().try_for_each(|action| writeln!(out, "  {action}"))?;
        }
    }
    Ok(())
}
