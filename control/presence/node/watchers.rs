// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who watches a user, and who asks to: what the user's devices are told by `presence.winfo`.
//!
//! A watcher is a user, however many subscriptions he has. One without a decision about him is remembered when his subscription has
//! ended too, so that the user can still decide; a decision ends that. At most [`MAX_ASKED`] are remembered.
//! Devices are told of each change in a partial document, and of everything when they subscribe or refresh; of more than [`MAX_LISTED`]
//! those are left out who have been decided on.
//!
//! Part of the core.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hasher as _;

use super::Core;
use crate::aor::Aor;
use crate::ids::Tag;
use crate::presence::policy::Access;
use crate::presence::winfo::{Status, Watcher};
use crate::store::{Package, Write};

/// Users that may wait for one user's decision at once.
const MAX_ASKED: usize = 1_000;
/// Watchers in one document.
const MAX_LISTED: usize = 2_000;

impl Core {
    /// Somebody without a decision about him watches.
    pub(super) fn ask(&mut self, resource: &Aor, watcher: &Aor) {
        let now = self.now;
        let asked = self.asked.entry(resource.clone()).or_default();
        if asked.contains_key(watcher) {
            return;
        }
        if asked.len() >= MAX_ASKED {
            return self.count("asked_full");
        }
        asked.insert(watcher.clone(), now);
        self.write(Write::Asked(resource.clone(), watcher.clone(), Some(now)));
    }

    /// Who watches a user, each once; those first who wait for a decision, and no more than [`MAX_LISTED`].
    pub(super) fn watchers(&self, resource: &Aor) -> Vec<Watcher> {
        let present = self.watching(Package::Presence, resource).map(|(watcher, _)| watcher);
        let asked = self.asked.get(resource).into_iter().flat_map(|asked| asked.keys());
        let who: BTreeSet<&Aor> = present.chain(asked).collect();
        let others = who.into_iter().filter(|watcher| *watcher != resource);
        let mut all: Vec<Watcher> = others.filter_map(|watcher| self.watcher(resource, watcher)).collect();
        all.sort_by_key(|watcher| watcher.status == Status::Active);
        all.truncate(MAX_LISTED);
        all
    }

    /// Where one watcher stands; `None` for one that has gone.
    pub(super) fn watcher(&self, resource: &Aor, watcher: &Aor) -> Option<Watcher> {
        let watches = self.watching_as(resource, watcher).next().is_some();
        let has_asked = self.asked.get(resource).is_some_and(|asked| asked.contains_key(watcher));
        let status = match (watches, self.access_of(resource, watcher)) {
            (true, Access::Pending) => Status::Pending,
            (true, Access::Active | Access::Polite) => Status::Active,
            (false, Access::Pending) if has_asked => Status::Waiting,
            (false, _) => return None,
        };
        Some(Watcher { id: watcher_id(watcher), who: watcher.clone(), status })
    }

    /// Tells the user's own devices and clients of watchers that have come, gone or been decided on.
    pub(super) fn tell_watched(&mut self, resource: &Aor, package: Package, watchers: &[Aor]) {
        if package != Package::Presence {
            return;
        }
        self.tell_watchers(resource, watchers);
        let tags: Vec<Tag> = self.watching(Package::Winfo, resource).map(|(_, tag)| *tag).collect();
        if tags.is_empty() {
            return;
        }
        let stands = |watcher: &Aor| {
            let gone =
                || Watcher { id: watcher_id(watcher), who: watcher.clone(), status: Status::Terminated };
            self.watcher(resource, watcher).unwrap_or_else(gone)
        };
        let news: Vec<Watcher> = watchers.iter().filter(|watcher| *watcher != resource).map(stands).collect();
        if news.is_empty() {
            return;
        }
        for tag in tags {
            let Some(sub) = self.subs.get_mut(&tag) else { continue };
            // What is more than a list would be is told as one.
            let before = sub.watchers.take().filter(|before| before.len() + news.len() <= MAX_LISTED);
            sub.watchers = before.map(|mut changed| {
                let again: HashSet<&str> = news.iter().map(|watcher| watcher.id.as_str()).collect();
                changed.retain(|other| !again.contains(other.id.as_str()));
                changed.extend(news.iter().cloned());
                changed
            });
            self.changed(tag, false);
        }
    }
}

/// The same for the same watcher in every document, over restarts as well.
fn watcher_id(watcher: &Aor) -> String {
    let mut hasher = siphasher::sip::SipHasher24::new();
    hasher.write(watcher.as_str().as_bytes());
    format!("w{:016x}", hasher.finish())
}
