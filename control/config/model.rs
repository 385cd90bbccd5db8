// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration as it is meant: the second of its three forms, between [`super::raw`] commands and the compiled
//! policy segment.
//!
//! It is what `show running-config` prints and what a commit replaces as a whole. References stay names (an operator
//! wants to read them back); [`super::check`] has seen that each leads somewhere, so that `policy::compile` can
//! follow them. Collections that have no order of their own are sorted by name; those whose order decides (ACEs,
//! manual NAT, classes, interfaces) keep it. A model may hold unfinished items (an object without an address) as long
//! as nothing uses them: that is how they come to be, one command at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::addr::{Net6, ObjectAddr};
use super::types::{Device, Mac, Net, PortOp, Seconds, Service};

mod acl;
mod crypto;
pub mod federation;
pub mod logging;
mod nat;
pub mod pool;
pub mod sip;
pub mod users;

pub use acl::*;
pub use crypto::*;
pub use nat::*;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `domain-name`.
    pub domain_name: Option<String>,
    /// `username`.
    pub users: BTreeMap<String, users::User>,
    /// `enable password`.
    pub enable: Option<users::Password>,
    /// In the order written; what is complete becomes an interface of the policy.
    pub interfaces: Vec<Interface>,
    /// `same-security-traffic permit inter-interface`.
    pub same_security_inter: bool,
    /// `same-security-traffic permit intra-interface`.
    pub same_security_intra: bool,
    /// `logging`.
    pub syslog: logging::Syslog,
    /// `flow-export`.
    pub export: logging::Export,
    /// `metrics http`.
    pub metrics: Option<SocketAddr>,
    /// `object network`.
    pub networks: Arc<BTreeMap<String, NetworkObject>>,
    /// `object service`; `None` until its `service` line.
    pub services: Arc<BTreeMap<String, Option<Service>>>,
    /// `object-group`.
    pub groups: Arc<BTreeMap<String, Group>>,
    /// `time-range`.
    pub time_ranges: BTreeMap<String, TimeRange>,
    /// `clock timezone`.
    pub timezone: Option<Timezone>,
    /// `access-list`: its lines in order, at least one.
    pub acls: BTreeMap<Name, Arc<AclLines>>,
    /// `access-list deny-flow-max`.
    pub acl_deny_flow_max: Option<u32>,
    /// `access-list alert-interval`, seconds.
    pub acl_alert_interval: Option<u32>,
    /// `access-group`: which ACL stands where.
    pub access_groups: BTreeMap<Place, String>,
    /// `nat ... source` and `static`: section 1, in order.
    pub manual_nat: Vec<ManualNat>,
    /// `nat ... after-auto source`: section 3, in order.
    pub after_auto_nat: Vec<ManualNat>,
    /// `global (I) N A`, the 8.2 form.
    pub legacy_globals: Vec<LegacyGlobal>,
    /// `nat (I) N ...`, the 8.2 form.
    pub legacy_nats: Vec<LegacyNat>,
    /// `xlate block-allocation size`.
    pub block_size: Option<u32>,
    /// `xlate block-allocation maximum-per-host`.
    pub blocks_per_host: Option<u32>,
    /// `route`.
    pub routes: Vec<Route>,
    /// `ipv6 route`.
    pub routes6: Vec<Route6>,
    /// `names`.
    pub names: bool,
    /// `name A N`: what may be written for an address.
    pub name_table: BTreeMap<String, Ipv4Addr>,
    /// `fragment size`.
    pub fragment_size: Option<u32>,
    /// `fragment chain`.
    pub fragment_chain: Option<u32>,
    /// `fragment timeout`.
    pub fragment_timeout: Option<u32>,
    /// `timeout` and `arp timeout`.
    pub timeouts: Timeouts,
    /// `crypto ca trustpoint`.
    pub trustpoints: BTreeMap<String, Trustpoint>,
    /// `ssl`.
    pub ssl: Ssl,
    /// `tls-proxy maximum-session`.
    pub max_proxy_sessions: Option<u32>,
    /// `tls-proxy`.
    pub tls_proxies: BTreeMap<String, TlsProxy>,
    /// `sip-pool`.
    pub sip_pools: BTreeMap<String, pool::SipPool>,
    /// `dns server-group DefaultDNS`.
    pub dns: federation::Dns,
    /// `federation default`.
    pub federation_default: federation::Federation,
    /// `federation domain`, by canonical name.
    pub federations: BTreeMap<String, federation::Federation>,
    /// `class-map`: what it matches, once said.
    pub class_maps: BTreeMap<String, Option<ClassMatch>>,
    /// `policy-map type inspect sip`.
    pub inspect_maps: BTreeMap<String, sip::InspectMap>,
    /// `regex`: its pattern.
    pub regexes: BTreeMap<String, String>,
    /// `class-map type regex match-any`: names of regexes.
    pub regex_classes: BTreeMap<String, Vec<String>>,
    /// `class-map type inspect sip`.
    pub sip_classes: BTreeMap<String, sip::SipClass>,
    /// `policy-map`: its classes in order.
    pub policy_maps: BTreeMap<String, Vec<PolicyClass>>,
    /// `service-policy ... global`.
    pub service_policy: Option<String>,
    /// `local domain`, canonical.
    pub local_domains: BTreeSet<String>,
    /// `permit domain` and `block domain`. Shared, so that a commit of anything else does not copy a million entries.
    pub domains: Arc<Domains>,
    /// `permit domain D ... trustpoint T`: the trustpoint, beside the permission.
    pub domain_trust: BTreeMap<DomainKey, String>,
}

