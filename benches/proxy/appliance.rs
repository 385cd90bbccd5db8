// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dataplane process of the end-to-end harness, and this bench in the place of control.
//!
//! A federation border in small: two memif interfaces, the inside server 10.10.0.11 shown as 198.51.100.3 on port 5061, an access list that lets the
//! world call it, and a class that sends those calls to the TLS proxy. One domain is permitted.

use crate::Failure;
use crate::crowd::{PUBLIC, SERVER};
use crate::pki::Pki;
use fedgate_tables::counters::{Counter, CountersReader, Stat};
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{LINK_LAYOUT, LinkSocket, ToControl, ToDataplane};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;
use fedgate_wire::MacAddr;
use fedgate_wire::emit::Station;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the process may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ours, outside and inside: 198.51.100.2 and 10.10.0.1.
pub const ADDRESSES: [u32; 2] = [0xc633_6402, 0x0a0a_0001];
/// Our MACs.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// The outside router, 198.51.100.1, and the inside server.
pub const NEIGHBOURS: [Station; 2] = [
    Station { mac: MacAddr([2, 0, 0, 0, 1, 1]), ip: 0xc633_6401 },
    Station { mac: MacAddr([2, 0, 0, 0, 1, 2]), ip: SERVER.0 },
];

/// A running dataplane with a policy.
pub struct Appliance {
    child: Child,
    counters: CountersReader,
    /// Kept, because the process ends its policy with it.
    _link: LinkSocket,
    _domains: DomainWriter,
}

impl Appliance {
    /// Starts it in `folder`, where it makes the memif sockets `sockets`.
    pub fn start(
        pki: &Pki,
        folder: &Path,
        sockets: [&Path; 2],
        cpu: u32,
        other_cpu: u32,
    ) -> Result<Self, Failure> {
        let socket = folder.join("dataplane.sock");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_fedgate-dataplane")]);
        command.arg("--socket").arg(&socket);
        command.args(["--cpu-workers", &cpu.to_string(), "--cpu-main", &other_cpu.to_string()]);
        command.args([
            "--memory",
            "192",
            "--mbufs",
            "16383",
            "--log",
            "error",
            "--no-huge",
            "--max-sessions",
            "60000",
        ]);
        let mut child = command.spawn()?;
        match attach(pki, &socket, sockets) {
            Ok((_link, counters, _domains)) => Ok(Self { child, counters, _link, _domains }),
            Err(failure) => {
                child.kill()?;
                child.wait()?;
                Err(failure)
            }
        }
    }

    /// TSC ticks of loops that found work.
    pub fn cycles(&self) -> u64 {
        self.counters.sum(Counter::Stat(Stat::CyclesBusy))
    }

    /// Names and counts of what was dropped.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let all = DropReason::ALL.iter().map(|r| (r.name(), self.counters.sum(Counter::Drop(*r))));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Resident memory, KiB.
    pub fn resident_kib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Ends it.
    pub fn quit(mut self) -> Result<(), Failure> {
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says hello, and has the domains and the policy adopted.
fn attach(
    pki: &Pki,
    socket: &Path,
    sockets: [&Path; 2],
) -> Result<(LinkSocket, CountersReader, DomainWriter), Failure> {
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

    let mut domains = DomainWriter::create(64)?;
    domains.permit("foreign.example", false, None)?;
    let generation = domains.generation();
    link.send(&ToDataplane::Domains { generation }, &[domains.region().fd()], Some(PATIENCE))?;
    adopted(&link)?;
    let segment = Region::sealed("fedgate-bench", &policy(pki, sockets).finish(1)?)?;
    link.send(&ToDataplane::Policy { generation: 1 }, &[segment.fd()], Some(PATIENCE))?;
    adopted(&link)?;
    Ok((link, counters, domains))
}

fn adopted(link: &LinkSocket) -> Result<(), Failure> {
    loop {
        match link.recv::<ToControl>(Some(PATIENCE))?.0 {
            ToControl::Adopted { .. } => return Ok(()),
            ToControl::Refused { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
}

fn policy(pki: &Pki, sockets: [&Path; 2]) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let calls = Ace {
        dst: SERVER.0,
        dst_mask: !0,
        sport: ANY_PORT,
        dport: one_port(SERVER.1),
        proto: 6,
        flags: ACE_PERMIT,
        time_range: NONE16,
        line: 1,
        id: 1,
        ..Ace::default()
    };
    let name = b.blob(b"federation");
    let acl = b.acl(name, &[calls], &[]);
    for (i, (name, security)) in [("outside", 0), ("inside", 100)].into_iter().enumerate() {
        let device =
            format!("net_memif{i},role=server,id=0,socket={},socket-abstract=no", sockets[i].display());
        let (name, device) = (b.blob(name.as_bytes()), b.blob(device.as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: ADDRESSES[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            flags: IF_MAC_SET,
            mac: MACS[i],
            acl_in: if i == 0 { acl } else { NONE },
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: NEIGHBOURS[0].ip, ifindex: 0, metric: 1, ..Route::default() });
    b.nat(NatRule {
        real_if: 1,
        mapped_if: 0,
        real: one_addr(SERVER.0),
        mapped: one_addr(PUBLIC.0),
        kind: NatKind::Static as u8,
        section: 1,
        counter: 1,
        ..NatRule::default()
    });
    let (name, chain, key) =
        (b.blob(b"edge"), b.blob(pki.edge.chain.as_bytes()), b.blob(pki.edge.key.as_bytes()));
    let cas = b.blob(pki.authority.as_bytes());
    let edge = b.trustpoint(Trustpoint { name, chain, key, cas, ..Trustpoint::default() });
    let face = b.face(&[Shown { trustpoint: edge, ..Shown::default() }], &[edge]);
    let name = b.blob(b"inward");
    let tls_proxy = b.tls_proxy(TlsProxy { name, server: face, client: face, ..TlsProxy::default() });
    let name = b.blob(b"federation");
    b.class(ServiceClass {
        name,
        acl,
        tls_proxy,
        timeout_idle: NONE,
        timeout_half_closed: NONE,
        ..ServiceClass::default()
    });
    b.local_domain("local.example");
    b.globals(Globals::default());
    b
}
