// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a policy segment: control's side of [`crate::policy`].
//!
//! Elements are pushed in any order and keep the order in which they came, per kind; a push returns the element's
//! index, by which others name it. Only routes are sorted (longest prefix first, then lowest metric), because
//! workers take the first match. Names and PEM texts go to the heap with [`PolicyBuilder::blob`].
//!
//! `finish` runs the reader's own check over the result, so control cannot publish what the dataplane would refuse:
//! it learns of its own mistake, by element and fault, before anything leaves the process. Called on control's
//! commit path; allocates freely, bounded by [`MAX_POLICY_BYTES`].

use crate::policy::*;
use crate::policy_view::{BadSegment, Checked, MAX_POLICY_BYTES, PolicyView};
use std::collections::HashMap;
use std::mem::offset_of;
use zerocopy::{Immutable, IntoBytes};

/// Why no segment was made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BuildError {
    /// The whole would pass [`MAX_POLICY_BYTES`].
    #[error("policy of {bytes} bytes; at most {MAX_POLICY_BYTES} fit")]
    TooLarge {
        /// Bytes it would have.
        bytes: u64,
    },
    /// An element that the dataplane would refuse.
    #[error(transparent)]
    Invalid(#[from] BadSegment),
}

/// A policy under construction.
#[derive(Clone, Debug, Default)]
pub struct PolicyBuilder {
    interfaces: Vec<Interface>,
    routes: Vec<Route>,
    routes6: Vec<Route6>,
    acls: Vec<Acl>,
    aces: Vec<Ace>,
    aces6: Vec<Ace6>,
    time_ranges: Vec<TimeRange>,
    periods: Vec<Period>,
    nat: Vec<NatRule>,
    pools: Vec<AddrRange>,
    classes: Vec<ServiceClass>,
    tls_proxies: Vec<TlsProxy>,
    trustpoints: Vec<Trustpoint>,
    shown: Vec<Shown>,
    vouchers: Vec<u32>,
    name_trust: Vec<NameTrust>,
    local_domains: Vec<Blob>,
    globals: Globals,
    heap: Vec<u8>,
    /// Blobs already in the heap, so that a name used often is stored once.
    known: HashMap<Box<[u8]>, Blob>,
    /// Bytes of blobs that found no room.
    refused: u64,
}

/// Appends and gives the index of the new element.
fn push<T>(list: &mut Vec<T>, element: T) -> u32 {
    let index = list.len();
    list.push(element);
    // Past u32 the size bound fails in `finish`, long before an index could repeat.
    index as u32
}

impl PolicyBuilder {
    /// Nothing in it; globals at the ASA's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores bytes (a name, a PEM text) once and says where.
    pub fn blob(&mut self, bytes: &[u8]) -> Blob {
        if bytes.is_empty() {
            return Blob::default();
        }
        if let Some(&blob) = self.known.get(bytes) {
            return blob;
        }
        if self.heap.len() + bytes.len() > MAX_POLICY_BYTES {
            // Not stored; `finish` will say how much too large the whole is.
            self.refused += bytes.len() as u64;
            return Blob::default();
        }
        let blob = Blob { offset: self.heap.len() as u32, len: bytes.len() as u32 };
        self.heap.extend_from_slice(bytes);
        self.known.insert(bytes.into(), blob);
        blob
    }

    /// Adds an interface; its index is its `IfIndex` everywhere.
    pub fn interface(&mut self, interface: Interface) -> u32 {
        push(&mut self.interfaces, interface)
    }

    /// Adds a route.
    pub fn route(&mut self, route: Route) {
        self.routes.push(route);
    }

    /// Adds an IPv6 route.
    pub fn route6(&mut self, route: Route6) {
        self.routes6.push(route);
    }

    /// Adds an ACL with its elements in order; returns the ACL's index.
    pub fn acl(&mut self, name: Blob, aces: &[Ace], aces6: &[Ace6]) -> u32 {
        let (first, first6) = (self.aces.len() as u32, self.aces6.len() as u32);
        self.aces.extend_from_slice(aces);
        self.aces6.extend_from_slice(aces6);
        let (count, count6) = (aces.len() as u32, aces6.len() as u32);
        push(&mut self.acls, Acl { name, first, count, first6, count6 })
    }

    /// Adds a time-range with its periods; returns its index.
    pub fn time_range(&mut self, range: TimeRange, periods: &[Period]) -> u32 {
        let first = self.periods.len() as u32;
        self.periods.extend_from_slice(periods);
        push(&mut self.time_ranges, TimeRange { first, count: periods.len() as u32, ..range })
    }

    /// Adds a pool's addresses; returns what a [`NatRule`] says of it: first and count.
    pub fn pool(&mut self, ranges: &[AddrRange]) -> (u32, u32) {
        let first = self.pools.len() as u32;
        self.pools.extend_from_slice(ranges);
        (first, ranges.len() as u32)
    }

    /// Adds a NAT rule after those before it.
    pub fn nat(&mut self, rule: NatRule) -> u32 {
        push(&mut self.nat, rule)
    }

