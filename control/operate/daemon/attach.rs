// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meeting a dataplane: what it runs by is found out, the configuration of the control before taken over, both brought in line.
//!
//! Until that has come to an end no command changes anything, so that none of them says it did what it did not. There are three ends, [`Standing`]. Whatever else goes wrong ends the session, and the next try begins anew after a
//! pause that grows. Two of the ends are mended over the session itself, again with growing pauses: a dataplane that refused the
//! policy is given it again (the device it wanted may be back), a kept running-config that did not load is
//! read again (so may the PEM file it names).

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fedgate_tables::counters::CountersReader;
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::region::Region;
use tokio::task::JoinHandle;

use super::{Daemon, log_report};
use crate::config::model::Domains;
use crate::config::{Config, load_file};
use crate::operate::capture::Captures;
use crate::operate::session::{PushError, Session};
use crate::operate::table::{Change, Table};
use crate::policy::slots::Slots;

/// How far the dataplane runs by what the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    InForce,
    /// It refused the policy and goes on by the one it had, if any; the domain table is in force.
    Refused(String),
    /// It goes on by a configuration that this control could not read. Nothing of it may be changed but the whole.
    Held(String),
}

/// A dataplane that is there.
pub struct Attached {
    /// To ask it.
    pub session: Rc<Session>,
    /// Its counters, which need no asking.
    pub counters: CountersReader,
    /// The policy it had at the greeting.
    live: Option<Checked>,
    /// The domain table it had at the greeting, until it is taken over.
    domains: RefCell<Option<OwnedFd>>,
    /// It has the table that this daemon writes.
    has_table: Cell<bool>,
    standing: RefCell<Standing>,
}

impl Attached {
    /// Makes sense of what came with the greeting.
    fn greeted(session: Rc<Session>, fds: Vec<OwnedFd>) -> Result<Self, String> {
        let greeting = &session.greeting;
        let mut fds = fds.into_iter();
        // The link refused any other number of descriptors than the greeting promises.
        let counters = fds.next().ok_or("no counters came with the greeting")?;
        let domains = if greeting.domains_generation != 0 { fds.next() } else { None };
        let policy = if greeting.policy_generation != 0 { fds.next() } else { None };
        let counters = Region::map_rw(counters).map_err(|why| format!("counters: {why}"))?;
        let counters = CountersReader::attach(counters).map_err(|why| format!("counters: {why}"))?;
        let live = policy.and_then(|fd| {
            let region = Region::map_ro(fd).map_err(|why| why.to_string());
            let checked = region.and_then(|region| Checked::new(region).map_err(|why| why.to_string()));
            checked.inspect_err(|why| tracing::warn!("cannot read the policy in force: {why}")).ok()
        });
        let (domains, standing) = (RefCell::new(domains), RefCell::new(Standing::InForce));
        Ok(Self { session, counters, live, domains, has_table: Cell::new(false), standing })
    }

    /// How far it runs by the configuration.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Notes how far it now does, and logs what is new of it.
    pub(super) fn stands(&self, now: Standing) {
        let before = self.standing.replace(now.clone());
        match now {
            _ if before == now => {}
            Standing::InForce => tracing::info!("the configuration is in force"),
            Standing::Refused(why) | Standing::Held(why) => {
                tracing::error!("the configuration is not in force: {why}");
            }
        }
    }
}

/// A connection, from its greeting to its end.
pub(super) struct Link {
    reader: JoinHandle<()>,
    attached: Option<Rc<Attached>>,
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Most between two attempts to connect.
const RETRY_MOST: Duration = Duration::from_secs(2);
/// Most between two attempts over one connection, each of which makes the dataplane open ports and build TLS configurations.
const AGAIN_MOST: Duration = Duration::from_secs(30);

impl Daemon {
    /// What is captured.
    pub fn captures(&self) -> &Captures {
        &self.captures
    }

