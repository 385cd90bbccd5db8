// SPDX-License-Identifier: MIT OR Apache-2.0
//! A PostgreSQL server of a test's own: in a folder of its own, at a Unix socket there, gone when the test is.
//!
//! The server is a child of the test and ends with it, however that ends: well (it is told to, and its folder removed), by a panic (likewise), by
//! kill -9 (the kernel tells it, `PR_SET_PDEATHSIG` by setpriv). It will not run as root, so under root it runs as the user `postgres`. Each
//! test has databases of its own in it. Where there is no PostgreSQL the test fails: scripts/setup installs it.
//!
//! In the tests of the crate and in those of the binary; one server a test.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For it to start.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
    bin: PathBuf,
    databases: Cell<u32>,
}

impl Server {
    pub fn start() -> Self {
        let bin = std::fs::read_dir("/usr/lib/postgresql").ok().and_then(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .find(|bin| bin.join("initdb").exists())
        });
        let bin = bin.expect("PostgreSQL, which scripts/setup installs");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().display().to_string();
        if is_root() {
            run(Command::new("chown").args(["postgres:", &path]));
        }
        let data = format!("{path}/data");
        run(as_postgres(&bin.join("initdb")).args([
            "-D",
            &data,
            "-U",
            "fedgate",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]));
        // A test's power does not fail: what is killed is the node.
        let child = as_postgres(&bin.join("postgres"))
            .args(["-D", &data, "-k", &path, "-c", "listen_addresses=", "-c", "fsync=off"])
            .spawn()
            .expect("started");
        let server = Self { child, dir, bin, databases: Cell::new(0) };
        let ready = || {
            let mut command = Command::new(server.bin.join("pg_isready"));
            command.args(["-q", "-h", &path]).status().is_ok_and(|status| status.success())
        };
        let began = Instant::now();
        while !ready() {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The URL of a database with nothing in it.
    pub fn database(&self) -> String {
        let name = format!("d{}", self.databases.replace(self.databases.get() + 1));
        let path = self.dir.path().display();
        run(Command::new(self.bin.join("createdb")).args(["-h", &path.to_string(), "-U", "fedgate", &name]));
        format!("postgres://fedgate@localhost/{name}?host={path}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT, which it takes for "at once"; std knows SIGKILL alone, after which its shared memory would stay.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}

/// A program of PostgreSQL's that ends with us.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig=QUIT", "--"]).arg(program).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
