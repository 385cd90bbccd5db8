// SPDX-License-Identifier: MIT OR Apache-2.0
//! A `dpdk-testpmd` on two memif ports, told what to do on its standard input.
//!
//! As generator it makes UDP flows on port 0 and counts what comes back on port 1. Its `flowgen` mode would make them on
//! both ports; marking port 0's receive queue as deferred lets it leave out the stream that receives there and sends
//! on port 1. As peer it swaps MACs between the two, in the place of the appliance.
//! Killed when dropped, but [`Testpmd::quit`] is the way: a memif port that vanishes under traffic takes DPDK 22.11's other
//! side down.

use crate::Failure;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What it prints when it waits for a command.
const PROMPT: &str = "testpmd> ";
/// How long a command may take; starting ports waits for links.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub struct Testpmd {
    name: String,
    child: Child,
    commands: ChildStdin,
    output: Receiver<Vec<u8>>,
}

/// What it is to be.
#[derive(Clone, Copy)]
pub struct Role<'a> {
    /// Name in messages and for DPDK's run-time folder.
    pub name: &'a str,
    /// `server` makes the sockets, `client` connects to them.
    pub memif: &'a str,
    /// Its sockets.
    pub sockets: [&'a Path; 2],
    /// CPU of the forwarding thread.
    pub cpu: u32,
    /// CPU of the thread that reads commands.
    pub other_cpu: u32,
    /// With hugepages.
    pub huge: bool,
    /// Packet memory, MiB.
    pub memory_mib: u32,
    /// Arguments behind `--`.
    pub arguments: &'a [&'a str],
}

impl Testpmd {
    /// Starts it and waits for its first prompt.
    pub fn start(role: Role<'_>) -> Result<Self, Failure> {
        let memif = |n: usize| {
            let socket = role.sockets[n].display();
            format!("--vdev=net_memif{n},role={},id=0,socket={socket},socket-abstract=no", role.memif)
        };
        // Unbuffered: what it says must come when it says it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "stdbuf", "-o0", "dpdk-testpmd"]);
        command.arg(format!("--lcores=0@{},1@{}", role.other_cpu, role.cpu));
        command.args(["-m", &role.memory_mib.to_string(), "--no-pci", "--no-telemetry"]);
        command.arg(format!("--file-prefix={}", role.name));
        command.args(if role.huge { &["--in-memory"][..] } else { &["--no-huge", "--no-shconf"] });
        command.args([memif(0), memif(1)]);
        command.args(["--", "-i", "--total-num-mbufs=16384", "--record-core-cycles"]);
        command.args(role.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("dpdk-testpmd (Debian: dpdk-dev): {e}"))?;
        let commands = child.stdin.take().ok_or("no standard input")?;
        let mut stdout = child.stdout.take().ok_or("no standard output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut testpmd = Self { name: role.name.to_owned(), child, commands, output };
        testpmd.until_prompt()?;
        Ok(testpmd)
    }

    /// Gives a command and returns what it printed.
    pub fn ask(&mut self, command: &str) -> Result<String, Failure> {
        writeln!(self.commands, "{command}")?;
        self.until_prompt()
    }

    fn until_prompt(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        let deadline = Instant::now() + PATIENCE;
        while !text.ends_with(PROMPT) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(
                        format!("{}: dpdk-testpmd does not answer; it said: {text}", self.name).into()
                    );
                }
            }
        }
        Ok(text)
    }

    /// Frames a second that arrive on port 1, over `window`.
    pub fn received_a_second(&mut self, window: Duration) -> Result<f64, Failure> {
        self.ask("show port stats 1")?;
        std::thread::sleep(window);
        number_after(&self.ask("show port stats 1")?, "Rx-pps:")
    }

    /// Stops forwarding and gives the cycles a packet that the run took.
    pub fn stop(&mut self) -> Result<f64, Failure> {
        number_after(&self.ask("stop")?, "CPU cycles/packet=")
    }

    /// Closes its ports and ends.
    pub fn quit(mut self) -> Result<(), Failure> {
        writeln!(self.commands, "quit")?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind the last `label` in `text`.
fn number_after(text: &str, label: &str) -> Result<f64, Failure> {
    let found = text.rsplit_once(label).map(|(_, rest)| rest.trim_start());
    let digits = found.map(|rest| rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or(""));
    Ok(digits.ok_or_else(|| format!("no {label} in: {text}"))?.parse()?)
}
