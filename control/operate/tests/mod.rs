// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon as a whole against a fake dataplane, driven through its socket by the CLI's own client.

mod attach;
mod capture;
mod cleared;
mod commits;
mod crypto;
mod export;
mod fake;
mod life;
mod metrics;
mod names;
mod ping;
mod schemas;
mod shows;
mod sip_tracer;
mod socket;
mod syslog;
mod tracer;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fedgate_tables::domains::Listed;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::client::{self, Answer};
use super::daemon::{Daemon, Paths, load_kept};
use super::protocol::Request;
use super::server;
use fake::Fake;

const CONFIG: &str = "\
hostname fw
interface tap fgo
 nameif outside
 ip address 203.0.113.2 255.255.255.248
interface tap fgi
 nameif inside
 ip address 10.10.0.1 255.255.255.0
access-list out extended permit tcp any any eq 5061
access-list out extended deny ip any any log
access-group out in interface outside
object network lan
 subnet 10.10.0.0 255.255.255.0
 nat (inside,outside) dynamic interface
local domain ours.example
permit domain foreign.example
";

/// A folder with a configuration, and the sockets in it.
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(lab.path("startup.cfg"), CONFIG).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fake(&self) -> Fake {
        Fake::start(&self.path("dataplane.sock"))
    }

    /// A daemon in a thread of its own; dropping it ends it as a kill would, without a word to anybody.
    fn control(&self) -> Control {
        self.try_control().unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_control(&self) -> Result<Control, String> {
        let paths = self.paths();
        let listen = self.path("control.sock");
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let listener = server::bind(&listen, None).unwrap();
                match Daemon::start(paths).await {
                    Ok(daemon) => {
                        ready.send(Ok(())).unwrap();
                        tokio::select! {
                            () = server::serve(daemon, listener) => {}
                            _ = stopped => {}
                        }
                    }
                    Err(report) => ready.send(Err(report.render(false))).unwrap(),
                }
            });
        });
        started.recv().unwrap()?;
        Ok(Control { stop: Some(stop), thread: Some(thread) })
    }

    fn ask(&self, request: &Request) -> (Answer, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let answer = client::ask(&self.path("control.sock"), request, &mut out, &mut err).unwrap();
        (answer, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// Exit code, output, errors.
    fn cli(&self, line: &str) -> (u8, String, String) {
        let (answer, out, err) = self.ask(&Request { line: line.into(), ..Request::default() });
        (answer.code, out, err)
    }

    /// Output of a command that must do.
    fn good(&self, line: &str) -> String {
        let (code, out, err) = self.cli(line);
        assert_eq!(code, 0, "{line}: {err}");
        out
    }

    fn paths(&self) -> Paths {
        Paths {
            startup: self.path("startup.cfg"),
            state: self.folder.path().to_owned(),
            dataplane: self.path("dataplane.sock"),
        }
    }

    /// The configuration that another control would find.
    fn running(&self) -> String {
        match load_kept(&self.paths()) {
            Ok(kept) => crate::config::print::to_text(&kept.config.model),
            Err(_) => std::fs::read_to_string(self.path("running-config")).unwrap(),
        }
    }
}

struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().unwrap();
        if !std::thread::panicking() {
            thread.join().unwrap();
        }
    }
}

/// Waits until `done`, or fails with `what`.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the dataplane would let this domain in, as of now.
fn permitted(fake: &Fake, domain: &str) -> bool {
    let state = fake.state();
    let table = state.table.as_ref().expect("has a domain table");
    matches!(table.lookup(domain.as_bytes()), Listed::Permitted { .. })
}

fn generation(fake: &Fake) -> u64 {
    fake.state().policy.as_ref().map_or(0, |policy| policy.view().generation())
}
