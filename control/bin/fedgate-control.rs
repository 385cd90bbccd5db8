// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fedgate-control`: the control daemon. Reads the configuration, attaches to the dataplane, serves the CLI. One thread.
//!
//! It may be stopped or killed at any time: the dataplane goes on by its last policy, and the next control takes over from where
//! this one was. A startup-config that does not load ends it before anything is touched; over a dataplane that runs by a kept
//! running-config that no longer loads, it starts all the same, to show and to be given another.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use fedgate_control::operate::daemon::{Daemon, Paths, make_state_folder};
use fedgate_control::operate::protocol::DEFAULT_SOCKET;
use fedgate_control::operate::{access, server};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;

/// The control plane of a fedgate appliance.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The startup-config.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the running-config.
    #[arg(long, value_name = "DIR", default_value = "/run/fedgate")]
    state: PathBuf,
    /// The dataplane's socket.
    #[arg(long, value_name = "PATH", default_value = "/run/fedgate/dataplane.sock")]
    dataplane: PathBuf,
    /// Where the CLI connects.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    listen: PathBuf,
    /// A group of this machine whose members may connect too; what they may do is said by `username` lines.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Form of the log, on standard error.
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    log: LogForm,
    /// What is logged: error, warn, info, debug, or a filter of tracing-subscriber.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match EnvFilter::try_new(&cli.log_level) {
        Ok(filter) => filter,
        Err(why) => {
            eprintln!("--log-level {}: {why}", cli.log_level);
            return ExitCode::from(2);
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match cli.log {
        LogForm::Text => log.with_ansi(false).init(),
        LogForm::Json => log.json().init(),
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("cannot start: {why}");
            return ExitCode::FAILURE;
        }
    };
    let ended = LocalSet::new().block_on(&runtime, run(cli));
    // Without waiting for a request for a revocation list that may be on its way.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), String> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|why| format!("{}: {why}", path.display()));
    make_state_folder(&cli.state)?;
    let paths =
        Paths { startup: absolute(&cli.config)?, state: absolute(&cli.state)?, dataplane: cli.dataplane };
    // Before the dataplane is touched: a second control must not take it from the first.
    let gid = |name: &String| access::gid_of(name).ok_or(format!("there is no group `{name}`"));
    let group = cli.group.as_ref().map(gid).transpose()?;
    let listener = server::bind(&cli.listen, group)
        .map_err(|why| format!("cannot listen on {}: {why}", cli.listen.display()))?;
    let ended = async {
        let daemon = Daemon::start(paths).await.map_err(|report| report.render(false))?;
        supervised();
        let mut terminate = signal(SignalKind::terminate()).map_err(|why| why.to_string())?;
        tokio::select! {
            () = server::serve(daemon.clone(), listener) => {}
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        daemon.flush().await
    };
    let ended = ended.await;
    // A socket that is left behind is replaced by the next control all the same.
    let _ = std::fs::remove_file(&cli.listen);
    ended
}

/// Tells systemd that we are there, and from then on, in a quarter of the time that it gives us (`WatchdogSec=`), that this thread
/// still comes to its next task.
fn supervised() {
    let tell = |state| {
        if let Err(why) = sd_notify::notify(&[state]) {
            tracing::warn!("the supervisor cannot be told: {why}");
        }
    };
    tell(sd_notify::NotifyState::Ready);
    if let Some(time) = sd_notify::watchdog_enabled() {
        tokio::task::spawn_local(async move {
            let mut every = tokio::time::interval(time / 4);
            loop {
                every.tick().await;
                tell(sd_notify::NotifyState::Watchdog);
            }
        });
    }
}
