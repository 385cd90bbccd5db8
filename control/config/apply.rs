// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statements into a model, one after the other: each command does to the model what it does on an ASA.
//!
//! A single setting replaces the one before; a line of a list is appended; a mode line creates what it names or comes
//! back to it; `no` takes out what the same line without it put in, and is an error where that is not there. Only
//! what one command can know by itself is refused here (a second rule in one object, a line that is there already); whether the whole
//! makes sense is for [`super::check`]. The same code loads a file and applies a command typed at the CLI, so that the two
//! cannot differ.

mod crypto;
mod inspect;
mod logging;
mod objects;
mod pool;
mod sip;

use std::sync::Arc;

use super::check::{About, Fault};
use super::domains;
use super::model::sip::Subject;
use super::model::{DomainRule, Interface, ManualNat, Model, Note, Permit};
use super::raw::{Command, FragmentBound, Statement, Timer, Unset};
use super::types::{Device, Seconds};

/// Where sub-commands go: what the last mode line named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    #[default]
    Top,
    /// The interface at this position.
    Interface(usize),
    /// An `object network`.
    ObjectNetwork(String),
    /// An `object service`.
    ObjectService(String),
    /// An object-group.
    Group(String),
    /// A time-range.
    TimeRange(String),
    /// A trustpoint.
    Trustpoint(String),
    /// The certificate chain of a trustpoint.
    Chain(String),
    /// A TLS proxy.
    TlsProxy(String),
    /// A pool of servers.
    SipPool(String),
    /// A class-map.
    ClassMap(String),
    /// A class-map of regexes.
    RegexClass(String),
    /// A class-map of SIP messages.
    SipClass(String),
    /// An inspect map, or its parameters.
    InspectMap(String),
    /// A rule of an inspect map.
    InspectRule(String, Subject),
    /// A policy-map.
    PolicyMap(String),
    /// A class of a policy-map: its name and the class's.
    PolicyClass(String, String),
}

/// The model being edited and the place in it.
pub struct Editor {
    /// What it has become so far.
    pub model: Model,
    /// Its access-lists name mapped addresses, as before ASA 8.3.
    pub mapped_lists: bool,
    scope: Scope,
}

type Done = Result<About, Fault>;

impl Editor {
    /// Begins with `model` at the top.
    pub fn new(model: Model) -> Self {
        Self { model, mapped_lists: false, scope: Scope::Top }
    }

