// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show fragment`: virtual reassembly of each interface, in the ASA's layout: bounds, what waits, what became whole, and why
//! fragments were dropped. Read from shared memory; the daemon's one thread.

use fedgate_tables::counters::{Counter, FragmentCounter};
use fedgate_tables::policy::Globals;
use serde_json::json;

use super::attached;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::interfaces;

/// `show fragment [NAMEIF]`
pub async fn fragment(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    if let Some(only) = only.filter(|only| config.model.interface(only).is_none()) {
        return Err(Stop::Failed(format!("there is no interface `{only}`")));
    }
    let bounds = Bounds::of(&Globals::default());
    for (interface, ifindex) in interfaces(&config.model).zip(0u8..) {
        let name = interface.nameif.as_deref().unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            let count = |what| attached.counters.sum(Counter::Fragment(ifindex, what));
            out.row(|| text(name, bounds, count), || as_json(name, bounds, count)).await?;
        }
    }
    Ok(())
}

/// What holds for every interface.
#[derive(Clone, Copy)]
struct Bounds {
    size: u32,
    chain: u32,
    timeout: u32,
}

impl Bounds {
    fn of(globals: &Globals) -> Self {
        Self { size: globals.fragment_size, chain: globals.fragment_chain, timeout: globals.fragment_timeout }
    }
}

fn text(name: &str, bounds: Bounds, count: impl Fn(FragmentCounter) -> u64) -> String {
    use FragmentCounter::{Assembled, Chain, Duplicate, Length, Overlap, Queue, Size, Threshold, Timeout};
    let Bounds { size, chain, timeout } = bounds;
    format!(
        "Interface: {name}\n    Configuration: Size: {size}, Chain: {chain}, Timeout: {timeout}, Reassembly: virtual\n    \
         Run-time stats: Queue: {}, Full assembly: {}\n    Drops: Size overflow: {}, Timeout: {},\n           \
         Chain overflow: {}, Fragment queue threshold exceeded: {},\n           \
         Invalid IP len: {}, Reassembly overlap: {},\n           Duplicate: {}",
        count(Queue),
        count(Assembled),
        count(Size),
        count(Timeout),
        count(Chain),
        count(Threshold),
        count(Length),
        count(Overlap),
        count(Duplicate),
    )
}

fn as_json(name: &str, bounds: Bounds, count: impl Fn(FragmentCounter) -> u64) -> serde_json::Value {
    let mut row = json!({
        "interface": name, "size": bounds.size, "chain": bounds.chain, "timeout_seconds": bounds.timeout,
    });
    for what in FragmentCounter::ALL {
        row[what.name()] = count(*what).into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_shown_once() {
        let bounds = Bounds::of(&Globals::default());
        let count = |what| 1000 + what as u64;
        let shown = text("inside", bounds, count);
        assert!(shown.starts_with(
            "Interface: inside\n    Configuration: Size: 200, Chain: 24, Timeout: 5, Reassembly: virtual\n"
        ));
        let json = as_json("inside", bounds, count);
        for what in FragmentCounter::ALL {
            assert_eq!(shown.matches(&count(*what).to_string()).count(), 1, "{what:?}");
            assert_eq!(json[what.name()], count(*what));
        }
    }
}