/// The domain lists.
pub type Domains = BTreeMap<DomainKey, DomainEntry>;

/// What is said of a domain. It may be permitted and blocked at once: block wins, and `no block domain` brings the
/// permission back. An entry with neither is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainEntry {
    /// `permit domain D [peer FQDN]`.
    pub permit: Option<Permit>,
    /// `block domain D`.
    pub block: Option<Note>,
}

/// A permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Canonical name that the peer's certificate must carry, instead of the domain itself.
    pub peer: Option<String>,
    /// What is said beside it.
    pub note: Note,
}

/// What may stand behind a permission or a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// `until`: the last minute that it holds, local time. It is taken out then.
    pub until: Option<Minute>,
    /// `comment`.
    pub comment: Option<Box<str>>,
}

/// An entry's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainKey {
    /// Canonical, without `*.`.
    pub name: String,
    /// Written with `*.`: matches one or more labels under the name, never the name itself.
    pub wildcard: bool,
}

/// What one line says of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainRule {
    /// `permit domain D [peer FQDN] [until ...] [comment ...]`.
    Permit(Permit),
    /// `block domain D [until ...] [comment ...]`.
    Block(Note),
}

/// `interface`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What the `interface` line names.
    pub device: Device,
    /// `hardware`: the port behind a [`Device::Slot`].
    pub hardware: Option<Device>,
    /// `nameif`.
    pub nameif: Option<String>,
    /// `security-level`; where not said, [`Interface::security`] tells.
    pub security_level: Option<u8>,
    /// `ip address A M`.
    pub address: Option<(Ipv4Addr, Ipv4Addr)>,
    /// `mac-address`.
    pub mac: Option<Mac>,
    /// `mtu NAMEIF N`.
    pub mtu: u16,
    /// `shutdown`.
    pub shutdown: bool,
    /// `sysopt noproxyarp NAMEIF`.
    pub no_proxy_arp: bool,
    /// `ip verify reverse-path interface NAMEIF`.
    pub verify_reverse_path: bool,
    /// `ipv6 address A/N`.
    pub address6: Option<(Ipv6Addr, u8)>,
    /// `ipv6 enable`.
    pub ipv6: bool,
    /// `description`.
    pub description: Option<String>,
}

impl Interface {
    /// A fresh one.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            hardware: None,
            nameif: None,
            security_level: None,
            address: None,
            mac: None,
            mtu: 1500,
            shutdown: false,
            no_proxy_arp: false,
            verify_reverse_path: false,
            address6: None,
            ipv6: false,
            description: None,
        }
    }

    /// Its security level: as said, else 100 for `inside` and 0 for any other name.
    pub fn security(&self) -> u8 {
        let default = if self.nameif.as_deref() == Some("inside") { 100 } else { 0 };
        self.security_level.unwrap_or(default)
    }

    /// The port that the dataplane opens.
    pub fn port(&self) -> &Device {
        self.hardware.as_ref().unwrap_or(&self.device)
    }

    /// Whether nothing passes it: by `shutdown`, or because there is no port.
    pub fn is_down(&self) -> bool {
        self.shutdown || matches!(self.port(), Device::Slot(_))
    }

    /// Its connected network.
    pub fn network(&self) -> Option<Net> {
        self.address.map(|(addr, mask)| Net::holding(addr, mask))
    }

    /// Whether it speaks IPv6: by an address, or by `ipv6 enable`.
    pub fn speaks_ipv6(&self) -> bool {
        self.ipv6 || self.address6.is_some()
    }

    /// Its connected IPv6 network.
    pub fn network6(&self) -> Option<Net6> {
        self.address6.and_then(|(addr, prefix)| Net6::holding(addr, prefix))
    }
}

/// `object network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkObject {
    /// `host`, `subnet` or `range`.
    pub addr: Option<ObjectAddr>,
    /// `description`.
    pub description: Option<String>,
    /// Its `nat` line.
    pub nat: Option<ObjectNat>,
}

/// Where an ACL stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `in interface I`.
    In(String),
    /// `out interface I`.
    Out(String),
    /// `global`.
    Global,
}

/// `route IF D M G [metric]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Egress interface.
    pub interface: String,
    /// Destination.
    pub net: Net,
    /// Next hop.
    pub gateway: Ipv4Addr,
    /// 1 to 255.
    pub metric: u8,
}

