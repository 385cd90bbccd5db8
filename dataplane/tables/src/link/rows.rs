// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rows of the `show` commands, as the dataplane knows them: numbers and indices, which control puts names to.
//!
//! The housekeeping thread collects them from the workers in batches and [`Rows::split`]s a batch into messages by the
//! rows' true encoded size. Texts that a peer chose (certificate names, ciphers) are clipped first, so any single row fits
//! a message. Addresses and ports are host order, ages and timeouts seconds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text in a row or an event, bytes; longer ones are clipped.
pub const MAX_TEXT: usize = 1024;
/// Most certificate names in a row or an event; the rest is left out.
pub const MAX_IDENTITY: usize = 16;
/// Encoded rows in one message, bytes: leaves 2 KiB of the datagram for the rest of the message.
const ROWS_BUDGET: usize = super::MAX_DATAGRAM - 2048;

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Connections.
    Conns,
    /// Translations.
    Xlates,
    /// IPv4 neighbours.
    Arp,
    /// IPv6 neighbours; rows are [`Rows::Arp`].
    Neighbors6,
    /// TLS proxy sessions.
    Proxy,
    /// SIP dialogs.
    Sip,
    /// Ports.
    Ports,
    /// Addresses of dynamic NAT and how far they are used.
    Pools,
    /// Classes with connection settings.
    Classes,
    /// Hosts with connections: partial sums, which control adds up.
    Hosts,
    /// Members of `sip-pool`s: partial sums, which control adds up.
    Members,
}

/// An address of either family. In JSON a number for IPv4 (host order), a text for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Addr {
    /// IPv4, host order.
    V4(u32),
    /// IPv6.
    V6(Ipv6Addr),
}

impl Default for Addr {
    fn default() -> Self {
        Self::V4(0)
    }
}

impl From<u32> for Addr {
    fn from(addr: u32) -> Self {
        Self::V4(addr)
    }
}

impl From<u128> for Addr {
    fn from(addr: u128) -> Self {
        Self::V6(addr.into())
    }
}

impl From<IpAddr> for Addr {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::V4(addr.into()),
            IpAddr::V6(addr) => Self::V6(addr),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr {
            Addr::V4(addr) => Self::V4(addr.into()),
            Addr::V6(addr) => Self::V6(addr),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// Only rows with these; what is absent matches all. An address or port matches either end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Real or mapped address of either end.
    pub address: Option<Addr>,
    /// Real or mapped port of either end.
    pub port: Option<u16>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// The foreign domain of a SIP dialog.
    pub domain: Option<String>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Interface it is behind.
    pub ifindex: u8,
    /// Its own address.
    pub real: Addr,
    /// Its own port, or ICMP id.
    pub real_port: u16,
    /// The address the other end sees.
    pub mapped: Addr,
    /// The port the other end sees.
    pub mapped_port: u16,
}

/// Address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End2 {
    /// IPv4 address.
    pub addr: u32,
    /// Port.
    pub port: u16,
}

impl fmt::Display for End2 {
    /// `198.51.100.20:5061`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Ipv4Addr::from(self.addr), self.port)
    }
}

/// `show conn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnRow {
    /// Its number since the dataplane started.
    pub id: u64,
    /// IP protocol.
    pub proto: u8,
    /// Who sent the first packet.
    pub initiator: End,
    /// Who was called.
    pub responder: End,
    /// Opened from a lower security level.
    pub inbound: bool,
    /// Since the last packet.
    pub idle_secs: u32,
    /// Since the first.
    pub age_secs: u32,
    /// Goes after so long idle.
    pub timeout_secs: u32,
    /// Both ways.
    pub bytes: u64,
    /// Both ways.
    pub packets: u64,
    /// The ASA's letters.
    pub flags: String,
    /// TLS proxy session it belongs to.
    pub session: Option<u32>,
}

/// `show xlate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XlateRow {
    /// IP protocol; 0 for all.
    pub proto: u8,
    /// Interface of the real address.
    pub real_if: u8,
    /// Real address.
    pub real: u32,
    /// Real port; 0 for all.
    pub real_port: u16,
    /// Interface of the mapped address.
    pub mapped_if: u8,
    /// Mapped address.
    pub mapped: u32,
    /// Mapped port; 0 for all.
    pub mapped_port: u16,
    /// The ASA's letters.
    pub flags: String,
    /// Since the last packet.
    pub idle_secs: u32,
    /// Goes so long after its last connection; 0 for never.
    pub timeout_secs: u32,
    /// Connections that use it.
    pub conns: u32,
}