    /// Applies one statement. Says what of the model it was about.
    pub fn apply(&mut self, statement: Statement) -> Done {
        let Statement { negated, command, .. } = statement;
        match command {
            Command::Hostname(name) => single(&mut self.model.hostname, name, negated, About::Other),
            Command::DomainName(name) => single(&mut self.model.domain_name, name, negated, About::Other),
            Command::SameSecurity { inter: true } => flag(&mut self.model.same_security_inter, negated),
            Command::SameSecurity { inter: false } => flag(&mut self.model.same_security_intra, negated),
            Command::AsaVersion { mapped } => {
                self.mapped_lists = mapped;
                Ok(About::Other)
            }
            Command::Idle => Ok(About::Other),
            Command::Interface(_)
            | Command::Hardware(_)
            | Command::Unset(_)
            | Command::Nameif(_)
            | Command::SecurityLevel(_)
            | Command::IpAddress(..)
            | Command::MacAddress(_)
            | Command::Shutdown
            | Command::Ipv6Address(..)
            | Command::Ipv6Enable
            | Command::Mtu(..)
            | Command::ReversePath(_)
            | Command::NoProxyArp(_) => self.interface(command, negated),
            Command::ObjectNetwork(_)
            | Command::ObjectAddr(_)
            | Command::ObjectNat(_)
            | Command::ObjectService(_)
            | Command::Service(_) => self.object(command, negated),
            Command::Group(..) | Command::Member(_) => self.object_group(command, negated),
            Command::Description(_) => match self.scope {
                Scope::Group(_) => self.object_group(command, negated),
                Scope::Interface(_) => self.interface(command, negated),
                _ => self.object(command, negated),
            },
            Command::TimeRange(_) | Command::Absolute(..) | Command::Periodic(_) => {
                self.time_range(command, negated)
            }
            Command::Timezone(zone) => single(&mut self.model.timezone, zone, negated, About::Other),
            Command::AccessList(edit) => self.access_list(edit, negated),
            Command::DenyFlowMax(flows) => {
                single(&mut self.model.acl_deny_flow_max, flows, negated, About::Other)
            }
            Command::AlertInterval(seconds) => {
                single(&mut self.model.acl_alert_interval, seconds, negated, About::Other)
            }
            Command::AccessGroup(acl, place) => {
                let about = About::AccessGroup(place.clone());
                let groups = &mut self.model.access_groups;
                if !negated {
                    groups.insert(place, acl);
                } else if groups.get(&place) != Some(&acl) {
                    return Err(missing());
                } else {
                    groups.remove(&place);
                }
                Ok(about)
            }
            Command::TwiceNat(at, nat) => {
                let after_auto = nat.after_auto;
                self.manual_nat(at, ManualNat::Twice(nat), after_auto, negated)
            }
            Command::BlockSize(ports) => single(&mut self.model.block_size, ports, negated, About::Other),
            Command::BlocksPerHost(blocks) => {
                single(&mut self.model.blocks_per_host, blocks, negated, About::Other)
            }
            Command::LegacyStatic(nat) => self.manual_nat(None, ManualNat::Static(nat), false, negated),
            Command::LegacyGlobal(line) => {
                let about = About::LegacyGlobal(line.interface.clone(), line.id);
                listed(&mut self.model.legacy_globals, line, negated, about)
            }
            Command::LegacyNat(line) => {
                let about = About::LegacyNat(line.interface.clone(), line.id);
                listed(&mut self.model.legacy_nats, line, negated, about)
            }
            Command::Route(route) => {
                let about = About::Route(route.clone());
                listed(&mut self.model.routes, route, negated, about)
            }
            Command::Route6(route) => {
                let about = About::Route6(route.clone());
                listed(&mut self.model.routes6, route, negated, about)
            }
            Command::Names => flag(&mut self.model.names, negated),
            Command::Name(address, name) => {
                let table = &mut self.model.name_table;
                if !negated {
                    table.insert(name, address);
                } else if table.get(&name) != Some(&address) {
                    return Err(missing());
                } else {
                    table.remove(&name);
                }
                Ok(About::Other)
            }
            Command::Fragment(bound, value) => {
                let slot = match bound {
                    FragmentBound::Size => &mut self.model.fragment_size,
                    FragmentBound::Chain => &mut self.model.fragment_chain,
                    FragmentBound::Timeout => &mut self.model.fragment_timeout,
                };
                single(slot, value, negated, About::Other)
            }
            Command::Timeout(set) => self.timeout(&set, negated),
            Command::Trustpoint(_)
            | Command::TrustFile(..)
            | Command::TlsProxy(_)
            | Command::MaxProxySessions(_)
            | Command::TrustPoint(..)
            | Command::FaceSuites(..)
            | Command::FaceVersion(..)
            | Command::ShownSuites(_)
            | Command::ShownVersion(_)
            | Command::ShownAuthenticateClient
            | Command::AuthenticateClient
            | Command::SslVersion(..)
            | Command::SslCipher(..)
            | Command::RevocationCheck(_)
            | Command::CrlConfigure
            | Command::EnforceNextUpdate
            | Command::CrlUrl(..)
            | Command::CrlCacheTime(_)
            | Command::Enrollment(_)
            | Command::Fqdn(_)
            | Command::CertificateChain(_)
            | Command::Certificate(_)
            | Command::SslEncryption(..)
            | Command::SubjectName(_)
            | Command::KeyPair(_) => self.crypto(command, negated),
            Command::SipPool(_)
            | Command::PoolMember(..)
            | Command::HealthCheck(_)
            | Command::ClientPool(_) => self.pool(command, negated),
            Command::ClassMap(_)
            | Command::Match(_)
            | Command::Limits(_)
            | Command::ConnTimeouts(_)
            | Command::StateBypass
            | Command::PolicyMap(_)
            | Command::PolicyClass(_)
            | Command::InspectSip(_)
            | Command::ServicePolicy(_) => self.inspect(command, negated),
            Command::Regex(..)
            | Command::RegexClass(_)
            | Command::RegexMember(_)
            | Command::SipClass(..)
            | Command::SipMatch(_)
            | Command::InspectMap(_)
            | Command::InspectParameters
            | Command::Parameter(_)
            | Command::InspectClass(_)
            | Command::InspectMatch(_)
            | Command::InspectAction(_) => self.sip(command, negated),
            Command::FlowExport(to) => self.flow_export(to, negated),
            Command::FlowTemplates(minutes) => {
                logging::set(&mut self.model.export.template_minutes, minutes, negated)
            }
            Command::Metrics(at) => {
                logging::set(&mut self.model.metrics, at, negated).map(|_| About::Metrics)
            }
            Command::Logging(line) => self.logging(line, negated),
            Command::LocalDomain(name) => {
                let about = About::LocalDomain(name.clone());
                member(&mut self.model.local_domains, name, negated, about)
            }
            Command::Domain(key, rule) => {
                let permits = matches!(rule, DomainRule::Permit(_));
                apply_domain(&mut self.model, &key, rule, negated)?;
                if permits {
                    self.model.domain_trust.remove(&key);
                }
                Ok(About::Other)
            }
            Command::BoundDomain(key, permit, trustpoint) => {
                if negated && self.model.domain_trust.get(&key) != Some(&trustpoint) {
                    return Err(missing());
                }
                apply_domain(&mut self.model, &key, DomainRule::Permit(permit), negated)?;
                let about = About::BoundDomain(key.clone());
                if negated {
                    self.model.domain_trust.remove(&key);
                } else {
                    self.model.domain_trust.insert(key, trustpoint);
                }
                Ok(about)
            }
        }
    }

