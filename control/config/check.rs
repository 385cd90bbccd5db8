// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a model makes sense as a whole: every name leads somewhere, what is used is complete, sizes and limits hold.
//!
//! Runs after a file was read and after every single command, on the model alone: so taking out an object that a NAT line
//! still needs is refused by the same rule as a NAT line with a slip in the name. A [`Fault`] says what element it is
//! [`About`]; the loader knows on which line that stands. Warnings are for what loads but cannot be meant
//! (an access-list that nothing uses).

use std::collections::HashSet;
use std::net::Ipv4Addr;

use fedgate_tables::policy::{ANY_PORT, MAX_CLASS_SLOTS, MAX_INTERFACES, NatKind};

use super::diag::Severity;
use super::domains::{covering, refused};
use super::model::logging::HostKey;
use super::model::{
    CLASS_DEFAULT, ClassMatch, Connections, DomainKey, Member, Model, Name, Place, Route, Route6,
};
use super::resolve::{self, Rule};
use super::types::Device;

mod acl;
pub mod crypto;
mod logging;
mod pool;
mod sip;

/// Most ACEs of all access-lists, after expansion: the number of hit counters (contracts: counters).
pub const MAX_ACES: usize = 262_144;
/// Most entries of the segment that they may come to: `neq` and address ranges take several each.
pub const MAX_ENTRIES: u64 = 524_288;
/// Most NAT rules.
pub const MAX_NAT: usize = 4096;

/// Warned of beside NAT lines of 8.2.
pub const REAL_ADDRESSES: &str =
    "access-lists name real addresses and ports (as from ASA 8.3 on), also beside `static` lines of 8.2";

/// An element of the model, as far as a fault can be about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each names the command that makes the element")]
pub enum About {
    Other,
    Interface(Device),
    Network(String),
    ObjectNat(String),
    Service(String),
    Group(String),
    Member(String, Member),
    TimeRange(String),
    Acl(Name),
    /// Name and line, from 1.
    AclLine(Name, usize),
    AccessGroup(Place),
    /// Section and place in it, from 0.
    ManualNat(u8, usize),
    LegacyGlobal(String, u32),
    LegacyNat(String, u32),
    Route(Route),
    Route6(Route6),
    Trustpoint(String),
    Certificate(String),
    Key(String),
    Ca(String),
    Crl(String),
    Ssl,
    TlsProxy(String),
    ServerFace(String),
    ClientFace(String),
    ClientPool(String),
    SipPool(String),
    ClassMap(String),
    Regex(String),
    RegexClass(String),
    SipClass(String),
    InspectMap(String),
    /// The map, and the rule as it is written.
    InspectRule(String, String),
    PolicyMap(String),
    PolicyClass(String, String),
    Inspect(String, String),
    Connections(String, String),
    ServicePolicy,
    Timeouts,
    DeviceId,
    Metrics,
    LogHost(HostKey),
    LocalDomain(String),
    BoundDomain(DomainKey),
}

/// Something wrong with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Error or warning.
    pub severity: Severity,
    /// What, as a sentence without a full stop.
    pub message: String,
    /// The word of the element's line that the caret should stand under.
    pub word: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Fault {
    /// An error.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), word: None, help: None }
    }

    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same with the word to point at.
    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        self.word = Some(word.to_owned());
        self
    }

    /// The same with a suggestion.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

type Found = Vec<(About, Fault)>;

/// Everything wrong with `model`.
pub fn check(model: &Model) -> Found {
    let mut found = Found::new();
    interfaces(model, &mut found);
    routes(model, &mut found);
    routes6(model, &mut found);
    timers(model, &mut found);
    acl::groups(model, &mut found);
    acl::time_ranges(model, &mut found);
    acl::lists(model, &mut found);
    access_groups(model, &mut found);
    nat(model, &mut found);
    super::mapped::check(model, &mut found);
    crypto::proxies(model, &mut found);
    crypto::domains(model, &mut found);
    pool::pools(model, &mut found);
    logging::logging(model, &mut found);
    inspection(model, &mut found);
    sip::maps(model, &mut found);
    local_domains(model, &mut found);
    found
}