/// `show arp` and `show ipv6 neighbor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArpRow {
    /// Interface.
    pub ifindex: u8,
    /// Address.
    pub addr: Addr,
    /// Its station.
    pub mac: [u8; 6],
    /// Resolved, asking, proxy…
    pub state: String,
    /// Since it was last confirmed.
    pub age_secs: u32,
}

/// `show proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyRow {
    /// The session's number.
    pub session: u32,
    /// Index of the TLS proxy in the policy.
    pub tls_proxy: u32,
    /// The TCP client is the foreign side.
    pub outside_is_client: bool,
    /// The TCP client.
    pub client: End2,
    /// The TCP server.
    pub server: End2,
    /// State of the leg to the client.
    pub client_state: String,
    /// State of the leg to the server.
    pub server_state: String,
    /// Version and suite of the leg to the client.
    pub client_cipher: String,
    /// Version and suite of the leg to the server.
    pub server_cipher: String,
    /// Names in the foreign peer's certificate.
    pub identity: Vec<String>,
    /// SIP messages from outside.
    pub messages_in: u64,
    /// SIP messages from inside.
    pub messages_out: u64,
    /// SIP messages denied.
    pub denied: u64,
    /// Plain-text bytes from outside.
    pub bytes_in: u64,
    /// Plain-text bytes from inside.
    pub bytes_out: u64,
    /// Since it was opened.
    pub age_secs: u32,
    /// Since the last byte.
    pub idle_secs: u32,
    /// Bytes of memory it holds.
    pub memory: u32,
}

/// `show sip` and `show dialogs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipRow {
    /// Its Call-ID, as the peer wrote it.
    pub call_id: String,
    /// The ASA's word for where it is.
    pub state: String,
    /// What it is: a call, a subscription, a referral.
    pub usage: String,
    /// The outside began it.
    pub inbound: bool,
    /// The foreign domain, as far as it is known.
    pub domain: String,
    /// Who is outside: `user@host`.
    pub outside: String,
    /// Who is inside.
    pub inside: String,
    /// The inside server; its port is 0 where it is known as a client only.
    pub server: End2,
    /// Names in the foreign peer's certificate, a space between each.
    pub peer: String,
    /// What let in the message that began it: `domain`, `host` or `dialog`.
    pub check: String,
    /// The same of the last message.
    pub last_check: String,
    /// Since it began.
    pub age_secs: u32,
    /// Since the last SUBSCRIBE was agreed.
    pub subscribe_secs: Option<u32>,
    /// For how long that was.
    pub expires_secs: Option<u32>,
    /// The longest between two of them so far.
    pub refresh_secs: Option<u32>,
    /// Until the subscription ends.
    pub subscribed_secs: Option<u32>,
    /// Since the last message.
    pub idle_secs: u32,
    /// Until it is forgotten.
    pub left_secs: u32,
    /// A connection on which nothing is said for so long is ended; 0 for never.
    pub timeout_secs: u32,
    /// The worker that has it.
    pub worker: u32,
}

/// `show sip-pool`: a member, with what one worker counts; control adds the workers up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRow {
    /// The pool.
    pub pool: String,
    /// Where the member listens.
    pub member: End2,
    /// Its share.
    pub weight: u8,
    /// It gets nothing new.
    pub draining: bool,
    /// `up`, `down`, `probing` (checked, not known yet) or `unchecked`.
    pub health: String,
    /// Called last for so long, because a connection to it failed; 0 for no.
    pub avoided_secs: u32,
    /// Sessions with a connection to it.
    pub sessions: u32,
    /// Dialogs that it has.
    pub dialogs: u32,
    /// Requests sent to it.
    pub requests: u64,
    /// Connections to it that failed.
    pub failures: u64,
    /// What it last said to a health check: a SIP status, or how it failed; empty for nothing yet.
    pub answer: String,
    /// Since then.
    pub answer_secs: Option<u32>,
    /// Since its health last turned.
    pub turned_secs: Option<u32>,
}

/// `show interface`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRow {
    /// Interface.
    pub ifindex: u8,
    /// DPDK device.
    pub device: String,
    /// DPDK driver.
    pub driver: String,
    /// Own station.
    pub mac: [u8; 6],
    /// Link is up.
    pub link_up: bool,
    /// Link speed; 0 if unknown.
    pub speed_mbps: u32,
}

/// `show nat pool`: one address and protocol, as one worker uses it; control adds the workers up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRow {
    /// The address; for protocol 0 the /16 that addresses of dynamic NAT are of.
    pub addr: u32,
    /// IP protocol; 0 for addresses of dynamic NAT.
    pub proto: u8,
    /// Ports allocated below 512, below 1024, and above; for protocol 0 their sum is the addresses.
    pub allocated: [u32; 3],
    /// Ports in blocks that hosts have.
    pub block_ports: u32,
}

