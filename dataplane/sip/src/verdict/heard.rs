// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who hears what the checks say, one by one: nobody when a message is there, `packet-tracer sip` when one is only thought of.
//!
//! The verdict is generic over it, so that the workers' own code, which gives `()`, has no trace of it, and what an operator is told is
//! what that very code decides. The last check heard of is the one that decided.

use super::{Denial, Listed};
use crate::domain::Domain;

/// A check on a request, with what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whose domain From names.
    Sender {
        /// It; `None` where there is none.
        domain: Option<Domain>,
        /// It is one of ours.
        ours: bool,
    },
    /// What the list of foreign domains says.
    List {
        /// Of which.
        domain: Option<Domain>,
        /// It.
        listed: Listed,
    },
    /// Whether the peer's certificate vouches for the domain.
    Certificate {
        /// For which.
        domain: Domain,
        /// The host that has to be in it instead.
        host: Option<Domain>,
    },
    /// Whether the method crosses inwards.
    Method,
    /// Whether every proxy here knows what Proxy-Require asks for.
    Extension,
    /// Whether identities in other headers are of From's domain.
    Identity,
    /// Whether it is addressed to us: To and the Request-URI.
    Addressee,
    /// Whether its Routes lead to us.
    Route,
}

/// Hears of each check.
pub trait Ear {
    /// `step` has been decided.
    fn hear(&mut self, step: impl FnOnce() -> Step, said: Result<(), Denial>);
}

/// Hears nothing.
impl Ear for () {
    #[inline(always)]
    fn hear(&mut self, _step: impl FnOnce() -> Step, _said: Result<(), Denial>) {}
}

impl Ear for Vec<(Step, Result<(), Denial>)> {
    fn hear(&mut self, step: impl FnOnce() -> Step, said: Result<(), Denial>) {
        self.push((step(), said));
    }
}

/// Tells of a check, and goes on by it.
#[inline(always)]
pub(super) fn heard(
    ear: &mut impl Ear,
    step: impl FnOnce() -> Step,
    said: Result<(), Denial>,
) -> Result<(), Denial> {
    ear.hear(step, said);
    said
}