fn interfaces(model: &Model, found: &mut Found) {
    let mut names = HashSet::new();
    let mut earlier: Vec<(&str, super::types::Net)> = Vec::new();
    let mut earlier6: Vec<(&str, super::addr::Net6)> = Vec::new();
    for interface in &model.interfaces {
        let about = || About::Interface(interface.device.clone());
        let name = interface.nameif.as_deref();
        if let Some(name) = name.filter(|name| !names.insert(*name)) {
            found.push((about(), Fault::error(format!("a second interface is called `{name}`"))));
        }
        if let (Some(name), Device::Slot(slot)) = (name, interface.port()) {
            let what = format!("interface {slot} ({name}) has no port of this machine: it is down");
            let help =
                "say under it which one it is: `hardware pci 0000:03:00.0`, or tap, memif, af_packet, ...";
            found.push((about(), Fault::warning(what).help(help)));
        }
        let same = |other: &&super::model::Interface| other.port() == interface.port();
        if let Some(other) = model.interfaces.iter().take_while(|i| !std::ptr::eq(*i, interface)).find(same) {
            let what = format!("{} is the port of interface {} already", interface.port(), other.device);
            found.push((about(), Fault::error(what)));
        }
        if let (Some(name), Some(net)) = (name, interface.network6()) {
            if let Some((other, _)) = earlier6.iter().find(|(_, n)| n.overlaps(net)) {
                let what = format!("the IPv6 networks of {other} and {name} overlap");
                found.push((about(), Fault::error(what)));
            }
            earlier6.push((name, net));
        }
        match (name, interface.network()) {
            (Some(name), Some(net)) => {
                if let Some((other, _)) = earlier.iter().find(|(_, n)| n.overlaps(net)) {
                    let what = format!("the networks of {other} and {name} overlap");
                    found.push((about(), Fault::error(what)));
                }
                earlier.push((name, net));
            }
            (None, _) => {
                found.push((about(), Fault::warning("the interface is not used: it has no `nameif`")))
            }
            (_, None) => {
                found.push((about(), Fault::warning("the interface is not used: it has no `ip address`")))
            }
        }
    }
    if let Some(extra) = model.interfaces.get(MAX_INTERFACES) {
        let what = format!("more than {MAX_INTERFACES} interfaces");
        found.push((About::Interface(extra.device.clone()), Fault::error(what)));
    }
}

fn routes(model: &Model, found: &mut Found) {
    for route in &model.routes {
        let about = About::Route(route.clone());
        match model.interface(&route.interface).map(|i| (i.address, i.network())) {
            None => {
                let what = format!("there is no interface `{}`", route.interface);
                found.push((about, Fault::error(what).word(&route.interface)));
            }
            Some((Some((own, _)), Some(net))) => {
                if let Some(fault) = gateway_fault(route, own, net) {
                    found.push((about, fault.word(&route.gateway.to_string())));
                }
            }
            Some(_) => {
                let what = format!("interface {} has no address", route.interface);
                found.push((about, Fault::error(what).word(&route.interface)));
            }
        }
    }
}

fn routes6(model: &Model, found: &mut Found) {
    for route in &model.routes6 {
        let about = || About::Route6(route.clone());
        let link_local = route.gateway.segments()[0] & 0xffc0 == 0xfe80;
        let what = match model.interface(&route.interface) {
            None => format!("there is no interface `{}`", route.interface),
            Some(i) if i.address6.is_none() && !i.ipv6 => {
                format!("interface {} does not speak IPv6: give it `ipv6 enable`", route.interface)
            }
            Some(i) if i.address6.is_some_and(|(own, _)| own == route.gateway) => {
                format!("{} is the appliance's own address, not a next hop", route.gateway)
            }
            Some(i) if !link_local && !i.network6().is_some_and(|net| net.contains(route.gateway)) => {
                format!("next hop {} is not in the network of {}", route.gateway, route.interface)
            }
            Some(_) => continue,
        };
        found.push((about(), Fault::error(what)));
    }
}

/// Timers that are there for the sake of configurations that have them.
fn timers(model: &Model, found: &mut Found) {
    let names: Vec<&str> = model.timeouts.unused.keys().copied().collect();
    if !names.is_empty() {
        let what = format!(
            "`timeout` of {} has no effect: fedgate does nothing that they would time",
            names.join(", ")
        );
        found.push((About::Timeouts, Fault::warning(what).help("take it out")));
    }
}

