// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access-lists with what they name. Runs at every command over every line, so a line that names nothing costs a few nanoseconds.

use std::collections::HashSet;

use super::{About, Fault, Found, MAX_ACES, MAX_ENTRIES};
use crate::config::expand::Parts;
use crate::config::model::{Ace, AcePorts, AclLine, ClassMatch, LegacyReal, Member, Model};
use crate::config::types::PortOp;

/// Groups: members that lead somewhere, of the right kind, and no group in itself.
pub fn groups(model: &Model, found: &mut Found) {
    for (name, group) in &*model.groups {
        for member in &group.members {
            let fault = match member {
                Member::Group(inner) => match model.groups.get(&**inner) {
                    None => Fault::error(format!("there is no `object-group` {inner}")).word(inner),
                    Some(other) if other.kind != group.kind => {
                        Fault::error(format!("object-group {inner} is not of the same kind as {name}"))
                            .word(inner)
                    }
                    Some(_) if holds(model, inner, name) => {
                        Fault::error(format!("object-group {name} would hold itself")).word(inner)
                    }
                    Some(_) => continue,
                },
                Member::Object(object) if !model.networks.contains_key(&**object) => {
                    Fault::error(format!("there is no `object network {object}`")).word(object)
                }
                Member::ServiceObject(object) if !model.services.contains_key(&**object) => {
                    Fault::error(format!("there is no `object service {object}`")).word(object)
                }
                _ => continue,
            };
            found.push((About::Member(name.clone(), member.clone()), fault));
        }
    }
}

/// Whether `inner` is `wanted` or holds it, at any depth.
fn holds(model: &Model, inner: &str, wanted: &str) -> bool {
    let (mut seen, mut left) = (HashSet::from([inner]), vec![inner]);
    while let Some(name) = left.pop() {
        if name == wanted {
            return true;
        }
        for member in model.groups.get(name).into_iter().flat_map(|group| &group.members) {
            if let Member::Group(next) = member
                && seen.insert(next)
            {
                left.push(next);
            }
        }
    }
    false
}

/// Time-ranges that say no time.
pub fn time_ranges(model: &Model, found: &mut Found) {
    for (name, range) in &model.time_ranges {
        if range.start.is_none() && range.end.is_none() && range.periods.is_empty() {
            let what = format!("time-range {name} says no time: it always holds");
            let help = "give it `absolute` or `periodic`";
            found.push((About::TimeRange(name.clone()), Fault::warning(what).help(help)));
        }
    }
}

/// Lines that lead somewhere, and all together no more than fit.
pub fn lists(model: &Model, found: &mut Found) {
    let (mut elements, mut entries, mut full) = (0u64, 0u64, false);
    for (name, lines) in &model.acls {
        for (at, line) in lines.iter().enumerate() {
            let AclLine::Ace(ace) = &**line else { continue };
            let about = || About::AclLine(name.clone(), at + 1);
            let size = if ace.is_plain() {
                (1, plain_entries(ace))
            } else {
                match parts(model, ace) {
                    Ok(size) => size,
                    Err(fault) => {
                        found.push((about(), fault));
                        continue;
                    }
                }
            };
            elements = elements.saturating_add(size.0);
            entries = entries.saturating_add(size.1);
            if !full && (elements > MAX_ACES as u64 || entries > MAX_ENTRIES) {
                full = true;
                found.push((about(), too_many(size, elements, entries)));
            }
        }
        let used = model.access_groups.values().any(|acl| **acl == **name)
            || model
                .class_maps
                .values()
                .flatten()
                .any(|m| matches!(m, ClassMatch::Acl(acl) if **acl == **name))
            || model
                .legacy_nats
                .iter()
                .any(|nat| matches!(&nat.real, LegacyReal::Acl(acl) if **acl == **name));
        if !used {
            let what = format!("access-list {name} is defined but not applied");
            let help = format!("put it to work: `access-group {name} in interface NAMEIF`");
            found.push((About::AclLine(name.clone(), 1), Fault::warning(what).help(help)));
        }
    }
}

fn parts(model: &Model, ace: &Ace) -> Result<(u64, u64), Fault> {
    if let Some(range) = ace.time_range.as_ref().filter(|range| !model.time_ranges.contains_key(&***range)) {
        return Err(Fault::error(format!("there is no `time-range {range}`")).word(range));
    }
    Parts::of(model, ace).map(|parts| parts.size())
}

/// Entries of a line that names nothing, of one family.
fn plain_entries(ace: &Ace) -> u64 {
    let split = |ports: &AcePorts| match ports {
        AcePorts::Op(PortOp::Neq(port)) if *port != 0 && *port != u16::MAX => 2,
        AcePorts::Op(_) | AcePorts::Group(_) => 1,
    };
    split(&ace.sport) * split(&ace.dport)
}

fn too_many((mine, _): (u64, u64), elements: u64, entries: u64) -> Fault {
    let what = if elements > MAX_ACES as u64 {
        format!(
            "with this line, of {mine}, the access-lists come to {elements} elements; at most {MAX_ACES} fit"
        )
    } else {
        format!(
            "with this line the access-lists come to {entries} address and port ranges; at most {MAX_ENTRIES} fit"
        )
    };
    Fault::error(what).help("name fewer members, or networks instead of hosts")
}
