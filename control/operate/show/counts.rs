// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted, since it was last cleared, and what the programs are: `show drops`, `show counters`, `show version`, `show dataplane`.

use std::time::Instant;

use fedgate_tables::counters::{Counter, Gauge, Histo, Stat};
use fedgate_tables::drops::DropReason;
use serde_json::json;

use super::{attached, hms};
use crate::clock;
use crate::operate::cleared::Group;
use crate::operate::crypto::least_days_left;
use crate::operate::daemon::{Attached, Daemon, Standing};
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show asp drop`: what is zero is left out, counts end in column 80 (asa.md 5.4).
pub async fn drops(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let since = daemon.cleared.since(Group::Drops, &attached);
    out.note("\nFrame drop:\n").await?;
    for reason in DropReason::ALL {
        let count = since.count(Counter::Drop(*reason));
        if count > 0 {
            out.row(
                || drop_line(reason.text(), reason.name(), count),
                || json!({ "reason": reason.name(), "text": reason.text(), "count": count }),
            )
            .await?;
        }
    }
    let last = since.last();
    Ok(out.note(&format!("\nLast clearing: {last}\n\nFlow drop:\n\nLast clearing: {last}\n")).await?)
}

fn drop_line(text: &str, name: &str, count: u64) -> String {
    let left = format!("  {text} ({name})");
    let width = 79usize.saturating_sub(left.len());
    format!("{left} {count:>width$}")
}

/// `show counters`
pub async fn counters(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let since = daemon.cleared.since(Group::Counters, &attached);
    for stat in Stat::ALL {
        let value = since.count(Counter::Stat(*stat));
        out.row(
            || drop_line(stat.text(), stat.name(), value),
            || json!({ "name": stat.name(), "value": value }),
        )
        .await?;
    }
    for gauge in Gauge::ALL {
        let value = attached.counters.sum(Counter::Gauge(*gauge));
        out.row(
            || drop_line(gauge.text(), gauge.name(), value),
            || json!({ "name": gauge.name(), "value": value }),
        )
        .await?;
    }
    if let Some(days) = least_days_left(daemon, clock::now()) {
        let (text, name) = ("Days until the first certificate ends", "certificate_days_left");
        out.row(|| format!("  {text} ({name}): {days}"), || json!({ "name": name, "value": days })).await?;
    }
    for histo in Histo::ALL {
        let values = since.histo(*histo).hdr();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| values.value_at_quantile(q));
        let (count, most) = (values.len(), values.max());
        out.row(
            || {
                let name = histo.name();
                format!("  {} ({name}): {count} values, p50 {p50}, p99 {p99}, p99.9 {p999}, most {most}", histo.text())
            },
            || json!({ "name": histo.name(), "count": count, "p50": p50, "p99": p99, "p999": p999, "max": most }),
        )
        .await?;
    }
    Ok(out.note(&format!("\nLast clearing: {}\n", since.last())).await?)
}

/// `show version`
pub async fn version(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let version = env!("CARGO_PKG_VERSION");
    let pid = std::process::id();
    let attached = daemon.attached();
    let greeting = attached.as_ref().map(|attached| &attached.session.greeting);
    let now = clock::now().unsigned_abs();
    let (in_force, state) = standing(attached.as_deref());
    let up = greeting.map(|g| u32::try_from(now.saturating_sub(g.started_unix)).unwrap_or(u32::MAX));
    out.row(
        || match (greeting, up) {
            (Some(greeting), Some(up)) => format!(
                "fedgate {version}\ncontrol: process {pid}\ndataplane: process {}, up {}, {} workers\n{state}",
                greeting.pid,
                hms(up),
                greeting.workers
            ),
            _ => format!("fedgate {version}\ncontrol: process {pid}\ndataplane: not connected\n{state}"),
        },
        || {
            let dataplane = greeting.map(|g| json!({ "pid": g.pid, "up_seconds": up, "workers": g.workers }));
            json!({
                "version": version, "control": { "pid": pid }, "dataplane": dataplane,
                "in_force": in_force, "configuration": state,
            })
        },
    )
    .await?;
    Ok(())
}

/// Whether the dataplane runs by the configuration, and that in words.
fn standing(attached: Option<&Attached>) -> (bool, String) {
    match attached.map(Attached::standing) {
        None => (false, "configuration: not in force without a dataplane".to_owned()),
        Some(Standing::InForce) => (true, "configuration: in force".to_owned()),
        Some(Standing::Refused(why) | Standing::Held(why)) => {
            (false, format!("configuration: NOT in force: {why}"))
        }
    }
}

/// `show dataplane`
pub async fn dataplane(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let start = Instant::now();
    attached.session.ping().await?;
    let micros = start.elapsed().as_micros();
    let greeting = &attached.session.greeting;
    let generation = attached.counters.sum(Counter::Gauge(Gauge::PolicyGeneration));
    let (in_force, state) = standing(Some(&attached));
    let domains = daemon.with_table(|table| table.writer().generation()).unwrap_or(0);
    out.row(
        || {
            format!(
                "process {}, {} workers, answered in {micros} us\npolicy generation {generation}, domain table generation {domains}\n{state}",
                greeting.pid, greeting.workers
            )
        },
        || {
            json!({
                "pid": greeting.pid, "workers": greeting.workers, "answer_us": micros as u64,
                "policy_generation": generation, "domains_generation": domains,
                "in_force": in_force, "configuration": state,
            })
        },
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_end_in_column_80() {
        let line = drop_line("Flow is denied by configured rule", "acl-drop", 1234);
        assert_eq!(
            (line.len(), line.starts_with("  Flow is denied by configured rule (acl-drop)   ")),
            (80, true)
        );
        assert!(line.ends_with(" 1234"));
        let long = drop_line(&"x".repeat(90), "y", 5);
        assert!(long.ends_with(") 5"));
        let crowded = drop_line(&"x".repeat(70), "y", 5400);
        assert!(crowded.ends_with(") 5400"));
    }
}
