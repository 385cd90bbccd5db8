// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real `fedgate-dataplane` process with ports that need no privileges, and a control's end of its socket.

use fedgate_tables::link::{LINK_LAYOUT, LinkError, LinkSocket, ToControl, ToDataplane};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::{Region, Sealed};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub mod flood;
pub mod lab;
pub mod wire;

/// Long enough for a busy machine; never waited out when things work.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Dataplane {
    process: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Dataplane {
    /// Starts one with one worker and waits for its socket.
    pub fn start() -> Self {
        Self::start_on("0")
    }

    /// The same with a worker on each of these CPUs.
    pub fn start_on(cpus: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // In a folder that is not there yet, as /run/fedgate is not after a boot.
        let socket = folder.path().join("run/dataplane.sock");
        let process = Command::new(env!("CARGO_BIN_EXE_fedgate-dataplane"))
            .args(["--cpu-main", "0", "--cpu-workers", cpus, "--idle-sleep", "--no-huge", "--memory", "64"])
            .args([
                "--mbufs",
                "8191",
                "--max-conns",
                "1000",
                "--max-xlates",
                "1000",
                "--log",
                "warn",
                "--socket",
            ])
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let dataplane = Self { process, socket, _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while LinkSocket::connect(&dataplane.socket).is_err() {
            assert!(Instant::now() < deadline, "no socket");
            std::thread::sleep(Duration::from_millis(20));
        }
        dataplane
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A control that has said hello.
    pub fn attach(&self) -> Control {
        let link = LinkSocket::connect(&self.socket).unwrap();
        link.send(&ToDataplane::Hello { layout: LINK_LAYOUT, pid: std::process::id() }, &[], Some(PATIENCE))
            .unwrap();
        let (ack, fds) = link.recv::<ToControl>(Some(PATIENCE)).unwrap();
        Control { link, ack, fds }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Control {
    pub link: LinkSocket,
    pub ack: ToControl,
    pub fds: Vec<OwnedFd>,
}

impl Control {
    /// Generations of policy and domains that the dataplane says are in force.
    pub fn in_force(&self) -> (u64, u64) {
        match self.ack {
            ToControl::HelloAck { policy_generation, domains_generation, .. } => {
                (policy_generation, domains_generation)
            }
            ref other => panic!("no HelloAck: {other:?}"),
        }
    }

    /// Sends a policy segment and gives the verdict.
    pub fn policy(&self, generation: u64, segment: &Region<Sealed>) -> ToControl {
        self.link.send(&ToDataplane::Policy { generation }, &[segment.fd()], Some(PATIENCE)).unwrap();
        self.verdict()
    }

    /// The next message that is no event.
    pub fn verdict(&self) -> ToControl {
        loop {
            match self.link.recv::<ToControl>(Some(PATIENCE)).unwrap().0 {
                ToControl::Event(_) | ToControl::Lost { .. } => {}
                message => return message,
            }
        }
    }

    /// Waits for the dataplane to hang up.
    pub fn is_hung_up_on(&self) -> bool {
        loop {
            match self.link.recv::<ToControl>(Some(PATIENCE)) {
                Err(LinkError::Closed) => return true,
                Err(_) => return false,
                Ok(_) => {}
            }
        }
    }
}

/// A policy with one interface on a device that swallows everything.
pub fn policy(generation: u64, device: &str) -> Vec<u8> {
    let mut builder = PolicyBuilder::new();
    let (name, device) = (builder.blob(b"outside"), builder.blob(device.as_bytes()));
    builder.interface(Interface {
        name,
        device,
        addr: 0xc633_6402,
        mask: 0xffff_ff00,
        mtu: 1500,
        acl_in: NONE,
        acl_out: NONE,
        ..Interface::default()
    });
    builder.globals(Globals::default());
    builder.finish(generation).unwrap()
}

pub fn sealed(bytes: &[u8]) -> Region<Sealed> {
    Region::sealed("test-policy", bytes).unwrap()
}
