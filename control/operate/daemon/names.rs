// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks for the edges of foreign domains when their time has come, and puts what is new of them into the policy.
//!
//! A change of an answer is a change of the policy by nobody's command: it is pushed like one, in between two commits, and recorded by none. At most
//! one in [`PAUSE`], however often a zone changes. A question waits for nothing here, each is a task of its own; [`Book`] bounds how many there are.
//! Where the dataplane refuses the policy it goes on by the one it has, and the next answer is the next try.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fedgate_sip::partner::PartnersSpec;
use fedgate_tables::policy_view::Checked;

use super::{Daemon, Standing};
use crate::config::Config;
use crate::config::model::federation::Dns;
use crate::names::ask::Asker;
use crate::names::book::Book;
use crate::names::spec;
use crate::policy::slots::{Counts, Slots};
use crate::policy::{CompileError, Compiled, compile_with};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Between two policies.
const PAUSE: Duration = Duration::from_secs(2);

/// What the daemon knows of names.
#[derive(Default)]
pub(super) struct Asking {
    book: RefCell<Book>,
    /// Who answers, and for which configuration.
    asker: RefCell<Option<(Dns, Rc<Asker>)>>,
    /// What the policy that was pushed last says.
    pushed: RefCell<PartnersSpec>,
}

impl Daemon {
    /// Looks at what is known of names.
    pub fn with_book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.asking.book.borrow())
    }

    /// A configuration with what is known of names as a policy.
    pub(super) fn compiled(
        &self,
        config: &Config,
        generation: u64,
        before: &Slots,
        counts: &impl Counts,
    ) -> Result<Compiled, CompileError> {
        let spec = spec(&config.model, &self.asking.book.borrow().targets());
        compile_with(config, &spec, generation, before, counts)
    }

    /// A policy of this configuration has been pushed.
    pub(super) fn note_pushed(&self, config: &Config) {
        let spec = spec(&config.model, &self.asking.book.borrow().targets());
        self.asking.pushed.replace(spec);
    }

    /// What the policy of a control before says of targets is what is known until somebody answers.
    pub(super) fn learn_names(&self, live: &Checked) {
        let view = live.view();
        let text = view.str(view.globals().partners);
        if let Ok(spec) = serde_json::from_str::<PartnersSpec>(text) {
            self.asking.book.borrow_mut().learn(&spec, Instant::now());
            self.asking.pushed.replace(spec);
        }
    }

    /// Asks for as long as the daemon lives.
    pub(super) async fn ask_names(self: Rc<Self>) {
        let mut last = None::<Instant>;
        loop {
            tokio::time::sleep(LOOK).await;
            let config = self.config();
            if let Some(asker) = self.asker(&config.model.dns) {
                for name in self.asking.book.borrow_mut().due(&config.model, Instant::now()) {
                    tokio::task::spawn_local(self.clone().ask_for(name, asker.clone()));
                }
            }
            if last.is_none_or(|last| last.elapsed() >= PAUSE) && self.has_news(&config) {
                last = Some(Instant::now());
                self.push_names().await;
            }
        }
    }

    /// The one who answers for this configuration; where that is another than before, everything is asked anew.
    fn asker(&self, dns: &Dns) -> Option<Rc<Asker>> {
        if let Some((of, asker)) = &*self.asking.asker.borrow()
            && of == dns
        {
            return Some(asker.clone());
        }
        self.asking.book.borrow_mut().anew(Instant::now());
        let made = (!dns.servers.is_empty()).then(|| Asker::new(dns));
        let made = made?.inspect_err(|why| tracing::error!("names cannot be asked: {why}")).ok().map(Rc::new);
        self.asking.asker.replace(made.clone().map(|asker| (dns.clone(), asker)));
        made
    }

    async fn ask_for(self: Rc<Self>, name: String, asker: Rc<Asker>) {
        let answer = asker.edges(&name).await;
        if let Err(why) = &answer {
            tracing::warn!("the edges of {name} are not known: {why}");
        }
        self.asking.book.borrow_mut().answered(&name, answer, Instant::now());
    }

    fn has_news(&self, config: &Config) -> bool {
        self.attached().is_some_and(|attached| attached.standing() == Standing::InForce)
            && spec(&config.model, &self.asking.book.borrow().targets()) != *self.asking.pushed.borrow()
    }

    async fn push_names(&self) {
        let _change = self.change.lock().await;
        // A commit may have come first, and have taken them along.
        let config: Arc<Config> = self.config();
        let Some(attached) = self.attached().filter(|_| self.has_news(&config)) else { return };
        match self.push_policy(&attached, &config).await {
            Ok(compiled) => {
                drop(self.slots.replace(compiled.slots));
                tracing::info!("the policy has new edges of foreign domains");
            }
            Err(why) => tracing::error!("edges of foreign domains cannot be put into the policy: {why}"),
        }
    }
}
