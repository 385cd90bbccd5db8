// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared domain table as a policy image holds it.
//!
//! Without a table (control has not sent one yet) nobody is permitted. Worker cores, once a SIP request.

use fedgate_proxy::Federated;
use fedgate_sip::verdict::{DomainList, Listed};
use fedgate_tables::domains::DomainReader;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Federation(pub Option<Arc<DomainReader>>);

impl DomainList for Federation {
    fn lookup(&self, canonical: &str) -> Listed {
        self.0.as_deref().map_or(Listed::Unlisted, |table| Federated(table).lookup(canonical))
    }
}