fn gateway_fault(route: &Route, own: Ipv4Addr, net: super::types::Net) -> Option<Fault> {
    if route.gateway == own {
        return Some(Fault::error(format!("{own} is the appliance's own address, not a next hop")));
    }
    (!net.contains(route.gateway)).then(|| {
        Fault::error(format!(
            "next hop {} is not in the network of {} ({net})",
            route.gateway, route.interface
        ))
    })
}

fn access_groups(model: &Model, found: &mut Found) {
    for (place, acl) in &model.access_groups {
        if !model.acls.contains_key(acl.as_str()) {
            let fault = Fault::error(format!("ERROR: access-list <{acl}> does not exist")).word(acl);
            found.push((About::AccessGroup(place.clone()), fault));
        }
        if let Place::In(name) | Place::Out(name) = place
            && model.interface(name).is_none()
        {
            let fault = Fault::error(format!("there is no interface `{name}`")).word(name);
            found.push((About::AccessGroup(place.clone()), fault));
        }
    }
}

fn nat(model: &Model, found: &mut Found) {
    let rules = resolve::rules(model);
    let total: usize = rules.iter().map(|(_, rule)| rule.as_ref().map_or(1, |rule| rule.reals.len())).sum();
    if total > MAX_NAT {
        let what = format!("{total} NAT rules, one for each range of real addresses; at most {MAX_NAT} fit");
        found.push((About::Other, Fault::error(what)));
    }
    // Two static rules that claim one mapped address and port: the second can never be reached from outside. Each is compared with
    // all before it, which at the most rules there can be is some ten milliseconds.
    let mut statics: Vec<Rule> = Vec::new();
    for (about, rule) in rules.into_iter().take(MAX_NAT) {
        match rule {
            Err(fault) => found.push((about, fault)),
            Ok(rule) => {
                // Identity claims nothing: it says what is left alone.
                if !matches!(rule.kind, NatKind::Static | NatKind::StaticPat) {
                    continue;
                }
                if let Some(first) = statics.iter().find(|first| first.hides(&rule)) {
                    let port = rule.port.1;
                    let port = if port == ANY_PORT { String::new() } else { format!(" port {}", port[0]) };
                    let mapped = Ipv4Addr::from(rule.mapped[0]);
                    let what = format!("{mapped}{port} is mapped already, by: {}", first.text);
                    found.push((about, Fault::error(what)));
                }
                statics.push(rule);
            }
        }
    }
    if !model.access_groups.is_empty() && has_statics(model) {
        let help =
            "a file that begins with `ASA Version 8.2(5)` has its lists read as that release reads them";
        found.push((About::ManualNat(1, 0), Fault::warning(REAL_ADDRESSES).help(help)));
    }
    for global in &model.legacy_globals {
        if model.interface(&global.interface).is_none() {
            let fault = Fault::error(format!("there is no interface `{}`", global.interface));
            found.push((About::LegacyGlobal(global.interface.clone(), global.id), fault));
        }
    }
    for nat in &model.legacy_nats {
        let about = About::LegacyNat(nat.interface.clone(), nat.id);
        if model.interface(&nat.interface).is_none() {
            found.push((about, Fault::error(format!("there is no interface `{}`", nat.interface))));
        } else if nat.id != 0 && !model.legacy_globals.iter().any(|g| g.id == nat.id) {
            let what = format!("no `global` line has number {}", nat.id);
            found.push((about, Fault::warning(what).word(&nat.id.to_string())));
        }
    }
}

fn has_statics(model: &Model) -> bool {
    model.manual_nat.iter().any(|rule| matches!(rule, super::model::ManualNat::Static(_)))
}

