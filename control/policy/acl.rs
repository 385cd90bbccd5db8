// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access-lists to entries of the segment, kept from one commit to the next.
//!
//! A [`Block`] is one list compiled. Where nothing changed that its lines name, its successor takes over whatever the two lists begin and
//! end with in common, counters and all, and expands only the lines in between: adding a line to a hundred thousand costs the
//! comparison of as many pointers. What is expanded anew finds the counter that the same element had in the part
//! replaced, by the hash of its text and its entry; so a counter survives reordering, an edit of other lines, and a restart of control,
//! which gets its blocks back out of the policy in force ([`Block::recover`]).
//!
//! An element has one counter; `neq`, address ranges and `any` (both families) make several entries of it that share it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fedgate_tables::policy::{
    ACE_ANY_PROTO, ACE_INACTIVE, ACE_LOG, ACE_PERMIT, ACE_QUIET, ANY_PORT, Ace, Ace6, Acl, NONE16,
};
use fedgate_tables::policy_view::PolicyView;

use super::slots::{Free, NoSlot};
use crate::config::expand::{Element, Parts, nets4, nets6};
use crate::config::model::{self, AclLine, AclLines, Group, Model, Name, NetworkObject, TimeRange};
use crate::config::types::{PortOp, Service};

/// An access-list compiled.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// What it was made of; empty for one that was recovered.
    lines: Arc<AclLines>,
    /// For IPv4, in order; `line` says of which line an entry is.
    pub aces: Vec<Ace>,
    /// For IPv6, in order.
    pub aces6: Vec<Ace6>,
}

/// All of a configuration that lines of access-lists may name.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    networks: Arc<std::collections::BTreeMap<String, NetworkObject>>,
    services: Arc<std::collections::BTreeMap<String, Option<Service>>>,
    groups: Arc<std::collections::BTreeMap<String, Group>>,
    time_ranges: std::collections::BTreeMap<String, TimeRange>,
    interfaces: Vec<(Option<String>, Option<Ipv4Addr>, Option<Ipv6Addr>)>,
}

impl World {
    /// That of `model`.
    pub fn of(model: &Model) -> Self {
        let interface = |i: &model::Interface| {
            (i.nameif.clone(), i.address.map(|(addr, _)| addr), i.address6.map(|(addr, _)| addr))
        };
        Self {
            networks: model.networks.clone(),
            services: model.services.clone(),
            groups: model.groups.clone(),
            time_ranges: model.time_ranges.clone(),
            interfaces: model.interfaces.iter().map(interface).collect(),
        }
    }
}

/// A counter: its slot, and what that stood at when the element took it.
pub type Counter = (u32, u64);

/// What makes two elements the same to an operator who counts them: hash of the text, and of the first entry, because 32 bits alone
/// repeat among a hundred thousand.
type Key = (u32, u64);

impl Block {
    /// The block of a list in the policy in force.
    pub fn recover(view: &PolicyView<'_>, acl: &Acl) -> Self {
        let aces6 = &view.aces6()[acl.first6 as usize..][..acl.count6 as usize];
        Self { lines: Arc::default(), aces: view.aces_of(acl).to_vec(), aces6: aces6.to_vec() }
    }

    /// Whether it was made of these very lines.
    pub fn is_of(&self, lines: &Arc<AclLines>) -> bool {
        Arc::ptr_eq(&self.lines, lines)
    }

