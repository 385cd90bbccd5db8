// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy snapshot: what control compiles a configuration to and every worker reads.
//!
//! One immutable segment: a [`Header`], then plain arrays named by [`Section`] (byte offset from the start of
//! the segment, number of elements), then a byte heap for names and PEM text named by [`Blob`]. No pointers
//! cross the process border. IPv4 addresses are host-order `u32`, IPv6 addresses 16 bytes in network order, ports host order; a range
//! is `[first, last]`, both in it.
//!
//! Control writes a segment with [`super::policy_build::PolicyBuilder`]; the dataplane's housekeeping thread maps it, checks
//! every offset, index and enum once with [`super::policy_view::PolicyView::parse`] and from then on workers index without
//! checks of their own meaning (slices still bound-check). A bad segment is refused with a reason and the last
//! good one stays.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a policy segment.
pub const POLICY_MAGIC: u64 = u64::from_le_bytes(*b"FGPOLICY");
/// Changes whenever a struct in this file does; both halves must agree.
pub const POLICY_LAYOUT: u32 = 2;

/// Most interfaces a policy can hold; an interface's position is its index everywhere (`IfIndex`).
pub const MAX_INTERFACES: usize = 16;
/// "No interface", "no ACL", "no trustpoint": an index that is absent.
pub const NONE: u32 = u32::MAX;
/// [`NONE`] where an index has 16 bits.
pub const NONE16: u16 = u16::MAX;
/// All IPv4 addresses, as a range.
pub const ANY_ADDR: [u32; 2] = [0, u32::MAX];
/// A network, as a range.
pub const fn net_range(net: u32, mask: u32) -> [u32; 2] {
    [net & mask, net | !mask]
}
/// One address, as a range.
pub const fn one_addr(addr: u32) -> [u32; 2] {
    [addr, addr]
}
/// One port, as a range.
pub const fn one_port(port: u16) -> [u16; 2] {
    [port, port]
}
/// All ports, as a range.
pub const ANY_PORT: [u16; 2] = [0, u16::MAX];

/// An array in the segment: `offset` bytes from its start, `count` elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Section {
    /// Bytes from the start of the segment; a multiple of 8.
    pub offset: u32,
    /// Elements.
    pub count: u32,
}

/// Bytes in the heap section: `offset` from the heap's start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Blob {
    /// Bytes from the start of the heap.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// The start of the segment. 192 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// [`POLICY_MAGIC`].
    pub magic: u64,
    /// [`POLICY_LAYOUT`].
    pub layout: u32,
    /// CRC-32 (IEEE) over the whole segment with this field as zero.
    pub checksum: u32,
    /// Bytes of the whole segment, header included.
    pub length: u64,
    /// Grows with every commit of one control's life and across its restarts; never 0.
    pub generation: u64,
    /// [`Interface`]s.
    pub interfaces: Section,
    /// [`Route`]s, longest prefix first, then lowest metric.
    pub routes: Section,
    /// [`Route6`]s, longest prefix first, then lowest metric.
    pub routes6: Section,
    /// [`Acl`]s.
    pub acls: Section,
    /// [`Ace`]s of all ACLs; an ACL names its run.
    pub aces: Section,
    /// [`Ace6`]s of all ACLs; an ACL names its run.
    pub aces6: Section,
    /// [`TimeRange`]s.
    pub time_ranges: Section,
    /// [`Period`]s of all time-ranges; a time-range names its run.
    pub periods: Section,
    /// [`NatRule`]s in the ASA's order of evaluation; the first match decides.
    pub nat: Section,
    /// [`AddrRange`]s of all NAT pools; a rule names its run.
    pub pools: Section,
    /// [`ServiceClass`]es in order; the first match decides.
    pub classes: Section,
    /// [`TlsProxy`]s.
    pub tls_proxies: Section,
    /// [`Trustpoint`]s.
    pub trustpoints: Section,
    /// [`Blob`]s: the canonical names of our own domains.
    pub local_domains: Section,
    /// Bytes.
    pub heap: Section,
    /// Exactly one [`Globals`].
    pub globals: Section,
    /// Zero.
    pub reserved: [u64; 4],
}
const _: () = assert!(size_of::<Header>() == 192);

