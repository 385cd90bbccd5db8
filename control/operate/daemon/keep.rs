// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running-config on disk: what the next control finds.
//!
//! One of up to [`SMALL`] lines is written, whole and synced, before the command that changed it returns. A larger one takes longer to
//! print than an operator should wait for one line: it is marked, and written by a thread of its own at most [`BEHIND`] and the
//! writing later; what changes meanwhile is in the same write or the next. So a control that is killed may have answered up to about a second
//! of commands that are not on disk; the next one puts the dataplane back to what is. `write memory` and an orderly end wait
//! for it. A write that fails is logged and tried again.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::Daemon;
use crate::config::{Config, print};
use crate::operate::files;

/// Most lines of access-lists and domains that are written before the answer.
const SMALL: usize = 10_000;
/// How long a large configuration waits for more changes before it is written.
const BEHIND: Duration = Duration::from_millis(250);
/// Pause after a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be written, and who writes.
#[derive(Default)]
pub(super) struct Keeping {
    /// The configuration has changed since it was last written.
    marked: Cell<bool>,
    changed: Notify,
    /// Held while writing, so that no older configuration goes over a newer one.
    writing: Mutex<()>,
}

impl Daemon {
    /// Writes `config`, which is or is to be the configuration; or marks it where it is large.
    pub(super) async fn keep(&self, config: &Arc<Config>) -> Result<(), String> {
        let model = &config.model;
        let lines = model.acls.values().map(|lines| lines.len()).sum::<usize>() + model.domains.len();
        if lines > SMALL {
            self.keeping.marked.set(true);
            self.keeping.changed.notify_one();
        } else {
            let _writing = self.keeping.writing.lock().await;
            self.keeping.marked.set(false);
            written(self.paths.running(), config)?;
        }
        self.settled.set(true);
        Ok(())
    }

    /// Writes what is marked, for as long as the daemon lives.
    pub(super) async fn write_behind(self: Rc<Self>) {
        loop {
            self.keeping.changed.notified().await;
            tokio::time::sleep(BEHIND).await;
            while let Err(why) = self.flush().await {
                tracing::error!("{why}: another control would not find the configuration in force");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Writes what is marked, if anything.
    ///
    /// # Errors
    /// Why it is still not on disk.
    pub async fn flush(&self) -> Result<(), String> {
        let _writing = self.keeping.writing.lock().await;
        if !self.keeping.marked.replace(false) {
            return Ok(());
        }
        let (path, config) = (self.paths.running(), self.config());
        let done = tokio::task::spawn_blocking(move || written(path, &config)).await;
        let done = done.map_err(|why| why.to_string()).and_then(|done| done);
        if done.is_err() {
            self.keeping.marked.set(true);
        }
        done
    }
}

fn written(path: PathBuf, config: &Config) -> Result<(), String> {
    files::replace(&path, &print::to_text(&config.model))
        .map_err(|why| format!("cannot write {}: {why}", path.display()))
}
