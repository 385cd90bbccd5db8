// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy snapshot: what control compiles a configuration to and every worker reads.
//!
//! One immutable segment: a [`Header`], then plain arrays named by [`Section`] (byte offset from the start of
//! the segment, number of elements), then a byte heap for names and PEM text named by [`Blob`]. No pointers
//! cross the process border. Addresses are IPv4 as host-order `u32` (layout 1 has no IPv6), ports host order.
//!
//! Control writes a segment with [`super::policy_build::PolicyBuilder`]; the dataplane's housekeeping thread maps it, checks
//! every offset, index and enum once with [`super::policy_view::PolicyView::parse`] and from then on workers index without
//! checks of their own meaning (slices still bound-check). A bad segment is refused with a reason and the last
//! good one stays.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a policy segment.
pub const POLICY_MAGIC: u64 = u64::from_le_bytes(*b"FGPOLICY");
/// Changes whenever a struct in this file does; both halves must agree.
pub const POLICY_LAYOUT: u32 = 1;

/// Most interfaces a policy can hold; an interface's position is its index everywhere (`IfIndex`).
pub const MAX_INTERFACES: usize = 16;
/// "No interface", "no ACL", "no trustpoint": an index that is absent.
pub const NONE: u32 = u32::MAX;

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

/// The start of the segment. 128 bytes.
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
    /// [`Acl`]s.
    pub acls: Section,
    /// [`Ace`]s of all ACLs; an ACL names its run.
    pub aces: Section,
    /// [`NatRule`]s in the ASA's order of evaluation; the first match decides.
    pub nat: Section,
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
    pub reserved: u64,
}
const _: () = assert!(size_of::<Header>() == 128);

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
    /// [`IF_MAC_SET`] | [`IF_NO_PROXY_ARP`] | [`IF_SHUTDOWN`].
    pub flags: u8,
    /// Own MAC where [`IF_MAC_SET`]; else the device's (for tap: one made from it).
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
    /// Index of the ACL applied `in`, or [`NONE`].
    pub acl_in: u32,
    /// Index of the ACL applied `out`, or [`NONE`].
    pub acl_out: u32,
    /// Zero.
    pub reserved: [u32; 5],
}
const _: () = assert!(size_of::<Interface>() == 64);
/// [`Interface::mac`] was configured.
pub const IF_MAC_SET: u8 = 1;
/// `sysopt noproxyarp`.
pub const IF_NO_PROXY_ARP: u8 = 2;
/// `shutdown`.
pub const IF_SHUTDOWN: u8 = 4;

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

/// One access-list: `count` ACEs from `first` on. Implicit deny after the last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Acl {
    /// Its name.
    pub name: Blob,
    /// First ACE.
    pub first: u32,
    /// Number of ACEs.
    pub count: u32,
}

/// One access-list element, as classified: real addresses (ASA 8.3+). 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ace {
    /// Source network and mask, host order.
    pub src: u32,
    /// Source mask.
    pub src_mask: u32,
    /// Destination network.
    pub dst: u32,
    /// Destination mask.
    pub dst_mask: u32,
    /// Source ports, inclusive. 0..=65535 for any. For ICMP: ignored.
    pub sport: [u16; 2],
    /// Destination ports, inclusive. For ICMP: the types.
    pub dport: [u16; 2],
    /// IP protocol; [`ACE_ANY_PROTO`] in `flags` for `ip`.
    pub proto: u8,
    /// [`ACE_PERMIT`] | [`ACE_LOG`] | [`ACE_INACTIVE`] | [`ACE_ANY_PROTO`].
    pub flags: u8,
    /// `access-list NAME line N`, counting remarks; saturates.
    pub line: u16,
    /// Hash of its canonical text: what survives a reload.
    pub id: u32,
    /// Slot in the hit counters.
    pub counter: u32,
    /// Zero.
    pub pad: u32,
    /// What the counter slot held when this ACE took it; hits = slot - base.
    pub counter_base: u64,
}
const _: () = assert!(size_of::<Ace>() == 48);
/// Permit, else deny.
pub const ACE_PERMIT: u8 = 1;
/// `log`.
pub const ACE_LOG: u8 = 2;
/// `inactive`: skipped.
pub const ACE_INACTIVE: u8 = 4;
/// Protocol `ip`.
pub const ACE_ANY_PROTO: u8 = 8;

/// How a NAT rule translates the real side's source address.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// One address to one address, all ports, both ways in.
    Static = 1,
    /// One address and port to one address and port of one protocol, both ways in.
    StaticPat = 2,
    /// Many addresses to one address by port.
    DynamicPat = 3,
    /// No translation: ends the search.
    Identity = 4,
}

impl NatKind {
    /// The kind with this number.
    pub fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Static,
            2 => Self::StaticPat,
            3 => Self::DynamicPat,
            4 => Self::Identity,
            _ => return None,
        })
    }
}

/// One NAT rule. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NatRule {
    /// Interface of the real addresses; [`NONE`] for `any`.
    pub real_if: u32,
    /// Interface of the mapped address; [`NONE`] for `any`.
    pub mapped_if: u32,
    /// Real network, host order.
    pub real: u32,
    /// Its mask; all ones for a host.
    pub real_mask: u32,
    /// Mapped address (network of the same size for [`NatKind::Static`]), host order; `interface` is resolved by control.
    pub mapped: u32,
    /// Only for packets to this network (twice NAT without destination translation); mask 0 for any.
    pub dest: u32,
    /// Mask of `dest`.
    pub dest_mask: u32,
    /// [`NatKind::StaticPat`]: the real port.
    pub real_port: u16,
    /// [`NatKind::StaticPat`]: the mapped port.
    pub mapped_port: u16,
    /// [`NatKind`] as a number.
    pub kind: u8,
    /// [`NatKind::StaticPat`]: IP protocol.
    pub proto: u8,
    /// 1 manual, 2 auto, 3 after-auto: the ASA's section, for `show nat`.
    pub section: u8,
    /// Zero.
    pub pad: u8,
    /// Slot in the NAT hit counters.
    pub counter: u32,
    /// Its configuration line, for `show nat`.
    pub text: Blob,
}
const _: () = assert!(size_of::<NatRule>() == 48);

/// `class C / inspect sip M tls-proxy P`: connections that `acl` permits go to the proxy. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceClass {
    /// Its name.
    pub name: Blob,
    /// The ACL of its class-map (real addresses).
    pub acl: u32,
    /// Index of the TLS proxy.
    pub tls_proxy: u32,
}

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

/// What holds for the whole box. 64 bytes.
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
    /// Zero.
    pub reserved: [u32; 5],
}
const _: () = assert!(size_of::<Globals>() == 64);
/// `same-security-traffic permit inter-interface`.
pub const SAME_SECURITY_INTER: u32 = 1;
/// `same-security-traffic permit intra-interface`.
pub const SAME_SECURITY_INTRA: u32 = 2;

impl Default for Globals {
    /// The ASA's default timeouts.
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
            reserved: [0; 5],
        }
    }
}