/// One `interface`. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Interface {
    /// `nameif`, e.g. `outside`.
    pub name: Blob,
    /// DPDK device: `0000:03:00.0`, or a vdev with its arguments, e.g. `net_tap0,iface=fgout0`.
    pub device: Blob,
    /// Own address, host order.
    pub addr: u32,
    /// Netmask, host order.
    pub mask: u32,
    /// IP bytes a frame may carry.
    pub mtu: u16,
    /// `security-level`, 0..=100.
    pub security: u8,
    /// [`IF_MAC_SET`] | [`IF_NO_PROXY_ARP`] | [`IF_SHUTDOWN`] | [`IF_VERIFY_REVERSE_PATH`] | [`IF_IPV6`].
    pub flags: u8,
    /// Own MAC where [`IF_MAC_SET`]; else the device's (for tap: one made from it).
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
    /// Index of the ACL applied `in`, or [`NONE`].
    pub acl_in: u32,
    /// Index of the ACL applied `out`, or [`NONE`].
    pub acl_out: u32,
    /// `ipv6 address A/N`; all zero for none. The link-local address is made from the MAC (RFC 4291, appendix A).
    pub addr6: [u8; 16],
    /// Its prefix length; 0 where there is no address.
    pub prefix6: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
const _: () = assert!(size_of::<Interface>() == 64);
/// [`Interface::mac`] was configured.
pub const IF_MAC_SET: u8 = 1;
/// `sysopt noproxyarp`.
pub const IF_NO_PROXY_ARP: u8 = 2;
/// `shutdown`.
pub const IF_SHUTDOWN: u8 = 4;
/// `ip verify reverse-path interface I`.
pub const IF_VERIFY_REVERSE_PATH: u8 = 8;
/// `ipv6 enable`, or an IPv6 address.
pub const IF_IPV6: u8 = 16;

/// One `route`. 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Route {
    /// Network, host order.
    pub net: u32,
    /// Netmask, host order.
    pub mask: u32,
    /// Next hop, host order; 0 for a connected network.
    pub gateway: u32,
    /// Egress interface index.
    pub ifindex: u32,
    /// Administrative distance.
    pub metric: u32,
}

/// One `ipv6 route`. 44 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Route6 {
    /// Network.
    pub net: [u8; 16],
    /// Next hop; all zero for a connected network.
    pub gateway: [u8; 16],
    /// Prefix length, 0..=128.
    pub prefix: u32,
    /// Egress interface index.
    pub ifindex: u32,
    /// Administrative distance.
    pub metric: u32,
}

/// One access-list: `count` ACEs from `first` on for IPv4, `count6` from `first6` on for IPv6. Implicit deny after the last.
/// An element written for both families (`any`) stands in both runs and shares its counter. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Acl {
    /// Its name.
    pub name: Blob,
    /// First ACE.
    pub first: u32,
    /// Number of ACEs.
    pub count: u32,
    /// First IPv6 ACE.
    pub first6: u32,
    /// Number of IPv6 ACEs.
    pub count6: u32,
}

/// One access-list element, as classified: real addresses (ASA 8.3+). 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ace {
    /// Source network and mask, host order.
    pub src: u32,
    /// Source mask.
    pub src_mask: u32,
    /// Destination network.
    pub dst: u32,
    /// Destination mask.
    pub dst_mask: u32,
    /// Source ports. For ICMP: the codes.
    pub sport: [u16; 2],
    /// Destination ports. For ICMP: the types.
    pub dport: [u16; 2],
    /// IP protocol; [`ACE_ANY_PROTO`] in `flags` for `ip`.
    pub proto: u8,
    /// [`ACE_PERMIT`] | [`ACE_LOG`] | [`ACE_INACTIVE`] | [`ACE_ANY_PROTO`].
    pub flags: u8,
    /// Index of the time-range outside of which it is skipped, or [`NONE16`].
    pub time_range: u16,
    /// `access-list NAME line N`, counting remarks.
    pub line: u32,
    /// Hash of its canonical text: what survives a reload.
    pub id: u32,
    /// Slot in the hit counters.
    pub counter: u32,
    /// What the counter slot held when this ACE took it; hits = slot - base.
    pub counter_base: u64,
}
const _: () = assert!(size_of::<Ace>() == 48);

impl Default for Ace {
    /// `deny ip any any`, always.
    fn default() -> Self {
        Self {
            src: 0,
            src_mask: 0,
            dst: 0,
            dst_mask: 0,
            sport: ANY_PORT,
            dport: ANY_PORT,
            proto: 0,
            flags: ACE_ANY_PROTO,
            time_range: NONE16,
            line: 0,
            id: 0,
            counter: 0,
            counter_base: 0,
        }
    }
}

