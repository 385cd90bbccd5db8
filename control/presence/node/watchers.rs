// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who watches a user, and who asks to: what the user's devices are told by `presence.winfo`.
//!
//! A watcher is a user, however many subscriptions he has. One without a decision about him is remembered when his subscription has
//! ended too, so that the user can still decide; a decision ends that. At most [`MAX_ASKED`] are remembered.
//! Devices are told of each change in a partial document, and of everything when they subscribe or refresh.
//!
//! Part of the core.

use std::hash::Hasher as _;

use super::Core;
use crate::aor::Aor;
use crate::presence::policy::Access;
use crate::presence::winfo::{Status, Watcher};
use crate::store::{Package, Write};

/// Users that may wait for one user's decision at once.
const MAX_ASKED: usize = 1_000;

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

    /// Who watches a user, each once.
    pub(super) fn watchers(&self, resource: &Aor) -> Vec<Watcher> {
        let subs = self.by_resource.get(&(Package::Presence, resource.clone())).into_iter().flatten();
        let mut who: Vec<&Aor> = subs.filter_map(|tag| Some(&self.subs.get(tag)?.watcher)).collect();
        who.extend(self.asked.get(resource).into_iter().flat_map(|asked| asked.keys()));
        who.sort_unstable();
        who.dedup();
        let others = who.into_iter().filter(|watcher| *watcher != resource);
        others.filter_map(|watcher| self.watcher(resource, watcher)).collect()
    }

    /// Where one watcher stands; `None` for one that has gone.
    fn watcher(&self, resource: &Aor, watcher: &Aor) -> Option<Watcher> {
        let mut subs = self.by_resource.get(&(Package::Presence, resource.clone())).into_iter().flatten();
        let watches = subs.any(|tag| self.subs.get(tag).is_some_and(|sub| sub.watcher == *watcher));
        let has_asked = self.asked.get(resource).is_some_and(|asked| asked.contains_key(watcher));
        let status = match (watches, self.access_of(resource, watcher)) {
            (true, Access::Pending) => Status::Pending,
            (true, Access::Active | Access::Polite) => Status::Active,
            (false, Access::Pending) if has_asked => Status::Waiting,
            (false, _) => return None,
        };
        Some(Watcher { id: watcher_id(watcher), who: watcher.clone(), status })
    }

    /// Tells the user's own devices of a watcher that has come, gone or been decided on.
    pub(super) fn tell_watched(&mut self, resource: &Aor, package: Package, watcher: &Aor) {
        if package != Package::Presence || resource == watcher {
            return;
        }
        let tags = self.by_resource.get(&(Package::Winfo, resource.clone())).cloned().unwrap_or_default();
        if tags.is_empty() {
            return;
        }
        let gone = || Watcher { id: watcher_id(watcher), who: watcher.clone(), status: Status::Terminated };
        let stands = self.watcher(resource, watcher).unwrap_or_else(gone);
        for tag in tags {
            let Some(sub) = self.subs.get_mut(&tag) else { continue };
            if let Some(changed) = &mut sub.watchers {
                changed.retain(|other| other.id != stands.id);
                changed.push(stands.clone());
                // What is more than a list would be is told as one.
                if changed.len() > MAX_ASKED {
                    sub.watchers = None;
                }
            }
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
