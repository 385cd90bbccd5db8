// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's state and the three ways in which it changes: attaching to a dataplane ([`attach`]), a commit, a domain command.
//!
//! There is one thread; `change` is held through each of the three, so that they come one after the other although each waits for
//! the dataplane in between. `show` commands need no lock: they read a snapshot (`Rc<Config>`) and shared memory.
//!
//! A commit is whole or nothing. The order is: compile, push, wait until every worker uses it, bring the domain table in line, write the
//! running-config ([`keep`]; a large one is only marked to be written), and only then call it the configuration. Whatever fails on the way is undone by enforcing the
//! old one again under a newer generation. Without a dataplane a commit is checked and kept, and enforced on attaching, unless
//! a running-config of a control before waits to be taken over: then only a whole configuration may come before it.

mod attach;
mod commits;
mod crls;
mod expiry;
mod keep;
mod lists;
mod names;
mod naming;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use fedgate_tables::counters::{Counter, DomainCounter};
use fedgate_tables::link::ToDataplane;
use fedgate_tables::region::Region;
use tokio::sync::Mutex;

use super::access::Access;
use super::capture::Captures;
use super::cleared::Cleared;
use super::events::EventLog;
use super::files;
use super::history::By;
use super::journal::{self, changes};
use super::metrics::serve::Metrics;
use super::session::{PushError, Session};
use super::show::load::Load;
use super::table::{Change, Table};
use crate::config::apply::apply_domain;
use crate::config::check::permit_warning;
use crate::config::diag::Report;
use crate::config::model::users::hash_all;
use crate::config::model::{DomainKey, DomainRule};
use crate::config::{Config, Loaded, load_file, load_file_over, print};
use crate::policy::slots::{Slots, Zero};
use crate::policy::{Compiled, compile};
use commits::Commits;
use crls::Fetching;
use keep::Keeping;
use lists::Ends;

pub use attach::{Attached, Standing};
pub use commits::{MOST_MINUTES, Unconfirmed};
pub use keep::load_kept;
pub use lists::ListKind;

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

    /// Why nothing but a whole configuration is taken while that at `path` does not load.
    fn unread(&self, path: &Path, report: &Report) -> String {
        format!(
            "{} does not load:\n{}the dataplane goes on by what it has; mend the file or what it names, or make another file the \
             configuration: `configure replace FILE` (the startup-config is {})",
            path.display(),
            report.render(false),
            self.startup.display()
        )
    }
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
    config: RefCell<Arc<Config>>,
    slots: RefCell<Slots>,
    table: RefCell<Option<Table>>,
    attached: RefCell<Option<Rc<Attached>>>,
    /// Of the last policy sent or seen.
    generation: Cell<u64>,
    /// False while there is a running-config on disk of a life before this one that may be what a dataplane runs by.
    settled: Cell<bool>,
    /// The configuration that should be here does not load, and there is an empty one in its place.
    blank: Cell<bool>,
    /// Why a dataplane that is there could not be attached to at the last try.
    failing: RefCell<Option<String>>,
    change: Mutex<()>,
    keeping: Keeping,
    commits: Commits,
    ends: Ends,
    /// Where counters of domains did not begin at zero. Lost with control: the counts of those are then too high.
    bases: RefCell<HashMap<u32, [u64; DomainCounter::COUNT]>>,
    fetching: Fetching,
    asking: names::Asking,
    log: EventLog,
    load: Load,
    access: Access,
    metrics: Metrics,
    captures: Captures,
    /// What counters stood at when they were cleared.
    pub(super) cleared: Cleared,
}

