// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's state and the three ways in which it changes: attaching to a dataplane, a commit, a domain command.
//!
//! There is one thread; `change` is held through each of the three, so that they come one after the other although each waits for
//! the dataplane in between. `show` commands need no lock: they read a snapshot (`Rc<Config>`) and shared memory.
//!
//! A commit is whole or nothing. The order is: compile, push, wait until every worker uses it, bring the domain table in line, write the
//! running-config, and only then call it the configuration. Whatever fails on the way is undone by enforcing the
//! old one again under a newer generation. Without a dataplane a commit is checked and kept, and enforced on attaching.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fedgate_tables::counters::CountersReader;
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::link::ToDataplane;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::region::Region;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::events::{EventLog, Names};
use super::files;
use super::session::{PushError, Session};
use super::table::{Change, Table};
use crate::config::apply::apply_domain;
use crate::config::check::permit_warning;
use crate::config::diag::Report;
use crate::config::model::{DomainKey, DomainRule};
use crate::config::{Config, Loaded, load_file, print};
use crate::policy::slots::{Slots, Zero};
use crate::policy::{Compiled, compile, interfaces};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The startup-config.
    pub startup: PathBuf,
    /// The folder of the running-config.
    pub state: PathBuf,
    /// The dataplane's socket.
    pub dataplane: PathBuf,
}

impl Paths {
    /// The configuration in force, kept for the next control.
    pub fn running(&self) -> PathBuf {
        self.state.join("running-config")
    }
}

/// A dataplane that is there.
pub struct Attached {
    /// To ask it.
    pub session: Rc<Session>,
    /// Its counters, which need no asking.
    pub counters: CountersReader,
}

/// Why a change did not happen; nothing of it did.
#[derive(Debug)]
pub enum Refusal {
    /// The text is wrong.
    Text(Report),
    /// Anything else.
    Failed(String),
}

/// The daemon.
pub struct Daemon {
    /// Where things are.
    pub paths: Paths,
    config: RefCell<Rc<Config>>,
    slots: RefCell<Slots>,
    table: RefCell<Option<Table>>,
    attached: RefCell<Option<Rc<Attached>>>,
    /// Of the last policy sent or seen.
    generation: Cell<u64>,
    /// The running-config on disk may be of a life before this one; once this one wrote it, it is not.
    settled: Cell<bool>,
    change: Mutex<()>,
    log: EventLog,
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(2);

impl Daemon {
    /// Looks for the dataplane once, chooses the configuration, and begins to keep the connection. With a dataplane that holds a
    /// policy, the running-config it was made of goes before the startup-config.
    pub async fn start(paths: Paths) -> Result<Rc<Self>, Report> {
        let first = Session::open(&paths.dataplane).await;
        let live = first.as_ref().is_ok_and(|(session, _)| session.greeting.policy_generation > 0);
        let kept = live && paths.running().exists();
        let loaded = load_file(&if kept { paths.running() } else { paths.startup.clone() })?;
        log_report(&loaded.report);
        let daemon = Rc::new(Self {
            paths,
            config: RefCell::new(Rc::new(loaded.config)),
            slots: RefCell::default(),
            table: RefCell::default(),
            attached: RefCell::default(),
            generation: Cell::new(0),
            settled: Cell::new(kept),
            change: Mutex::new(()),
            log: EventLog::default(),
        });
        let reader = match first {
            Ok((session, fds)) => Some(daemon.connected(session, fds).await),
            Err(why) => {
                tracing::warn!("no dataplane yet: {why}");
                None
            }
        };
        tokio::task::spawn_local(daemon.clone().keep_connected(reader));
        Ok(daemon)
    }

    /// The configuration in force, or to be in force.
    pub fn config(&self) -> Rc<Config> {
        self.config.borrow().clone()
    }

    /// The dataplane, where there is one.
    pub fn attached(&self) -> Option<Rc<Attached>> {
        self.attached.borrow().clone()
    }

    /// Looks at the slots of the policy in force.
    pub fn with_slots<T>(&self, look: impl FnOnce(&Slots) -> T) -> T {
        look(&self.slots.borrow())
    }

    /// Looks at the domain table, where there is one.
    pub fn with_table<T>(&self, look: impl FnOnce(&Table) -> T) -> Option<T> {
        self.table.borrow().as_ref().map(look)
    }

