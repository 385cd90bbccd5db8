// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may watch a user: the order of decisions of the design.
//!
//! The node's list of permitted domains has been asked before (403, and the user never hears of it). Then the user's own decisions:
//! a blocked user, a blocked domain, an allowed user, an allowed domain; with none of them the watcher waits for the user (pending).
//! So a block is never undone by an allowance, and of two blocks it does not matter which is found. Users of the node's own domains are
//! held to the same.
//!
//! Bounded by [`MAX_DECISIONS`] a user. Pure; owned by the core.

use std::collections::HashMap;

use crate::aor::Aor;

/// Decisions a user may keep.
pub const MAX_DECISIONS: usize = 10_000;

/// Whom a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One user.
    User(Aor),
    /// All users of exactly this domain, canonical.
    Domain(Box<str>),
}

impl Subject {
    /// `user` or `domain`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Domain(_) => "domain",
        }
    }

    /// The address or domain.
    pub fn who(&self) -> &str {
        match self {
            Self::User(aor) => aor.as_str(),
            Self::Domain(domain) => domain,
        }
    }

    /// Whether it is about this watcher.
    pub fn covers(&self, watcher: &Aor) -> bool {
        match self {
            Self::User(aor) => aor == watcher,
            Self::Domain(domain) => **domain == *watcher.domain(),
        }
    }
}

/// What a user decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May watch.
    Allow,
    /// Sees the user offline.
    Block,
}

impl Verdict {
    /// As it is stored and typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
        }
    }

    /// The verdict of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Allow, Self::Block].into_iter().find(|verdict| verdict.name() == name)
    }
}

/// What it comes to for one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Sees the user's state.
    Active,
    /// Sees the user offline, and cannot tell (polite blocking, RFC 5025).
    Polite,
    /// Waits for the user.
    Pending,
}

/// One user's decisions.
#[derive(Debug, Default)]
pub struct Policy(HashMap<Subject, Verdict>);

impl Policy {
    /// What this watcher gets.
    pub fn access(&self, watcher: &Aor) -> Access {
        let user = self.0.get(&Subject::User(watcher.clone()));
        let domain = self.0.get(&Subject::Domain(watcher.domain().into()));
        match (user, domain) {
            (Some(Verdict::Block), _) | (_, Some(Verdict::Block)) => Access::Polite,
            (Some(Verdict::Allow), _) | (_, Some(Verdict::Allow)) => Access::Active,
            (None, None) => Access::Pending,
        }
    }

    /// Takes a decision, or takes it back. `Err` where there is no room for one more.
    pub fn decide(&mut self, subject: Subject, verdict: Option<Verdict>) -> Result<(), ()> {
        match verdict {
            Some(verdict) => {
                if self.0.len() >= MAX_DECISIONS && !self.0.contains_key(&subject) {
                    return Err(());
                }
                self.0.insert(subject, verdict);
            }
            None => {
                self.0.remove(&subject);
            }
        }
        Ok(())
    }

    /// All decisions, in order.
    pub fn decisions(&self) -> Vec<(&Subject, Verdict)> {
        let mut all: Vec<_> = self.0.iter().map(|(subject, verdict)| (subject, *verdict)).collect();
        all.sort_unstable_by_key(|(subject, _)| *subject);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination, against the design's list read as a list.
    #[test]
    fn the_order_of_decisions() {
        let x = Aor::parse("x@foreign.example").expect("an address");
        let all = [None, Some(Verdict::Allow), Some(Verdict::Block)];
        for user in all {
            for domain in all {
                let mut policy = Policy::default();
                policy.decide(Subject::User(x.clone()), user).expect("room");
                policy.decide(Subject::Domain(x.domain().into()), domain).expect("room");
                let oracle = [
                    (user == Some(Verdict::Block), Access::Polite),
                    (domain == Some(Verdict::Block), Access::Polite),
                    (user == Some(Verdict::Allow), Access::Active),
                    (domain == Some(Verdict::Allow), Access::Active),
                    (true, Access::Pending),
                ];
                let first = oracle.into_iter().find(|(holds, _)| *holds).map(|(_, access)| access);
                assert_eq!(Some(policy.access(&x)), first, "{user:?} {domain:?}");
            }
        }
    }

    #[test]
    fn a_domain_is_not_its_subdomains() {
        let mut policy = Policy::default();
        policy.decide(Subject::Domain("foreign.example".into()), Some(Verdict::Allow)).expect("room");
        let y = Aor::parse("y@sub.foreign.example").expect("an address");
        assert_eq!(policy.access(&y), Access::Pending);
    }
}
