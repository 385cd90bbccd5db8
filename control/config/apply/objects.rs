// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects, object-groups, time-ranges and access-lists, as their lines come.

use std::sync::Arc;

use super::{Done, Editor, Scope, misplaced, missing, single};
use crate::config::check::{About, Fault};
use crate::config::model::{Group, GroupKind, Member, TimeRange};
use crate::config::raw::{AclEdit, Command};

impl Editor {
    /// Of which kind the group is that sub-commands go to.
    pub fn group(&self) -> Option<GroupKind> {
        match &self.scope {
            Scope::Group(name) => self.model.groups.get(name).map(|group| group.kind),
            _ => None,
        }
    }

    pub(super) fn object(&mut self, command: Command, negated: bool) -> Done {
        match (command, &self.scope) {
            (Command::ObjectNetwork(name), _) => {
                Self::node(Arc::make_mut(&mut self.model.networks), &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::ObjectNetwork(name.clone()) };
                Ok(About::Network(name))
            }
            (Command::ObjectService(name), _) => {
                Self::node(Arc::make_mut(&mut self.model.services), &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::ObjectService(name.clone()) };
                Ok(About::Service(name))
            }
            (Command::ObjectAddr(addr), Scope::ObjectNetwork(name)) => {
                let object = Arc::make_mut(&mut self.model.networks).entry(name.clone()).or_default();
                single(&mut object.addr, addr, negated, About::Network(name.clone()))
            }
            (Command::Description(text), Scope::ObjectNetwork(name)) => {
                let object = Arc::make_mut(&mut self.model.networks).entry(name.clone()).or_default();
                single(&mut object.description, text, negated, About::Network(name.clone()))
            }
            (Command::ObjectNat(nat), Scope::ObjectNetwork(name)) => {
                let object = Arc::make_mut(&mut self.model.networks).entry(name.clone()).or_default();
                if !negated && object.nat.as_ref().is_some_and(|old| *old != nat) {
                    return Err(Fault::error("the object has a `nat` line already")
                        .help("one object holds one rule: make another object for the same address"));
                }
                single(&mut object.nat, nat, negated, About::ObjectNat(name.clone()))
            }
            (Command::Service(service), Scope::ObjectService(name)) => {
                let object = Arc::make_mut(&mut self.model.services).entry(name.clone()).or_default();
                single(object, service, negated, About::Service(name.clone()))
            }
            _ => Err(misplaced()),
        }
    }

    pub(super) fn object_group(&mut self, command: Command, negated: bool) -> Done {
        let groups = Arc::make_mut(&mut self.model.groups);
        match (command, &self.scope) {
            (Command::Group(name, kind), _) => {
                let known = groups.get(&name).map(|group| group.kind);
                if known.is_some_and(|known| known != kind) {
                    return Err(Fault::error(format!("there is an object-group {name} of another kind"))
                        .word(&name)
                        .help("give this one another name"));
                }
                if negated {
                    groups.remove(&name).ok_or_else(missing)?;
                    self.scope = Scope::Top;
                } else {
                    let fresh = || Group { kind, description: None, members: Vec::new() };
                    groups.entry(name.clone()).or_insert_with(fresh);
                    self.scope = Scope::Group(name.clone());
                }
                Ok(About::Group(name))
            }
            (Command::Description(text), Scope::Group(name)) => {
                let group = groups.get_mut(name).ok_or_else(misplaced)?;
                single(&mut group.description, text, negated, About::Group(name.clone()))
            }
            (Command::Member(member), Scope::Group(name)) => {
                let group = groups.get_mut(name).ok_or_else(misplaced)?;
                if !fits(group.kind, &member) {
                    return Err(wrong_member(name, group.kind));
                }
                let at = group.members.iter().position(|m| *m == member);
                match (negated, at) {
                    (true, Some(at)) => drop(group.members.remove(at)),
                    (true, None) => return Err(missing()),
                    (false, Some(_)) => {
                        return Err(Fault::error(format!("group {name} has that member already")));
                    }
                    (false, None) => group.members.push(member.clone()),
                }
                Ok(About::Member(name.clone(), member))
            }
            _ => Err(misplaced()),
        }
    }

    pub(super) fn time_range(&mut self, command: Command, negated: bool) -> Done {
        let ranges = &mut self.model.time_ranges;
        match (command, &self.scope) {
            (Command::TimeRange(name), _) => {
                Self::node::<TimeRange>(ranges, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::TimeRange(name.clone()) };
                Ok(About::TimeRange(name))
            }
            (Command::Absolute(start, end), Scope::TimeRange(name)) => {
                let range = ranges.get_mut(name).ok_or_else(misplaced)?;
                if !negated {
                    (range.start, range.end) = (start, end);
                } else if (range.start, range.end) != (start, end) {
                    return Err(missing());
                } else {
                    (range.start, range.end) = (None, None);
                }
                Ok(About::TimeRange(name.clone()))
            }
            (Command::Periodic(period), Scope::TimeRange(name)) => {
                let range = ranges.get_mut(name).ok_or_else(misplaced)?;
                super::listed(&mut range.periods, period, negated, About::TimeRange(name.clone()))
            }
            _ => Err(misplaced()),
        }
    }

    /// `access-list`: a line is appended, or put in at `line N`; `no` takes out the line that is the same, at N where it is said.
    pub(super) fn access_list(&mut self, AclEdit { name, at, line }: AclEdit, negated: bool) -> Done {
        let at = at.map(|at| at as usize - 1);
        if negated {
            let shared = self.model.acls.get_mut(&name).ok_or_else(missing)?;
            let at = match at {
                Some(at) => Some(at).filter(|at| shared.get(*at).is_some_and(|l| **l == line)),
                None => shared.iter().position(|l| **l == line),
            };
            let at = at.ok_or_else(missing)?;
            Arc::make_mut(shared).remove(at);
            if shared.is_empty() {
                self.model.acls.remove(&name);
            }
            return Ok(About::Acl(name));
        }
        let lines = Arc::make_mut(self.model.acls.entry(name.clone()).or_default());
        let at = at.map_or(lines.len(), |at| at.min(lines.len()));
        if at == lines.len() {
            lines.push(Arc::new(line));
        } else {
            lines.insert(at, Arc::new(line));
        }
        Ok(About::AclLine(name, at + 1))
    }
}

/// Whether a group of this kind may have this member.
fn fits(kind: GroupKind, member: &Member) -> bool {
    match member {
        Member::Group(_) => true,
        Member::Net(_) | Member::Net6(_) | Member::Object(_) => kind == GroupKind::Network,
        Member::Service(_) | Member::ServiceObject(_) => kind == GroupKind::Service,
        Member::Port(protos, _) => kind == GroupKind::Ports(*protos),
        Member::Protocol(_) => kind == GroupKind::Protocol,
        Member::Icmp(_) => kind == GroupKind::IcmpType,
    }
}

fn wrong_member(name: &str, kind: GroupKind) -> Fault {
    let takes = match kind {
        GroupKind::Network => "network-object",
        GroupKind::Service => "service-object",
        GroupKind::Ports(_) => "port-object",
        GroupKind::Protocol => "protocol-object",
        GroupKind::IcmpType => "icmp-object",
    };
    Fault::error(format!("group {name} takes `{takes}` and `group-object`"))
}