    /// Slots that its elements have.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.aces.iter().map(|ace| ace.counter).chain(self.aces6.iter().map(|ace| ace.counter))
    }

    /// The counters of one line, from 1.
    pub fn counters(&self, line: u32) -> LineCounters<'_> {
        let (from, to) = (before(&self.aces, line), before(&self.aces, line + 1));
        let (from6, to6) = (before6(&self.aces6, line), before6(&self.aces6, line + 1));
        LineCounters { aces: &self.aces[from..to], aces6: &self.aces6[from6..to6] }
    }

    /// The block of `lines`. `kept` says that all they may name is what it was when this one was made.
    pub fn successor<C: super::slots::Counts>(
        &self,
        lines: &Arc<AclLines>,
        kept: bool,
        model: &Model,
        time_ranges: &HashMap<&str, u16>,
        free: &mut Free<'_, C>,
    ) -> Result<Self, NoSlot> {
        let (mut head, mut tail) = (0, 0);
        if kept {
            let same = |(a, b): &(&Arc<AclLine>, &Arc<AclLine>)| a == b;
            head = self.lines.iter().zip(lines.iter()).take_while(same).count();
            let (old, new) = (&self.lines[head..], &lines[head..]);
            tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        }
        let (old_end, new_end) = (self.lines.len() - tail, lines.len() - tail);
        // A recovered block has entries without lines: all of them are replaced.
        let recovered = self.lines.is_empty();
        let (from, from6) = (before(&self.aces, head as u32 + 1), before6(&self.aces6, head as u32 + 1));
        let (mut to, mut to6) =
            (before(&self.aces, old_end as u32 + 1), before6(&self.aces6, old_end as u32 + 1));
        if recovered {
            (to, to6) = (self.aces.len(), self.aces6.len());
        }
        let mut known = known(&self.aces[from..to], &self.aces6[from6..to6]);
        let mut block = Self { lines: lines.clone(), aces: Vec::new(), aces6: Vec::new() };
        block.aces.reserve(self.aces.len() + (new_end - head));
        block.aces.extend_from_slice(&self.aces[..from]);
        block.aces6.extend_from_slice(&self.aces6[..from6]);
        for (at, line) in lines.iter().enumerate().take(new_end).skip(head) {
            let AclLine::Ace(ace) = &**line else { continue };
            // The check has seen that it leads somewhere; a line that matches nothing is the safe reading of one that does not.
            let Ok(parts) = Parts::of(model, ace) else { continue };
            let base = base(ace, at as u32 + 1, time_ranges);
            for element in parts.elements() {
                block.push(
                    &element,
                    Ace { id: id(&element, ace.time_range.as_ref()), ..base },
                    &mut known,
                    free,
                )?;
            }
        }
        let moved = (lines.len() as u32).wrapping_sub(self.lines.len() as u32);
        block
            .aces
            .extend(self.aces[to..].iter().map(|ace| Ace { line: ace.line.wrapping_add(moved), ..*ace }));
        block
            .aces6
            .extend(self.aces6[to6..].iter().map(|ace| Ace6 { line: ace.line.wrapping_add(moved), ..*ace }));
        Ok(block)
    }

    /// Adds the entries of one element.
    fn push<C: super::slots::Counts>(
        &mut self,
        element: &Element,
        base: Ace,
        known: &mut HashMap<Key, VecDeque<Counter>>,
        free: &mut Free<'_, C>,
    ) -> Result<(), NoSlot> {
        let (first, first6) = (self.aces.len(), self.aces6.len());
        let (sports, dports) = ports(element);
        let base =
            Ace { proto: element.kind.proto.unwrap_or(0), flags: base.flags | any_proto(element), ..base };
        if element.is_v4() {
            let dsts = nets4(element.dst);
            for (src, src_mask) in nets4(element.src) {
                for &(dst, dst_mask) in &dsts {
                    for &sport in &sports {
                        let entry = |&dport| Ace { src, src_mask, dst, dst_mask, sport, dport, ..base };
                        self.aces.extend(dports.iter().map(entry));
                    }
                }
            }
        }
        if element.is_v6() {
            let Ace { proto, flags, time_range, line, id, .. } = base;
            let base = Ace6 { proto, flags, time_range, line, id, ..Ace6::default() };
            let dsts = nets6(element.dst);
            for (src, src_prefix) in nets6(element.src) {
                for &(dst, dst_prefix) in &dsts {
                    for &sport in &sports {
                        let entry = |&dport| Ace6 { src, src_prefix, dst, dst_prefix, sport, dport, ..base };
                        self.aces6.extend(dports.iter().map(entry));
                    }
                }
            }
        }
        let key = match (self.aces.get(first), self.aces6.get(first6)) {
            (Some(ace), _) => key4(ace),
            (None, Some(ace)) => key6(ace),
            (None, None) => return Ok(()),
        };
        let (counter, counter_base) = match known.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(counter) => counter,
            None => free.take_ace()?,
        };
        for ace in &mut self.aces[first..] {
            (ace.counter, ace.counter_base) = (counter, counter_base);
        }
        for ace in &mut self.aces6[first6..] {
            (ace.counter, ace.counter_base) = (counter, counter_base);
        }
        Ok(())
    }
}

/// The counters of a line's elements, to be asked for in the elements' order.
pub struct LineCounters<'b> {
    aces: &'b [Ace],
    aces6: &'b [Ace6],
}

