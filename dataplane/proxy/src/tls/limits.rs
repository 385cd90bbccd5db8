// SPDX-License-Identifier: MIT OR Apache-2.0
//! Name constraints of CAs (RFC 5280 section 4.2.1.10) for the names that PKIX does not hold them to, and RFC 5922 takes all the same.
//!
//! webpki holds dNSNames to the dNSName constraints of the path. It says nothing of a CN, which is taken where there are no
//! subjectAltNames, nor of the host in a `sip:` URI: a CA that may vouch for `partner.example` alone could so make anybody
//! anybody. Here every name that a peer would speak for is held to the dNSName constraints of every CA above it, as OpenSSL does with CNs.
//!
//! Once a path that webpki has found, on a worker's core; intermediates are parsed for it, anchors were when the policy came.

use super::peers::Trust;
use crate::identity::identity;
use webpki::VerifiedPath;
use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::prelude::{FromDer, X509Certificate};

/// For which hosts' names a CA may vouch.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Any, where there is none.
    permitted: Vec<Box<str>>,
    excluded: Vec<Box<str>>,
}

impl Limits {
    /// Those in a certificate; `None` where they cannot be read.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let Some(constraints) = certificate.name_constraints().ok()? else { return Some(Self::default()) };
        let names = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| -> Vec<Box<str>> {
            let name = |subtree: &GeneralSubtree<'_>| match subtree.base {
                GeneralName::DNSName(name) => Some(Box::from(name.to_ascii_lowercase())),
                _ => None,
            };
            subtrees.iter().flatten().filter_map(name).collect()
        };
        let value = constraints.value;
        Some(Self { permitted: names(&value.permitted_subtrees), excluded: names(&value.excluded_subtrees) })
    }

    fn are_none(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// Whether a canonical name is within them.
    fn allow(&self, name: &str) -> bool {
        let in_one = |bases: &[Box<str>]| bases.iter().any(|base| is_within(name, base));
        (self.permitted.is_empty() || in_one(&self.permitted)) && !in_one(&self.excluded)
    }
}

/// A name, or one with labels before it; with a dot in front only the latter, as webpki has it too.
fn is_within(name: &str, base: &str) -> bool {
    let (base, itself) = base.strip_prefix('.').map_or((base, true), |base| (base, false));
    base.is_empty()
        || (itself && name == base)
        || name.strip_suffix(base).is_some_and(|before| before.ends_with('.'))
}

/// Whether all that the leaf of a path speaks for is within the constraints of the CAs above it.
pub(super) fn hold(trust: &Trust, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let bad = webpki::Error::NameConstraintViolation;
    let anchor = trust.roots.roots.iter().position(|anchor| anchor == path.anchor());
    let anchor = anchor.and_then(|at| trust.limits.get(at)).ok_or(bad.clone())?;
    let mut limits = Vec::new();
    for ca in path.intermediate_certificates() {
        let der = ca.der();
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| bad.clone())?;
        limits.push(Limits::of(&parsed).ok_or(bad.clone())?);
    }
    let mut limits = limits.iter().chain([anchor]).filter(|limits| !limits.are_none()).peekable();
    if limits.peek().is_none() {
        return Ok(());
    }
    // A certificate whose names cannot be read gives no identity, later on.
    let Some(names) = identity(&path.end_entity().der()) else { return Ok(()) };
    if limits.all(|limits| names.names().all(|name| limits.allow(name))) { Ok(()) } else { Err(bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_within_by_whole_labels() {
        for (name, base, within) in [
            ("a.example", "a.example", true),
            ("x.a.example", "a.example", true),
            ("xa.example", "a.example", false),
            ("example", "a.example", false),
            ("a.example", ".a.example", false),
            ("x.a.example", ".a.example", true),
            ("b.example", "", true),
        ] {
            assert_eq!(is_within(name, base), within, "{name} {base}");
        }
        let limits = Limits { permitted: vec!["a.example".into()], excluded: vec!["x.a.example".into()] };
        assert!(limits.allow("a.example") && !limits.allow("y.x.a.example") && !limits.allow("b.example"));
        assert!(Limits::default().allow("b.example"));
    }
}