impl Daemon {
    /// Looks for the dataplane once, chooses the configuration, and begins to keep the connection. With a dataplane that holds a
    /// policy, the running-config it was made of goes before the startup-config; where that does not load, the daemon starts all the
    /// same, to show what runs, and takes nothing but a whole configuration.
    pub async fn start(paths: Paths) -> Result<Rc<Self>, Report> {
        let first = Session::open(&paths.dataplane).await;
        let live = first.as_ref().is_ok_and(|(session, _)| session.greeting.policy_generation > 0);
        let left = paths.running().exists();
        let kept = live && left;
        let startup = if kept { None } else { Some(load_file(&paths.startup)?) };
        let (keeping, commits) = (Keeping::new(&paths.state), Commits::open(&paths.state));
        let daemon = Rc::new(Self {
            paths,
            config: RefCell::default(),
            slots: RefCell::default(),
            table: RefCell::default(),
            attached: RefCell::default(),
            generation: Cell::new(0),
            settled: Cell::new(!left),
            blank: Cell::new(true),
            failing: RefCell::default(),
            change: Mutex::new(()),
            keeping,
            commits,
            ends: Ends::default(),
            bases: RefCell::default(),
            fetching: Fetching::default(),
            asking: names::Asking::default(),
            log: EventLog::default(),
            load: Load::default(),
            access: Access::default(),
            metrics: Metrics::default(),
            captures: Captures::default(),
            cleared: Cleared::default(),
        });
        match startup {
            Some(loaded) => {
                log_report(&loaded.report);
                daemon.begin(loaded.config);
                if !left {
                    daemon.begin_history(&daemon.config()).await;
                }
            }
            // Where it does not load, attaching reads it again, and says what is wrong with it.
            None => drop(daemon.take_kept()),
        }
        tokio::task::spawn_local(daemon.clone().write_behind());
        tokio::task::spawn_local(daemon.clone().watch_unconfirmed());
        tokio::task::spawn_local(daemon.clone().watch_ends());
        tokio::task::spawn_local(daemon.clone().each_second());
        tokio::task::spawn_local(daemon.clone().watch_certificates());
        tokio::task::spawn_local(daemon.clone().fetch_lists());
        tokio::task::spawn_local(daemon.clone().ask_names());
        tokio::task::spawn_local(daemon.clone().serve_metrics());
        let link = match first {
            Ok((session, fds)) => Some(daemon.connected(session, fds).await),
            Err(why) => {
                tracing::warn!("no dataplane yet: {why}");
                None
            }
        };
        tokio::task::spawn_local(daemon.clone().keep_connected(link));
        Ok(daemon)
    }

    /// `config` is the configuration from now on, here and for what is told by it.
    fn goes_by(&self, config: Arc<Config>) {
        self.log.adopt(&config);
        self.config.replace(config);
    }

    /// `config` is the configuration, whatever came before.
    fn begin(&self, mut config: Config) {
        // Before anybody is served, or of a file that control wrote, where there are none.
        if let Err(why) = hash_all(config.model.passwords_mut()) {
            tracing::error!("a password cannot be hashed, and is left in the clear: {why}");
        }
        self.ends.of(&config.model.domains);
        self.goes_by(Arc::new(config));
        self.blank.set(false);
    }

    /// Goes on with the configuration of the control before.
    fn take_kept(&self) -> Result<(), Report> {
        let loaded = self.read_kept()?;
        log_report(&loaded.report);
        self.begin(loaded.config);
        self.settled.set(true);
        Ok(())
    }

