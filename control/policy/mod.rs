// SPDX-License-Identifier: MIT OR Apache-2.0
//! Model to policy segment: the third form of a configuration, and the only one that leaves the process.
//!
//! Everything the dataplane would have to look up by name is an index here, NAT stands in its order of evaluation, every interface
//! has its connected route. The same configuration, slots and generation make the same bytes, so that a restarted control can
//! tell by comparing that the dataplane already runs what it would send. Which counter slot an ACE or NAT rule has is [`slots`]'
//! matter: unchanged lines keep theirs across commits and across restarts of control.

pub mod acl;
#[cfg(test)]
mod scale;
pub mod slots;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use fedgate_tables::policy::{
    AddrRange, CLASS_LIMITS, CLASS_STATE_BYPASS, Globals, IF_IPV6, IF_MAC_SET, IF_NO_PROXY_ARP, IF_SHUTDOWN,
    IF_VERIFY_REVERSE_PATH, Interface, NONE, NatKind, NatRule, Period, Route, Route6, SAME_SECURITY_INTER,
    SAME_SECURITY_INTRA, ServiceClass, TELL_FLOWS, TimeRange,
};
use fedgate_tables::policy_build::{BuildError, PolicyBuilder};

use crate::config::Config;
use crate::config::check::Fault;
use crate::config::model::{
    self, AceAddr, AceIcmp, AcePorts, AceProto, AclLine, AclLines, CLASS_DEFAULT, ClassMatch, Connections,
    Minute, Model, Name, Place, PolicyClass,
};
use crate::config::resolve::{self, Rule};
use crate::config::types::{PortOp, Seconds};
use acl::{Block, World};
use slots::{Counts, Free, NatSlots, NoSlot, RuleSlots, Slots};

/// Why a configuration that passed its checks did not become a segment.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The segment's own bounds.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// More ACEs or NAT rules than counters.
    #[error(transparent)]
    Slot(#[from] NoSlot),
    /// A NAT line that leads nowhere; the check should have said so.
    #[error("{}", .0.message)]
    Nat(Fault),
}

/// A policy ready to be sent.
pub struct Compiled {
    /// The segment.
    pub segment: Vec<u8>,
    /// Which counters its lines have.
    pub slots: Slots,
}

/// The interfaces that are complete, that is have a name and an address of either family, in the order of their indices in the policy.
pub fn interfaces(model: &Model) -> impl Iterator<Item = &model::Interface> {
    model.interfaces.iter().filter(|i| i.nameif.is_some() && (i.address.is_some() || i.speaks_ipv6()))
}

/// The classes of the service policy.
fn service_classes(model: &Model) -> impl Iterator<Item = &PolicyClass> {
    model.service_policy.as_ref().and_then(|name| model.policy_maps.get(name)).into_iter().flatten()
}

/// Each TLS proxy with an inspect map that it is used with, once, in the order of the classes.
pub fn inspected(model: &Model) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for inspect in service_classes(model).filter_map(|class| class.inspect.as_ref()) {
        let pair = inspect.map.as_deref().map(|map| (inspect.tls_proxy.as_str(), map));
        pairs.extend(pair.filter(|pair| !pairs.contains(pair)));
    }
    pairs
}

/// The TLS proxies in the order of their indices in the policy: by name, those that are complete; then those with a map.
pub fn proxies(model: &Model) -> Vec<(&str, Option<&str>)> {
    let plain = model.whole_proxies().map(|(name, _)| (name.as_str(), None));
    plain.chain(inspected(model).into_iter().map(|(name, map)| (name, Some(map)))).collect()
}

/// What has a counter: each rule and parameter of the maps in use, by map and text.
fn rules(model: &Model) -> impl Iterator<Item = (String, String)> {
    let maps: BTreeSet<&str> = inspected(model).into_iter().map(|(_, map)| map).collect();
    maps.into_iter().filter_map(|name| Some((name, model.inspect_maps.get(name)?))).flat_map(|(name, map)| {
        let rules = map.rules.iter().map(|rule| rule.subject.to_string());
        let parameters = map.parameters.set().map(|(text, _)| text.to_owned());
        rules.chain(parameters).map(move |text| (name.to_owned(), text)).collect::<Vec<_>>()
    })
}

