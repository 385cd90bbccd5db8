// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy's rules: access-lists of both families, the time-ranges that switch their elements on and off, and the classes of
//! the service policy. Plain data, see [`super`]; control writes it, `policy_view` checks it, the classifier is compiled from it.

use super::*;

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
    /// [`ACE_PERMIT`] | [`ACE_LOG`] | [`ACE_INACTIVE`] | [`ACE_ANY_PROTO`] | [`ACE_QUIET`].
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
/// `log disable`: a denial is not told of either.
pub const ACE_QUIET: u8 = 16;

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
    /// `set connection embryonic-conn-max`; 0 for no limit.
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

impl ServiceClass {
    /// It has a say on how connections are counted, timed or followed.
    pub fn has_settings(&self) -> bool {
        self.flags & (CLASS_LIMITS | CLASS_STATE_BYPASS) != 0
    }

    /// Its TCP connections are not followed.
    pub fn is_bypass(&self) -> bool {
        self.flags & CLASS_STATE_BYPASS != 0
    }
}

/// It has `set connection` lines.
pub const CLASS_LIMITS: u32 = 1;
/// `set connection advanced-options tcp-state-bypass`.
pub const CLASS_STATE_BYPASS: u32 = 2;
/// Slots that classes may have.
pub const MAX_CLASS_SLOTS: u32 = 255;
