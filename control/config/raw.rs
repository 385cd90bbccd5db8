// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration as it is written: one [`Statement`] a line, its words checked by themselves but not yet against
//! anything else. The first of the configuration's three forms; [`super::apply`] makes the model of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use fedgate_sip::inspect::Action;

use super::addr::ObjectAddr;
use super::model::federation::RateLimit;
use super::model::logging::{Destination, DeviceId, HostForm, HostKey, Limited, Rate, Stamp};
use super::model::pool::{Check, Share};
use super::model::sip::{Parameter, SipMatch};
use super::model::users::{Password, User};
use super::model::{
    AclLine, ClassMatch, DomainKey, DomainRule, Enrollment, GroupKind, InspectSip, LegacyGlobal, LegacyNat,
    LegacyStatic, Member, Minute, Name, ObjectNat, Periodic, Permit, Place, Revocation, Route, Route6,
    Timezone, TwiceNat,
};
use super::types::{Device, Mac, Seconds, Service};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Line number, from 1.
    pub line: u32,
    /// Begins with `no`.
    pub negated: bool,
    /// The rest.
    pub command: Command,
}

/// Which commands are understood at a place, and which of them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At the top.
    Global,
    /// After `interface`.
    Interface,
    /// After `object network`.
    ObjectNetwork,
    /// After `object service`.
    ObjectService,
    /// After `object-group network`.
    GroupNetwork,
    /// After `object-group service`, with or without a protocol.
    GroupService,
    /// After `object-group protocol`.
    GroupProtocol,
    /// After `object-group icmp-type`.
    GroupIcmp,
    /// After `time-range`.
    TimeRange,
    /// After `crypto ca trustpoint`.
    Trustpoint,
    /// After its `crl configure`.
    Crl,
    /// After `crypto ca certificate chain`.
    Chain,
    /// After `tls-proxy`.
    TlsProxy,
    /// After `sip-pool`.
    SipPool,
    /// After `federation`.
    Federation,
    /// After `dns server-group`.
    DnsGroup,
    /// After `class-map`.
    ClassMap,
    /// After `class-map type regex`.
    RegexClass,
    /// After `class-map type inspect sip`.
    SipClass,
    /// After `policy-map type inspect sip`.
    InspectMap,
    /// After its `match` or `class`.
    InspectRule,
    /// After its `parameters`.
    InspectParameters,
    /// After `policy-map`.
    PolicyMap,
    /// After its `class`.
    PolicyClass,
}

impl Mode {
    /// The mode whose commands are tried next; `None` at the top.
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Global => None,
            Self::Crl => Some(Self::Trustpoint),
            Self::InspectParameters | Self::InspectRule => Some(Self::InspectMap),
            Self::PolicyClass => Some(Self::PolicyMap),
            Self::Interface
            | Self::ObjectNetwork
            | Self::ObjectService
            | Self::GroupNetwork
            | Self::GroupService
            | Self::GroupProtocol
            | Self::GroupIcmp
            | Self::TimeRange
            | Self::Trustpoint
            | Self::Chain
            | Self::TlsProxy
            | Self::SipPool
            | Self::Federation
            | Self::DnsGroup
            | Self::ClassMap
            | Self::RegexClass
            | Self::SipClass
            | Self::InspectMap
            | Self::PolicyMap => Some(Self::Global),
        }
    }

    /// What the CLI's prompt shows, as on the ASA: `hostname(config-if)# `.
    pub fn prompt(self) -> &'static str {
        match self {
            Self::Global => "config",
            Self::Interface => "config-if",
            Self::ObjectNetwork => "config-network-object",
            Self::ObjectService => "config-service-object",
            Self::GroupNetwork => "config-network-object-group",
            Self::GroupService => "config-service-object-group",
            Self::GroupProtocol => "config-protocol-object-group",
            Self::GroupIcmp => "config-icmp-object-group",
            Self::TimeRange => "config-time-range",
            Self::Trustpoint => "config-ca-trustpoint",
            Self::Crl => "config-ca-crl",
            Self::Chain => "config-cert-chain",
            Self::TlsProxy => "config-tlsp",
            Self::SipPool => "config-sip-pool",
            Self::Federation => "config-federation",
            Self::DnsGroup => "config-dns-server-group",
            Self::ClassMap | Self::RegexClass | Self::SipClass => "config-cmap",
            Self::InspectMap | Self::PolicyMap => "config-pmap",
            Self::InspectParameters => "config-pmap-p",
            Self::PolicyClass | Self::InspectRule => "config-pmap-c",
        }
    }
}