impl LineCounters<'_> {
    /// That of the next element.
    pub fn of(&mut self, element: &Element) -> Option<Counter> {
        let mut counter = None;
        if element.is_v4() {
            let first = self.aces.first()?;
            counter = Some((first.counter, first.counter_base));
            let entries = self.aces.iter().take_while(|ace| ace.counter == first.counter).count();
            self.aces = &self.aces[entries..];
        }
        if element.is_v6() {
            let first = self.aces6.first()?;
            counter = Some((first.counter, first.counter_base));
            let entries = self.aces6.iter().take_while(|ace| ace.counter == first.counter).count();
            self.aces6 = &self.aces6[entries..];
        }
        counter
    }
}

fn before(aces: &[Ace], line: u32) -> usize {
    aces.partition_point(|ace| ace.line < line)
}

fn before6(aces: &[Ace6], line: u32) -> usize {
    aces.partition_point(|ace| ace.line < line)
}

/// The counters of entries that are to be replaced, in the order of their lines.
fn known(aces: &[Ace], aces6: &[Ace6]) -> HashMap<Key, VecDeque<Counter>> {
    let mut all: Vec<(u32, Key, Counter)> = Vec::new();
    let mut seen = HashSet::new();
    for ace in aces {
        if seen.insert(ace.counter) {
            all.push((ace.line, key4(ace), (ace.counter, ace.counter_base)));
        }
    }
    for ace in aces6 {
        if seen.insert(ace.counter) {
            all.push((ace.line, key6(ace), (ace.counter, ace.counter_base)));
        }
    }
    all.sort_by_key(|(line, ..)| *line);
    let mut known: HashMap<Key, VecDeque<Counter>> = HashMap::new();
    for (_, key, counter) in all {
        known.entry(key).or_default().push_back(counter);
    }
    known
}

fn key4(ace: &Ace) -> Key {
    let ports = [ace.sport[0], ace.sport[1], ace.dport[0], ace.dport[1]];
    let words = [ace.src, ace.src_mask, ace.dst, ace.dst_mask].map(u64::from);
    let rest = u64::from(ace.proto) << 8 | u64::from(ace.flags & (ACE_PERMIT | ACE_ANY_PROTO));
    (ace.id, mixed(words.into_iter().chain(ports.map(u64::from)).chain([rest])))
}

fn key6(ace: &Ace6) -> Key {
    let ports = [ace.sport[0], ace.sport[1], ace.dport[0], ace.dport[1]].map(u64::from);
    let halves = [ace.src, ace.dst].map(u128::from_be_bytes).map(|addr| [addr as u64, (addr >> 64) as u64]);
    let rest = [ace.src_prefix, ace.dst_prefix, ace.proto, ace.flags & (ACE_PERMIT | ACE_ANY_PROTO)];
    (ace.id, mixed(halves.into_iter().flatten().chain(ports).chain(rest.map(u64::from))))
}

/// FNV-1a over words, 64 bits.
fn mixed(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}

fn base(ace: &model::Ace, line: u32, time_ranges: &HashMap<&str, u16>) -> Ace {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let time_range = ace.time_range.as_ref().and_then(|name| time_ranges.get(&**name)).copied();
    Ace {
        line,
        flags: flag(ace.permit, ACE_PERMIT)
            | flag(ace.logs(), ACE_LOG)
            | flag(ace.log == Some(model::AceLog::Disable), ACE_QUIET)
            | flag(ace.inactive, ACE_INACTIVE),
        time_range: time_range.unwrap_or(NONE16),
        ..Ace::default()
    }
}

fn any_proto(element: &Element) -> u8 {
    if element.kind.proto.is_none() { ACE_ANY_PROTO } else { 0 }
}

/// Source and destination ranges; for ICMP, codes and types.
fn ports(element: &Element) -> (Vec<[u16; 2]>, Vec<[u16; 2]>) {
    let one = |number: u8| [u16::from(number); 2];
    match element.kind.icmp {
        Some((number, code)) => (vec![code.map_or(ANY_PORT, one)], vec![one(number)]),
        None => {
            let ranges = |op: PortOp| op.ranges();
            (ranges(element.kind.source), ranges(element.kind.destination))
        }
    }
}

/// The hash of an element's text, and of the name of its time-range: what survives a reload and what `show access-list` prints. `log` and
/// `inactive` are no part of it, so that a line that is switched keeps its count.
pub fn id(element: &Element, time_range: Option<&Name>) -> u32 {
    let mut hash = Fnv(0x811c_9dc5);
    // It takes whatever is written.
    let _ = write!(hash, "{element}");
    if let Some(name) = time_range {
        let _ = write!(hash, " time-range {name}");
    }
    hash.0
}

/// FNV-1a, 32 bits, of text that is never put together.
struct Fnv(u32);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Ok(())
    }
}
