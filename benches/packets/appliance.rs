// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dataplane process of the end-to-end harness, and this bench in the place of control.
//!
//! Two memif interfaces, dynamic PAT from inside to outside, no ACL (the inside has the higher security level). testpmd's
//! flows come from 10.254.0.0 port 1000 and go to port 1001 of 10.253.0.0 and up: a million of them reach 11.12.66.63, and the only
//! one of these addresses that is not behind the outside router is the flows' own.

use crate::Failure;
use fedgate_tables::counters::{Counter, CountersReader, InterfaceCounter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{LINK_LAYOUT, LinkSocket, ToControl, ToDataplane};
use fedgate_tables::policy::{IF_MAC_SET, Interface, NONE, NatKind, NatRule, Route, one_addr};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;
use fedgate_wire::MacAddr;
use fedgate_wire::emit::Station;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the process may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Our outside address, 198.51.100.2.
pub const OUTSIDE: u32 = 0xc633_6402;
/// Inside and outside, in the order of testpmd's ports.
const ADDRESSES: [u32; 2] = [0x0afc_0001, OUTSIDE]; // 10.252.0.1
/// Where testpmd's flows come from.
pub const SOURCE: u32 = 0x0afe_0000; // 10.254.0.0
/// The router on the inside, 10.252.0.2.
const INSIDE_GATEWAY: u32 = 0x0afc_0002;
/// Our MACs. Whatever testpmd is told of its peers, its flows go to this first one.
pub const MACS: [[u8; 6]; 2] = [[0, 1, 2, 3, 4, 1], [2, 0, 0, 0, 0, 2]];
/// The router on the outside, 198.51.100.1, where this bench plays it.
pub const ROUTER: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 1]), ip: 0xc633_6401 };

/// A running dataplane with a policy.
pub struct Appliance {
    child: Child,
    link: LinkSocket,
    counters: CountersReader,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Frames received inside.
    pub received: u64,
    /// Frames sent outside.
    pub sent: u64,
    /// Connections built.
    pub conns: u64,
    /// Cycles of loops that found work.
    pub cycles: u64,
}

impl Appliance {
    /// Starts it in `folder`, where it makes the memif sockets `sockets`.
    pub fn start(
        folder: &Path,
        sockets: [&Path; 2],
        cpu: u32,
        other_cpu: u32,
        huge: bool,
        memory_mib: u32,
    ) -> Result<Self, Failure> {
        let socket = folder.join("dataplane.sock");
        let mut command = Command::new("setpriv");
        // Should this process be killed, no signal but this one ends one that stands still.
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_fedgate-dataplane")]);
        command.arg("--socket").arg(&socket);
        command.args(["--cpu-workers", &cpu.to_string(), "--cpu-main", &other_cpu.to_string()]);
        command.args(["--memory", &memory_mib.to_string(), "--mbufs", "16383", "--log", "warn"]);
        command.args((!huge).then_some("--no-huge"));
        let mut child = command.spawn()?;
        match attach(&socket, sockets) {
            Ok((link, counters)) => Ok(Self { child, link, counters }),
            Err(failure) => {
                child.kill()?;
                child.wait()?;
                Err(failure)
            }
        }
    }

    /// The counters as they are.
    pub fn counted(&self) -> Counted {
        let sum = |counter| self.counters.sum(counter);
        Counted {
            received: sum(Counter::Interface(0, InterfaceCounter::RxPackets)),
            sent: sum(Counter::Interface(1, InterfaceCounter::TxPackets)),
            conns: sum(Counter::Stat(Stat::ConnsBuilt)),
            cycles: sum(Counter::Stat(Stat::CyclesBusy)),
        }
    }

    /// Names and counts of what was dropped.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let all = DropReason::ALL.iter().map(|r| (r.name(), self.counters.sum(Counter::Drop(*r))));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Lets it stand still, so that its CPU is the peer's.
    pub fn pause(&self) -> Result<(), Failure> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<(), Failure> {
        self.signal(Signal::CONT)
    }

    /// Ends it.
    pub fn quit(mut self) -> Result<(), Failure> {
        self.resume()?;
        self.signal(Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// True while it answers.
    pub fn answers(&self) -> bool {
        let pong = |link: &LinkSocket| {
            link.send(&ToDataplane::Ping { id: 1 }, &[], Some(PATIENCE))?;
            loop {
                if let (ToControl::Pong { .. }, _) = link.recv::<ToControl>(Some(PATIENCE))? {
                    return Ok::<_, fedgate_tables::link::LinkError>(());
                }
            }
        };
        pong(&self.link).is_ok()
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no process")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says hello and has the policy adopted.
fn attach(socket: &Path, sockets: [&Path; 2]) -> Result<(LinkSocket, CountersReader), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let link = loop {
        match LinkSocket::connect(socket) {
            Ok(link) => break link,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    link.send(&ToDataplane::Hello { layout: LINK_LAYOUT, pid: std::process::id() }, &[], Some(PATIENCE))?;
    let (answer, fds) = link.recv::<ToControl>(Some(PATIENCE))?;
    let ToControl::HelloAck { .. } = answer else { return Err(format!("hello: {answer:?}").into()) };
    let fd = fds.into_iter().next().ok_or("no counters came")?;
    let counters = CountersReader::attach(Region::map_rw(fd)?)?;

    let segment = Region::sealed("fedgate-bench", &policy(sockets).finish(1)?)?;
    link.send(&ToDataplane::Policy { generation: 1 }, &[segment.fd()], Some(PATIENCE))?;
    loop {
        match link.recv::<ToControl>(Some(PATIENCE))?.0 {
            ToControl::Adopted { .. } => return Ok((link, counters)),
            ToControl::Refused { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
}

fn policy(sockets: [&Path; 2]) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let names = [("inside", 100, 0xffff_ff00), ("outside", 0, 0xffff_ff00)];
    for (i, (name, security, mask)) in names.into_iter().enumerate() {
        let path = sockets[i].display();
        let device = format!("net_memif{i},role=server,id=0,socket={path},socket-abstract=no");
        let (name, device) = (b.blob(name.as_bytes()), b.blob(device.as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: ADDRESSES[i],
            mask,
            mtu: 1500,
            security,
            flags: IF_MAC_SET,
            mac: MACS[i],
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: ROUTER.ip, ifindex: 1, metric: 1, ..Route::default() });
    b.route(Route { net: SOURCE, mask: !0, gateway: INSIDE_GATEWAY, ifindex: 0, metric: 1 });
    b.nat(NatRule {
        real_if: 0,
        mapped_if: 1,
        real: one_addr(SOURCE),
        mapped: one_addr(ADDRESSES[1]),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        ..NatRule::default()
    });
    b
}
