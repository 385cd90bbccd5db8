// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every counter at one time, as `show top` gives it: what the daemon reads from shared memory, and the CLI makes rates of.
//!
//! One JSON object of some ten KiB. Names are those of `show counters` and `show drops`.

use std::collections::BTreeMap;

use fedgate_tables::counters::{Counter, Gauge, InterfaceCounter, Stat};
use fedgate_tables::drops::DropReason;
use serde::{Deserialize, Serialize};

use crate::operate::daemon::{Attached, Daemon, Standing};
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::operate::show::attached;
use crate::policy::interfaces;

/// A worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Cycles in loops that found work.
    pub busy: u64,
    /// All of its cycles.
    pub cycles: u64,
    /// Frames received.
    pub packets: u64,
    /// Connections in use.
    pub conns: u64,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `nameif`.
    pub name: String,
    /// By name.
    pub counters: BTreeMap<String, u64>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The appliance.
    pub hostname: String,
    /// How long the dataplane is there.
    pub up_seconds: u64,
    /// It runs by the configuration.
    pub in_force: bool,
    /// The workers.
    pub cores: Vec<Core>,
    /// In the order of the configuration.
    pub interfaces: Vec<Interface>,
    /// Levels.
    pub gauges: BTreeMap<String, u64>,
    /// What only grows.
    pub stats: BTreeMap<String, u64>,
    /// Drops that there were.
    pub drops: BTreeMap<String, u64>,
}

impl Sample {
    /// As of now.
    pub fn of(daemon: &Daemon, attached: &Attached) -> Self {
        let (config, counters) = (daemon.config(), &attached.counters);
        let at_ms = crate::clock::now_ms();
        let sum = |counter| counters.sum(counter);
        let of_interface = |(ifindex, name): (u8, String)| {
            let counter =
                |what: &InterfaceCounter| (what.name().to_owned(), sum(Counter::Interface(ifindex, *what)));
            Interface { name, counters: InterfaceCounter::ALL.iter().map(counter).collect() }
        };
        let named = (0..).zip(interfaces(&config.model).map(|i| i.nameif.clone().unwrap_or_default()));
        let interfaces: Vec<Interface> = named.map(of_interface).collect();
        let core = |worker| {
            let of = |counter| counters.of(worker, counter);
            let rx = |ifindex| of(Counter::Interface(ifindex, InterfaceCounter::RxPackets));
            Core {
                busy: of(Counter::Stat(Stat::CyclesBusy)),
                cycles: of(Counter::Gauge(Gauge::CyclesAll)),
                packets: (0..interfaces.len() as u8).map(rx).sum(),
                conns: of(Counter::Gauge(Gauge::ConnsInUse)),
            }
        };
        let drops = DropReason::ALL.iter().map(|r| (r.name().to_owned(), sum(Counter::Drop(*r))));
        Self {
            at_ms,
            hostname: config.model.name().to_owned(),
            up_seconds: (at_ms / 1000).saturating_sub(attached.session.greeting.started_unix),
            in_force: attached.standing() == Standing::InForce,
            cores: (0..counters.workers()).map(core).collect(),
            gauges: Gauge::ALL.iter().map(|g| (g.name().to_owned(), sum(Counter::Gauge(*g)))).collect(),
            stats: Stat::ALL.iter().map(|s| (s.name().to_owned(), sum(Counter::Stat(*s)))).collect(),
            drops: drops.filter(|(_, count)| *count > 0).collect(),
            interfaces,
        }
    }

    /// A level by name; 0 where the daemon has none so called.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges.get(gauge.name()).copied().unwrap_or(0)
    }

    /// A statistic by name.
    pub fn stat(&self, stat: Stat) -> u64 {
        self.stats.get(stat.name()).copied().unwrap_or(0)
    }
}

/// `show top`
pub async fn top(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let sample = Sample::of(daemon, &attached);
    let mut picture = super::view::Picture::default();
    picture.take(sample.clone());
    out.row(|| picture.text(super::ONCE).trim_end().to_owned(), || serde_json::json!(sample)).await?;
    Ok(())
}
