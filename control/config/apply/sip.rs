// SPDX-License-Identifier: MIT OR Apache-2.0
//! `regex`, class-maps with a type and inspect maps, as their lines come.

use fedgate_sip::inspect::{Action, Parameters};

use super::{Done, Editor, Scope, misplaced, missing, single};
use crate::config::check::{About, Fault};
use crate::config::model::sip::{MapRule, Parameter, SipClass, Subject};
use crate::config::raw::Command;

impl Editor {
    pub(super) fn sip(&mut self, command: Command, negated: bool) -> Done {
        match (command, self.scope.clone()) {
            (Command::Regex(name, pattern), _) => {
                let about = About::Regex(name.clone());
                if !negated {
                    self.model.regexes.insert(name, pattern);
                } else if self.model.regexes.get(&name) != Some(&pattern) {
                    return Err(missing());
                } else {
                    self.model.regexes.remove(&name);
                }
                Ok(about)
            }
            (Command::RegexClass(name), _) => {
                Self::node(&mut self.model.regex_classes, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::RegexClass(name.clone()) };
                Ok(About::RegexClass(name))
            }
            (Command::RegexMember(regex), Scope::RegexClass(class)) => {
                let members = self.model.regex_classes.entry(class.clone()).or_default();
                let about = About::RegexClass(class);
                super::listed(members, regex, negated, about)
            }
            (Command::SipClass(name, any), _) => {
                if !negated && self.model.sip_classes.get(&name).is_some_and(|old| old.any != any) {
                    return Err(Fault::error(format!(
                        "class-map {name} is there with the other of match-all and match-any"
                    ))
                    .word(&name));
                }
                Self::node(&mut self.model.sip_classes, &name, negated)?;
                if let Some(class) = self.model.sip_classes.get_mut(&name) {
                    class.any = any;
                }
                self.scope = if negated { Scope::Top } else { Scope::SipClass(name.clone()) };
                Ok(About::SipClass(name))
            }
            (Command::SipMatch(one), Scope::SipClass(name)) => {
                let class: &mut SipClass = self.model.sip_classes.entry(name.clone()).or_default();
                super::listed(&mut class.matches, one, negated, About::SipClass(name))
            }
            (Command::InspectMap(name), _) => {
                Self::node(&mut self.model.inspect_maps, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::InspectMap(name.clone()) };
                Ok(About::InspectMap(name))
            }
            (Command::InspectParameters, Scope::InspectMap(name) | Scope::InspectRule(name, _)) => {
                if negated {
                    return Err(missing());
                }
                self.scope = Scope::InspectMap(name.clone());
                Ok(About::InspectMap(name))
            }
            (Command::Parameter(parameter), Scope::InspectMap(name)) => {
                let map = self.model.inspect_maps.entry(name.clone()).or_default();
                parameters(&mut map.parameters, parameter, negated)?;
                Ok(About::InspectMap(name))
            }
            (Command::InspectMatch(one), Scope::InspectMap(name) | Scope::InspectRule(name, _)) => {
                self.rule(name, Subject::Match(one), negated)
            }
            (Command::InspectClass(class), Scope::InspectMap(name) | Scope::InspectRule(name, _)) => {
                self.rule(name, Subject::Class(class), negated)
            }
            (Command::InspectAction(action), Scope::InspectRule(name, subject)) => {
                let map = self.model.inspect_maps.get_mut(&name).ok_or_else(misplaced)?;
                let rule = map.rules.iter_mut().find(|rule| rule.subject == subject).ok_or_else(misplaced)?;
                single(&mut rule.action, action, negated, About::InspectRule(name, subject.to_string()))
            }
            _ => Err(misplaced()),
        }
    }

    /// Enters a rule of a map, making it first where it is new; or takes it out.
    fn rule(&mut self, map: String, subject: Subject, negated: bool) -> Done {
        let rules = &mut self.model.inspect_maps.entry(map.clone()).or_default().rules;
        let at = rules.iter().position(|rule| rule.subject == subject);
        let about = About::InspectRule(map.clone(), subject.to_string());
        match (at, negated) {
            (Some(at), true) => {
                rules.remove(at);
                self.scope = Scope::InspectMap(map);
            }
            (None, true) => return Err(missing()),
            (at, false) => {
                if at.is_none() {
                    rules.push(MapRule { subject: subject.clone(), action: None });
                }
                self.scope = Scope::InspectRule(map, subject);
            }
        }
        Ok(about)
    }
}

fn parameters(set: &mut Parameters, parameter: Parameter, negated: bool) -> Result<(), Fault> {
    let slot: (&mut Option<Action>, Action) = match parameter {
        Parameter::MaxForwards(action) => (&mut set.max_forwards, action),
        Parameter::State(action) => (&mut set.state, action),
        Parameter::Headers(action) => (&mut set.headers, action),
        Parameter::Version(action) => (&mut set.version, action),
        Parameter::UriNonSip(action) => (&mut set.uri_non_sip, action),
        Parameter::Im => {
            set.no_im = negated;
            return Ok(());
        }
        Parameter::StripIdentities => {
            set.strip_identities = !negated;
            return Ok(());
        }
        Parameter::Rtp(rtp) => {
            set.rtp = (!negated).then_some(rtp);
            return Ok(());
        }
        // What is no SIP never passes the proxy: the negated form is how things are.
        Parameter::TrafficNonSip if negated => return Ok(()),
        Parameter::TrafficNonSip => {
            return Err(Fault::error("`traffic-non-sip` is not supported: the proxy passes SIP only")
                .help("write `no traffic-non-sip`, or nothing"));
        }
    };
    match negated {
        true if *slot.0 != Some(slot.1) => return Err(missing()),
        true => *slot.0 = None,
        false => *slot.0 = Some(slot.1),
    }
    Ok(())
}
