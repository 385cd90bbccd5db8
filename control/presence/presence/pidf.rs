// SPDX-License-Identifier: MIT OR Apache-2.0
//! Presence documents (PIDF, RFC 3863), read and written so that both OCS and the standard's clients understand.
//!
//! Written: one tuple with the basic status and, in the namespace of before RPID became an RFC, the one activity OCS reads
//! (`ep:activity` with `busy` or `away`), and beside it the same as RFC 4479/4480 have it (`dm:person`, `rpid:activities`). The
//! document of an offline user, and the one a blocked watcher gets, are the same octets: it has neither times nor notes.
//!
//! Read: either form, by namespace and local name. Any open tuple makes the user reachable. A document about somebody else, and one
//! that demands to be understood where it is not (mustUnderstand), are refused; one that says nothing (`basic` is missing) changes nothing.
//!
//! Pure; called by the core.

use super::state::{Presence, Reach};
use crate::aor::Aor;
use crate::xml::{self, Element, XmlError};

/// The media type.
pub const TYPE: &str = "application/pidf+xml";

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
/// RPID's namespace, and that of OCS and other implementations of its drafts.
const RPID: [&str; 3] = [
    "urn:ietf:params:xml:ns:pidf:rpid",
    "urn:ietf:params:xml:ns:pidf:status:rpid-status",
    "urn:ietf:params:xml:ns:pidf:status:rpid",
];
/// Longest note kept, characters.
const MAX_NOTE: usize = 256;

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PidfError {
    /// No XML that is taken.
    #[error("{0}")]
    Xml(#[from] XmlError),
    /// The root is not `presence`.
    #[error("not a presence document")]
    NotPidf,
    /// Its entity is not the user it should be about.
    #[error("a document about somebody else")]
    Entity,
    /// An extension that must be understood and is not.
    #[error("an extension that must be understood")]
    MustUnderstand,
}

/// Reads a document about `user`. `None`: it says nothing about reachability.
pub fn read(body: &[u8], user: &Aor) -> Result<Option<Presence>, PidfError> {
    let root = xml::parse(body)?;
    if root.ns != PIDF || root.name != "presence" {
        return Err(PidfError::NotPidf);
    }
    // Some write the entity without a scheme.
    if root.attribute("entity").and_then(Aor::parse).as_ref() != Some(user) {
        return Err(PidfError::Entity);
    }
    let all = root.descendants();
    let demands = |element: &&Element| {
        element.attributes.iter().any(|(key, value)| {
            key.rsplit(':').next() == Some("mustUnderstand") && matches!(value.trim(), "1" | "true")
        })
    };
    if all.iter().any(|element| element.ns != PIDF && demands(element)) {
        return Err(PidfError::MustUnderstand);
    }
    let basics = root
        .children
        .iter()
        .filter(|tuple| is(tuple, "tuple"))
        .flat_map(|tuple| tuple.children.iter().filter(|status| is(status, "status")))
        .flat_map(|status| status.children.iter().filter(|basic| is(basic, "basic")));
    let mut open = None;
    for basic in basics {
        open = match basic.text.trim() {
            "open" => Some(true),
            "closed" => Some(open.unwrap_or(false)),
            _ => open,
        };
    }
    let reach = match open {
        None => return Ok(None),
        Some(false) => return Ok(Some(Presence::OFFLINE)),
        Some(true) => all
            .iter()
            .filter(|element| element.name == "activities" && RPID.contains(&element.ns.as_str()))
            .flat_map(|activities| &activities.children)
            .filter_map(activity)
            .max()
            .unwrap_or(Reach::Available),
    };
    Ok(Some(Presence { reach, note: note(&all) }))
}

fn is(element: &Element, name: &str) -> bool {
    element.ns == PIDF && element.name == name
}

/// What an activity says about reachability; most say nothing.
fn activity(element: &Element) -> Option<Reach> {
    let word = match element.name.as_str() {
        "activity" => element.text.trim(),
        name => name,
    };
    match word.to_ascii_lowercase().as_str() {
        "dnd" | "do-not-disturb" => Some(Reach::DoNotDisturb),
        "busy" | "on-the-phone" | "meeting" | "appointment" | "presentation" | "performance" => {
            Some(Reach::Busy)
        }
        "away" | "breakfast" | "dinner" | "holiday" | "meal" | "permanent-absence" | "sleeping"
        | "vacation" => Some(Reach::Away),
        _ => None,
    }
}

/// The first note about the user: of the document, a tuple or the person.
fn note(all: &[&Element]) -> Option<std::sync::Arc<str>> {
    let known = |element: &&&Element| element.name == "note" && element.ns.starts_with(PIDF);
    let text = all.iter().find(known)?.text.trim();
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_NOTE).collect();
    (!text.is_empty()).then(|| text.into())
}

/// Writes the document about `user`, shown as `name` where there is one.
pub fn write(user: &Aor, name: Option<&str>, presence: &Presence) -> String {
    let (basic, word) = match presence.reach {
        Reach::Available => ("open", None),
        Reach::Away => ("open", Some("away")),
        Reach::Busy | Reach::DoNotDisturb => ("open", Some("busy")),
        Reach::Unavailable => ("closed", None),
    };
    let old = word.map_or(String::new(), |word| {
        format!("<ep:activities><ep:activity>{word}</ep:activity></ep:activities>")
    });
    let person = word.map_or(String::new(), |word| {
        format!("<dm:person id=\"p1\"><rpid:activities><rpid:{word}/></rpid:activities></dm:person>")
    });
    let note = presence.note.as_deref().filter(|_| presence.reach != Reach::Unavailable);
    let note = note.map_or(String::new(), |note| format!("<note>{}</note>", xml::escape(note)));
    let name = name
        .map_or(String::new(), |name| format!("<ci:display-name>{}</ci:display-name>", xml::escape(name)));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" \
         xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"{}\">\
         <tuple id=\"0\"><status><basic>{basic}</basic>{old}</status></tuple>{note}{person}{name}</presence>\r\n",
        xml::escape(&user.uri())
    )
}

#[cfg(test)]
mod tests;
