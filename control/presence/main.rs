// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fedgate-presence`: runs the node, and asks it from the command line.
//!
//! `run` stays in the foreground, logs to standard error and prints the addresses it listens on; SIGTERM and SIGINT end it well. All
//! other commands go to a running node by its control socket and print what it says as JSON.

mod secret;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fedgate_presence::config::Config;
use fedgate_presence::{control, run};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The presence and IM node of a fedgate appliance.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the node.
    Run {
        /// Its configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What is logged, as tracing filters have it.
        #[arg(long, default_value = "info")]
        log: String,
    },
    /// Read a configuration and its users, say what is wrong with them.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Let somebody, or a whole domain, see a user's presence.
    Allow(Decision),
    /// Show a user offline to somebody, or to a whole domain, who cannot tell.
    Block(Decision),
    /// Take a decision back.
    Forget(Decision),
    /// Put somebody into a user's list of contacts.
    AddContact {
        /// Whose list.
        user: String,
        /// Who.
        contact: String,
        /// As he is shown.
        #[arg(default_value = "")]
        name: String,
        /// A group that he stands in; several may be said. Without any, those he has stood in.
        #[arg(long)]
        group: Option<Vec<String>>,
        #[command(flatten)]
        node: Node,
    },
    /// Take somebody out of a user's list of contacts.
    RemoveContact {
        /// Whose list.
        user: String,
        /// Who.
        contact: String,
        #[command(flatten)]
        node: Node,
    },
    /// All about a user: presence, contacts, watchers, decisions.
    Show {
        /// Who.
        user: String,
        #[command(flatten)]
        node: Node,
    },
    /// Users of the store: put in, taken out, given another password. What this says is so at once.
    #[command(subcommand)]
    User(User),
    /// All users, and where they come from: the file, the store, the directory.
    Users {
        #[command(flatten)]
        node: Node,
    },
    /// The enterprise's other nodes, and how it goes with them.
    Nodes {
        #[command(flatten)]
        node: Node,
    },
    /// Which node somebody is at home on.
    Home {
        /// Who.
        user: String,
        #[command(flatten)]
        node: Node,
    },
    /// What the node holds and has counted.
    Statistics {
        #[command(flatten)]
        node: Node,
    },
}

#[derive(Subcommand)]
enum User {
    /// Put a user into the store. His password is read from standard input.
    Add {
        #[command(flatten)]
        who: Name,
        /// As others are shown him.
        #[arg(long, default_value = "")]
        name: String,
        /// Another node that he is at home on, which has his password; none is read.
        #[arg(long = "node", value_name = "NODE")]
        home: Option<String>,
        #[command(flatten)]
        node: Node,
    },
    /// Take a user out of the store; what he has registered and subscribed to ends.
    Remove {
        #[command(flatten)]
        who: Name,
        #[command(flatten)]
        node: Node,
    },
    /// Give a user of the store another password, read from standard input.
    Password {
        #[command(flatten)]
        who: Name,
        #[command(flatten)]
        node: Node,
    },
}

#[derive(clap::Args)]
struct Name {
    /// Whom: his address, or what stands before the @ of it.
    user: String,
    /// What stands behind the @, where it is not said.
    #[arg(long)]
    domain: Option<String>,
}

impl Name {
    fn address(self) -> Result<String, String> {
        match self.domain {
            Some(_) if self.user.contains('@') => {
                Err(format!("{}: an address already, without --domain", self.user))
            }
            Some(domain) => Ok(format!("{}@{domain}", self.user)),
            None => Ok(self.user),
        }
    }
}

#[derive(clap::Args)]
struct Decision {
    /// Who decides.
    user: String,
    /// About whom: an address or a domain.
    who: String,
    #[command(flatten)]
    node: Node,
}

#[derive(clap::Args)]
struct Node {
    /// The node's control socket.
    #[arg(long, value_name = "PATH", default_value = "/run/fedgate/presence.sock")]
    socket: PathBuf,
}

fn main() -> ExitCode {
    let (node, command) = match Cli::parse().command {
        Verb::Run { config, log } => return serve(&config, &log),
        Verb::Check { config } => return check(&config),
        Verb::Allow(d) => {
            (d.node, json!({ "do": "decide", "user": d.user, "who": d.who, "verdict": "allow" }))
        }
        Verb::Block(d) => {
            (d.node, json!({ "do": "decide", "user": d.user, "who": d.who, "verdict": "block" }))
        }
        Verb::Forget(d) => (d.node, json!({ "do": "decide", "user": d.user, "who": d.who, "verdict": null })),
        Verb::AddContact { user, contact, name, group: groups, node } => (
            node,
            json!({ "do": "add-contact", "user": user, "contact": contact, "name": name, "groups": groups }),
        ),
        Verb::RemoveContact { user, contact, node } => {
            (node, json!({ "do": "remove-contact", "user": user, "contact": contact }))
        }
        Verb::Show { user, node } => (node, json!({ "do": "show", "user": user })),
        Verb::User(user) => match user_command(user) {
            Ok(command) => command,
            Err(why) => return failed(&why),
        },
        Verb::Users { node } => (node, json!({ "do": "users" })),
        Verb::Nodes { node } => (node, json!({ "do": "nodes" })),
        Verb::Home { user, node } => (node, json!({ "do": "home", "user": user })),
        Verb::Statistics { node } => (node, json!({ "do": "statistics" })),
    };
    match control::ask(&node.socket, &command) {
        Ok(value) if value.is_null() => ExitCode::SUCCESS,
        Ok(value) => {
            println!("{value:#}");
            ExitCode::SUCCESS
        }
        Err(why) => failed(&why),
    }
}

fn user_command(user: User) -> Result<(Node, Value), String> {
    let password = || secret::read().map_err(|why| why.to_string());
    Ok(match user {
        User::Add { who, name, home, node } => {
            let user = who.address()?;
            let password = if home.is_some() { None } else { Some(password()?) };
            (
                node,
                json!({ "do": "add-user", "user": user, "name": name, "node": home, "password": password }),
            )
        }
        User::Remove { who, node } => (node, json!({ "do": "remove-user", "user": who.address()? })),
        User::Password { who, node } => {
            let user = who.address()?;
            (node, json!({ "do": "change-password", "user": user, "password": password()? }))
        }
    })
}

fn failed(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("fedgate-presence: {why}");
    ExitCode::FAILURE
}

fn check(path: &std::path::Path) -> ExitCode {
    match fedgate_presence::check(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

fn serve(path: &std::path::Path, log: &str) -> ExitCode {
    let filter = match EnvFilter::try_new(log) {
        Ok(filter) => filter,
        Err(why) => return failed(&why),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(why) => return failed(&why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return failed(&why),
    };
    let ready = |addresses: &[std::net::SocketAddr]| {
        for address in addresses {
            println!("listening on {address}");
        }
        // Whoever started us may not read it.
        let _ = std::io::stdout().flush();
    };
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|why| why.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|why| why.to_string())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run(config, ready, stop).await.map_err(|why| why.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}