/// Compiles `config`. Lines that were there before keep the slots they had in `before`; `counts` tells what a counter stands at
/// when a new line takes it.
pub fn compile(
    config: &Config,
    generation: u64,
    before: &Slots,
    counts: &impl Counts,
) -> Result<Compiled, CompileError> {
    let model = &config.model;
    let mut compiler = Compiler {
        model,
        builder: PolicyBuilder::new(),
        interfaces: index(interfaces(model).filter_map(|i| i.nameif.as_deref())),
        acls: HashMap::new(),
    };
    let mut free = before.free(counts);
    compiler.time_ranges();
    let world = World::of(model);
    // Those of the configuration first: an event names a list by its place among them.
    let of_classes = class_lists(model);
    let lists: Vec<(&Name, &Arc<AclLines>)> = model.acls.iter().chain(&of_classes).collect();
    let blocks = blocks(model, &lists, &world, before, &mut free)?;
    for (name, _) in lists {
        let Some(block) = blocks.get(name) else { continue };
        let blob = compiler.builder.blob(name.as_bytes());
        let index = compiler.builder.acl(blob, &block.aces, &block.aces6);
        compiler.acls.insert(name.clone(), index);
    }
    compiler.interfaces();
    compiler.routes();
    compiler.routes6();
    let mut nat = NatSlots::default();
    for (_, rule) in resolve::rules(model) {
        let rule = rule.map_err(CompileError::Nat)?;
        let counter = nat.next(&rule.text, before, &mut free)?;
        compiler.nat(&rule, counter);
    }
    let classes = before.of_classes(compiler.classes().map(|class| class.class.as_str()))?;
    let rules = before.of_rules(rules(model), counts)?;
    compiler.inspection(config, &classes, &rules);
    for name in &model.local_domains {
        compiler.builder.local_domain(name);
    }
    compiler.globals();
    Ok(Compiled {
        segment: compiler.builder.finish(generation)?,
        slots: nat.finish(blocks, world, classes, rules),
    })
}

/// An access-list for each class-map that matches ports, under a name that no other list can have.
fn class_lists(model: &Model) -> BTreeMap<Name, Arc<AclLines>> {
    let list = |(name, matches): (&String, &Option<ClassMatch>)| match matches {
        Some(ClassMatch::Port(proto, op)) => {
            let any = || AcePorts::Op(PortOp::Any);
            let ace = model::Ace {
                permit: true,
                proto: AceProto::Number(*proto),
                src: AceAddr::Any,
                sport: any(),
                dst: AceAddr::Any,
                dport: AcePorts::Op(*op),
                icmp: AceIcmp::Any,
                log: None,
                time_range: None,
                inactive: false,
            };
            Some((class_list(name), Arc::new(vec![Arc::new(AclLine::Ace(ace))])))
        }
        Some(ClassMatch::Acl(_) | ClassMatch::Any | ClassMatch::Default) | None => None,
    };
    model.class_maps.iter().filter_map(list).collect()
}

fn class_list(class_map: &str) -> Name {
    format!("class-map {class_map}").into()
}

/// Every access-list compiled; those that nothing has changed for are what they were.
fn blocks(
    model: &Model,
    lists: &[(&Name, &Arc<AclLines>)],
    world: &World,
    before: &Slots,
    free: &mut Free<'_, impl Counts>,
) -> Result<BTreeMap<Name, Arc<Block>>, NoSlot> {
    let kept = before.world.as_ref() == Some(world);
    let time_ranges = model.time_ranges.keys().map(String::as_str).zip(0..).collect();
    let mut blocks = BTreeMap::new();
    for &(name, lines) in lists {
        let old = before.blocks.get(name);
        let block = match old.filter(|old| kept && old.is_of(lines)) {
            Some(old) => old.clone(),
            None => {
                let old = old.cloned().unwrap_or_default();
                Arc::new(old.successor(lines, kept, model, &time_ranges, free)?)
            }
        };
        blocks.insert(name.clone(), block);
    }
    Ok(blocks)
}

fn index<'m>(names: impl Iterator<Item = &'m str>) -> HashMap<&'m str, u32> {
    names.zip(0..).collect()
}

struct Compiler<'m> {
    model: &'m Model,
    builder: PolicyBuilder,
    interfaces: HashMap<&'m str, u32>,
    acls: HashMap<Name, u32>,
}

