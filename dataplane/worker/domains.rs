// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared domain table as a policy image holds it, with what the policy says of single domains beyond it.
//!
//! Without a table (control has not sent one yet) nobody is permitted. Worker cores, once a SIP request.

use fedgate_proxy::Federated;
use fedgate_sip::partner::{Bounds, Partners, PartnersSpec, Target};
use fedgate_sip::verdict::{DomainList, Listed};
use fedgate_tables::domains::DomainReader;
use fedgate_tables::policy_view::PolicyView;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Federation {
    /// Who may federate.
    pub table: Option<Arc<DomainReader>>,
    /// Where edges are, and how much they may send.
    pub partners: Arc<Partners>,
}

impl Federation {
    /// What a policy says of single domains. Housekeeping thread, once a policy.
    ///
    /// # Errors
    /// It cannot be read: a sentence.
    pub fn partners(policy: &PolicyView<'_>) -> Result<Partners, String> {
        let text = policy.str(policy.globals().partners);
        if text.is_empty() {
            return Ok(Partners::default());
        }
        let spec = serde_json::from_str::<PartnersSpec>(text).map_err(|why| format!("federation: {why}"))?;
        Ok(Partners::new(spec))
    }
}

impl DomainList for Federation {
    fn lookup(&self, canonical: &str) -> Listed {
        self.table.as_deref().map_or(Listed::Unlisted, |table| Federated(table).lookup(canonical))
    }

    fn targets(&self, canonical: &str) -> &[Target] {
        self.partners.targets(canonical)
    }

    fn bounds(&self, canonical: &str) -> Bounds {
        self.partners.bounds(canonical)
    }
}