    /// What is done each second: what access-lists owe the log, and a look at the workers' cycles.
    async fn each_second(self: Rc<Self>) {
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            second.tick().await;
            self.log.write_due();
            self.log.export().flush();
            self.load.note(self.attached().as_deref());
        }
    }

    /// What is known of the places of revocation lists.
    fn fetching(&self) -> &Fetching {
        &self.fetching
    }

    /// What became of the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How busy the workers were.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Who may do what.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The log of what the dataplane tells.
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// The configuration in force, or to be in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// The dataplane, where there is one.
    pub fn attached(&self) -> Option<Rc<Attached>> {
        self.attached.borrow().clone()
    }

    /// Whether there is a configuration to show.
    pub fn readable(&self) -> Result<(), String> {
        match self.attached().map(|attached| attached.standing()) {
            Some(Standing::Held(why)) => Err(why),
            _ if self.blank.get() => Err(self.unsettled()),
            _ => Ok(()),
        }
    }

    /// Whether a part of the configuration may be changed: only where it is known what the rest is.
    fn editable(&self) -> Result<(), String> {
        self.readable()?;
        self.reachable()?;
        if self.settled.get() { Ok(()) } else { Err(self.unsettled()) }
    }

    /// Whether a change could come into force, now or with the next dataplane: one that is there and cannot be attached to goes on by
    /// what it has, whatever would be kept here.
    fn reachable(&self) -> Result<(), String> {
        match &*self.failing.borrow() {
            Some(why) => Err(format!("control cannot attach to the dataplane, so nothing is changed: {why}")),
            None => Ok(()),
        }
    }

    fn unsettled(&self) -> String {
        format!(
            "the dataplane is not connected, and may run by {} of the control before: connect it first, or make a file the \
             configuration as a whole: `configure replace FILE`",
            self.paths.running().display()
        )
    }

    /// Looks at the slots of the policy in force.
    pub fn with_slots<T>(&self, look: impl FnOnce(&Slots) -> T) -> T {
        look(&self.slots.borrow())
    }

    /// Looks at the domain table, where there is one.
    pub fn with_table<T>(&self, look: impl FnOnce(&Table) -> T) -> Option<T> {
        self.table.borrow().as_ref().map(look)
    }

    /// What the counters of a domain's id stood at when its name took it.
    pub fn domain_base(&self, id: u32) -> [u64; DomainCounter::COUNT] {
        self.bases.borrow().get(&id).copied().unwrap_or_default()
    }

    /// Sends the table where the dataplane does not have it.
    async fn push_table(&self, attached: &Attached, change: Change) -> Result<(), PushError> {
        let reused = self.table.borrow_mut().as_mut().map(Table::take_reused).unwrap_or_default();
        for id in reused {
            let of = |at| attached.counters.sum(Counter::Domain(id, DomainCounter::ALL[at]));
            let stands = std::array::from_fn(of);
            self.bases.borrow_mut().insert(id, stands);
        }
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
        let compiled = self
            .compiled(config, generation, &self.slots.borrow(), &attached.counters)
            .map_err(|why| PushError::Refused(why.to_string()))?;
        let region = Region::sealed("fedgate-policy", &compiled.segment)
            .map_err(|why| PushError::Refused(why.to_string()))?;
        // Even where it is refused: it is not offered again before there is something new of it.
        self.note_pushed(config);
        attached.session.push(&ToDataplane::Policy { generation }, generation, region.fd()).await?;
        Ok(compiled)
    }

    /// Changes the configuration by what `make` makes of it. Gives the warnings.
    pub async fn commit(
        &self,
        by: &By,
        make: impl FnOnce(&Config) -> Result<Loaded, Report>,
    ) -> Result<Report, Refusal> {
        let _change = self.change.lock().await;
        self.editable().map_err(Refusal::Failed)?;
        let old = self.config();
        let loaded = make(&old).map_err(Refusal::Text)?;
        self.change_to(old, loaded, by).await
    }

    /// `configure replace`: the file at `path` becomes the configuration, whatever that was before; for so many minutes only, unless it is
    /// confirmed. Gives the warnings.
    pub async fn replace(&self, by: &By, path: &Path, confirmed: Option<u32>) -> Result<Report, Refusal> {
        let _change = self.change.lock().await;
        self.reachable().map_err(Refusal::Failed)?;
        let old = self.config();
        let loaded = load_file_over(path, &old.model).map_err(Refusal::Text)?;
        let Some(minutes) = confirmed else { return self.change_to(old, loaded, by).await };
        self.editable().map_err(Refusal::Failed)?;
        let before = self.unconfirmed();
        self.arm(by, minutes).await?;
        self.change_to(old, loaded, by).await.inspect_err(|_| self.disarm(before))
    }

    async fn change_to(&self, old: Arc<Config>, loaded: Loaded, by: &By) -> Result<Report, Refusal> {
        let Loaded { config: new, report } = loaded;
        let new = hashed(new).await.map_err(Refusal::Failed)?;
        let attached = self.attached();
        let standing = attached.as_ref().map_or(Standing::InForce, |attached| attached.standing());
        if new == *old && standing == Standing::InForce && self.settled.get() {
            return Ok(report);
        }
        let new = Arc::new(new);
        let changed = match Arc::ptr_eq(&old.model.domains, &new.model.domains) {
            true => Vec::new(),
            false => changes(&old.model.domains, &new.model.domains),
        };
        match (attached, standing) {
            (Some(attached), Standing::InForce | Standing::Refused(_)) => {
                self.enforce(&attached, &old, &new, &changed).await.map_err(Refusal::Failed)?;
                attached.stands(Standing::InForce);
            }
            (Some(attached), Standing::Held(_)) => {
                self.enforce_anew(&attached, &new).await.map_err(Refusal::Failed)?;
                attached.stands(Standing::InForce);
            }
            (None, _) => {
                let compiled = compile(&new, self.generation.get() + 1, &Slots::default(), &Zero);
                compiled.map_err(|why| Refusal::Failed(why.to_string()))?;
                let changed = if self.settled.get() { Some(&changed[..]) } else { None };
                self.keep(&new, changed).await.map_err(Refusal::Failed)?;
                // What a table holds that the next dataplane will be given must be right by then.
                self.table.replace(None);
            }
        }
        if !changed.is_empty() || self.blank.get() {
            self.ends.of(&new.model.domains);
        }
        self.goes_by(new.clone());
        self.blank.set(false);
        drop(old);
        self.record(by, &new, &changed).await;
        Ok(report)
    }

    /// Puts `new` in the place of a configuration that could not be read, so that there is none to go back to.
    async fn enforce_anew(&self, attached: &Attached, new: &Arc<Config>) -> Result<(), String> {
        let compiled = self.push_policy(attached, new).await.map_err(|why| {
            if why == PushError::Silent {
                attached.session.end();
            }
            why.to_string()
        })?;
        self.slots.replace(compiled.slots);
        let mut done = self.attach_table(attached, &new.model.domains).await;
        if done.is_ok() {
            done = self.keep_whole(new).await;
        }
        done.inspect_err(|_| attached.session.end())
            .map_err(|why| format!("{why}; the dataplane may already run by it: repeat the command"))
    }

    /// Puts `new` in the place of `old`, or leaves everything as it was.
    async fn enforce(
        &self,
        attached: &Attached,
        old: &Arc<Config>,
        new: &Arc<Config>,
        changed: &[journal::Change],
    ) -> Result<(), String> {
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
            done = self.keep(new, Some(changed)).await;
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
        self.editable().map_err(Refusal::Failed)?;
        let permits = !negated && matches!(rule, DomainRule::Permit(_));
        let before = self.config().model.domains.get(key).cloned().unwrap_or_default();
        if !self.lists_in_line() {
            // What failed to be written before, or was never.
            self.keep_whole(&self.config()).await.map_err(Refusal::Failed)?;
        }
        let changed = {
            let mut config = self.config.borrow_mut();
            let config = Arc::make_mut(&mut config);
            config.remarks = None;
            apply_domain(&mut config.model, key, rule, negated)
                .map_err(|fault| Refusal::Failed(fault.message))?
        };
        let after = self.config().model.domains.get(key).cloned().unwrap_or_default();
        let change = journal::Change { key: key.clone(), before: before.clone(), after };
        let done = if changed { self.enforce_domain(&change).await } else { Ok(()) };
        if changed && done.is_ok() {
            self.note_domain(&change);
            self.ends.note(&change);
        }
        if let Err(why) = done {
            let mut config = self.config.borrow_mut();
            let domains = Arc::make_mut(&mut Arc::make_mut(&mut config).model.domains);
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

    async fn enforce_domain(&self, changed: &journal::Change) -> Result<(), String> {
        let change = match self.table.borrow_mut().as_mut() {
            Some(table) => table.set(&changed.key, &changed.after).map_err(|why| why.to_string())?,
            None if self.attached().is_some() => {
                return Err("the dataplane has no domain table yet".to_owned());
            }
            None => Change::InPlace,
        };
        if let Some(attached) = self.attached()
            && let Err(why) = self.push_table(&attached, change).await
        {
            // Its table is now the older one; attaching anew adopts that and brings it in line.
            attached.session.end();
            return Err(why.to_string());
        }
        self.keep_domain(&self.config(), changed)
    }

    /// `write memory`: the startup-config becomes the running one.
    pub async fn write_memory(&self) -> Result<(), String> {
        let _change = self.change.lock().await;
        self.readable()?;
        if self.unconfirmed().is_some() {
            return Err("changes wait to be confirmed: `commit` first".to_owned());
        }
        self.flush().await?;
        let path = &self.paths.startup;
        files::replace(path, &print::to_text(&self.config().model))
            .map_err(|why| format!("cannot write {}: {why}", path.display()))
    }
}

/// `config` with its passwords hashed, by another thread: each takes a tenth of a second.
async fn hashed(mut config: Config) -> Result<Config, String> {
    if !config.model.passwords_mut().any(|password| password.is_clear()) {
        return Ok(config);
    }
    let done = tokio::task::spawn_blocking(move || {
        hash_all(config.model.passwords_mut()).map(|()| config).map_err(str::to_owned)
    });
    done.await.map_err(|why| why.to_string())?
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