impl<'m> Compiler<'m> {
    fn interfaces(&mut self) {
        let acl_at = |place: Place| {
            let name = self.model.access_groups.get(&place);
            name.and_then(|name| self.acls.get(name.as_str())).copied().unwrap_or(NONE)
        };
        for interface in interfaces(self.model) {
            let Some(name) = &interface.nameif else { continue };
            // All zeros: it speaks IPv6 alone.
            let (addr, mask) = interface.address.unwrap_or((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let element = Interface {
                name: self.builder.blob(name.as_bytes()),
                device: self.builder.blob(interface.port().dpdk().as_bytes()),
                addr: addr.into(),
                mask: mask.into(),
                mtu: interface.mtu,
                security: interface.security(),
                flags: flag(interface.mac.is_some(), IF_MAC_SET)
                    | flag(interface.no_proxy_arp, IF_NO_PROXY_ARP)
                    | flag(interface.is_down(), IF_SHUTDOWN)
                    | flag(interface.verify_reverse_path, IF_VERIFY_REVERSE_PATH)
                    | flag(interface.speaks_ipv6(), IF_IPV6),
                addr6: interface.address6.map_or([0; 16], |(addr, _)| addr.octets()),
                prefix6: interface.address6.map_or(0, |(_, prefix)| prefix),
                mac: interface.mac.map_or([0; 6], |mac| mac.0),
                acl_in: acl_at(Place::In(name.clone())),
                acl_out: acl_at(Place::Out(name.clone())),
                ..Interface::default()
            };
            self.builder.interface(element);
        }
    }

    fn routes(&mut self) {
        for (interface, ifindex) in interfaces(self.model).zip(0..) {
            if let Some(net) = interface.network6() {
                let (net, prefix) = (net.addr().octets(), net.prefix().into());
                self.builder.route6(Route6 { net, prefix, gateway: [0; 16], ifindex, metric: 0 });
            }
            let Some(net) = interface.network() else { continue };
            let (net, mask) = (net.addr().into(), net.mask().into());
            self.builder.route(Route { net, mask, gateway: 0, ifindex, metric: 0 });
        }
        for route in &self.model.routes {
            let Some(&ifindex) = self.interfaces.get(route.interface.as_str()) else { continue };
            self.builder.route(Route {
                net: route.net.addr().into(),
                mask: route.net.mask().into(),
                gateway: route.gateway.into(),
                ifindex,
                metric: route.metric.into(),
            });
        }
    }

    fn routes6(&mut self) {
        for route in &self.model.routes6 {
            let Some(&ifindex) = self.interfaces.get(route.interface.as_str()) else { continue };
            self.builder.route6(Route6 {
                net: route.net.addr().octets(),
                prefix: route.net.prefix().into(),
                gateway: route.gateway.octets(),
                ifindex,
                metric: route.metric.into(),
            });
        }
    }

    fn time_ranges(&mut self) {
        let offset = self.model.timezone.as_ref().map_or(0, |zone| i64::from(zone.offset) * 60);
        for (name, range) in &self.model.time_ranges {
            let unix = |minute: Minute| minute.0 * 60 - offset;
            let element = TimeRange {
                name: self.builder.blob(name.as_bytes()),
                start: range.start.map_or(i64::MIN, unix),
                // The minute of the end is in it.
                end: range.end.map_or(i64::MAX, |end| unix(Minute(end.0 + 1))),
                ..TimeRange::default()
            };
            let spans = range.periods.iter().flat_map(|period| period.spans());
            let periods: Vec<Period> = spans.map(|(from, to)| Period { from, to }).collect();
            self.builder.time_range(element, &periods);
        }
    }

    fn nat(&mut self, rule: &Rule, counter: u32) {
        let interface = |name: &Option<String>| match name {
            Some(name) => self.interfaces.get(name.as_str()).copied().unwrap_or(NONE),
            None => NONE,
        };
        let (real_if, mapped_if) = (interface(&rule.real_if), interface(&rule.mapped_if));
        let pool: Vec<AddrRange> = rule.pool.iter().map(|&[first, last]| AddrRange { first, last }).collect();
        let (pool, pool_count) = if pool.is_empty() { (0, 0) } else { self.builder.pool(&pool) };
        let text = self.builder.blob(rule.text.as_bytes());
        for &real in &rule.reals {
            let mapped = if rule.kind == NatKind::Identity { real } else { rule.mapped };
            self.builder.nat(NatRule {
                real_if,
                mapped_if,
                real,
                mapped,
                dest_mapped: rule.dest.0,
                dest_real: rule.dest.1,
                real_port: rule.port.0,
                mapped_port: rule.port.1,
                dest_mapped_port: rule.dest_port.0,
                dest_real_port: rule.dest_port.1,
                pool,
                pool_count,
                flags: rule.flags,
                kind: rule.kind as u8,
                proto: rule.proto,
                section: rule.section,
                counter,
                text,
                ..NatRule::default()
            });
        }
    }

    /// Trustpoints, TLS proxies, and the classes of the service policy.
    fn inspection(&mut self, config: &Config, slots: &BTreeMap<String, u32>, rules: &RuleSlots) {
        let proxies = self.tls(config, rules);
        for class in self.classes() {
            let matches = self.model.class_maps.get(&class.class).and_then(Option::as_ref);
            let list = match matches {
                Some(ClassMatch::Acl(acl)) => Some(acl.as_str().into()),
                Some(ClassMatch::Port(..)) => Some(class_list(&class.class)),
                Some(ClassMatch::Any) => None,
                // Nothing stands under it that does anything.
                Some(ClassMatch::Default) => continue,
                None if class.class == CLASS_DEFAULT => None,
                None => continue,
            };
            // A list that is not there must not turn into everything.
            let acl = match list.map(|list: Name| self.acls.get(&list).copied()) {
                Some(Some(acl)) => acl,
                Some(None) => continue,
                None => NONE,
            };
            let proxy = class.inspect.as_ref();
            let proxy = proxy.and_then(|i| proxies.get(&(i.tls_proxy.as_str(), i.map.as_deref()))).copied();
            let Connections { conn_max, embryonic_max, per_client_max, per_client_embryonic_max, .. } =
                class.connections;
            let Connections { idle, half_closed, embryonic, bypass, .. } = class.connections;
            let limited = class.connections != Connections::default();
            let timer = |timer: Option<Seconds>| timer.map_or(NONE, |timer| timer.0);
            let flag = |set: bool, flag: u32| if set { flag } else { 0 };
            let name = self.builder.blob(class.class.as_bytes());
            self.builder.class(ServiceClass {
                name,
                acl,
                tls_proxy: proxy.unwrap_or(NONE),
                flags: flag(limited, CLASS_LIMITS) | flag(bypass, CLASS_STATE_BYPASS),
                slot: slots.get(&class.class).copied().unwrap_or(0),
                conn_max: conn_max.unwrap_or(0),
                embryonic_max: embryonic_max.unwrap_or(0),
                per_client_max: per_client_max.unwrap_or(0),
                per_client_embryonic_max: per_client_embryonic_max.unwrap_or(0),
                timeout_idle: timer(idle),
                timeout_half_closed: timer(half_closed),
                timeout_embryonic: timer(embryonic),
                ..ServiceClass::default()
            });
        }
    }

    /// The classes of the service policy that do something, in order.
    fn classes(&self) -> impl Iterator<Item = &'m PolicyClass> + use<'m> {
        let policy = self.model.service_policy.as_ref().and_then(|name| self.model.policy_maps.get(name));
        let acts =
            |class: &&PolicyClass| class.inspect.is_some() || class.connections != Connections::default();
        policy.into_iter().flatten().filter(acts)
    }

    fn globals(&mut self) {
        let timeouts = &self.model.timeouts;
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let acl_global = self.model.access_groups.get(&Place::Global);
        self.builder.globals(Globals {
            timeout_conn: timeouts.conn.0,
            timeout_half_closed: timeouts.half_closed.0,
            timeout_embryonic: timeouts.embryonic.0,
            timeout_udp: timeouts.udp.0,
            timeout_icmp: timeouts.icmp.0,
            timeout_sip: timeouts.sip.0,
            timeout_sip_invite: timeouts.sip_invite.0,
            timeout_sip_media: timeouts.sip_media.0,
            timeout_sip_provisional_media: timeouts.sip_provisional_media.0,
            timeout_sip_disconnect: timeouts.sip_disconnect.0,
            timeout_pat_xlate: timeouts.pat_xlate.0,
            timeout_arp: timeouts.arp.0,
            timeout_xlate: timeouts.xlate.0,
            timeout_conn_holddown: timeouts.conn_holddown.0,
            timeout_floating_conn: timeouts.floating_conn.0,
            fragment_size: self.model.fragment_size.unwrap_or(Globals::default().fragment_size),
            fragment_chain: self.model.fragment_chain.unwrap_or(Globals::default().fragment_chain),
            fragment_timeout: self.model.fragment_timeout.unwrap_or(Globals::default().fragment_timeout),
            max_proxy_sessions: self.model.max_proxy_sessions.unwrap_or(0),
            flags: flag(self.model.same_security_inter, SAME_SECURITY_INTER)
                | flag(self.model.same_security_intra, SAME_SECURITY_INTRA)
                | flag(self.model.tells_flows(), TELL_FLOWS),
            block_size: self.model.block_size.unwrap_or(Globals::default().block_size),
            blocks_per_host: self.model.blocks_per_host.unwrap_or(Globals::default().blocks_per_host),
            utc_offset: self.model.timezone.as_ref().map_or(0, |zone| i32::from(zone.offset) * 60),
            acl_global: acl_global.and_then(|name| self.acls.get(name.as_str())).copied().unwrap_or(NONE),
            ..Globals::default()
        });
    }
}
