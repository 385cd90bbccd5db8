// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show dns`: whom control asks, and what it knows of the edges of each domain with `srv`.
//!
//! A target's state is what its next call depends on: refused by [`crate::names::guard`], lost (a worker told that it did not answer, and that
//! it went on to another), or usable. When it was lost is as far as was told; workers remember it for a minute.

use std::time::Instant;

use serde_json::json;

use crate::names::book::{Found, Known, Outcome};
use crate::names::guard::Guard;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show dns`
pub async fn dns(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let dns = &config.model.dns;
    let source = dns.source.map_or("as the host's routes say".to_owned(), |addr| addr.to_string());
    for server in &dns.servers {
        let (timeout, retries) = (dns.timeout(), dns.retries());
        out.row(
            || format!("Name server {server}, timeout {timeout} s, retries {retries}, from {source}"),
            || json!({ "server": server, "timeout_seconds": timeout, "retries": retries, "source": dns.source }),
        )
        .await?;
    }
    let (counts, domains) = daemon.with_book(|book| (book.counts(), book.domains().clone()));
    out.row(
        || {
            format!(
                "Domains asked for {}, found {}, nothing there {}, no answer {}",
                counts.asked, counts.found, counts.nothing, counts.failed
            )
        },
        || {
            json!({
                "asked": counts.asked, "found": counts.found, "nothing": counts.nothing, "failed": counts.failed,
            })
        },
    )
    .await?;
    let (guard, now) = (Guard::of(&config.model), Instant::now());
    for (name, known) in &domains {
        out.row(|| head(name, known, now), || head_json(name, known, now)).await?;
        if !known.found.is_empty() {
            out.note(&format!(
                "  {:>5} {:>6}  {:<32} {:<15} {:>5} {:>6}  State\n",
                "Prio", "Weight", "Target", "Address", "Port", "TTL"
            ))
            .await?;
        }
        let mut found = known.found.clone();
        found.sort_by_key(|it| it.target);
        for it in &found {
            let state = state(it, &guard, daemon, now);
            out.row(|| line(it, &state), || line_json(name, it, &state)).await?;
        }
    }
    Ok(())
}

fn head(name: &str, known: &Known, now: Instant) -> String {
    let outcome = match &known.outcome {
        Outcome::Unasked => "not asked yet".to_owned(),
        Outcome::Found(service) => format!("{service}, {} targets", known.found.len()),
        Outcome::Nothing => "there are no records".to_owned(),
        Outcome::Failed(why) => format!("no answer: {}", crate::operate::events::escaped(why)),
    };
    let asked = known.asked.map_or(String::new(), |at| format!(", asked {} s ago", seconds(at, now)));
    format!("Domain {name}: {outcome}{asked}, again in {} s", seconds(now, known.due))
}

fn head_json(name: &str, known: &Known, now: Instant) -> serde_json::Value {
    let (outcome, service, why) = match &known.outcome {
        Outcome::Unasked => ("unasked", None, None),
        Outcome::Found(service) => ("found", Some(*service), None),
        Outcome::Nothing => ("nothing", None, None),
        Outcome::Failed(why) => ("failed", None, Some(why.as_str())),
    };
    json!({
        "domain": name, "outcome": outcome, "service": service, "why": why, "targets": known.found.len(),
        "asked_seconds": known.asked.map(|at| seconds(at, now)), "again_seconds": seconds(now, known.due),
    })
}

fn state(found: &Found, guard: &Guard, daemon: &Daemon, now: Instant) -> String {
    if let Err(why) = guard.judge(found.target.addr) {
        return format!("refused: {why}");
    }
    match daemon.log().lost_at(found.target.addr, found.target.port) {
        Some(at) => format!("lost {} s ago", seconds(at, now)),
        None => "usable".to_owned(),
    }
}

fn line(found: &Found, state: &str) -> String {
    let Found { name, target, ttl } = found;
    format!(
        "  {:>5} {:>6}  {name:<32} {:<15} {:>5} {ttl:>6}  {state}",
        target.priority,
        target.weight,
        target.addr.to_string(),
        target.port
    )
}

fn line_json(domain: &str, found: &Found, state: &str) -> serde_json::Value {
    let Found { name, target, ttl } = found;
    json!({
        "domain": domain, "target": name, "address": target.addr, "port": target.port, "priority": target.priority,
        "weight": target.weight, "ttl_seconds": ttl, "state": state,
    })
}

fn seconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_secs()
}
