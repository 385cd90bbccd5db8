// SPDX-License-Identifier: MIT OR Apache-2.0
//! The appliance's processes, its two configurations, and what memory it takes.
//!
//! Everything but the worker is on one CPU, with the traffic's generator. The processes go with the value, and should this one be killed, with it.

use crate::{Failure, Options};
use fedgate_acl::Rule;
use fedgate_acl::testing;
use std::fmt::{self, Display, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of inside and outside.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Of outside, 198.51.100.2; the router there is .1.
pub const OUTSIDE: u32 = 0xc633_6402;
/// The one client.
pub const CLIENT: u32 = 0x0afe_0001; // 10.254.0.1
/// The element that is added, halfway into the large list.
pub const ONE_MORE: &str =
    "access-list big line 50000 extended deny tcp host 192.0.2.1 host 192.0.2.2 eq 5061";

/// The processes.
pub struct Appliance {
    dataplane: Process,
    control: Process,
    cli: PathBuf,
    folder: PathBuf,
    cpu: String,
}

impl Appliance {
    /// Starts them in `folder` with the small configuration.
    pub fn start(folder: &Path, options: &Options) -> Result<Self, Failure> {
        let at = |name: &str| folder.join(name);
        std::fs::write(at("small.cfg"), small(folder)?)?;
        std::fs::write(at("large.cfg"), large(folder, options.lines)?)?;
        let (cpu, worker) = (options.other_cpu.to_string(), options.cpu.to_string());
        let (socket, listen) = (text(&at("dataplane.sock"))?, text(&at("control.sock"))?);
        // It sees to its threads' CPUs itself.
        let dataplane = Process::start(
            &format!("{cpu},{worker}"),
            Path::new(env!("CARGO_BIN_EXE_fedgate-dataplane")),
            &["--socket", &socket, "--cpu-workers", &worker, "--cpu-main", &cpu, "--memory", "192"],
            &["--mbufs", "16383", "--log", "warn"],
        )?;
        wait_for(&at("dataplane.sock"))?;
        let (config, state) = (text(&at("small.cfg"))?, text(&at("state"))?);
        let control = Process::start(
            &cpu,
            &options.control.join("fedgate-control"),
            &["--config", &config, "--state", &state, "--dataplane", &socket, "--listen", &listen],
            &["--log-level", "warn"],
        )?;
        wait_for(&at("control.sock"))?;
        let cli = options.control.join("fedgate");
        let appliance = Self { dataplane, control, cli, folder: folder.to_owned(), cpu };
        wait_for(&at("outside"))?;
        Ok(appliance)
    }

    /// The memif sockets of inside and outside.
    pub fn sockets(&self) -> [PathBuf; 2] {
        ["inside", "outside"].map(|name| self.folder.join(name))
    }

    /// The configuration with the large access-list.
    pub fn large(&self) -> PathBuf {
        self.folder.join("large.cfg")
    }

    /// The configuration with one line in its access-list.
    pub fn small(&self) -> PathBuf {
        self.folder.join("small.cfg")
    }

    /// Where the kernel says for how long the worker has waited for its CPU, nanoseconds: the second number (Documentation/scheduler/sched-stats).
    pub fn worker_waits(&self) -> Result<PathBuf, Failure> {
        Ok(self.dataplane.thread("rte-worker-1")?.join("schedstat"))
    }

    /// Types one command, and waits until it is done.
    pub fn command(&self, words: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cpu]).arg(&self.cli).arg("--socket").arg(self.folder.join("control.sock"));
        let output = command.args(words).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// What both processes have resident now; their peaks begin anew.
    pub fn memory(&self) -> Result<[u64; 2], Failure> {
        let of = |process: &Process| {
            // 5: forget the peak (proc_pid_clear_refs(5)).
            std::fs::write(format!("/proc/{}/clear_refs", process.0.id()), "5")?;
            process.status("VmRSS:")
        };
        Ok([of(&self.control)?, of(&self.dataplane)?])
    }

    /// By how much each was larger at its peak than `before`.
    pub fn growth(&self, before: &[u64; 2]) -> Result<Growth, Failure> {
        let peak = |process: &Process, before: u64| {
            Ok::<_, Failure>(process.status("VmHWM:")?.saturating_sub(before))
        };
        Ok(Growth { control: peak(&self.control, before[0])?, dataplane: peak(&self.dataplane, before[1])? })
    }
}

/// Gives a thread precedence over all that has no such priority; what it starts from then on has none.
pub fn real_time(thread: &str) -> Result<(), Failure> {
    let given = Command::new("chrt").args(["--reset-on-fork", "--fifo", "--pid", "50", thread]).status()?;
    if given.success() { Ok(()) } else { Err("no real-time priority to be had".into()) }
}

