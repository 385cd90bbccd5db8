// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a policy segment: the dataplane's side of [`crate::policy`].
//!
//! [`PolicyView::parse`] is the one gate. The housekeeping thread runs it on every segment control sends; it looks at
//! every byte once (checksum), then at every section, index, mask, enum, flag and name (`check.rs`), and refuses with
//! the element and the fault. What passed is immutable (a write-sealed memfd or a private copy, [`Checked`]), so
//! it keeps the view that was made of it, and workers need neither slice casts at every burst nor checks
//! of meaning of their own. Slices still bound-check, so a mistake here is a panic and never a wild read.
//!
//! Limits: [`MAX_POLICY_BYTES`], [`MAX_INTERFACES`], counter slots below [`MAX_ACE_COUNTERS`] and [`MAX_NAT_COUNTERS`].

use crate::policy::*;
use crate::region::{Region, Sealed};
use std::fmt;
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod check;
#[cfg(all(test, not(loom)))]
mod tests;

/// Largest segment, bytes.
pub const MAX_POLICY_BYTES: usize = 64 << 20;
/// ACE hit-counter slots; an ACE's `counter` is below.
pub const MAX_ACE_COUNTERS: u32 = 262_144;
/// NAT hit-counter slots; a rule's `counter` is below.
pub const MAX_NAT_COUNTERS: u32 = 4_096;

/// Why a segment was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSegment {
    /// Fewer bytes than a header, or more than [`MAX_POLICY_BYTES`].
    #[error("segment of {0} bytes: must be {min}..={MAX_POLICY_BYTES}", min = size_of::<Header>())]
    Size(usize),
    /// Not 8-byte aligned memory.
    #[error("segment is not aligned to 8 bytes")]
    Misaligned,
    /// Not a policy segment.
    #[error("not a policy segment (magic {0:#018x})")]
    Magic(u64),
    /// Written by a build with other structs.
    #[error("policy layout {0}; this build reads {POLICY_LAYOUT}")]
    Layout(u32),
    /// The header speaks of another length than there is.
    #[error("header says {says} bytes, segment has {has}")]
    Length {
        /// The header's.
        says: u64,
        /// The segment's.
        has: usize,
    },
    /// Its bytes are not those that were written.
    #[error("checksum {found:#010x}, header says {says:#010x}")]
    Checksum {
        /// Over the bytes.
        found: u32,
        /// The header's.
        says: u32,
    },
    /// Generation 0 means "no policy".
    #[error("generation 0")]
    Generation,
    /// A section lies outside, overlaps the one before, is misaligned or has too many elements.
    #[error("section {section}: {fault}")]
    Section {
        /// Which.
        section: &'static str,
        /// What is wrong.
        fault: Fault,
    },
    /// An element is wrong.
    #[error("{section} {index}: {field}: {fault}")]
    Element {
        /// Which array.
        section: &'static str,
        /// Which element.
        index: usize,
        /// Which of its fields.
        field: &'static str,
        /// What is wrong.
        fault: Fault,
    },
}

/// What can be wrong with a section or an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Offset or end lies outside of what it refers to.
    #[error("lies outside")]
    OutOfBounds,
    /// Offset is no multiple of 8.
    #[error("is misaligned")]
    Misaligned,
    /// Overlaps the section before it.
    #[error("overlaps")]
    Overlap,
    /// Too few or too many elements.
    #[error("wrong number of elements")]
    Count,
    /// Names an element that is not there.
    #[error("no such element")]
    Index,
    /// A mask with a hole.
    #[error("mask is not contiguous")]
    Mask,
    /// An address with bits outside of its mask.
    #[error("address has bits outside of its mask")]
    HostBits,
    /// A range whose end is below its start.
    #[error("range runs backwards")]
    Range,
    /// A number that names nothing, or is outside of its limits.
    #[error("value out of range")]
    Value,
    /// A bit that has no meaning.
    #[error("unknown bits")]
    Bits,
    /// Text that is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A name of no bytes, or none where there must be one.
    #[error("is empty")]
    Empty,
    /// A domain name not in canonical form.
    #[error("not a canonical domain name")]
    NotCanonical,
    /// A certificate without key or a key without certificate.
    #[error("certificate and key must come together")]
    HalfIdentity,
    /// Not in the order that workers rely on.
    #[error("out of order")]
    Order,
}

/// A policy, as slices into its segment. A handful of pointers; copy freely.
#[derive(Clone, Copy, Debug)]
pub struct PolicyView<'a> {
    header: &'a Header,
    interfaces: &'a [Interface],
    routes: &'a [Route],
    routes6: &'a [Route6],
    acls: &'a [Acl],
    aces: &'a [Ace],
    aces6: &'a [Ace6],
    time_ranges: &'a [TimeRange],
    periods: &'a [Period],
    nat: &'a [NatRule],
    pools: &'a [AddrRange],
    classes: &'a [ServiceClass],
    tls_proxies: &'a [TlsProxy],
    trustpoints: &'a [Trustpoint],
    shown: &'a [Shown],
    vouchers: &'a [u32],
    name_trust: &'a [NameTrust],
    local_domains: &'a [Blob],
    heap: &'a [u8],
    globals: &'a Globals,
}

