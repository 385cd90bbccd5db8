// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kamailio as its own configuration has it for presence, with its own database, on the one CPU that the node has in its turn.
//!
//! Subscriptions are written to the database when they are taken (`subs_db_mode` 1), as the node's are; what is only in memory until a timer
//! comes (its default) would be lost with the process, so that is measured for its memory alone. The database is SQLite, in Kamailio's
//! processes, with a write-ahead log, or PostgreSQL, on the same CPU: both as their packages set them up, and both synchronised
//! at each commit. Who watches is let in without a question (`force_active`), and the order of calls is that of the configuration Debian ships.

use crate::Failure;
use crate::process::{Process, free_port};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where it keeps what must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
    /// Nowhere.
    Memory,
}

/// What it does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Presence, with the database.
    Presence(Database),
    /// Passes MESSAGEs on to another address, in transactions.
    Relay(SocketAddr),
}

/// A running Kamailio.
pub struct Kamailio {
    pub process: Process,
    /// Where it listens.
    pub at: SocketAddr,
    _database: Option<Postgres>,
}

impl Kamailio {
    /// Starts one on `cpu`; `folder` takes its files.
    pub fn start(role: Role, folder: &Path, cpu: u32) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder.join("run"))?;
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut database = None;
        let (modules, routes) = match role {
            Role::Relay(to) => (String::new(), format!("$du = \"sip:{to};transport=tcp\";\n t_relay();\n")),
            Role::Presence(kind) => {
                let url = match kind {
                    Database::Sqlite | Database::Memory => sqlite(folder)?,
                    Database::Postgres => {
                        let server = database.insert(Postgres::start(folder, cpu)?);
                        server.url.clone()
                    }
                };
                (presence(kind, &url, at), PRESENCE.to_owned())
            }
        };
        // SQLite takes one writer: the others' requests would be answered 500.
        let workers = if role == Role::Presence(Database::Sqlite) { 1 } else { 8 };
        let config = format!(
            "#!KAMAILIO\nlog_stderror=yes\ndebug=-1\nchildren=1\ntcp_children={workers}\nauto_aliases=no\nlisten=tcp:{at}\n\
             tcp_connection_lifetime=3600\nuse_dns_cache=off\nmpath=\"/usr/lib/x86_64-linux-gnu/kamailio/modules/\"\n\
             loadmodule \"sl.so\"\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\nloadmodule \"siputils.so\"\nloadmodule \"textops.so\"\n{modules}\
             request_route {{\n{routes}}}\n"
        );
        let file = folder.join("kamailio.cfg");
        std::fs::write(&file, config)?;
        let log = folder.join("kamailio.log");
        let (run, file) = (folder.join("run").display().to_string(), file.display().to_string());
        let arguments =
            ["kamailio", "-DD", "-E", "-m", "2048", "-M", "32", "-Y", &run, "-w", &run, "-f", &file];
        let mut process = Process::start(&arguments, cpu, &log)?;
        process.listens(at, &log)?;
        Ok(Self { process, at, _database: database })
    }
}

/// As `route[PRESENCE]` of Debian's kamailio.cfg.
const PRESENCE: &str = " if (!t_newtran()) { sl_reply_error(); exit; }\n \
     if (is_method(\"PUBLISH\")) { handle_publish(); t_release(); exit; }\n \
     if (is_method(\"SUBSCRIBE\")) { handle_subscribe(); t_release(); exit; }\n \
     t_reply(\"405\", \"Method Not Allowed\");\n";

fn presence(kind: Database, url: &str, at: SocketAddr) -> String {
    let (driver, mode) = match kind {
        Database::Sqlite => ("db_sqlite.so", 1),
        Database::Postgres => ("db_postgres.so", 1),
        Database::Memory => ("db_sqlite.so", 0),
    };
    format!(
        "loadmodule \"{driver}\"\nloadmodule \"presence.so\"\nloadmodule \"presence_xml.so\"\n\
         modparam(\"presence|presence_xml\", \"db_url\", \"{url}\")\nmodparam(\"presence\", \"subs_db_mode\", {mode})\n\
         modparam(\"presence\", \"server_address\", \"sip:{at};transport=tcp\")\nmodparam(\"presence\", \"max_expires\", 7200)\n\
         modparam(\"presence\", \"subs_htable_size\", 16)\nmodparam(\"presence_xml\", \"force_active\", 1)\n"
    )
}

/// A file with Kamailio's tables.
fn sqlite(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("kamailio.db");
    let mut script = "PRAGMA journal_mode=WAL;\n".to_owned();
    for part in ["standard", "presence"] {
        script += &std::fs::read_to_string(format!("/usr/share/kamailio/db_sqlite/{part}-create.sql"))?;
    }
    let file = folder.join("tables.sql");
    std::fs::write(&file, script)?;
    let made = Command::new("sqlite3")
        .arg(&path)
        .stdin(std::fs::File::open(&file)?)
        .stdout(Stdio::null())
        .status()?;
    if !made.success() {
        return Err("sqlite3 does not make Kamailio's tables".into());
    }
    Ok(format!("sqlite:///{}", path.display()))
}

/// A PostgreSQL of its own, as the user `postgres`, since it will not run as root.
struct Postgres {
    url: String,
    bin: PathBuf,
    data: String,
}

impl Postgres {
    fn start(folder: &Path, cpu: u32) -> Result<Self, Failure> {
        let versions = std::fs::read_dir("/usr/lib/postgresql")?;
        let bin = versions.flatten().map(|v| v.path().join("bin")).find(|bin| bin.join("initdb").exists());
        let bin = bin.ok_or("no PostgreSQL")?;
        let home = folder.join("postgres");
        std::fs::create_dir_all(&home)?;
        let home = home.display().to_string();
        // The user postgres has to get there.
        for path in folder.ancestors().take_while(|path| path.starts_with(std::env::temp_dir())) {
            run(Command::new("chmod").arg("a+x").arg(path))?;
        }
        run(Command::new("chown").args(["postgres", &home]))?;
        let port = free_port()?;
        let server = Self {
            url: format!("postgres://kamailio@127.0.0.1:{port}/kamailio"),
            bin,
            data: format!("{home}/data"),
        };
        server.run("initdb", &["-D", &server.data, "-U", "kamailio", "-A", "trust"])?;
        let options = format!("-k {home} -c listen_addresses=127.0.0.1 -p {port}");
        let start = ["-D", &server.data, "-w", "-l", &format!("{home}/log"), "-o", &options, "start"];
        run(server.command("pg_ctl", Some(cpu)).args(start))?;
        server.run("createdb", &["-h", &home, "-p", &port.to_string(), "-U", "kamailio", "kamailio"])?;
        for part in ["standard", "presence"] {
            let file = format!("/usr/share/kamailio/postgres/{part}-create.sql");
            server.run(
                "psql",
                &["-h", &home, "-p", &port.to_string(), "-U", "kamailio", "-q", "-f", &file, "kamailio"],
            )?;
        }
        Ok(server)
    }

    fn command(&self, program: &str, cpu: Option<u32>) -> Command {
        let mut command = Command::new(if cpu.is_some() { "taskset" } else { "runuser" });
        if let Some(cpu) = cpu {
            command.args(["-c", &cpu.to_string(), "runuser"]);
        }
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(program)).current_dir("/");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        run(self.command(program, None).args(arguments))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.run("pg_ctl", &["-D", &self.data, "-m", "immediate", "stop"]);
    }
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|why| format!("{}: {why}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