    /// Enters the sub-mode of what is called `name`, making it first where it is new; or takes it out.
    fn node<V: Default>(
        map: &mut std::collections::BTreeMap<String, V>,
        name: &str,
        negated: bool,
    ) -> Result<(), Fault> {
        if negated {
            return map.remove(name).map(|_| ()).ok_or_else(missing);
        }
        map.entry(name.to_owned()).or_default();
        Ok(())
    }

    fn interface(&mut self, command: Command, negated: bool) -> Done {
        let interfaces = &mut self.model.interfaces;
        match command {
            Command::Interface(device) => {
                let at = interfaces.iter().position(|i| i.device == device);
                let about = About::Interface(device.clone());
                self.scope = match (negated, at) {
                    (false, Some(at)) => Scope::Interface(at),
                    (false, None) => {
                        interfaces.push(Interface::new(device));
                        Scope::Interface(interfaces.len() - 1)
                    }
                    (true, Some(at)) => {
                        interfaces.remove(at);
                        Scope::Top
                    }
                    (true, None) => return Err(missing()),
                };
                return Ok(about);
            }
            Command::Mtu(name, mtu) => {
                let interface = by_name(interfaces, &name)?;
                if negated && interface.mtu != mtu {
                    return Err(missing());
                }
                interface.mtu = if negated { 1500 } else { mtu };
                return Ok(About::Interface(interface.device.clone()));
            }
            Command::ReversePath(name) => {
                let interface = by_name(interfaces, &name)?;
                flag(&mut interface.verify_reverse_path, negated)?;
                return Ok(About::Interface(interface.device.clone()));
            }
            Command::NoProxyArp(name) => {
                let interface = by_name(interfaces, &name)?;
                flag(&mut interface.no_proxy_arp, negated)?;
                return Ok(About::Interface(interface.device.clone()));
            }
            _ => {}
        }
        let Scope::Interface(at) = self.scope else { return Err(misplaced()) };
        let Some(interface) = interfaces.get_mut(at) else { return Err(misplaced()) };
        let about = About::Interface(interface.device.clone());
        match command {
            Command::Hardware(port) => {
                if !matches!(interface.device, Device::Slot(_)) {
                    let what = format!("interface {} is a port of the machine itself", interface.device);
                    return Err(Fault::error(what)
                        .help("`hardware` goes with `interface GigabitEthernet0/0` and the like"));
                }
                single(&mut interface.hardware, port, negated, about)
            }
            Command::Unset(setting) => {
                match setting {
                    Unset::Nameif => interface.nameif = None,
                    Unset::SecurityLevel => interface.security_level = None,
                    Unset::Address => interface.address = None,
                }
                Ok(about)
            }
            Command::Nameif(name) => single(&mut interface.nameif, name, negated, about),
            Command::SecurityLevel(level) => single(&mut interface.security_level, level, negated, about),
            Command::IpAddress(addr, mask) => single(&mut interface.address, (addr, mask), negated, about),
            Command::Ipv6Address(addr, prefix) => {
                single(&mut interface.address6, (addr, prefix), negated, about)
            }
            Command::Ipv6Enable => {
                flag(&mut interface.ipv6, negated)?;
                Ok(about)
            }
            Command::Description(text) => single(&mut interface.description, text, negated, about),
            Command::MacAddress(mac) => single(&mut interface.mac, mac, negated, about),
            Command::Shutdown => {
                interface.shutdown = !negated;
                Ok(about)
            }
            _ => Err(misplaced()),
        }
    }