    /// Waits for the connection's end and makes the next, for ever.
    async fn keep_connected(self: Rc<Self>, mut reader: Option<JoinHandle<()>>) {
        let mut pause = RETRY_FIRST;
        loop {
            if let Some(reader) = reader.take() {
                // It only ends with the connection; a panic in it would end the process.
                let _ = reader.await;
                self.attached.replace(None);
                pause = RETRY_FIRST;
            }
            tokio::time::sleep(pause).await;
            match Session::open(&self.paths.dataplane).await {
                Ok((session, fds)) => reader = Some(self.connected(session, fds).await),
                Err(why) => tracing::debug!("no dataplane: {why}"),
            }
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    /// Begins to read from a new connection and enforces the configuration over it.
    pub async fn connected(self: &Rc<Self>, session: Rc<Session>, fds: Vec<OwnedFd>) -> JoinHandle<()> {
        let (daemon, reading) = (self.clone(), session.clone());
        let reader = tokio::task::spawn_local(async move {
            let why = reading
                .serve(|event| daemon.log.log(event, &*daemon), |events| daemon.log.lost(events))
                .await;
            tracing::warn!("connection to the dataplane ended: {why}; it goes on by its last policy");
        });
        match self.attach(&session, fds).await {
            Ok(()) => tracing::info!(
                pid = session.greeting.pid,
                workers = session.greeting.workers,
                generation = self.generation.get(),
                "attached to the dataplane"
            ),
            Err(why) => tracing::error!("the configuration is not in force: {why}"),
        }
        reader
    }

    async fn attach(&self, session: &Rc<Session>, fds: Vec<OwnedFd>) -> Result<(), String> {
        let _change = self.change.lock().await;
        let greeting = &session.greeting;
        let mut fds = fds.into_iter();
        // The link refused any other number of descriptors than the greeting promises.
        let counters = fds.next().ok_or("no counters came with the greeting")?;
        let domains = if greeting.domains_generation != 0 { fds.next() } else { None };
        let policy = if greeting.policy_generation != 0 { fds.next() } else { None };
        let counters = Region::map_rw(counters).map_err(|why| format!("counters: {why}"))?;
        let counters = CountersReader::attach(counters).map_err(|why| format!("counters: {why}"))?;
        let attached = Rc::new(Attached { session: session.clone(), counters });
        self.attached.replace(Some(attached.clone()));
        self.generation.set(self.generation.get().max(greeting.policy_generation));
        let live = policy.and_then(|fd| {
            let region = Region::map_ro(fd).map_err(|why| why.to_string());
            let checked = region.and_then(|region| Checked::new(region).map_err(|why| why.to_string()));
            checked.inspect_err(|why| tracing::warn!("cannot read the policy in force: {why}")).ok()
        });
        if live.is_some() && !self.settled.get() {
            self.take_over()?;
        }
        self.slots.replace(live.as_ref().map(|live| Slots::recover(&live.view())).unwrap_or_default());
        self.attach_table(&attached, domains).await?;
        let config = self.config();
        if !live.is_some_and(|live| self.is_in_force(&live, &config, &attached)) {
            let compiled = self.push_policy(&attached, &config).await.map_err(|why| why.to_string())?;
            self.slots.replace(compiled.slots);
        }
        self.keep(&config)
    }

    /// Takes the running-config of the control before, once a dataplane turns out to run by it.
    fn take_over(&self) -> Result<(), String> {
        let path = self.paths.running();
        if path.exists() {
            let loaded = load_file(&path).map_err(|report| report.render(false))?;
            log_report(&loaded.report);
            self.config.replace(Rc::new(loaded.config));
        }
        self.settled.set(true);
        Ok(())
    }

    /// Whether `live` is what `config` compiles to.
    fn is_in_force(&self, live: &Checked, config: &Config, attached: &Attached) -> bool {
        let generation = live.view().generation();
        let again = compile(config, generation, &self.slots.borrow(), &attached.counters);
        let bytes = live.region().map(Region::bytes);
        again.is_ok_and(|again| bytes == Some(&again.segment[..]))
    }

    /// Takes over the dataplane's domain table, or gives it one.
    async fn attach_table(&self, attached: &Attached, theirs: Option<OwnedFd>) -> Result<(), String> {
        let config = self.config();
        let domains = &config.model.domains;
        let adopted = theirs.and_then(|fd| {
            let region = Region::map_rw(fd).map_err(|why| why.to_string());
            let writer = region.and_then(|region| DomainWriter::adopt(region).map_err(|why| why.to_string()));
            writer
                .inspect_err(|why| tracing::warn!("cannot adopt the domain table: {why}; making a new one"))
                .ok()
        });
        let change = match adopted {
            Some(writer) => {
                let mut table = Table::adopted(writer);
                let change = table.sync(domains).map_err(|why| why.to_string())?;
                self.table.replace(Some(table));
                change
            }
            None => {
                let table = match self.table.take() {
                    Some(table) => table,
                    None => Table::create(domains).map_err(|why| why.to_string())?,
                };
                self.table.replace(Some(table));
                Change::Grown
            }
        };
        self.push_table(attached, change).await.map_err(|why| why.to_string())
    }

    /// Sends the table where the dataplane does not have it.
    async fn push_table(&self, attached: &Attached, change: Change) -> Result<(), PushError> {
        if change == Change::InPlace {
            return Ok(());
        }
        let sent = self.with_table(|table| {
            let writer = table.writer();
            writer.region().fd().try_clone_to_owned().map(|fd| (fd, writer.generation()))
        });
        match sent {
            Some(Ok((fd, generation))) => {
                attached.session.push(&ToDataplane::Domains { generation }, generation, fd).await
            }
            Some(Err(why)) => Err(PushError::Refused(why.to_string())),
            None => Ok(()),
        }
    }

    async fn push_policy(&self, attached: &Attached, config: &Config) -> Result<Compiled, PushError> {
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        let compiled = compile(config, generation, &self.slots.borrow(), &attached.counters)
            .map_err(|why| PushError::Refused(why.to_string()))?;
        let region = Region::sealed("fedgate-policy", &compiled.segment)
            .map_err(|why| PushError::Refused(why.to_string()))?;
        attached.session.push(&ToDataplane::Policy { generation }, generation, region.fd()).await?;
        Ok(compiled)
    }

    /// Changes the configuration by what `make` makes of it. Gives the warnings.
    pub async fn commit(
        &self,
        make: impl FnOnce(&Config) -> Result<Loaded, Report>,
    ) -> Result<Report, Refusal> {
        let _change = self.change.lock().await;
        let old = self.config();
        let Loaded { config: new, report } = make(&old).map_err(Refusal::Text)?;
        if new == *old {
            return Ok(report);
        }
        let new = Rc::new(new);
        match self.attached() {
            Some(attached) => self.enforce(&attached, &old, &new).await.map_err(Refusal::Failed)?,
            None => {
                let compiled = compile(&new, self.generation.get() + 1, &Slots::default(), &Zero);
                compiled.map_err(|why| Refusal::Failed(why.to_string()))?;
                self.keep(&new).map_err(Refusal::Failed)?;
                // What a table holds that the next dataplane will be given must be right by then.
                self.table.replace(None);
            }
        }
        self.config.replace(new);
        Ok(report)
    }

    /// Puts `new` in the place of `old`, or leaves everything as it was.
    async fn enforce(&self, attached: &Attached, old: &Rc<Config>, new: &Rc<Config>) -> Result<(), String> {
        let compiled = match self.push_policy(attached, new).await {
            Ok(compiled) => compiled,
            Err(why @ PushError::Refused(_)) => return Err(why.to_string()),
            Err(why @ PushError::Silent) => {
                // It may yet adopt it. Attaching anew puts the old one over whatever it then has.
                attached.session.end();
                return Err(format!("{why}; the configuration stays as it was"));
            }
        };
        let before = self.slots.replace(compiled.slots);
        let mut done = self.sync_table(attached, old, new).await;
        if done.is_ok() {
            done = self.keep(new);
        }
        let Err(why) = done else { return Ok(()) };
        self.slots.replace(before);
        let back = match self.push_policy(attached, old).await {
            Ok(compiled) => {
                self.slots.replace(compiled.slots);
                self.sync_table(attached, new, old).await
            }
            Err(why) => Err(why.to_string()),
        };
        if let Err(again) = back {
            tracing::error!("cannot go back to the configuration before: {again}");
            attached.session.end();
        }
        Err(why)
    }

    async fn sync_table(&self, attached: &Attached, from: &Config, to: &Config) -> Result<(), String> {
        let change = match self.table.borrow_mut().as_mut() {
            Some(table) if !Arc::ptr_eq(&from.model.domains, &to.model.domains) => {
                table.sync(&to.model.domains).map_err(|why| why.to_string())?
            }
            Some(_) | None => Change::InPlace,
        };
        self.push_table(attached, change).await.map_err(|why| why.to_string())
    }

    /// `permit domain`, `block domain` and their `no`: in force for the workers when this returns, and without a policy pushed. Gives
    /// a warning, if there is one.
    pub async fn edit_domain(
        &self,
        key: &DomainKey,
        rule: DomainRule,
        negated: bool,
    ) -> Result<Option<String>, Refusal> {
        let _change = self.change.lock().await;
        let permits = !negated && matches!(rule, DomainRule::Permit(_));
        let before = self.config().model.domains.get(key).cloned().unwrap_or_default();
        let changed = {
            let mut config = self.config.borrow_mut();
            let model = &mut Rc::make_mut(&mut config).model;
            apply_domain(model, key, rule, negated).map_err(|fault| Refusal::Failed(fault.message))?
        };
        if changed && let Err(why) = self.enforce_domain(key).await {
            let mut config = self.config.borrow_mut();
            let domains = Arc::make_mut(&mut Rc::make_mut(&mut config).model.domains);
            if before == Default::default() {
                domains.remove(key);
            } else {
                domains.insert(key.clone(), before.clone());
            }
            if let Some(Err(again)) = self.table.borrow_mut().as_mut().map(|table| table.set(key, &before)) {
                tracing::error!("cannot take back {key}: {again}");
            }
            return Err(Refusal::Failed(why));
        }
        Ok(if permits { permit_warning(&self.config().model, key) } else { None })
    }

    async fn enforce_domain(&self, key: &DomainKey) -> Result<(), String> {
        let entry = self.config().model.domains.get(key).cloned().unwrap_or_default();
        let change = match self.table.borrow_mut().as_mut() {
            Some(table) => table.set(key, &entry).map_err(|why| why.to_string())?,
            None => Change::InPlace,
        };
        if let Some(attached) = self.attached()
            && let Err(why) = self.push_table(&attached, change).await
        {
            // Its table is now the older one; attaching anew adopts that and brings it in line.
            attached.session.end();
            return Err(why.to_string());
        }
        let config = self.config();
        self.keep(&config)
    }

    /// Writes the running-config.
    fn keep(&self, config: &Config) -> Result<(), String> {
        let path = self.paths.running();
        files::replace(&path, &print::to_text(&config.model))
            .map_err(|why| format!("cannot write {}: {why}", path.display()))?;
        self.settled.set(true);
        Ok(())
    }

    /// `write memory`: the startup-config becomes the running one.
    pub async fn write_memory(&self) -> Result<(), String> {
        let _change = self.change.lock().await;
        let path = &self.paths.startup;
        files::replace(path, &print::to_text(&self.config().model))
            .map_err(|why| format!("cannot write {}: {why}", path.display()))
    }
}

impl Names for Daemon {
    fn interface(&self, ifindex: u8) -> String {
        let config = self.config();
        let interface = interfaces(&config.model).nth(ifindex.into());
        interface.and_then(|i| i.nameif.clone()).unwrap_or_else(|| format!("interface {ifindex}"))
    }

    fn acl(&self, index: u32) -> String {
        let config = self.config();
        config
            .model
            .acls
            .keys()
            .nth(index as usize)
            .cloned()
            .unwrap_or_else(|| format!("access-list {index}"))
    }
}

/// What a file loaded with warns of goes to the log.
fn log_report(report: &Report) {
    for diagnostic in &report.diagnostics {
        let problem = &diagnostic.problem;
        tracing::warn!(file = report.name, line = problem.span.line, "{}", problem.message);
    }
}

/// Makes the folder of the running-config where it is not there.
pub fn make_state_folder(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|why| format!("cannot make {}: {why}", path.display()))
}