/// `ipv6 route IF P/LEN G [metric]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route6 {
    /// Egress interface.
    pub interface: String,
    /// Destination.
    pub net: Net6,
    /// Next hop; a link-local one is of the interface.
    pub gateway: Ipv6Addr,
    /// 1 to 254.
    pub metric: u8,
}

/// `timeout` and `arp timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Idle TCP connections.
    pub conn: Seconds,
    /// Half-closed ones.
    pub half_closed: Seconds,
    /// Half-open ones.
    pub embryonic: Seconds,
    /// UDP.
    pub udp: Seconds,
    /// ICMP.
    pub icmp: Seconds,
    /// Idle proxied SIP connections.
    pub sip: Seconds,
    /// A media pinhole that nothing uses.
    pub sip_media: Seconds,
    /// The same before its call is agreed.
    pub sip_provisional_media: Seconds,
    /// A SIP dialog whose INVITE has no final answer.
    pub sip_invite: Seconds,
    /// A SIP dialog whose BYE has no answer.
    pub sip_disconnect: Seconds,
    /// A PAT xlate after its last connection.
    pub pat_xlate: Seconds,
    /// A dynamic (not PAT) xlate after its last connection.
    pub xlate: Seconds,
    /// A closed connection.
    pub conn_holddown: Seconds,
    /// A connection that a better route leads elsewhere; 0 for never.
    pub floating_conn: Seconds,
    /// `arp timeout`.
    pub arp: Seconds,
    /// Timers of what fedgate does not do: kept, without effect.
    pub unused: BTreeMap<&'static str, Seconds>,
}

impl Default for Timeouts {
    /// The ASA's.
    fn default() -> Self {
        Self {
            conn: Seconds(3600),
            half_closed: Seconds(600),
            embryonic: Seconds(30),
            udp: Seconds(120),
            icmp: Seconds(2),
            sip: Seconds(1800),
            sip_media: Seconds(120),
            sip_provisional_media: Seconds(120),
            sip_invite: Seconds(180),
            sip_disconnect: Seconds(120),
            pat_xlate: Seconds(30),
            xlate: Seconds(10800),
            conn_holddown: Seconds(15),
            floating_conn: Seconds(0),
            arp: Seconds(14400),
            unused: BTreeMap::new(),
        }
    }
}

/// `class C` within a policy-map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyClass {
    /// The class-map.
    pub class: String,
    /// `inspect sip [MAP] tls-proxy P`, once said.
    pub inspect: Option<InspectSip>,
    /// `set connection`.
    pub connections: Connections,
}

/// The class that is there without a class-map, and matches everything.
pub const CLASS_DEFAULT: &str = "class-default";

/// What a class-map matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassMatch {
    /// `match access-list A`: what it permits.
    Acl(String),
    /// `match any`.
    Any,
    /// `match port {tcp|udp} {eq P | range A B}`: destination ports.
    Port(u8, PortOp),
    /// `match default-inspection-traffic`: only for what an ASA inspects by itself.
    Default,
}

/// `set connection` of a class; `None` where not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// `conn-max`; 0 for no limit, as in the other three.
    pub conn_max: Option<u32>,
    /// `embryonic-conn-max`.
    pub embryonic_max: Option<u32>,
    /// `per-client-max`.
    pub per_client_max: Option<u32>,
    /// `per-client-embryonic-max`.
    pub per_client_embryonic_max: Option<u32>,
    /// `timeout idle`.
    pub idle: Option<Seconds>,
    /// `timeout half-closed`.
    pub half_closed: Option<Seconds>,
    /// `timeout embryonic`.
    pub embryonic: Option<Seconds>,
    /// `advanced-options tcp-state-bypass`.
    pub bypass: bool,
}

/// `inspect sip [MAP] tls-proxy P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectSip {
    /// `policy-map type inspect sip`.
    pub map: Option<String>,
    /// The proxy.
    pub tls_proxy: String,
}

impl Model {
    /// Whether anybody wants to be told of connections that begin and end.
    pub fn tells_flows(&self) -> bool {
        !self.export.destinations.is_empty() || self.syslog.tells_flows()
    }

    /// All passwords, to hash those in the clear.
    pub fn passwords_mut(&mut self) -> impl Iterator<Item = &mut users::Password> {
        self.users.values_mut().filter_map(|user| user.password.as_mut()).chain(&mut self.enable)
    }

    /// What the appliance is called.
    pub fn name(&self) -> &str {
        self.hostname.as_deref().unwrap_or("fedgate")
    }

    /// The interface called `name`.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.nameif.as_deref() == Some(name))
    }

    /// The TLS proxies that show something on both faces, in the order of their indices in the policy.
    pub fn whole_proxies(&self) -> impl Iterator<Item = (&String, &TlsProxy)> {
        self.tls_proxies.iter().filter(|(_, p)| p.server.shown.is_some() && p.client.shown.is_some())
    }

    /// The NAT rules of sections 1 and 3, in order.
    pub fn manual_rules(&self) -> impl Iterator<Item = &ManualNat> {
        self.manual_nat.iter().chain(&self.after_auto_nat)
    }
}