fn inspection(model: &Model, found: &mut Found) {
    for (name, matches) in &model.class_maps {
        let Some(ClassMatch::Acl(acl)) = matches else { continue };
        if !model.acls.contains_key(acl.as_str()) {
            let what = format!("access-list {acl} is needed by class-map {name}");
            found.push((About::ClassMap(name.clone()), Fault::error(what).word(acl)));
        }
    }
    for (policy, classes) in &model.policy_maps {
        if classes.len() > MAX_CLASS_SLOTS as usize {
            let what =
                format!("policy-map {policy} has {} classes; at most {MAX_CLASS_SLOTS} fit", classes.len());
            found.push((About::PolicyMap(policy.clone()), Fault::error(what)));
        }
        for class in classes {
            let about = About::PolicyClass(policy.clone(), class.class.clone());
            let acts = class.inspect.is_some() || class.connections != Connections::default();
            if acts && model.class_maps.get(&class.class) == Some(&Some(ClassMatch::Default)) {
                let what = format!(
                    "class {} matches default-inspection-traffic, of which only an ASA's own inspections can be made",
                    class.class
                );
                let help = "make a class of its own: `match access-list NAME` or `match port tcp eq 5061`";
                found.push((about, Fault::error(what).help(help)));
                continue;
            }
            match model.class_maps.get(&class.class) {
                None if class.class == CLASS_DEFAULT => {}
                None => {
                    let what = format!("there is no `class-map {}`", class.class);
                    found.push((about, Fault::error(what).word(&class.class)));
                }
                Some(None) if acts => {
                    let what = format!("class-map {} has no `match` line", class.class);
                    found.push((about, Fault::error(what).word(&class.class)));
                }
                Some(_) => {}
            }
            let Some(inspect) = &class.inspect else { continue };
            let about = || About::Inspect(policy.clone(), class.class.clone());
            if let Some(map) = inspect.map.as_ref().filter(|map| !model.inspect_maps.contains_key(*map)) {
                let what = format!("there is no `policy-map type inspect sip {map}`");
                let fault = Fault::error(what).word(map);
                found.push((about(), known("defined", fault, model.inspect_maps.keys())));
            }
            let what = match model.tls_proxies.get(&inspect.tls_proxy) {
                None => format!("there is no `tls-proxy {}`", inspect.tls_proxy),
                Some(proxy) if proxy.server.shown.is_some() && proxy.client.shown.is_some() => continue,
                Some(_) => format!("tls-proxy {} lacks a server or client trust-point", inspect.tls_proxy),
            };
            let fault = Fault::error(what).word(&inspect.tls_proxy);
            found.push((about(), known("there is", fault, model.tls_proxies.keys())));
        }
        if model.service_policy.as_ref() != Some(policy) {
            let what = format!("policy-map {policy} is defined but not applied");
            let fault =
                Fault::warning(what).help(format!("put it to work: `service-policy {policy} global`"));
            found.push((About::PolicyMap(policy.clone()), fault));
        }
    }
    if let Some(policy) = model.service_policy.as_ref().filter(|p| !model.policy_maps.contains_key(*p)) {
        let fault = Fault::error(format!("there is no `policy-map {policy}`")).word(policy);
        found.push((About::ServicePolicy, fault));
    }
}

/// Names what could have been meant, where that is not many.
fn known<'n>(says: &str, fault: Fault, names: impl Iterator<Item = &'n String>) -> Fault {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() || names.len() > 8 {
        fault
    } else {
        fault.help(format!("{says}: {}", names.join(", ")))
    }
}

fn local_domains(model: &Model, found: &mut Found) {
    for local in &model.local_domains {
        let key = DomainKey { name: local.clone(), wildcard: false };
        let permitted = model.domains.get(&key).is_some_and(|entry| entry.permit.is_some());
        if let Some(why) = refused(model, &key).filter(|_| permitted) {
            found.push((About::LocalDomain(local.clone()), Fault::error(why)));
        }
        for wildcard in covering(model, local) {
            let what = format!("`permit domain {wildcard}` covers the local domain {local}");
            let help = format!("foreigners still cannot speak for {local}: what is local is asked first");
            found.push((About::LocalDomain(local.clone()), Fault::warning(what).help(help)));
        }
    }
    let inspecting = model.policy_maps.values().flatten().any(|class| class.inspect.is_some());
    if inspecting && model.local_domains.is_empty() {
        let what = "no `local domain`: the TLS proxy will refuse every request from outside";
        let help =
            "`local domain NAME` for each domain of our own, and `permit domain NAME` for each partner's";
        found.push((About::ServicePolicy, Fault::warning(what).help(help)));
    }
}

/// The warnings that `permit domain` earns by itself, for the edit in place.
pub fn permit_warning(model: &Model, key: &DomainKey) -> Option<String> {
    if !key.wildcard {
        return None;
    }
    let suffix = format!(".{}", key.name);
    let local = model.local_domains.iter().find(|local| local.ends_with(&suffix))?;
    Some(format!("{key} covers the local domain {local}; foreigners still cannot speak for it"))
}