/// `access-list NAME [line N] ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEdit {
    /// Its name.
    pub name: Name,
    /// `line N`: put in before what is line N so far.
    pub at: Option<u32>,
    /// The rest.
    pub line: AclLine,
}

/// A file of a trustpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustFile {
    /// `certificate file`.
    Certificate,
    /// `key file`.
    Key,
    /// `ca file`.
    Ca,
    /// `crl file`.
    Crl,
}

/// What a face of a TLS proxy has a trustpoint for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaceUse {
    /// Shown.
    Show,
    /// Shown to who calls this name.
    Named(String),
    /// Its CAs vouch for the face's peers.
    Verify,
}

/// A face of a TLS proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `server trust-point`.
    Server,
    /// `client trust-point`.
    Client,
}

/// Which timer a `timeout` word sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// `conn`.
    Conn,
    /// `half-closed`.
    HalfClosed,
    /// `embryonic`.
    Embryonic,
    /// `udp`.
    Udp,
    /// `icmp`.
    Icmp,
    /// `sip`.
    Sip,
    /// `sip_media`.
    SipMedia,
    /// `sip-provisional-media`.
    SipProvisionalMedia,
    /// `sip-invite`.
    SipInvite,
    /// `sip-disconnect`.
    SipDisconnect,
    /// `pat-xlate`.
    PatXlate,
    /// `xlate`.
    Xlate,
    /// `conn-holddown`.
    ConnHolddown,
    /// `floating-conn`.
    FloatingConn,
    /// One without effect.
    Unused(&'static str),
    /// `arp timeout`.
    Arp,
}

/// A setting of an interface that `no` takes out whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// `no nameif`.
    Nameif,
    /// `no security-level`.
    SecurityLevel,
    /// `no ip address`.
    Address,
}

/// A certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `ca`.
    pub ca: bool,
    /// As written, in lower case.
    pub serial: String,
    /// Its contents.
    pub der: Vec<u8>,
}

/// Which bound a `set connection` word sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `conn-max`.
    Conn,
    /// `embryonic-conn-max`.
    Embryonic,
    /// `per-client-max`.
    Client,
    /// `per-client-embryonic-max`.
    ClientEmbryonic,
}

/// Which bound a `fragment` line sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentBound {
    /// `size`.
    Size,
    /// `chain`.
    Chain,
    /// `timeout`.
    Timeout,
}

