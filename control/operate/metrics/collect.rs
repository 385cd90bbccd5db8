// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands on the page. Every closed list of `fedgate_tables::counters` is there as a whole, by its own names, so that what is counted
//! tomorrow is there too; times are in seconds, sizes in bytes.
//!
//! Series are bounded: reasons, statistics and workers by those lists, interfaces by the configuration, domains by [`super::domains`], certificates and
//! collectors by the configuration. Rules of access-lists and NAT are not there: `show access-list --json` has their hits.

use fedgate_tables::counters::{
    Counter, CountersReader, DomainCounter, FragmentCounter, Gauge, Histo, InterfaceCounter, Stat,
};
use fedgate_tables::drops::DropReason;

use super::domains::{Ranking, counts};
use super::page::{Labels, Page, Value, histogram};
use crate::operate::daemon::{Attached, Daemon, Standing};
use crate::operate::show::load::resident;
use crate::policy::interfaces;
use crate::trust::facts;

/// Statistics that are told by worker: how busy each is.
const BY_WORKER: [Stat; 3] = [Stat::Bursts, Stat::EmptyPolls, Stat::CyclesBusy];

/// The page as of now.
pub fn collect(daemon: &Daemon, ranking: &Ranking) -> Page {
    let mut page = Page::default();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.family("fedgate_build_info", "Version of control").sample(version, Value::Gauge(1.0));
    let attached = daemon.attached();
    control(daemon, attached.as_deref(), &mut page);
    if let Some(attached) = attached {
        let counters = &attached.counters;
        dataplane(counters, &mut page);
        by_interface(daemon, counters, &mut page);
        domains(daemon, counters, ranking, &mut page);
    }
    page
}

fn control(daemon: &Daemon, attached: Option<&Attached>, page: &mut Page) {
    let in_force = attached.is_some_and(|attached| attached.standing() == Standing::InForce);
    let level = |is: bool| f64::from(u8::from(is));
    page.gauge("fedgate_dataplane_up", "Control is attached to a dataplane", level(attached.is_some()));
    page.gauge("fedgate_configuration_in_force", "The dataplane runs by the configuration", level(in_force));
    page.family("fedgate_resident_memory_bytes", "Memory of the two processes");
    let processes = [
        ("control", Some(std::process::id())),
        ("dataplane", attached.map(|attached| attached.session.greeting.pid)),
    ];
    for (process, pid) in processes {
        if let Some(bytes) = pid.and_then(resident) {
            page.sample(vec![("process", process.to_owned())], Value::Gauge(bytes as f64));
        }
    }
    let config = daemon.config();
    page.family("fedgate_certificate_not_after_timestamp_seconds", "When a certificate ends");
    for fact in facts::of(&config.material) {
        let kind = if fact.is_ca { "ca" } else { "identity" };
        // A serial number is one among those of its issuer.
        let labels = vec![
            ("trustpoint", fact.trustpoint),
            ("kind", kind.to_owned()),
            ("issuer", fact.issuer),
            ("serial", fact.serial),
        ];
        page.sample(labels, Value::Gauge(fact.not_after as f64));
    }
    let names = daemon.with_table(|table| table.writer().names()).unwrap_or(0);
    page.gauge("fedgate_domains", "Names in the domain table", f64::from(names));
    let syslog = daemon.log().syslog();
    let counts = syslog.counts();
    page.counter("fedgate_syslog_messages_buffered", "Messages put into the buffer", counts.buffered);
    page.counter(
        "fedgate_syslog_messages_limited",
        "Messages kept back by logging rate-limit",
        counts.limited,
    );
    let feeds = syslog.feeds();
    let each = |page: &mut Page, of: &dyn Fn(&crate::operate::syslog::feed::Counts) -> Value| {
        for (key, _, counts) in &feeds {
            page.sample(vec![("collector", key.to_string())], of(counts));
        }
    };
    page.family("fedgate_syslog_messages_sent", "Messages sent to a collector");
    each(page, &|counts| Value::Counter(counts.sent.get()));
    page.family("fedgate_syslog_messages_lost", "Messages lost that were for a collector");
    each(page, &|counts| Value::Counter(counts.lost.get()));
    page.family("fedgate_syslog_collector_up", "A collector is reached");
    each(page, &|counts| Value::Gauge(level(counts.up.get())));
    let exports = daemon.log().export().feeds();
    page.family("fedgate_flow_export_records_sent", "NAT events sent to a collector");
    for feed in &exports {
        page.sample(vec![("collector", feed.to.to_string())], Value::Counter(feed.records));
    }
    page.family("fedgate_flow_export_records_lost", "NAT events lost that were for a collector");
    for feed in &exports {
        page.sample(vec![("collector", feed.to.to_string())], Value::Counter(feed.lost));
    }
    let (flows, denied) = daemon.log().acl_flows();
    page.gauge("fedgate_acl_log_flows", "Flows remembered for message 106100", flows as f64);
    page.gauge("fedgate_acl_log_denied_flows", "Of those, denied ones", denied as f64);
}