/// A process that ends with its value, and with the thread that started it.
struct Process(Child);

impl Process {
    /// On the CPUs `cpus`.
    fn start(cpus: &str, program: &Path, arguments: &[&str], more: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new("taskset");
        command.args(["-c", cpus, "setpriv", "--pdeathsig", "KILL", "--"]);
        Ok(Self(command.arg(program).args(arguments).args(more).spawn()?))
    }

    /// The folder of its thread of this name.
    fn thread(&self, name: &str) -> Result<PathBuf, Failure> {
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let path = task?.path();
            if std::fs::read_to_string(path.join("comm"))?.trim() == name {
                return Ok(path);
            }
        }
        Err(format!("no thread {name}").into())
    }

    /// A number of KiB in its status.
    fn status(&self, name: &str) -> Result<u64, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
        Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(path: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    while !path.exists() {
        if start.elapsed() > PATIENCE {
            return Err(format!("{} does not appear", path.display()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Growth to the peak, KiB. What both have mapped counts twice.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    control: u64,
    dataplane: u64,
}

impl Growth {
    /// Of both.
    pub fn mib(&self) -> f64 {
        (self.control + self.dataplane) as f64 / 1024.0
    }
}

impl Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "control {:.1} MiB, dataplane {:.1} MiB",
            self.control as f64 / 1024.0,
            self.dataplane as f64 / 1024.0
        )
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    Ok(path.to_str().ok_or("a folder whose name is not UTF-8")?.to_owned())
}

/// Two interfaces, PAT from inside to outside, and an access-list of one line.
fn small(folder: &Path) -> Result<String, Failure> {
    let mut out = head(folder)?;
    out.push_str("access-list small extended permit ip any any\naccess-group small in interface inside\n");
    Ok(out)
}

/// The same with a list of so many lines.
fn large(folder: &Path, lines: usize) -> Result<String, Failure> {
    let mut out = head(folder)?;
    for (n, rule) in testing::rules::<u32>(lines, 1).iter().enumerate() {
        line(&mut out, n, rule)?;
    }
    out.push_str("access-group big in interface inside\n");
    Ok(out)
}

fn head(folder: &Path) -> Result<String, Failure> {
    let mut out = String::from("hostname bench\n");
    let interfaces = [("inside", 100, "10.252.0.1"), ("outside", 0, "198.51.100.2")];
    for ((name, level, address), mac) in interfaces.into_iter().zip(MACS) {
        let path = text(&folder.join(name))?;
        let [a, b, c] = [0, 2, 4].map(|at| u16::from_be_bytes([mac[at], mac[at + 1]]));
        writeln!(out, "interface memif {path} server id 0\n nameif {name}\n security-level {level}")?;
        writeln!(out, " ip address {address} 255.255.255.0\n mac-address {a:04x}.{b:04x}.{c:04x}")?;
    }
    writeln!(
        out,
        "object network clients\n host {}\n nat (inside,outside) dynamic interface",
        Ipv4Addr::from(CLIENT)
    )?;
    out.push_str(
        "route outside 0.0.0.0 0.0.0.0 198.51.100.1 1\nroute inside 10.254.0.0 255.255.0.0 10.252.0.2 1\n",
    );
    Ok(out)
}

/// A rule as a line of the configuration; three of ten deny.
fn line(out: &mut String, n: usize, rule: &Rule<u32>) -> fmt::Result {
    let action = if n % 10 < 3 { "deny" } else { "permit" };
    let ports = |[first, last]: [u16; 2]| match (rule.proto, first, last) {
        (Some(6 | 17), 0, u16::MAX) => String::new(),
        (Some(6 | 17), first, last) if first == last => format!(" eq {first}"),
        (Some(6 | 17), first, last) => format!(" range {first} {last}"),
        _ => String::new(),
    };
    let address = |addr: u32, mask: u32| match mask {
        0 => "any4".to_owned(),
        u32::MAX => format!("host {}", Ipv4Addr::from(addr)),
        _ => format!("{} {}", Ipv4Addr::from(addr), Ipv4Addr::from(mask)),
    };
    let proto = rule.proto.map_or("ip".to_owned(), |proto| proto.to_string());
    let (src, dst) = (address(rule.src, rule.src_mask), address(rule.dst, rule.dst_mask));
    writeln!(
        out,
        "access-list big extended {action} {proto} {src}{} {dst}{}",
        ports(rule.sport),
        ports(rule.dport)
    )
}