/// A `logging` line. A value that `no` may leave out is an option.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a line of the grammar table, which says what it means")]
pub enum Logging {
    Enable,
    Timestamp(Stamp),
    Facility(Option<u8>),
    DeviceId(Option<DeviceId>),
    BufferSize(Option<u32>),
    Buffered(Option<u8>),
    Trap(Option<u8>),
    Queue(Option<u32>),
    Host(HostKey, HostForm),
    /// `no logging host IF ADDRESS`: whatever its transport.
    NoHost(String, IpAddr),
    /// A message, and `level` with its level.
    Message(u32, Option<Option<u8>>),
    Rate(Limited, Option<Rate>),
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a line of the grammar table, which says what it means")]
pub enum Command {
    Hostname(String),
    DomainName(String),
    /// A user; `None` with `no`.
    Username(String, Option<User>),
    EnablePassword(Option<Password>),
    SameSecurity {
        inter: bool,
    },
    /// `ASA Version`: true for a release before 8.3.
    AsaVersion {
        mapped: bool,
    },
    /// A line of an ASA that has nothing to do here, or is always so.
    Idle,
    Interface(Device),
    Hardware(Device),
    /// `no` and a setting of an interface, without its value.
    Unset(Unset),
    Nameif(String),
    SecurityLevel(u8),
    IpAddress(Ipv4Addr, Ipv4Addr),
    MacAddress(Mac),
    Shutdown,
    Mtu(String, u16),
    NoProxyArp(String),
    ObjectNetwork(String),
    ObjectAddr(ObjectAddr),
    Description(String),
    ObjectNat(ObjectNat),
    ObjectService(String),
    Service(Service),
    Group(String, GroupKind),
    Member(Member),
    TimeRange(String),
    Absolute(Option<Minute>, Option<Minute>),
    Periodic(Periodic),
    Timezone(Timezone),
    AccessList(AclEdit),
    AccessGroup(String, Place),
    TwiceNat(Option<u32>, TwiceNat),
    BlockSize(u32),
    BlocksPerHost(u32),
    LegacyStatic(LegacyStatic),
    LegacyGlobal(LegacyGlobal),
    LegacyNat(LegacyNat),
    Route(Route),
    Route6(Route6),
    Names,
    Name(Ipv4Addr, String),
    Fragment(FragmentBound, u32),
    ReversePath(String),
    Ipv6Address(Ipv6Addr, u8),
    Ipv6Enable,
    Timeout(Vec<(Timer, Seconds)>),
    Trustpoint(String),
    TrustFile(TrustFile, PathBuf),
    TlsProxy(String),
    MaxProxySessions(u32),
    /// `access-list deny-flow-max`.
    DenyFlowMax(u32),
    /// `access-list alert-interval`.
    AlertInterval(u32),
    TrustPoint(Face, String, FaceUse),
    FaceSuites(Face, u32),
    /// Of a face, and whether TLS 1.3 alone.
    FaceVersion(Face, bool),
    /// Of a trustpoint.
    ShownSuites(u32),
    /// Of a trustpoint, and whether TLS 1.3 alone.
    ShownVersion(bool),
    AuthenticateClient,
    /// Of a domain, or by default.
    Federation(Option<String>),
    FederationSrv,
    FederationRate(Option<RateLimit>),
    FederationSessions(Option<u32>),
    DnsGroup,
    NameServers(Vec<IpAddr>),
    DnsSource(Option<IpAddr>),
    DnsTimeout(u32),
    DnsRetries(u32),
    SipPool(String),
    PoolMember((Ipv4Addr, u16), Share),
    HealthCheck(Check),
    ClientPool(String),
    /// Of a trustpoint.
    ShownAuthenticateClient,
    SslVersion(Face, bool),
    SslCipher(bool, u32),
    RevocationCheck(Revocation),
    CrlConfigure,
    EnforceNextUpdate,
    CrlUrl(u32, String),
    CrlCacheTime(u32),
    Enrollment(Enrollment),
    Fqdn(Option<String>),
    SubjectName(String),
    KeyPair(String),
    /// `crypto ca certificate chain`.
    CertificateChain(String),
    /// `certificate [ca] SERIAL` in it. The lines under it are read by whoever reads lines.
    Certificate(Certificate),
    /// `ssl encryption`: suites of TLS 1.2 and of 1.3.
    SslEncryption(u32, u32),
    ClassMap(String),
    Match(ClassMatch),
    Limits(Vec<(Limit, u32)>),
    ConnTimeouts(Vec<(Timer, Seconds)>),
    StateBypass,
    Regex(String, String),
    RegexClass(String),
    RegexMember(String),
    /// Its name, and whether all of its matches have to hold.
    SipClass(String, bool),
    SipMatch(SipMatch),
    InspectMap(String),
    InspectParameters,
    Parameter(Parameter),
    /// `class NAME` in a map.
    InspectClass(String),
    InspectMatch(SipMatch),
    InspectAction(Action),
    PolicyMap(String),
    PolicyClass(String),
    InspectSip(InspectSip),
    ServicePolicy(String),
    Logging(Logging),
    FlowExport(Destination),
    /// `flow-export template timeout-rate`; `no` may leave the minutes out.
    FlowTemplates(Option<u32>),
    /// `metrics http`; `no` may leave the address out.
    Metrics(Option<SocketAddr>),
    LocalDomain(String),
    Domain(DomainKey, DomainRule),
    /// `permit domain D [peer P] trustpoint T`
    BoundDomain(DomainKey, Permit, String),
}
