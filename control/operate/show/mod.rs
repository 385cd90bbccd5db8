// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `show` commands, in the ASA's layouts where it has one; with JSON, one object a line.
//!
//! Rows that live in the dataplane come in pieces and are written as they come; what is counted is read from shared memory.

pub mod acl;
pub mod commits;
pub mod conn;
pub mod counts;
pub mod crypto;
pub mod dialogs;
pub mod domains;
pub mod fragment;
pub mod hosts;
pub mod load;
pub mod logging;
pub mod members;
pub mod net;
pub mod net6;
pub mod pools;
pub mod proxy;
pub mod rules;
pub mod service;
pub mod statics;
pub mod text;

use std::net::{IpAddr, Ipv4Addr};

use fedgate_tables::link::{Filter, Rows, What};

use super::daemon::{Attached, Daemon};
use super::run::Stop;
use super::session::{Gone, Part};
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::domains::canonical;
use crate::config::ports::{ICMP, ICMP6, TCP, UDP};
use crate::policy::interfaces;

/// `address A`, `port P`, `protocol P`, `domain D`, `count` after a command.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these.
    pub filter: Filter,
    /// How many, not which.
    pub count: bool,
    /// How much of each.
    pub layout: conn::Layout,
}

impl Selection {
    /// Takes what is there, in any order.
    pub fn parse(args: &mut Args<'_, '_>, may_count: bool, may_detail: bool) -> Result<Self, Problem> {
        let mut selection = Self::default();
        let words = ["address", "port", "protocol", "count", "detail", "long"];
        let known = if may_detail { &words[..] } else { &words[..4] };
        while args.peek().is_some() {
            match args.one_of(known)? {
                0 => {
                    let addr = args.parsed("an address", str::parse::<IpAddr>)?;
                    selection.filter.address = Some(addr.into());
                }
                1 => selection.filter.port = Some(args.number("a port", 0, 65535)? as u16),
                2 => {
                    let known = args.one_of(&["tcp", "udp", "icmp", "icmp6"])?;
                    selection.filter.proto = Some([TCP, UDP, ICMP, ICMP6][known]);
                }
                4 => selection.layout = conn::Layout::Detail,
                5 => selection.layout = conn::Layout::Long,
                _ if may_count => selection.count = true,
                _ => return Err(args.wrong("`count` belongs to show")),
            }
        }
        Ok(selection)
    }

    /// The same for dialogs: `domain D` and `detail`.
    pub fn of_dialogs(args: &mut Args<'_, '_>, may_detail: bool) -> Result<Self, Problem> {
        let mut selection = Self::default();
        let known = if may_detail { &["domain", "detail"][..] } else { &["domain"] };
        while args.peek().is_some() {
            match args.one_of(known)? {
                0 => selection.filter.domain = Some(args.parsed("a domain", canonical)?),
                _ => selection.layout = conn::Layout::Detail,
            }
        }
        Ok(selection)
    }

    /// Whether more is asked for than usual.
    pub fn detail(&self) -> bool {
        self.layout != conn::Layout::Short
    }
}

/// Asks for rows and gives them piece by piece to `each`.
pub async fn listing(
    attached: &Attached,
    what: What,
    filter: Filter,
    mut each: impl AsyncFnMut(Rows) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut parts = attached.session.list(what, filter).await?;
    loop {
        match parts.recv().await {
            Some(Part::Rows(rows)) => each(rows).await?,
            Some(Part::End) => return Ok(()),
            None => {
                return Err(Stop::Failed(
                    "the list was cut short: the dataplane went, or the rows were not read fast enough"
                        .to_owned(),
                ));
            }
        }
    }
}

/// The dataplane, which the command cannot do without.
pub fn attached(daemon: &Daemon) -> Result<std::rc::Rc<Attached>, Stop> {
    daemon.attached().ok_or_else(|| Gone.into())
}

/// Names and security levels of the interfaces, by index.
pub struct IfNames(Vec<(String, u8)>);

impl IfNames {
    /// Those of the configuration in force.
    pub fn new(daemon: &Daemon) -> Self {
        let config = daemon.config();
        let name = |i: &crate::config::model::Interface| (i.nameif.clone().unwrap_or_default(), i.security());
        Self(interfaces(&config.model).map(name).collect())
    }

    /// How many there are.
    pub fn count(&self) -> u8 {
        self.0.len() as u8
    }

    /// `outside`.
    pub fn name(&self, ifindex: u8) -> &str {
        self.0.get(usize::from(ifindex)).map_or("?", |(name, _)| name)
    }
}

/// An address of a row.
pub fn ip(addr: u32) -> Ipv4Addr {
    Ipv4Addr::from(addr)
}

/// `h:mm:ss`.
pub fn hms(seconds: u32) -> String {
    crate::config::types::Seconds(seconds).to_string()
}

/// `0011.2233.4455`.
pub fn mac(mac: [u8; 6]) -> String {
    crate::config::types::Mac(mac).to_string()
}

/// `TCP`.
pub fn proto_upper(proto: u8) -> String {
    crate::config::ports::proto_text(proto).to_uppercase()
}