    /// A rule goes behind the others of its section, or in at the place `at`, from 1.
    fn manual_nat(&mut self, at: Option<u32>, rule: ManualNat, after_auto: bool, negated: bool) -> Done {
        let model = &mut self.model;
        let (list, section) =
            if after_auto { (&mut model.after_auto_nat, 3) } else { (&mut model.manual_nat, 1) };
        let place = at.map_or(list.len(), |at| (at as usize - 1).min(list.len()));
        // Its place is its identity for the check's messages.
        listed(list, rule, negated, About::ManualNat(section, place))?;
        if !negated && place + 1 < list.len() {
            list[place..].rotate_right(1);
        }
        Ok(About::ManualNat(section, place))
    }

    fn timeout(&mut self, set: &[(Timer, Seconds)], negated: bool) -> Done {
        let defaults = super::model::Timeouts::default();
        let timeouts = &mut self.model.timeouts;
        for (timer, value) in set {
            let (slot, default) = match timer {
                Timer::Conn => (&mut timeouts.conn, defaults.conn),
                Timer::HalfClosed => (&mut timeouts.half_closed, defaults.half_closed),
                Timer::Embryonic => (&mut timeouts.embryonic, defaults.embryonic),
                Timer::Udp => (&mut timeouts.udp, defaults.udp),
                Timer::Icmp => (&mut timeouts.icmp, defaults.icmp),
                Timer::Sip => (&mut timeouts.sip, defaults.sip),
                Timer::SipMedia => (&mut timeouts.sip_media, defaults.sip_media),
                Timer::SipProvisionalMedia => {
                    (&mut timeouts.sip_provisional_media, defaults.sip_provisional_media)
                }
                Timer::SipInvite => (&mut timeouts.sip_invite, defaults.sip_invite),
                Timer::SipDisconnect => (&mut timeouts.sip_disconnect, defaults.sip_disconnect),
                Timer::PatXlate => (&mut timeouts.pat_xlate, defaults.pat_xlate),
                Timer::Xlate => (&mut timeouts.xlate, defaults.xlate),
                Timer::ConnHolddown => (&mut timeouts.conn_holddown, defaults.conn_holddown),
                Timer::FloatingConn => (&mut timeouts.floating_conn, defaults.floating_conn),
                Timer::Arp => (&mut timeouts.arp, defaults.arp),
                Timer::Unused(name) => {
                    if !negated {
                        timeouts.unused.insert(name, *value);
                    } else if timeouts.unused.get(name) != Some(value) {
                        return Err(missing());
                    } else {
                        timeouts.unused.remove(name);
                    }
                    continue;
                }
            };
            if negated && *slot != *value {
                return Err(missing());
            }
            *slot = if negated { default } else { *value };
        }
        Ok(About::Timeouts)
    }
}

