// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps the revocation lists of trustpoints fresh: fetches them where `url` lines, or the trustpoint's own certificates, say they are.
//!
//! Done for trustpoints with `revocation-check crl`. What comes is checked by [`crate::trust::crl`], put together with the lists of other
//! issuers that are there, written beside imported certificates and committed as the trustpoint's `crl file`: so the dataplane gets it
//! like any change, with no connection lost, and a control that starts without a network has the last one. Fetched again after
//! `cache-time`, or when nextUpdate comes if that is sooner; after a failure in a minute, then in twice as long, up to an hour. Each
//! request is a thread of its own with a bound on time and size; one at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Daemon;
use crate::clock::now;
use crate::config::model::{Revocation, Trustpoint};
use crate::config::trust::Pem;
use crate::operate::crypto;
use crate::operate::events::escaped;
use crate::trust::store::Store;
use crate::trust::{crl, import};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(5);
/// First pause after a failure, and the shortest after a success.
const MINUTE: Duration = Duration::from_secs(60);
/// Longest pause after a failure; without `cache-time`, after a success.
const HOUR: Duration = Duration::from_secs(3600);

/// What is known of each place, by trustpoint and URL.
#[derive(Default)]
pub struct Fetching {
    places: RefCell<BTreeMap<(String, String), Place>>,
    busy: Mutex<()>,
}

/// One place.
#[derive(Clone, Debug)]
pub struct Place {
    due: Instant,
    failures: u32,
    /// Second of the last try since 1970, and why it failed.
    pub last: Option<(i64, Result<crl::Facts, String>)>,
}

impl Daemon {
    /// Fetches for as long as the daemon lives.
    pub(super) async fn fetch_lists(self: Rc<Self>) {
        loop {
            self.fetch_due().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Those whose time has come, one after the other; those that are no longer wanted are forgotten.
    async fn fetch_due(self: &Rc<Self>) {
        let config = self.config();
        let mut wanted = Vec::new();
        for (name, trustpoint) in &config.model.trustpoints {
            if let Some(pem) = config.material.get(name).filter(|_| trustpoint.revocation != Revocation::None)
            {
                wanted.extend(urls(trustpoint, pem).into_iter().map(|url| (name.clone(), url)));
            }
        }
        let due = {
            let mut places = self.fetching().places.borrow_mut();
            places.retain(|place, _| wanted.contains(place));
            let fresh = || Place { due: Instant::now(), failures: 0, last: None };
            wanted.retain(|place| places.entry(place.clone()).or_insert_with(fresh).due <= Instant::now());
            wanted
        };
        for (name, url) in due {
            if let Err(why) = self.fetch_list(&name, &url).await {
                tracing::warn!(
                    "the revocation list of trustpoint {name} cannot be had from {url}: {}",
                    escaped(&why)
                );
            }
        }
    }

    /// Fetches one list now, and puts it to work.
    ///
    /// # Errors
    /// A sentence.
    async fn fetch_list(self: &Rc<Self>, name: &str, url: &str) -> Result<(), String> {
        let _busy = self.fetching().busy.lock().await;
        let done = self.try_fetch(name, url).await;
        let minutes = self.config().model.trustpoints.get(name).and_then(|t| t.crl_cache);
        let mut places = self.fetching().places.borrow_mut();
        if let Some(place) = places.get_mut(&(name.to_owned(), url.to_owned())) {
            place.failures = if done.is_ok() { 0 } else { place.failures + 1 };
            place.due = Instant::now() + pause(&done, place.failures, minutes, now());
            place.last = Some((now(), done.clone()));
        }
        done.map(|_| ())
    }

    async fn try_fetch(self: &Rc<Self>, name: &str, url: &str) -> Result<crl::Facts, String> {
        let asked = url.to_owned();
        let fetched = tokio::task::spawn_blocking(move || crl::fetch(&asked)).await;
        let bytes = fetched.map_err(|why| why.to_string())??;
        let config = self.config();
        let pem = config.material.get(name).ok_or("the trustpoint is gone")?;
        let cas = import::certificates(&String::from_utf8_lossy(&pem.cas))?;
        let (der, facts) = crl::checked(&bytes, &cas)?;
        if let Some(lists) = crl::merged(&pem.crls, &der) {
            let store = Store::of(&self.paths.state);
            let text = String::from_utf8_lossy(&lists);
            let path = store.put(name, "crl", &text)?;
            crypto::take_lists(self, &store, name, &path).await?;
        }
        Ok(facts)
    }

    /// `crypto ca crl request`: every list of a trustpoint, now. `false` where no place is known.
    ///
    /// # Errors
    /// Why not; what could be fetched has been put to work.
    pub async fn request_lists(self: &Rc<Self>, name: &str) -> Result<bool, String> {
        let config = self.config();
        let trustpoint = config.model.trustpoints.get(name);
        let places =
            trustpoint.zip(config.material.get(name)).map(|(t, pem)| urls(t, pem)).unwrap_or_default();
        let mut failed = Vec::new();
        for url in &places {
            if let Err(why) = self.fetch_list(name, url).await {
                failed.push(format!("{url}: {why}"));
            }
        }
        if failed.is_empty() { Ok(!places.is_empty()) } else { Err(failed.join("; ")) }
    }

    /// The places of a trustpoint that were tried.
    pub fn places(&self, name: &str) -> Vec<(String, Place)> {
        let places = self.fetching().places.borrow();
        let of = places.iter().filter(|((trustpoint, _), _)| trustpoint == name);
        of.map(|((_, url), place)| (url.clone(), place.clone())).collect()
    }
}

/// Where a trustpoint's lists are: its `url` lines, else what its certificates say.
fn urls(trustpoint: &Trustpoint, pem: &Pem) -> Vec<String> {
    if !trustpoint.crl_urls.is_empty() {
        return trustpoint.crl_urls.values().cloned().collect();
    }
    let text = [pem.chain.as_slice(), &pem.cas].concat();
    let certificates = import::certificates(&String::from_utf8_lossy(&text)).unwrap_or_default();
    crl::points(&certificates)
}

/// How long to wait for the next.
fn pause(done: &Result<crl::Facts, String>, failures: u32, minutes: Option<u32>, now: i64) -> Duration {
    match done {
        Err(_) => HOUR.min(MINUTE * 2_u32.saturating_pow(failures.saturating_sub(1))),
        Ok(facts) => {
            let kept = minutes.map_or(HOUR, |minutes| MINUTE * minutes);
            let left =
                facts.next_update.map(|end| Duration::from_secs(end.saturating_sub(now).max(0) as u64));
            left.map_or(kept, |left| kept.min(left)).max(MINUTE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses() {
        let list = |next_update| {
            Ok(crl::Facts { issuer: String::new(), this_update: 0, next_update, revoked: 0, size: 0 })
        };
        let failed = Err("no route".to_owned());
        let seconds: Vec<u64> = (1..9).map(|n| pause(&failed, n, None, 0).as_secs()).collect();
        assert_eq!(seconds, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause(&failed, u32::MAX, None, 0), HOUR);
        assert_eq!(pause(&list(None), 0, None, 0), HOUR);
        assert_eq!(pause(&list(None), 0, Some(10), 0), MINUTE * 10);
        assert_eq!(pause(&list(Some(1300)), 0, None, 1000), Duration::from_secs(300));
        assert_eq!(pause(&list(Some(900)), 0, None, 1000), MINUTE, "one that should have been renewed");
    }
}
