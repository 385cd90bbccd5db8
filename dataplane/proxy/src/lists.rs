// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared tables in the form in which the verdict asks them.
//!
//! fedgate-sip asks through traits and knows no tables; the tables know no SIP. [`Federated`] is the domain table
//! as a worker has it attached; [`OwnDomains`] is made from a policy when it is taken into use. Both are only
//! read on the packet path, without allocation.

use fedgate_sip::domain::Domain;
use fedgate_sip::verdict::{self, DomainList, LocalDomains};
use fedgate_tables::domains::{DomainReader, Listed};
use fedgate_tables::policy_view::PolicyView;
use fedgate_tables::words::Words;

/// The federated domains: the shared domain table.
#[derive(Clone, Copy, Debug)]
pub struct Federated<'a, W>(pub &'a DomainReader<W>);

impl<W: Words> DomainList for Federated<'_, W> {
    fn lookup(&self, canonical: &str) -> verdict::Listed {
        match self.0.lookup(canonical.as_bytes()) {
            Listed::Permitted { id, peer: None } => verdict::Listed::Permitted { id, peer: None },
            Listed::Permitted { id, peer: Some(peer) } => match Domain::canonical(peer.as_bytes()) {
                Ok(peer) => verdict::Listed::Permitted { id, peer: Some(peer) },
                // Control writes canonical names only. What is none must not widen the entry: shut.
                Err(_) => verdict::Listed::Blocked { id },
            },
            Listed::Blocked { id } => verdict::Listed::Blocked { id },
            Listed::Unlisted => verdict::Listed::Unlisted,
        }
    }
}

/// Our own domains, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnDomains(Box<[Box<str>]>);

impl OwnDomains {
    /// Those of a policy; control wrote them in canonical form.
    pub fn of(policy: &PolicyView<'_>) -> Self {
        policy.local_domains().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

impl FromIterator<String> for OwnDomains {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }
}

impl LocalDomains for OwnDomains {
    fn is_local(&self, canonical: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(canonical)).is_ok()
    }
}

#[cfg(test)]
mod tests;