/// `show service-policy`: what one worker counts in a class; control adds the workers up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRow {
    /// [`crate::policy::ServiceClass::slot`].
    pub slot: u32,
    /// Connections.
    pub conns: u32,
    /// Those of them that are embryonic.
    pub embryonic: u32,
    /// First packets dropped at a bound of the class.
    pub refused: u64,
}

/// `show local-host`: some of a host's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRow {
    /// Interface it is behind.
    pub ifindex: u8,
    /// Its own address.
    pub addr: Addr,
    /// TCP connections.
    pub tcp: u32,
    /// UDP connections.
    pub udp: u32,
    /// Others.
    pub other: u32,
    /// Embryonic TCP connections to it.
    pub embryonic: u32,
    /// The least `per-client-max` among the classes of the connections that it began; 0 for none.
    pub limit: u32,
}

impl HostRow {
    /// Adds what another row of the same host says.
    pub fn add(&mut self, other: &Self) {
        self.tcp += other.tcp;
        self.udp += other.udp;
        self.other += other.other;
        self.embryonic += other.embryonic;
        self.limit = match (self.limit, other.limit) {
            (0, limit) | (limit, 0) => limit,
            (one, other) => one.min(other),
        };
    }
}

/// Rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// Connections.
    Conns(Vec<ConnRow>),
    /// Translations.
    Xlates(Vec<XlateRow>),
    /// Neighbours.
    Arp(Vec<ArpRow>),
    /// TLS proxy sessions.
    Proxy(Vec<ProxyRow>),
    /// SIP dialogs.
    Sip(Vec<SipRow>),
    /// Ports.
    Ports(Vec<PortRow>),
    /// Addresses of dynamic NAT.
    Pools(Vec<PoolRow>),
    /// Classes.
    Classes(Vec<ClassRow>),
    /// Hosts.
    Hosts(Vec<HostRow>),
    /// Members of `sip-pool`s.
    Members(Vec<MemberRow>),
}

impl Rows {
    /// The rows in parts that fit a datagram each, in order; at least one part.
    pub(super) fn split(self) -> Vec<Self> {
        match self {
            Self::Conns(rows) => parts(rows, |row| clip(&mut row.flags), Self::Conns),
            Self::Xlates(rows) => parts(rows, |row| clip(&mut row.flags), Self::Xlates),
            Self::Arp(rows) => parts(rows, |row| clip(&mut row.state), Self::Arp),
            Self::Proxy(rows) => parts(rows, clip_proxy, Self::Proxy),
            Self::Pools(rows) => parts(rows, |_| {}, Self::Pools),
            Self::Classes(rows) => parts(rows, |_| {}, Self::Classes),
            Self::Hosts(rows) => parts(rows, |_| {}, Self::Hosts),
            Self::Sip(rows) => parts(rows, clip_sip, Self::Sip),
            Self::Members(rows) => parts(rows, |row| clip(&mut row.pool), Self::Members),
            Self::Ports(rows) => {
                parts(rows, |row| [&mut row.device, &mut row.driver].into_iter().for_each(clip), Self::Ports)
            }
        }
    }
}

fn clip_proxy(row: &mut ProxyRow) {
    [&mut row.client_state, &mut row.server_state, &mut row.client_cipher, &mut row.server_cipher]
        .into_iter()
        .for_each(clip);
    clip_names(&mut row.identity);
}

fn clip_sip(row: &mut SipRow) {
    [&mut row.call_id, &mut row.domain, &mut row.outside, &mut row.inside, &mut row.peer]
        .into_iter()
        .for_each(clip);
}

/// Cuts a text to [`MAX_TEXT`] bytes at a character's border.
pub(super) fn clip(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
}

/// Cuts a list of names to [`MAX_IDENTITY`], and each of them.
pub(super) fn clip_names(names: &mut Vec<String>) {
    names.truncate(MAX_IDENTITY);
    names.iter_mut().for_each(clip);
}

/// Groups rows so that each group's encoding stays within the budget.
fn parts<R: Serialize>(rows: Vec<R>, clip: impl Fn(&mut R), wrap: impl Fn(Vec<R>) -> Rows) -> Vec<Rows> {
    let mut done = Vec::new();
    let (mut part, mut used) = (Vec::new(), 0);
    for mut row in rows {
        clip(&mut row);
        // 1 for the comma.
        let size = encoded_len(&row) + 1;
        if used + size > ROWS_BUDGET && !part.is_empty() {
            done.push(wrap(std::mem::take(&mut part)));
            used = 0;
        }
        used += size;
        part.push(row);
    }
    done.push(wrap(part));
    done
}

/// Bytes of a value's JSON.
fn encoded_len(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Rows are plain structs of numbers and strings: nothing in them can fail to encode, nor can counting.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
