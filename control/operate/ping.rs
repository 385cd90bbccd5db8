// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ping`: asks the dataplane for echoes, one after the other, and prints what comes back in the ASA's layout.
//!
//! A request leaves by the packet path, from the address of the interface that leads to the host; its time is the dataplane's. The next is asked
//! for when the one before is answered or its time is over, so a ping costs the dataplane no more than a host that answers at once lets it.
//! Whoever asked is told of each as it comes, and ends it by going away. Bounds: [`MOST`] requests, [`PATIENCE`]; the clients there may be are
//! the pings there may be. Called by [`super::run`] on the daemon's one thread.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use fedgate_tables::link::{Addr, Echo, Echoed};
use fedgate_wire::emit_echo::{LEAST, LEAST6};
use serde_json::json;

use super::daemon::Daemon;
use super::run::Stop;
use super::server::Out;
use super::show::attached;
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::model::Model;
use crate::policy::interfaces;

/// Most requests of one command.
const MOST: u32 = 10_000;
/// How long each may be waited for, seconds.
const PATIENCE: RangeInclusive<u32> = 1..=60;
/// Bytes that every interface's frames have room for.
const LONGEST: u32 = 1500;
/// Marks in a line, as on the ASA.
const LINE: u32 = 70;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    host: IpAddr,
    echo: Echo,
    repeat: u32,
    timeout: u32,
}

/// Takes what stands behind `ping`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(model: &Model, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let named = |word: &str| interfaces(model).position(|i| i.nameif.as_deref() == Some(word));
    let ifindex = args.peek().and_then(named).map(|at| at as u8);
    if ifindex.is_some() {
        args.take("an interface")?;
    }
    let host = args.ip("an address, or an interface and an address")?;
    let least = if host.is_ipv4() { LEAST } else { LEAST6 };
    let (mut repeat, mut size, mut timeout) = (5, 100, 2);
    while args.peek().is_some() {
        match args.one_of(&["repeat", "size", "timeout"])? {
            0 => repeat = args.number("a number of requests", 1, MOST)?,
            1 => size = args.number("a number of bytes", least.into(), LONGEST)?,
            _ => timeout = args.number("a number of seconds", *PATIENCE.start(), *PATIENCE.end())?,
        }
    }
    args.end()?;
    Ok(Order { host, echo: Echo { ifindex, to: Addr::from(host), len: size as u16 }, repeat, timeout })
}

/// How long answers took, microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    answers: u32,
    least: u64,
    most: u64,
    sum: u64,
}

impl Times {
    fn add(&mut self, micros: u64) {
        self.least = if self.answers == 0 { micros } else { self.least.min(micros) };
        self.most = self.most.max(micros);
        self.sum = self.sum.saturating_add(micros);
        self.answers += 1;
    }

    /// Least, average and most; none without answers.
    fn spread(&self) -> Option<[u64; 3]> {
        (self.answers > 0).then(|| [self.least, self.sum / u64::from(self.answers), self.most])
    }

    fn text(&self, asked: u32) -> String {
        let percent = u64::from(self.answers) * 100 / u64::from(asked.max(1));
        let rate = format!("Success rate is {percent} percent ({}/{asked})", self.answers);
        match self.spread().map(|times| times.map(|micros| micros.div_ceil(1000).max(1))) {
            Some([least, average, most]) => {
                format!("{rate}, round-trip min/avg/max = {least}/{average}/{most} ms")
            }
            None => rate,
        }
    }
}

/// Asks, and prints the answers.
///
/// # Errors
/// Without a dataplane, where nothing can be sent there, or where nothing comes back.
pub async fn execute(daemon: &Daemon, order: Order, out: &mut Out) -> Result<(), Stop> {
    let Order { host, echo, repeat, timeout } = order;
    let attached = attached(daemon)?;
    out.note(&format!(
        "Sending {repeat}, {}-byte ICMP Echos to {host}, timeout is {timeout} seconds:\n",
        echo.len
    ))
    .await?;
    let mut times = Times::default();
    for asked in 1..=repeat {
        let mark = match attached.session.echo(echo, Duration::from_secs(timeout.into())).await? {
            None => "?",
            Some(Echoed::Answered { micros }) => {
                times.add(micros);
                "!"
            }
            Some(other) => {
                out.note("\n").await?;
                return Err(Stop::Failed(refusal(host, other)));
            }
        };
        out.note(mark).await?;
        if asked % LINE == 0 && asked < repeat {
            out.note("\n").await?;
        }
        out.flush().await?;
    }
    out.note("\n").await?;
    let object = || {
        let [least, average, most] = times.spread().map_or([None; 3], |times| times.map(Some));
        json!({
            "host": host, "size": echo.len, "timeout_seconds": timeout, "sent": repeat, "answered": times.answers,
            "min_us": least, "avg_us": average, "max_us": most,
        })
    };
    out.row(|| times.text(repeat), object).await?;
    match times.answers {
        0 => Err(Stop::Failed(format!("{host} does not answer"))),
        _ => Ok(()),
    }
}

fn refusal(host: IpAddr, why: Echoed) -> String {
    match why {
        Echoed::NoRoute => format!("No route to host {host}"),
        Echoed::NoPolicy => "the dataplane has no policy yet".to_owned(),
        Echoed::Own => format!("{host} is an address of this appliance"),
        Echoed::NotOneHost => format!("{host} is not the address of one host"),
        Echoed::Length { least, most } => format!("the interface there sends {least} to {most} bytes"),
        Echoed::NoBuffer => "the dataplane has no packet buffer".to_owned(),
        Echoed::Answered { .. } => format!("{host} answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_the_asas() {
        let mut times = Times::default();
        assert_eq!(times.text(5), "Success rate is 0 percent (0/5)");
        for micros in [300, 2900, 1001] {
            times.add(micros);
        }
        assert_eq!(times.text(5), "Success rate is 60 percent (3/5), round-trip min/avg/max = 1/2/3 ms");
        assert_eq!(times.spread(), Some([300, 1400, 2900]));
        times.add(0);
        assert_eq!(times.text(4), "Success rate is 100 percent (4/4), round-trip min/avg/max = 1/2/3 ms");
    }
}