impl<'a> PolicyView<'a> {
    /// Checks everything.
    ///
    /// # Errors
    /// The first fault found, see [`BadSegment`].
    pub fn parse(segment: &'a [u8]) -> Result<Self, BadSegment> {
        let view = Self::carve(segment)?;
        view.check_sum(segment)?;
        check::elements(&view)?;
        Ok(view)
    }

    /// Header and sections.
    fn carve(segment: &'a [u8]) -> Result<Self, BadSegment> {
        if segment.len() < size_of::<Header>() || segment.len() > MAX_POLICY_BYTES {
            return Err(BadSegment::Size(segment.len()));
        }
        if !segment.as_ptr().addr().is_multiple_of(8) {
            return Err(BadSegment::Misaligned);
        }
        let (header, _) = Header::ref_from_prefix(segment).map_err(|_| BadSegment::Misaligned)?;
        if header.magic != POLICY_MAGIC {
            return Err(BadSegment::Magic(header.magic));
        }
        if header.layout != POLICY_LAYOUT {
            return Err(BadSegment::Layout(header.layout));
        }
        if header.length != segment.len() as u64 {
            return Err(BadSegment::Length { says: header.length, has: segment.len() });
        }
        if header.generation == 0 {
            return Err(BadSegment::Generation);
        }
        let mut cut = Cutter { segment, past: size_of::<Header>() };
        let view = Self {
            header,
            interfaces: cut.take("interfaces", header.interfaces)?,
            routes: cut.take("routes", header.routes)?,
            routes6: cut.take("routes6", header.routes6)?,
            acls: cut.take("acls", header.acls)?,
            aces: cut.take("aces", header.aces)?,
            aces6: cut.take("aces6", header.aces6)?,
            time_ranges: cut.take("time-ranges", header.time_ranges)?,
            periods: cut.take("periods", header.periods)?,
            nat: cut.take("nat", header.nat)?,
            pools: cut.take("pools", header.pools)?,
            classes: cut.take("classes", header.classes)?,
            tls_proxies: cut.take("tls-proxies", header.tls_proxies)?,
            trustpoints: cut.take("trustpoints", header.trustpoints)?,
            shown: cut.take("shown", header.shown)?,
            vouchers: cut.take("vouchers", header.vouchers)?,
            name_trust: cut.take("name-trust", header.name_trust)?,
            local_domains: cut.take("local-domains", header.local_domains)?,
            heap: cut.take("heap", header.heap)?,
            globals: match cut.take("globals", header.globals)? {
                [globals] => globals,
                _ => return Err(BadSegment::Section { section: "globals", fault: Fault::Count }),
            },
        };
        if header.interfaces.count as usize > MAX_INTERFACES {
            return Err(BadSegment::Section { section: "interfaces", fault: Fault::Count });
        }
        Ok(view)
    }

    fn check_sum(&self, segment: &[u8]) -> Result<(), BadSegment> {
        let at = offset_of!(Header, checksum);
        let mut sum = crc32fast::Hasher::new();
        [&segment[..at], &[0; 4], &segment[at + 4..]].into_iter().for_each(|part| sum.update(part));
        let found = sum.finalize();
        let says = self.header.checksum;
        if found == says { Ok(()) } else { Err(BadSegment::Checksum { found, says }) }
    }