/// [`Ace`] for IPv6. 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ace6 {
    /// Source network.
    pub src: [u8; 16],
    /// Destination network.
    pub dst: [u8; 16],
    /// Source ports. For ICMPv6: the codes.
    pub sport: [u16; 2],
    /// Destination ports. For ICMPv6: the types.
    pub dport: [u16; 2],
    /// Source prefix length, 0..=128.
    pub src_prefix: u8,
    /// Destination prefix length, 0..=128.
    pub dst_prefix: u8,
    /// As [`Ace::proto`].
    pub proto: u8,
    /// As [`Ace::flags`].
    pub flags: u8,
    /// As [`Ace::time_range`].
    pub time_range: u16,
    /// Zero.
    pub pad: u16,
    /// As [`Ace::line`].
    pub line: u32,
    /// As [`Ace::id`].
    pub id: u32,
    /// As [`Ace::counter`].
    pub counter: u32,
    /// Zero.
    pub pad2: u32,
    /// As [`Ace::counter_base`].
    pub counter_base: u64,
}
const _: () = assert!(size_of::<Ace6>() == 72);

impl Default for Ace6 {
    /// `deny ip any6 any6`, always.
    fn default() -> Self {
        Self {
            src: [0; 16],
            dst: [0; 16],
            sport: ANY_PORT,
            dport: ANY_PORT,
            src_prefix: 0,
            dst_prefix: 0,
            proto: 0,
            flags: ACE_ANY_PROTO,
            time_range: NONE16,
            pad: 0,
            line: 0,
            id: 0,
            counter: 0,
            pad2: 0,
            counter_base: 0,
        }
    }
}
/// Permit, else deny.
pub const ACE_PERMIT: u8 = 1;
/// `log`.
pub const ACE_LOG: u8 = 2;
/// `inactive`: skipped.
pub const ACE_INACTIVE: u8 = 4;
/// Protocol `ip`.
pub const ACE_ANY_PROTO: u8 = 8;

/// One `time-range`: in force within `start..end` and, where it has periods, within one of them. The housekeeping thread of the
/// dataplane looks at the clock, so that a time-range holds while control is away. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TimeRange {
    /// Its name.
    pub name: Blob,
    /// `absolute start`, Unix seconds; `i64::MIN` for none.
    pub start: i64,
    /// `absolute end`, Unix seconds, not in it; `i64::MAX` for none.
    pub end: i64,
    /// First [`Period`].
    pub first: u32,
    /// Number of periods.
    pub count: u32,
}

/// One `periodic`: minutes of the local week, Monday 00:00 being 0. 4 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Period {
    /// First minute, below [`WEEK_MINUTES`].
    pub from: u16,
    /// The minute after the last, 1..=[`WEEK_MINUTES`]; where it is not above `from`, the period goes on over the week's end.
    pub to: u16,
}
/// Minutes in a week.
pub const WEEK_MINUTES: u16 = 7 * 24 * 60;

/// How a NAT rule translates the real side's source address.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// Addresses one to one, all ports, both ways in.
    Static = 1,
    /// One address and its ports of one protocol to another and its ports, both ways in.
    StaticPat = 2,
    /// Many addresses to one, or to those of a pool, by port.
    DynamicPat = 3,
    /// No translation: ends the search.
    Identity = 4,
    /// Each address to one of a pool for as long as it is in use, all ports.
    Dynamic = 5,
}

impl NatKind {
    /// The kind with this number.
    pub fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Static,
            2 => Self::StaticPat,
            3 => Self::DynamicPat,
            4 => Self::Identity,
            5 => Self::Dynamic,
            _ => return None,
        })
    }
}

/// Addresses of a pool, both in it, host order. 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AddrRange {
    /// First.
    pub first: u32,
    /// Last.
    pub last: u32,
}

