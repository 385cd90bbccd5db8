// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a store, and keeping it: two nodes on one PostgreSQL, of which one serves and the other takes over.
//!
//! Both have the same name and configuration but for where they listen. The one that has the lease ([`crate::store::Lease`]) serves; the other waits, listens
//! to nobody but its control socket, and reads the store only when the lease is its own. What is taken over is what is stored; connections are not.
//!
//! [`Term`] says until when this node may act, by its own clock. It is renewed by a task; the driver asks it before it does anything, and ends when it is
//! over: whatever was decided since then never leaves the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::{Asked, Clock, NodeError, Storing};
use crate::config::Config;
use crate::node::Reply;
use crate::store::{Lease, Store, StoreError};

/// Renewals in a term.
const RENEWALS: u32 = 4;
/// Between two looks at another's lease, at most.
const LOOK: Duration = Duration::from_millis(500);

/// Until when the node may act, ms by its clock.
#[derive(Clone, Debug)]
pub(super) struct Term(Arc<AtomicU64>);

impl Term {
    /// Of a node whose store is nobody else's.
    pub(super) fn unlimited() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.0.load(Ordering::Relaxed)
    }

    fn from(now: u64, term: Duration) -> Self {
        let it = Self::unlimited();
        it.begins(now, term);
        it
    }

    /// A renewal that was begun at `now` has succeeded.
    fn begins(&self, now: u64, term: Duration) {
        let term = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        self.0.store(now.saturating_add(term), Ordering::Relaxed);
    }
}

/// The store, once it is this node's.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) term: Term,
    keeping: Keeping,
}

impl Kept {
    /// Opens the store, and waits until it is ours; `None` where the node is stopped before. Who asks meanwhile is told.
    pub(super) async fn wait(
        cfg: &Config,
        clock: Clock,
        asked: &mut mpsc::Receiver<Asked>,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Result<Option<Self>, NodeError> {
        let mut store = Store::open(&cfg.store).await?;
        if !store.is_shared() {
            return Ok(Some(Self { store, term: Term::unlimited(), keeping: Keeping(None) }));
        }
        let term = Duration::from_secs(cfg.lease);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let holder = format!("{} {} (process {})", cfg.name, host.trim(), std::process::id());
        let mut lease = Lease::open(&cfg.store, &holder, term).await?;
        let mut before = String::new();
        loop {
            let now = clock.now();
            if let Some(token) = lease.take().await? {
                store.fence(token, term).await?;
                tracing::info!(token, "the store is ours");
                let term_of = Term::from(now, term);
                let (end, ended) = oneshot::channel();
                let task = tokio::spawn(keep(lease, term_of.clone(), term, clock, ended));
                return Ok(Some(Self { store, term: term_of, keeping: Keeping(Some((end, task))) }));
            }
            let holder = lease.holder().await?;
            if holder != before {
                tracing::info!(holder, "the store is another node's: this one waits");
                before = holder;
            }
            tokio::select! {
                () = &mut stop => return Ok(None),
                asked = asked.recv() => if let Some(Asked::Command(_, reply)) = asked {
                    // Who does not wait any more needs no reply.
                    let _ = reply.send(Reply::Refused(format!("this node waits: {before} serves")));
                },
                () = sleep(LOOK.min(term / 8)) => {}
            }
        }
    }

    /// What keeps the lease, without the store, which goes to its task.
    pub(super) fn split(self) -> (Store, Term, Keeping) {
        (self.store, self.term, self.keeping)
    }
}

/// The task that keeps the lease.
pub(super) struct Keeping(Option<(oneshot::Sender<()>, Storing)>);

impl Keeping {
    /// All is stored: the lease is given back.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        let Some((end, task)) = self.0 else { return Ok(()) };
        // It has ended already where the lease was lost.
        let _ = end.send(());
        match task.await {
            Ok(kept) => kept,
            Err(why) => std::panic::resume_unwind(why.into_panic()),
        }
    }
}

async fn keep(
    mut lease: Lease,
    term_of: Term,
    term: Duration,
    clock: Clock,
    mut ended: oneshot::Receiver<()>,
) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            _ = &mut ended => return lease.release().await,
            () = sleep(term / RENEWALS) => {
                let now = clock.now();
                // Whatever hinders it: when the term is over the driver ends.
                lease.renew().await?;
                term_of.begins(now, term);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_counted_from_the_beginning_of_its_renewal() {
        let term = Term::from(1_000, Duration::from_secs(2));
        assert!(!term.is_over(2_999) && term.is_over(3_000));
        term.begins(2_500, Duration::from_secs(2));
        assert!(!term.is_over(3_000) && term.is_over(4_500));
        assert!(!Term::unlimited().is_over(u64::MAX - 1));
    }
}