/// Applies a line of the domain list: the one edit that the daemon also makes in place, without a commit. Whether it changed
/// anything: permitting what is permitted is no error, so that a list can be fed again.
pub fn apply_domain(
    model: &mut Model,
    key: &super::model::DomainKey,
    rule: DomainRule,
    negated: bool,
) -> Result<bool, Fault> {
    if !negated
        && matches!(rule, DomainRule::Permit(_))
        && let Some(why) = domains::refused(model, key)
    {
        return Err(Fault::error(why));
    }
    let entry = edited(&model.domains, key, rule, negated).ok_or_else(missing)?;
    let Some(new) = entry else { return Ok(false) };
    put(Arc::make_mut(&mut model.domains), key, new);
    Ok(true)
}

/// Applies a line to lists alone. `None` where it takes out what is not there.
pub fn apply_rule(
    lists: &mut super::model::Domains,
    key: &super::model::DomainKey,
    rule: DomainRule,
    negated: bool,
) -> Option<()> {
    if let Some(new) = edited(lists, key, rule, negated)? {
        put(lists, key, new);
    }
    Some(())
}

fn put(lists: &mut super::model::Domains, key: &super::model::DomainKey, entry: super::model::DomainEntry) {
    if entry == super::model::DomainEntry::default() {
        lists.remove(key);
    } else {
        lists.insert(key.clone(), entry);
    }
}

/// What a line makes of what is said of `key`, where that differs.
fn edited(
    lists: &super::model::Domains,
    key: &super::model::DomainKey,
    rule: DomainRule,
    negated: bool,
) -> Option<Option<super::model::DomainEntry>> {
    let old = lists.get(key).cloned().unwrap_or_default();
    let mut new = old.clone();
    // `no permit domain D` need not repeat what stands behind it.
    let noted = |line: &Note, old: &Note| *line == Note::default() || line == old;
    match (rule, negated) {
        (DomainRule::Permit(permit), false) => new.permit = Some(permit),
        (DomainRule::Block(note), false) => new.block = Some(note),
        (DomainRule::Permit(permit), true) => {
            let named = |old: &Permit| permit.peer.is_none() || permit.peer == old.peer;
            old.permit.as_ref().filter(|old| named(old) && noted(&permit.note, &old.note))?;
            new.permit = None;
        }
        (DomainRule::Block(note), true) => {
            old.block.as_ref().filter(|old| noted(&note, old))?;
            new.block = None;
        }
    }
    let changed = new != old;
    Some(changed.then_some(new))
}

/// A `no` that finds nothing.
fn missing() -> Fault {
    Fault::error("the configuration has no such line, so there is nothing to take out")
}

/// The grammar lets no sub-command out of its mode; this is what says so if it ever did.
fn misplaced() -> Fault {
    Fault::error("the command stands outside the sub-mode it belongs to")
}

fn by_name<'m>(interfaces: &'m mut [Interface], name: &str) -> Result<&'m mut Interface, Fault> {
    interfaces
        .iter_mut()
        .find(|i| i.nameif.as_deref() == Some(name))
        .ok_or_else(|| Fault::error(format!("there is no interface `{name}`")).word(name))
}

/// A setting that holds one value.
fn single<T: PartialEq>(slot: &mut Option<T>, value: T, negated: bool, about: About) -> Done {
    if !negated {
        *slot = Some(value);
    } else if slot.as_ref() != Some(&value) {
        return Err(missing());
    } else {
        *slot = None;
    }
    Ok(about)
}

/// A setting that is on or off.
fn flag(slot: &mut bool, negated: bool) -> Done {
    if negated && !*slot {
        return Err(missing());
    }
    *slot = !negated;
    Ok(About::Other)
}

/// A line of an ordered list.
fn listed<T: PartialEq>(list: &mut Vec<T>, line: T, negated: bool, about: About) -> Done {
    let at = list.iter().position(|l| *l == line);
    match (negated, at) {
        (true, Some(at)) => drop(list.remove(at)),
        (true, None) => return Err(missing()),
        (false, Some(_)) => return Err(Fault::error("the same line is there already")),
        (false, None) => list.push(line),
    }
    Ok(about)
}

/// A member of a set.
fn member(set: &mut std::collections::BTreeSet<String>, name: String, negated: bool, about: About) -> Done {
    let done = if negated { set.remove(&name) } else { set.insert(name) };
    match (done, negated) {
        (true, _) => Ok(about),
        (false, true) => Err(missing()),
        (false, false) => Err(Fault::error("the same line is there already")),
    }
}
