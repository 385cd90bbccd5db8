// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show domains`: our own domains, the lists, and what each entry let in and denied.

use fedgate_tables::counters::{Counter, DomainCounter};
use fedgate_tables::domains::Entry;
use serde_json::json;

use crate::config::domains::written;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;

const COLUMNS: [DomainCounter; 5] = [
    DomainCounter::PermittedIn,
    DomainCounter::PermittedOut,
    DomainCounter::DeniedNotPermitted,
    DomainCounter::DeniedPeer,
    DomainCounter::DeniedBlocked,
];

/// `show domains`
pub async fn domains(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let attached = daemon.attached();
    for local in &config.model.local_domains {
        out.row(|| format!("local domain {local}"), || json!({ "list": "local", "domain": local })).await?;
    }
    let heading = format!(
        "{:<40} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n",
        "Domain", "List", "In", "Out", "Not perm.", "Cert", "Blocked", "Peer"
    );
    out.note(&heading).await?;
    // A snapshot, because entries may change while a slow client reads; sorted, because the table has no order.
    let mut entries =
        daemon.with_table(|table| table.writer().entries().collect::<Vec<_>>()).unwrap_or_default();
    entries.sort_unstable_by(|a, b| (&a.name, a.wildcard).cmp(&(&b.name, b.wildcard)));
    for entry in &entries {
        let base = daemon.domain_base(entry.id);
        let counts = COLUMNS.map(|column| {
            let stands = count(attached.as_deref(), Counter::Domain(entry.id, column));
            stands.saturating_sub(base[column as usize])
        });
        let (name, list) = (name(entry), list(entry));
        out.row(
            || line(&name, list, counts, entry.peer.as_deref().unwrap_or("")),
            || row(&name, list, counts, entry.peer.as_deref()),
        )
        .await?;
    }
    let counts = COLUMNS.map(|column| count(attached.as_deref(), Counter::Unlisted(column)));
    out.row(|| line("(any other)", "-", counts, ""), || row("", "unlisted", counts, None)).await?;
    Ok(())
}

fn count(attached: Option<&Attached>, counter: Counter) -> u64 {
    attached.map_or(0, |attached| attached.counters.sum(counter))
}

fn name(entry: &Entry) -> String {
    format!("{}{}", if entry.wildcard { "*." } else { "" }, written(&entry.name))
}

fn list(entry: &Entry) -> &'static str {
    if entry.blocked { "block" } else { "permit" }
}

fn line(name: &str, list: &str, counts: [u64; 5], peer: &str) -> String {
    let [a, b, c, d, e] = counts;
    format!("{name:<40} {list:<7} {a:>9} {b:>9} {c:>9} {d:>9} {e:>9}  {peer}").trim_end().to_owned()
}

fn row(name: &str, list: &str, counts: [u64; 5], peer: Option<&str>) -> serde_json::Value {
    let mut row = json!({ "domain": name, "list": list, "peer": peer });
    for (column, count) in COLUMNS.iter().zip(counts) {
        row[column.name()] = count.into();
    }
    row
}