    /// The segment's generation; never 0.
    pub fn generation(&self) -> u64 {
        self.header.generation
    }
    /// Interfaces; the position is the interface's index.
    pub fn interfaces(&self) -> &'a [Interface] {
        self.interfaces
    }
    /// Routes: the first whose network holds the address is the one.
    pub fn routes(&self) -> &'a [Route] {
        self.routes
    }
    /// Access lists.
    pub fn acls(&self) -> &'a [Acl] {
        self.acls
    }
    /// Elements of all access lists.
    pub fn aces(&self) -> &'a [Ace] {
        self.aces
    }
    /// The elements of one access list.
    ///
    /// # Panics
    /// If `acl` is not from this view.
    pub fn aces_of(&self, acl: &Acl) -> &'a [Ace] {
        &self.aces[acl.first as usize..][..acl.count as usize]
    }
    /// IPv6 routes: the first whose network holds the address is the one.
    pub fn routes6(&self) -> &'a [Route6] {
        self.routes6
    }
    /// IPv6 elements of all access lists.
    pub fn aces6(&self) -> &'a [Ace6] {
        self.aces6
    }
    /// Time-ranges.
    pub fn time_ranges(&self) -> &'a [TimeRange] {
        self.time_ranges
    }
    /// Periods of all time-ranges.
    pub fn periods(&self) -> &'a [Period] {
        self.periods
    }
    /// Addresses of all NAT pools.
    pub fn pools(&self) -> &'a [AddrRange] {
        self.pools
    }
    /// NAT rules in order of evaluation.
    pub fn nat(&self) -> &'a [NatRule] {
        self.nat
    }
    /// Service classes in order.
    pub fn classes(&self) -> &'a [ServiceClass] {
        self.classes
    }
    /// TLS proxies.
    pub fn tls_proxies(&self) -> &'a [TlsProxy] {
        self.tls_proxies
    }
    /// Trustpoints.
    pub fn trustpoints(&self) -> &'a [Trustpoint] {
        self.trustpoints
    }
    /// What one face shows.
    ///
    /// # Panics
    /// If `face` is not from this view.
    pub fn shown_of(&self, face: &Face) -> &'a [Shown] {
        &self.shown[face.first_shown as usize..][..face.shown as usize]
    }
    /// The trustpoints whose CAs vouch for the peers of one face.
    ///
    /// # Panics
    /// If `face` is not from this view.
    pub fn vouchers_of(&self, face: &Face) -> impl Iterator<Item = &'a Trustpoint> + use<'a> {
        let trustpoints = self.trustpoints;
        let run = &self.vouchers[face.first_voucher as usize..][..face.vouchers as usize];
        run.iter().map(move |index| &trustpoints[*index as usize])
    }
    /// Names that count by one trustpoint only.
    pub fn name_trust(&self) -> &'a [NameTrust] {
        self.name_trust
    }
    /// Our own domains, canonical.
    pub fn local_domains(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        self.local_domains.iter().map(move |&name| view.blob(name))
    }
    /// What holds for the whole box.
    pub fn globals(&self) -> &'a Globals {
        self.globals
    }
    /// The bytes of a blob.
    ///
    /// # Panics
    /// If `blob` is not from this view.
    pub fn blob(&self, blob: Blob) -> &'a [u8] {
        &self.heap[blob.offset as usize..][..blob.len as usize]
    }
    /// The text of a blob. All blobs of a policy are UTF-8.
    ///
    /// # Panics
    /// If `blob` is not from this view.
    pub fn str(&self, blob: Blob) -> &'a str {
        // Checked at attach; asked again here, because it costs little on the paths that want text.
        std::str::from_utf8(self.blob(blob)).expect("blobs were checked to be UTF-8")
    }
}

/// Cuts sections off a segment: each aligned, inside, and after the one before.
struct Cutter<'a> {
    segment: &'a [u8],
    past: usize,
}

impl<'a> Cutter<'a> {
    fn take<T: FromBytes + Immutable + KnownLayout>(
        &mut self,
        section: &'static str,
        at: Section,
    ) -> Result<&'a [T], BadSegment> {
        let bad = |fault| BadSegment::Section { section, fault };
        let (start, count) = (at.offset as usize, at.count as usize);
        if !start.is_multiple_of(8) {
            return Err(bad(Fault::Misaligned));
        }
        if start < self.past {
            return Err(bad(Fault::Overlap));
        }
        let end = count.checked_mul(size_of::<T>()).and_then(|len| start.checked_add(len));
        let bytes = end.and_then(|end| self.segment.get(start..end)).ok_or(bad(Fault::OutOfBounds))?;
        self.past = start + bytes.len();
        <[T]>::ref_from_bytes_with_elems(bytes, count).map_err(|_| bad(Fault::Misaligned))
    }
}

/// A segment that has passed [`PolicyView::parse`] and cannot change, with the slices that it was cut into then: what is published to the
/// workers, who ask for the view at every burst.
pub struct Checked(Cell);

self_cell::self_cell!(
    struct Cell {
        owner: Bytes,
        #[covariant]
        dependent: PolicyView,
    }
);

#[derive(Debug)]
enum Bytes {
    Mapped(Region<Sealed>),
    /// Words, for their alignment; the length in bytes.
    Owned(Box<[u64]>, usize),
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checked").field(self.0.borrow_owner()).finish()
    }
}

impl Checked {
    /// Checks a mapped segment.
    ///
    /// # Errors
    /// What [`PolicyView::parse`] finds.
    pub fn new(region: Region<Sealed>) -> Result<Self, BadSegment> {
        Self::of(Bytes::Mapped(region))
    }

    /// Checks a private copy: for tests, tools, and the builder itself.
    ///
    /// # Errors
    /// What [`PolicyView::parse`] finds.
    pub fn copy_of(segment: &[u8]) -> Result<Self, BadSegment> {
        if segment.len() > MAX_POLICY_BYTES {
            return Err(BadSegment::Size(segment.len()));
        }
        let mut words = vec![0u64; segment.len().div_ceil(8)].into_boxed_slice();
        words.as_mut_bytes()[..segment.len()].copy_from_slice(segment);
        Self::of(Bytes::Owned(words, segment.len()))
    }

    fn of(bytes: Bytes) -> Result<Self, BadSegment> {
        Cell::try_new(bytes, |bytes| PolicyView::parse(bytes.get())).map(Self)
    }

    /// The segment, to be sent to a control that asks what is in force.
    pub fn region(&self) -> Option<&Region<Sealed>> {
        match self.0.borrow_owner() {
            Bytes::Mapped(region) => Some(region),
            Bytes::Owned(..) => None,
        }
    }

    /// A view of it.
    #[inline]
    pub fn view(&self) -> PolicyView<'_> {
        *self.0.borrow_dependent()
    }
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(region) => region.bytes(),
            Bytes::Owned(words, len) => &words.as_bytes()[..*len],
        }
    }
}
