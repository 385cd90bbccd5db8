// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who watches whom, for the one who is watched (RFC 3857, RFC 3858).
//!
//! A watcher is listed as pending while it waits for the user and its subscription lives, as waiting once that has ended without a
//! decision, as active with a decision of either kind; the user knows whom he blocked. One that has left is said once, as terminated.
//! A document is full after a SUBSCRIBE and partial after that; its version goes up by one each time.
//!
//! Pure; called by the core.

use crate::aor::Aor;
use crate::xml;

/// The media type.
pub const TYPE: &str = "application/watcherinfo+xml";

/// Where a watcher stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Waits for the user.
    Pending,
    /// Has been decided on.
    Active,
    /// Has gone without a decision; the user may still make one.
    Waiting,
    /// Has gone.
    Terminated,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Terminated => "terminated",
        }
    }

    /// The value of the `event` attribute: what brought it there.
    fn event(self) -> &'static str {
        match self {
            Self::Pending => "subscribe",
            Self::Active => "approved",
            Self::Waiting | Self::Terminated => "timeout",
        }
    }
}

/// One watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// Names the subscription, the same in every document.
    pub id: String,
    /// Who.
    pub who: Aor,
    /// Where it stands.
    pub status: Status,
}

/// Writes a document about `resource`.
pub fn write(resource: &Aor, version: u32, full: bool, watchers: &[Watcher]) -> String {
    let mut list = String::new();
    for watcher in watchers {
        list.push_str(&format!(
            "<watcher id=\"{}\" status=\"{}\" event=\"{}\">{}</watcher>",
            xml::escape(&watcher.id),
            watcher.status.name(),
            watcher.status.event(),
            xml::escape(&watcher.who.uri())
        ));
    }
    let state = if full { "full" } else { "partial" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" \
         version=\"{version}\" state=\"{state}\"><watcher-list resource=\"{}\" package=\"presence\">{list}</watcher-list>\
         </watcherinfo>\r\n",
        xml::escape(&resource.uri())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    #[test]
    fn the_document_of_a_new_watcher() {
        let bob = Aor::parse("bob@local.example").expect("an address");
        let x = Aor::parse("x&y@foreign.example").expect("an address");
        let watchers = [Watcher { id: "w1".into(), who: x, status: Status::Pending }];
        let root = parse(write(&bob, 3, false, &watchers).as_bytes()).expect("our own");
        assert_eq!(
            (root.name.as_str(), root.ns.as_str()),
            ("watcherinfo", "urn:ietf:params:xml:ns:watcherinfo")
        );
        assert_eq!((root.attribute("version"), root.attribute("state")), (Some("3"), Some("partial")));
        let list = &root.children[0];
        assert_eq!(list.attribute("resource"), Some("sip:bob@local.example"));
        assert_eq!(list.attribute("package"), Some("presence"));
        let watcher = &list.children[0];
        assert_eq!(watcher.text, "sip:x&y@foreign.example");
        let attributes = ["id", "status", "event"].map(|name| watcher.attribute(name));
        assert_eq!(attributes, [Some("w1"), Some("pending"), Some("subscribe")]);
    }
}
