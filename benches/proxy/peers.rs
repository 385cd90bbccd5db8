// SPDX-License-Identifier: MIT OR Apache-2.0
//! HAProxy and Kamailio as processes of this bench, each with one CPU and the settings of production, and the CPU time they take.
//!
//! Both end mutual TLS on 127.0.0.1:5061, the same certificates and suites as ours, and open it again to 127.0.0.1:5071; neither resumes
//! sessions, as ours does not. Time is the scheduler's account of all of their threads, system calls included. Kamailio forwards
//! statelessly, which is the least it can do, and compares the From domain with the certificate's name, which is much less than ours checks.

use crate::Failure;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a peer listens, and where what it calls does.
pub const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5061);
/// Behind it.
pub const BEHIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5071);
/// How long one may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running peer.
pub struct Peer(Child);

impl Peer {
    /// HAProxy; `folder` holds the certificates.
    pub fn haproxy(folder: &Path, cpu: u32) -> Result<Self, Failure> {
        let at = folder.display();
        let config = format!(
            "global\n nbthread 1\n maxconn 4000\n ssl-default-bind-options no-tls-tickets\n tune.ssl.cachesize 0\n\
             defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
             frontend front\n bind {PEER} ssl crt {at}/edge.pem ca-file {at}/ca.pem verify required\n default_backend back\n\
             backend back\n server one {BEHIND} ssl crt {at}/edge.pem ca-file {at}/ca.pem verify required no-ssl-reuse\n"
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config)?;
        Self::start(folder, cpu, &["haproxy", "-db", "-f", &file.display().to_string()])
    }

    /// Kamailio.
    pub fn kamailio(folder: &Path, cpu: u32) -> Result<Self, Failure> {
        let at = folder.display();
        let side = format!(
            "method = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n\
             certificate = {at}/edge.crt\nprivate_key = {at}/edge.key\nca_list = {at}/ca.pem\n"
        );
        std::fs::write(folder.join("tls.cfg"), format!("[server:default]\n{side}[client:default]\n{side}"))?;
        let config = format!(
            "#!KAMAILIO\nlog_stderror = yes\ndebug = 0\nchildren = 1\ntcp_children = 8\nauto_aliases = no\nenable_tls = yes\n\
             listen = tls:{PEER}\ntcp_max_connections = 4096\ntls_max_connections = 4096\ntcp_connection_lifetime = 3600\n\
             use_dns_cache = off\nmpath = \"/usr/lib/x86_64-linux-gnu/kamailio/modules/\"\n\
             loadmodule \"tls.so\"\nloadmodule \"pv.so\"\nloadmodule \"sl.so\"\nmodparam(\"tls\", \"config\", \"{at}/tls.cfg\")\n\
             request_route {{\n\
             if ($fd != \"foreign.example\" || $tls_peer_subject_cn != $fd) {{ sl_send_reply(\"403\", \"Forbidden\"); exit; }}\n\
             $du = \"sip:{BEHIND};transport=tls\";\nforward();\n}}\n"
        );
        let file = folder.join("kamailio.cfg");
        std::fs::write(&file, config)?;
        let arguments = [
            "kamailio",
            "-DD",
            "-E",
            "-m",
            "256",
            "-M",
            "16",
            "-Y",
            &at.to_string(),
            "-f",
            &file.display().to_string(),
        ];
        Self::start(folder, cpu, &arguments)
    }

    fn start(folder: &Path, cpu: u32, arguments: &[&str]) -> Result<Self, Failure> {
        let log = std::fs::File::create(folder.join(format!("{}.log", arguments[0])))?;
        let mut command = Command::new("taskset");
        command.args(["-c", &cpu.to_string(), "setpriv", "--pdeathsig", "KILL", "--"]).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut peer = Self(command.spawn().map_err(|e| format!("{}: {e}", arguments[0]))?);
        let start = Instant::now();
        while TcpStream::connect(PEER).is_err() {
            if start.elapsed() > PATIENCE || peer.0.try_wait()?.is_some() {
                let said = std::fs::read_to_string(folder.join(format!("{}.log", arguments[0])))?;
                return Err(format!("{} does not start: {said}", arguments[0]).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Seconds of a CPU that all of its processes have had.
    pub fn busy(&self) -> Result<f64, Failure> {
        Ok(family(self.0.id())?.into_iter().map(run_time).sum::<u64>() as f64 / 1e9)
    }

    /// Ends it.
    pub fn quit(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.0.id())?;
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for pid in family(self.0.id()).unwrap_or_default() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                // Gone already, mostly.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.0.wait();
    }
}

/// A process and its children, theirs included.
fn family(pid: u32) -> Result<Vec<u32>, Failure> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", all[next])).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    Ok(all)
}

/// Nanoseconds that the main thread of a process has run; these peers have one thread a process.
fn run_time(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