/// One NAT rule. Addresses host order, ranges inclusive. 88 bytes.
///
/// A packet from the real side matches where its source is in `real`, its source port in `real_port` and its destination (as the
/// real side calls it) in `dest_mapped` and `dest_mapped_port`; its source becomes the address at the same place in `mapped`, its
/// destination the one at the same place in `dest_real`. A packet towards the mapped side matches the other way round.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NatRule {
    /// Interface of the real addresses; [`NONE`] for `any`.
    pub real_if: u32,
    /// Interface of the mapped address; [`NONE`] for `any`.
    pub mapped_if: u32,
    /// Real addresses.
    pub real: [u32; 2],
    /// Mapped addresses: as many as real ones for [`NatKind::Static`]; one for the PATs (`interface` is resolved by control). For a
    /// rule with a pool: the interface's own address, where [`NAT_INTERFACE`] says that it stands in for an exhausted pool.
    pub mapped: [u32; 2],
    /// Twice NAT: destinations as the real side calls them; [`ANY_ADDR`] for any.
    pub dest_mapped: [u32; 2],
    /// Twice NAT: what they become; the same where the destination is only matched.
    pub dest_real: [u32; 2],
    /// Source ports of the real side; [`ANY_PORT`] for any. Only with `proto`.
    pub real_port: [u16; 2],
    /// What they become; as many.
    pub mapped_port: [u16; 2],
    /// Destination ports as the real side calls them.
    pub dest_mapped_port: [u16; 2],
    /// What they become; as many.
    pub dest_real_port: [u16; 2],
    /// First [`AddrRange`] of the pool.
    pub pool: u32,
    /// Number of them; 0 for no pool.
    pub pool_count: u32,
    /// [`NAT_ROUND_ROBIN`] | [`NAT_FLAT`] | ...
    pub flags: u32,
    /// Slot in the NAT hit counters.
    pub counter: u32,
    /// [`NatKind`] as a number.
    pub kind: u8,
    /// IP protocol, where ports count (6 or 17); else 0.
    pub proto: u8,
    /// 1 manual, 2 auto, 3 after-auto: the ASA's section, for `show nat`.
    pub section: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad2: u32,
    /// Its configuration line, for `show nat`.
    pub text: Blob,
}
const _: () = assert!(size_of::<NatRule>() == 88);

impl Default for NatRule {
    /// Matches everything, on any interface; the kind is the caller's to say.
    fn default() -> Self {
        Self {
            real_if: NONE,
            mapped_if: NONE,
            real: ANY_ADDR,
            mapped: [0; 2],
            dest_mapped: ANY_ADDR,
            dest_real: ANY_ADDR,
            real_port: ANY_PORT,
            mapped_port: ANY_PORT,
            dest_mapped_port: ANY_PORT,
            dest_real_port: ANY_PORT,
            pool: 0,
            pool_count: 0,
            flags: 0,
            counter: 0,
            kind: 0,
            proto: 0,
            section: 1,
            pad: 0,
            pad2: 0,
            text: Blob::default(),
        }
    }
}

/// `round-robin`: a pool's addresses in turn, else each until it is exhausted.
pub const NAT_ROUND_ROBIN: u32 = 1;
/// `flat`: one band of ports, 1024-65535, for every source port.
pub const NAT_FLAT: u32 = 2;
/// `include-reserve`: with `flat`, ports from 1 on.
pub const NAT_INCLUDE_RESERVE: u32 = 4;
/// `extended`: a port may be used once for each destination.
pub const NAT_EXTENDED: u32 = 8;
/// `block-allocation`: ports by blocks, a host.
pub const NAT_BLOCKS: u32 = 16;
/// `interface`: its address stands in for an exhausted pool.
pub const NAT_INTERFACE: u32 = 32;
/// `unidirectional`: nothing comes in by it.
pub const NAT_UNIDIRECTIONAL: u32 = 64;
/// `no-proxy-arp`.
pub const NAT_NO_PROXY_ARP: u32 = 128;
/// `route-lookup`: the egress interface is the route's, not the rule's.
pub const NAT_ROUTE_LOOKUP: u32 = 256;
/// `inactive`.
pub const NAT_INACTIVE: u32 = 512;
/// All of them.
pub const NAT_FLAGS: u32 = 1023;

/// One `class` of the service policy: what is done with connections that `acl` permits. 56 bytes.
///
/// The first class with a TLS proxy and the first class with connection settings ([`CLASS_LIMITS`]) decide, each of its kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceClass {
    /// Its name.
    pub name: Blob,
    /// The ACL of its class-map (real addresses); [`NONE`] for `match any`.
    pub acl: u32,
    /// `inspect sip M tls-proxy P`: index of the TLS proxy, or [`NONE`].
    pub tls_proxy: u32,
    /// [`CLASS_LIMITS`] | [`CLASS_STATE_BYPASS`].
    pub flags: u32,
    /// Where connections are counted against its limits: below [`MAX_CLASS_SLOTS`], the same across commits.
    pub slot: u32,
    /// `set connection conn-max`; 0 for no limit.
    pub conn_max: u32,
    /// `set connection embryonic-conn-max`: above it SYN cookies answer; 0 for no limit.
    pub embryonic_max: u32,
    /// `set connection per-client-max`; 0 for no limit.
    pub per_client_max: u32,
    /// `set connection per-client-embryonic-max`; 0 for no limit.
    pub per_client_embryonic_max: u32,
    /// `set connection timeout idle`, seconds; 0 never, [`NONE`] as the globals say.
    pub timeout_idle: u32,
    /// `set connection timeout half-closed`, likewise.
    pub timeout_half_closed: u32,
    /// `set connection timeout embryonic`, likewise.
    pub timeout_embryonic: u32,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<ServiceClass>() == 56);