    /// Adds a service class after those before it.
    pub fn class(&mut self, class: ServiceClass) -> u32 {
        push(&mut self.classes, class)
    }

    /// Adds a TLS proxy.
    pub fn tls_proxy(&mut self, proxy: TlsProxy) -> u32 {
        push(&mut self.tls_proxies, proxy)
    }

    /// Adds a trustpoint.
    pub fn trustpoint(&mut self, trustpoint: Trustpoint) -> u32 {
        push(&mut self.trustpoints, trustpoint)
    }

    /// What a face shows and by whom its peers are vouched for (indices of trustpoints); suites and flags are the caller's to set.
    pub fn face(&mut self, shown: &[Shown], vouchers: &[u32]) -> Face {
        let (first_shown, first_voucher) = (self.shown.len() as u32, self.vouchers.len() as u32);
        self.shown.extend_from_slice(shown);
        self.vouchers.extend_from_slice(vouchers);
        let (shown, vouchers) = (shown.len() as u32, vouchers.len() as u32);
        let (suites, flags) = (ALL_SUITES, FACE_TLS12 | FACE_TLS13);
        Face { first_shown, shown, first_voucher, vouchers, suites, flags }
    }

    /// Adds a name that counts by one trustpoint only.
    pub fn name_trust(&mut self, name: NameTrust) {
        self.name_trust.push(name);
    }

    /// Adds one of our own domains, canonical ([`crate::domains::is_canonical`]).
    pub fn local_domain(&mut self, canonical: &str) {
        let name = self.blob(canonical.as_bytes());
        self.local_domains.push(name);
    }

    /// Replaces the globals.
    pub fn globals(&mut self, globals: Globals) {
        self.globals = globals;
    }

    /// The segment, checked as the dataplane will check it.
    ///
    /// # Errors
    /// Too large, or an element that [`PolicyView::parse`] refuses (generation 0 among them).
    pub fn finish(mut self, generation: u64) -> Result<Vec<u8>, BuildError> {
        self.routes.sort_by_key(|r| (std::cmp::Reverse(r.mask.count_ones()), r.metric));
        self.routes6.sort_by_key(|r| (std::cmp::Reverse(r.prefix), r.metric));
        let mut sections = Sections { bytes: vec![0; size_of::<Header>()], end: size_of::<Header>() as u64 };
        // Nearly all there is; without, the elements would be copied once more as the segment grows.
        let aces = size_of_val(&*self.aces) + size_of_val(&*self.aces6) + self.heap.len();
        sections.bytes.reserve(aces.min(MAX_POLICY_BYTES));
        let mut header = Header {
            magic: POLICY_MAGIC,
            layout: POLICY_LAYOUT,
            generation,
            interfaces: sections.add(&self.interfaces),
            routes: sections.add(&self.routes),
            routes6: sections.add(&self.routes6),
            acls: sections.add(&self.acls),
            aces: sections.add(&self.aces),
            aces6: sections.add(&self.aces6),
            time_ranges: sections.add(&self.time_ranges),
            periods: sections.add(&self.periods),
            nat: sections.add(&self.nat),
            pools: sections.add(&self.pools),
            classes: sections.add(&self.classes),
            tls_proxies: sections.add(&self.tls_proxies),
            trustpoints: sections.add(&self.trustpoints),
            shown: sections.add(&self.shown),
            vouchers: sections.add(&self.vouchers),
            name_trust: sections.add(&self.name_trust),
            local_domains: sections.add(&self.local_domains),
            heap: sections.add(&self.heap),
            globals: sections.add(&[self.globals]),
            ..Header::default()
        };
        let bytes = sections.end + self.refused;
        if bytes > MAX_POLICY_BYTES as u64 {
            return Err(BuildError::TooLarge { bytes });
        }
        let mut segment = sections.bytes;
        header.length = segment.len() as u64;
        segment[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        seal(&mut segment);
        // The allocator need not align bytes as the structs ask for, though it mostly does; a mapped segment is page-aligned.
        match PolicyView::parse(&segment) {
            Err(BadSegment::Misaligned) => drop(Checked::copy_of(&segment)?),
            checked => drop(checked?),
        }
        Ok(segment)
    }
}

/// The sections laid one after the other.
struct Sections {
    bytes: Vec<u8>,
    /// Where the last one ends; past `bytes` once the whole no longer fits.
    end: u64,
}

impl Sections {
    fn add<T: IntoBytes + Immutable>(&mut self, elements: &[T]) -> Section {
        let start = self.end.next_multiple_of(8);
        self.end = start + size_of_val(elements) as u64;
        if self.end <= MAX_POLICY_BYTES as u64 {
            self.bytes.resize(start as usize, 0);
            self.bytes.extend_from_slice(elements.as_bytes());
        }
        Section { offset: start as u32, count: elements.len() as u32 }
    }
}

/// Writes the checksum over a segment whose header is in place.
pub(crate) fn seal(segment: &mut [u8]) {
    let at = offset_of!(Header, checksum);
    segment[at..at + 4].fill(0);
    let sum = crc32fast::hash(segment);
    segment[at..at + 4].copy_from_slice(&sum.to_ne_bytes());
}
