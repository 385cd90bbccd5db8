// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain lists of the tests: plain maps.

use fedgate_sip::partner::{Bounds, Partners, Target};
use fedgate_sip::verdict::{DomainList, Listed, LocalDomains};
use std::collections::HashMap;

/// Foreign domains by canonical name, and what more is said of them.
#[derive(Default)]
pub struct Domains(pub HashMap<String, Listed>, pub Partners);

impl Domains {
    pub fn permit(&mut self, name: &str, id: u32) {
        self.0.insert(name.into(), Listed::Permitted { id, peer: None });
    }
}

impl DomainList for Domains {
    fn lookup(&self, canonical: &str) -> Listed {
        self.0.get(canonical).copied().unwrap_or(Listed::Unlisted)
    }

    fn targets(&self, canonical: &str) -> &[Target] {
        self.1.targets(canonical)
    }

    fn bounds(&self, canonical: &str) -> Bounds {
        self.1.bounds(canonical)
    }
}

/// Our own.
#[derive(Default)]
pub struct Locals(pub Vec<String>);

impl LocalDomains for Locals {
    fn is_local(&self, canonical: &str) -> bool {
        self.0.iter().any(|own| own == canonical)
    }
}
