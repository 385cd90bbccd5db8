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

mod nat;
mod pool;
mod rules;
mod tls;

pub use nat::*;
pub use pool::*;
pub use rules::*;
pub use tls::*;

/// First eight bytes of a policy segment.
pub const POLICY_MAGIC: u64 = u64::from_le_bytes(*b"FGPOLICY");
/// Changes whenever a struct in this file does; both halves must agree.
pub const POLICY_LAYOUT: u32 = 7;

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
    /// [`Shown`]s of all faces; a [`Face`] names its run.
    pub shown: Section,
    /// `u32`s, indices of trustpoints: the vouchers of all faces; a [`Face`] names its run.
    pub vouchers: Section,
    /// [`NameTrust`]s, each name once.
    pub name_trust: Section,
    /// [`Blob`]s: the canonical names of our own domains.
    pub local_domains: Section,
    /// Bytes.
    pub heap: Section,
    /// Exactly one [`Globals`].
    pub globals: Section,
    /// Zero.
    pub reserved: u64,
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
    /// [`SAME_SECURITY_INTER`] | [`SAME_SECURITY_INTRA`] | [`TELL_FLOWS`].
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
    /// `timeout sip-invite`: a dialog whose INVITE has no final answer, seconds.
    pub timeout_sip_invite: u32,
    /// `timeout sip-disconnect`: a dialog whose BYE has no answer, seconds.
    pub timeout_sip_disconnect: u32,
    /// `timeout floating-conn`: how long a connection goes on by an interface to which its best route leads no more, seconds; 0 for as long as it
    /// lives.
    pub timeout_floating_conn: u32,
    /// `timeout sip_media`: a media pinhole or its connection that nothing uses, seconds.
    pub timeout_sip_media: u32,
    /// `timeout sip-provisional-media`: the same before its call is agreed, seconds.
    pub timeout_sip_provisional_media: u32,
    /// What is said of foreign domains beyond the list, as JSON (`fedgate_sip::partner::PartnersSpec`); empty for nothing.
    pub partners: Blob,
    /// Zero.
    pub reserved: [u32; 6],
}
const _: () = assert!(size_of::<Globals>() == 128);
/// `same-security-traffic permit inter-interface`.
pub const SAME_SECURITY_INTER: u32 = 1;
/// `same-security-traffic permit intra-interface`.
pub const SAME_SECURITY_INTRA: u32 = 2;
/// Control is told of each connection that begins or ends ([`crate::link::Event::Flows`]).
pub const TELL_FLOWS: u32 = 4;

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
            timeout_sip_invite: 180,
            timeout_sip_disconnect: 120,
            timeout_floating_conn: 0,
            timeout_sip_media: 120,
            timeout_sip_provisional_media: 120,
            partners: Blob::default(),
            reserved: [0; 6],
        }
    }
}
