// SPDX-License-Identifier: MIT OR Apache-2.0
//! The modular policy framework, as its lines come.

use super::{Done, Editor, Scope, misplaced, missing, single};
use crate::config::check::{About, Fault};
use crate::config::model::{ClassMatch, Connections, PolicyClass};
use crate::config::raw::{Command, Limit, Timer};

impl Editor {
    pub(super) fn inspect(&mut self, command: Command, negated: bool) -> Done {
        match (command, &self.scope) {
            (Command::ClassMap(name), _) => {
                Self::node(&mut self.model.class_maps, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::ClassMap(name.clone()) };
                Ok(About::ClassMap(name))
            }
            (Command::PolicyMap(name), _) => {
                Self::node(&mut self.model.policy_maps, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::PolicyMap(name.clone()) };
                Ok(About::PolicyMap(name))
            }
            (Command::ServicePolicy(name), _) => {
                single(&mut self.model.service_policy, name, negated, About::ServicePolicy)
            }
            (Command::Match(matches), Scope::ClassMap(name)) => {
                // The ASA refuses the forward reference, in these words; people search for them.
                if let ClassMatch::Acl(acl) = &matches
                    && !negated
                    && !self.model.acls.contains_key(acl.as_str())
                {
                    return Err(Fault::error(format!(
                        "ERROR: Specified ACL ({acl}) either does not exist or its type is not supported by the match command."
                    ))
                    .word(acl)
                    .help("the access-list must stand before the class-map"));
                }
                let class = self.model.class_maps.entry(name.clone()).or_default();
                if !negated && class.as_ref().is_some_and(|old| *old != matches) {
                    return Err(Fault::error("the class-map has a `match` line already")
                        .help("take the old line out first, or make another class-map"));
                }
                single(class, matches, negated, About::ClassMap(name.clone()))
            }
            (Command::PolicyClass(class), Scope::PolicyMap(policy) | Scope::PolicyClass(policy, _)) => {
                let policy = policy.clone();
                let classes = self.model.policy_maps.entry(policy.clone()).or_default();
                let at = classes.iter().position(|c| c.class == class);
                self.scope = if negated {
                    classes.remove(at.ok_or_else(missing)?);
                    Scope::PolicyMap(policy.clone())
                } else {
                    if at.is_none() {
                        let fresh = PolicyClass {
                            class: class.clone(),
                            inspect: None,
                            connections: Connections::default(),
                        };
                        classes.push(fresh);
                    }
                    Scope::PolicyClass(policy.clone(), class.clone())
                };
                Ok(About::PolicyClass(policy, class))
            }
            (Command::InspectSip(inspect), Scope::PolicyClass(policy, class)) => {
                let classes = self.model.policy_maps.get_mut(policy).ok_or_else(misplaced)?;
                let entry = classes.iter_mut().find(|c| c.class == *class).ok_or_else(misplaced)?;
                if !negated && entry.inspect.as_ref().is_some_and(|old| *old != inspect) {
                    return Err(Fault::error("the class inspects SIP already")
                        .help("take the old line out first with `no inspect sip ...`"));
                }
                single(&mut entry.inspect, inspect, negated, About::Inspect(policy.clone(), class.clone()))
            }
            (
                command @ (Command::Limits(_) | Command::ConnTimeouts(_) | Command::StateBypass),
                Scope::PolicyClass(policy, class),
            ) => {
                let classes = self.model.policy_maps.get_mut(policy).ok_or_else(misplaced)?;
                let entry = classes.iter_mut().find(|c| c.class == *class).ok_or_else(misplaced)?;
                connections(&mut entry.connections, command, negated)?;
                Ok(About::Connections(policy.clone(), class.clone()))
            }
            _ => Err(misplaced()),
        }
    }
}

/// `set connection ...` of a class.
fn connections(settings: &mut Connections, command: Command, negated: bool) -> Result<(), Fault> {
    match command {
        Command::Limits(set) => {
            for (limit, value) in set {
                let slot = match limit {
                    Limit::Conn => &mut settings.conn_max,
                    Limit::Embryonic => &mut settings.embryonic_max,
                    Limit::Client => &mut settings.per_client_max,
                    Limit::ClientEmbryonic => &mut settings.per_client_embryonic_max,
                };
                single(slot, value, negated, About::Other)?;
            }
        }
        Command::ConnTimeouts(set) => {
            for (timer, value) in set {
                let slot = match timer {
                    Timer::Conn => &mut settings.idle,
                    Timer::HalfClosed => &mut settings.half_closed,
                    Timer::Embryonic => &mut settings.embryonic,
                    _ => return Err(misplaced()),
                };
                single(slot, value, negated, About::Other)?;
            }
        }
        Command::StateBypass if negated && !settings.bypass => return Err(missing()),
        Command::StateBypass => settings.bypass = !negated,
        _ => return Err(misplaced()),
    }
    Ok(())
}