impl Default for ServiceClass {
    /// Matches everything and does nothing.
    fn default() -> Self {
        Self {
            name: Blob::default(),
            acl: NONE,
            tls_proxy: NONE,
            flags: 0,
            slot: 0,
            conn_max: 0,
            embryonic_max: 0,
            per_client_max: 0,
            per_client_embryonic_max: 0,
            timeout_idle: NONE,
            timeout_half_closed: NONE,
            timeout_embryonic: NONE,
            reserved: 0,
        }
    }
}

/// It has `set connection` lines.
pub const CLASS_LIMITS: u32 = 1;
/// `set connection advanced-options tcp-state-bypass`.
pub const CLASS_STATE_BYPASS: u32 = 2;
/// Slots that classes may have.
pub const MAX_CLASS_SLOTS: u32 = 255;

/// One `tls-proxy`. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TlsProxy {
    /// Its name.
    pub name: Blob,
    /// `server trust-point`: shown to the TCP client.
    pub server_trustpoint: u32,
    /// `client trust-point`: shown to the TCP server.
    pub client_trustpoint: u32,
}

/// One trustpoint: an identity, or CAs, or both. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Trustpoint {
    /// Its name.
    pub name: Blob,
    /// PEM: own certificate, then intermediates. Empty where it has no identity.
    pub chain: Blob,
    /// PEM: private key (PKCS#8, PKCS#1 or SEC1). Empty where it has no identity.
    pub key: Blob,
    /// PEM: CA certificates that peers may chain to. All trustpoints' CAs are trusted, as on the ASA.
    pub cas: Blob,
}

/// What holds for the whole box. 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Globals {
    /// `timeout conn`, seconds.
    pub timeout_conn: u32,
    /// `timeout half-closed`, seconds.
    pub timeout_half_closed: u32,
    /// Embryonic (half-open) connections, seconds.
    pub timeout_embryonic: u32,
    /// `timeout udp`, seconds.
    pub timeout_udp: u32,
    /// `timeout icmp`, seconds.
    pub timeout_icmp: u32,
    /// `timeout sip`: an idle proxied connection, seconds.
    pub timeout_sip: u32,
    /// `timeout pat-xlate`, seconds after the last connection.
    pub timeout_pat_xlate: u32,
    /// `arp timeout`, seconds.
    pub timeout_arp: u32,
    /// `tls-proxy maximum-session`; 0 for the built-in bound.
    pub max_proxy_sessions: u32,
    /// [`SAME_SECURITY_INTER`] | [`SAME_SECURITY_INTRA`].
    pub flags: u32,
    /// `access-group A global`: ACL index or [`NONE`].
    pub acl_global: u32,
    /// `timeout xlate`: a dynamic (not PAT) translation after its last connection, seconds.
    pub timeout_xlate: u32,
    /// `timeout conn-holddown`: a closed connection, seconds.
    pub timeout_conn_holddown: u32,
    /// `fragment size`: datagrams being put together, an interface.
    pub fragment_size: u32,
    /// `fragment chain`: fragments of one datagram.
    pub fragment_chain: u32,
    /// `fragment timeout`: seconds for all of them to come.
    pub fragment_timeout: u32,
    /// `xlate block-allocation size`: ports.
    pub block_size: u32,
    /// `xlate block-allocation maximum-per-host`: blocks.
    pub blocks_per_host: u32,
    /// Local time minus UTC, seconds (`clock timezone`): time-ranges are in local time.
    pub utc_offset: i32,
    /// Zero.
    pub reserved: [u32; 13],
}
const _: () = assert!(size_of::<Globals>() == 128);
/// `same-security-traffic permit inter-interface`.
pub const SAME_SECURITY_INTER: u32 = 1;
/// `same-security-traffic permit intra-interface`.
pub const SAME_SECURITY_INTRA: u32 = 2;

impl Default for Globals {
    /// The ASA's defaults.
    fn default() -> Self {
        Self {
            timeout_conn: 3600,
            timeout_half_closed: 600,
            timeout_embryonic: 30,
            timeout_udp: 120,
            timeout_icmp: 2,
            timeout_sip: 1800,
            timeout_pat_xlate: 30,
            timeout_arp: 14400,
            max_proxy_sessions: 0,
            flags: 0,
            acl_global: NONE,
            timeout_xlate: 10800,
            timeout_conn_holddown: 15,
            fragment_size: 200,
            fragment_chain: 24,
            fragment_timeout: 5,
            block_size: 512,
            blocks_per_host: 4,
            utc_offset: 0,
            reserved: [0; 13],
        }
    }
}