    /// Waits for the connection's end and makes the next, for ever.
    pub(super) async fn keep_connected(self: Rc<Self>, mut link: Option<Link>) {
        let mut pause = RETRY_FIRST;
        loop {
            if let Some(link) = link.take() {
                if link.attached.is_some() {
                    pause = RETRY_FIRST;
                }
                self.tend(link).await;
                self.attached.replace(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
            match Session::open(&self.paths.dataplane).await {
                Ok((session, fds)) => link = Some(self.connected(session, fds).await),
                Err(why) => {
                    self.failing.replace(None);
                    tracing::debug!("no dataplane: {why}");
                }
            }
        }
    }

    /// Until the connection ends, tries again what attaching left undone.
    async fn tend(&self, Link { mut reader, attached }: Link) {
        let mut pause = RETRY_FIRST;
        while let Some(attached) = attached.as_ref().filter(|a| a.standing() != Standing::InForce) {
            tokio::select! {
                _ = &mut reader => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(AGAIN_MOST);
            let _change = self.change.lock().await;
            // A commit may have come first.
            if attached.standing() != Standing::InForce {
                match self.bring_in_line(attached).await {
                    Ok(standing) => attached.stands(standing),
                    Err(why) => {
                        tracing::error!("the configuration is not in force: {why}; connecting anew");
                        self.failing.replace(Some(why));
                        attached.session.end();
                        break;
                    }
                }
            }
        }
        // It only ends with the connection; a panic in it would end the process.
        let _ = reader.await;
    }

    /// Begins to read from a new connection and enforces the configuration over it.
    pub(super) async fn connected(self: &Rc<Self>, session: Rc<Session>, fds: Vec<OwnedFd>) -> Link {
        let (daemon, reading) = (self.clone(), session.clone());
        let reader = tokio::task::spawn_local(async move {
            let why = reading
                .serve(|event| daemon.log.log(event, &*daemon), |events| daemon.log.lost(events))
                .await;
            tracing::warn!("connection to the dataplane ended: {why}; it goes on by its last policy");
        });
        let attached = match self.attach(session.clone(), fds).await {
            Ok(attached) => {
                self.failing.replace(None);
                tracing::info!(
                    pid = session.greeting.pid,
                    workers = session.greeting.workers,
                    generation = self.generation.get(),
                    "attached to the dataplane"
                );
                Some(attached)
            }
            Err(why) => {
                tracing::error!("cannot attach to the dataplane: {why}");
                self.failing.replace(Some(why));
                session.end();
                None
            }
        };
        Link { reader, attached }
    }

    async fn attach(&self, session: Rc<Session>, fds: Vec<OwnedFd>) -> Result<Rc<Attached>, String> {
        let _change = self.change.lock().await;
        let attached = Rc::new(Attached::greeted(session, fds)?);
        let theirs = attached.session.greeting.policy_generation;
        self.generation.set(self.generation.get().max(theirs));
        self.slots
            .replace(attached.live.as_ref().map(|live| Slots::recover(&live.view())).unwrap_or_default());
        if let Some(live) = &attached.live {
            self.learn_names(live);
        }
        let standing = self.bring_in_line(&attached).await?;
        attached.stands(standing);
        self.attached.replace(Some(attached.clone()));
        Ok(attached)
    }

    /// Makes the dataplane run by the configuration, or says why it does not. An error leaves the two in doubt of each other.
    async fn bring_in_line(&self, attached: &Attached) -> Result<Standing, String> {
        if !self.settled.get()
            && let Err(why) = self.take_over(attached.session.greeting.policy_generation != 0).await
        {
            return Ok(Standing::Held(why));
        }
        let config = self.config();
        self.attach_table(attached, &config.model.domains).await?;
        if !attached.live.as_ref().is_some_and(|live| self.is_in_force(live, &config, attached)) {
            match self.push_policy(attached, &config).await {
                Ok(compiled) => drop(self.slots.replace(compiled.slots)),
                Err(why @ PushError::Refused(_)) => return Ok(Standing::Refused(why.to_string())),
                Err(why @ PushError::Silent) => return Err(why.to_string()),
            }
        }
        // It is in force all the same; the next commit will be refused for it, with the reason.
        if let Err(why) = self.keep(&config, None).await {
            tracing::error!("{why}: another control would not find the configuration in force");
        }
        Ok(Standing::InForce)
    }

    /// Chooses between the running-config of the control before and the startup-config, now that it is known whether the dataplane
    /// runs by the former.
    async fn take_over(&self, live: bool) -> Result<(), String> {
        if live {
            return self.take_kept().map_err(|report| self.unread(&self.paths.running(), &report));
        }
        if self.blank.get() {
            match load_file(&self.paths.startup) {
                Ok(loaded) => {
                    log_report(&loaded.report);
                    self.begin(loaded.config);
                }
                Err(report) => return Err(self.unread(&self.paths.startup, &report)),
            }
        }
        self.begin_history(&self.config()).await;
        self.settled.set(true);
        Ok(())
    }

    /// Not even a configuration that did load may be taken for what is in force.
    fn unread(&self, path: &std::path::Path, report: &crate::config::diag::Report) -> String {
        self.goes_by(Arc::default());
        self.blank.set(true);
        self.paths.unread(path, report)
    }

    /// Whether `live` is what `config` compiles to.
    fn is_in_force(&self, live: &Checked, config: &Config, attached: &Attached) -> bool {
        let generation = live.view().generation();
        let again = self.compiled(config, generation, &self.slots.borrow(), &attached.counters);
        let bytes = live.region().map(Region::bytes);
        again.is_ok_and(|again| bytes == Some(&again.segment[..]))
    }

    /// Takes over the dataplane's domain table, or gives it one, and makes it what the lists say.
    pub(super) async fn attach_table(&self, attached: &Attached, domains: &Domains) -> Result<(), String> {
        let adopted = attached.domains.take().and_then(|fd| {
            let region = Region::map_rw(fd).map_err(|why| why.to_string());
            let writer = region.and_then(|region| DomainWriter::adopt(region).map_err(|why| why.to_string()));
            writer
                .inspect_err(|why| tracing::warn!("cannot adopt the domain table: {why}; making a new one"))
                .ok()
        });
        let theirs = adopted.is_some() || attached.has_table.get();
        let mut table = match (adopted, self.table.take()) {
            (Some(writer), _) => Table::adopted(writer),
            (None, Some(table)) => table,
            (None, None) => Table::create(domains).map_err(|why| why.to_string())?,
        };
        let synced = table.sync(domains).map_err(|why| why.to_string());
        self.table.replace(Some(table));
        let change = if theirs { synced? } else { synced.map(|_: Change| Change::Grown)? };
        self.push_table(attached, change).await.map_err(|why| why.to_string())?;
        attached.has_table.set(true);
        Ok(())
    }
}