fn dataplane(counters: &CountersReader, page: &mut Page) {
    let started = counters.started_unix() as f64;
    page.gauge("fedgate_dataplane_start_time_seconds", "When the dataplane started", started);
    page.family("fedgate_drops", "Frames dropped, by reason");
    for reason in DropReason::ALL {
        let labels = vec![("reason", reason.name().to_owned())];
        page.sample(labels, Value::Counter(counters.sum(Counter::Drop(*reason))));
    }
    for stat in Stat::ALL {
        let name = format!("fedgate_{}", stat.name());
        if BY_WORKER.contains(stat) {
            by_worker(counters, name, stat.text(), Counter::Stat(*stat), Value::Counter, page);
        } else {
            page.counter(name, stat.text(), counters.sum(Counter::Stat(*stat)));
        }
    }
    for gauge in Gauge::ALL {
        let (name, counter) = (format!("fedgate_{}", gauge.name()), Counter::Gauge(*gauge));
        match gauge {
            Gauge::CyclesAll => {
                by_worker(counters, "fedgate_cycles".to_owned(), gauge.text(), counter, Value::Counter, page);
            }
            Gauge::ConnsInUse | Gauge::XlatesInUse | Gauge::ProxySessionsInUse => {
                let level = |value| Value::Gauge(value as f64);
                by_worker(counters, name, gauge.text(), counter, level, page);
            }
            Gauge::ConnsMostUsed
            | Gauge::XlatesMostUsed
            | Gauge::ProxySessionsMostUsed
            | Gauge::ProxyMemoryBytes
            | Gauge::SipDialogsInUse
            | Gauge::MediaCallsInUse
            | Gauge::MediaPinholesInUse
            | Gauge::MbufsInUse
            | Gauge::PolicyGeneration => page.gauge(name, gauge.text(), counters.sum(counter) as f64),
        }
    }
    for histo in Histo::ALL {
        let (name, help, unit) = match histo {
            Histo::HandshakeUs => (
                "fedgate_tls_handshake_seconds",
                "Time from the first byte to the end of a TLS handshake",
                1e-6,
            ),
        };
        page.family(name, help).sample(vec![], histogram(&counters.histo(*histo), unit));
    }
}

fn by_worker(
    counters: &CountersReader,
    name: String,
    help: &'static str,
    counter: Counter,
    value: impl Fn(u64) -> Value,
    page: &mut Page,
) {
    page.family(name, help);
    for worker in 0..counters.workers() {
        page.sample(vec![("worker", worker.to_string())], value(counters.of(worker, counter)));
    }
}

fn by_interface(daemon: &Daemon, counters: &CountersReader, page: &mut Page) {
    let config = daemon.config();
    let names: Vec<(u8, Labels)> = (0..)
        .zip(interfaces(&config.model))
        .map(|(ifindex, interface)| {
            (ifindex, vec![("interface", interface.nameif.clone().unwrap_or_default())])
        })
        .collect();
    for what in InterfaceCounter::ALL {
        page.family(format!("fedgate_interface_{}", what.name()), what.text());
        for (ifindex, labels) in &names {
            let value = counters.sum(Counter::Interface(*ifindex, *what));
            page.sample(labels.clone(), Value::Counter(value));
        }
    }
    for what in FragmentCounter::ALL {
        page.family(format!("fedgate_interface_{}", what.name()), what.text());
        for (ifindex, labels) in &names {
            let value = counters.sum(Counter::Fragment(*ifindex, *what));
            let value = if *what == FragmentCounter::Queue {
                Value::Gauge(value as f64)
            } else {
                Value::Counter(value)
            };
            page.sample(labels.clone(), value);
        }
    }
}

fn domains(daemon: &Daemon, counters: &CountersReader, ranking: &Ranking, page: &mut Page) {
    page.family("fedgate_domain_requests", "SIP requests of the busiest domains of the lists, by verdict");
    for ranked in ranking.top() {
        let list = if ranked.blocked { "block" } else { "permit" };
        let counts = counts(counters, ranked.id, daemon.domain_base(ranked.id));
        for (verdict, count) in DomainCounter::ALL.iter().zip(counts) {
            let labels = vec![
                ("domain", ranked.name.clone()),
                ("list", list.to_owned()),
                ("verdict", verdict.name().to_owned()),
            ];
            page.sample(labels, Value::Counter(count));
        }
    }
    page.family("fedgate_unlisted_domain_requests", "SIP requests of domains on no list, by verdict");
    for verdict in DomainCounter::ALL {
        let labels = vec![("verdict", verdict.name().to_owned())];
        page.sample(labels, Value::Counter(counters.sum(Counter::Unlisted(*verdict))));
    }
}
