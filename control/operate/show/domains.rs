// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show domains`: our own domains, the lists, and what each entry let in and denied.

use fedgate_tables::counters::{Counter, DomainCounter};
use fedgate_tables::domains::Entry;
use serde_json::json;

use crate::config::domains::written;
use crate::config::model::federation::Federation;
use crate::names::book::Book;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;

const COLUMNS: [DomainCounter; 6] = [
    DomainCounter::PermittedIn,
    DomainCounter::PermittedOut,
    DomainCounter::DeniedNotPermitted,
    DomainCounter::DeniedPeer,
    DomainCounter::DeniedBlocked,
    DomainCounter::DeniedLimit,
];

/// `show domains`
pub async fn domains(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let attached = daemon.attached();
    for local in &config.model.local_domains {
        out.row(|| format!("local domain {local}"), || json!({ "list": "local", "domain": local })).await?;
    }
    let heading = format!(
        "{:<40} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n",
        "Domain", "List", "In", "Out", "Not perm.", "Cert", "Blocked", "Limit", "Peer"
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
    // What more is said of some of them, and of the rest.
    let of = |federation: &Federation| (!federation.is_empty()).then(|| federation.clone());
    let rest = of(&config.model.federation_default).map(|it| ("default", it));
    let each = config.model.federations.iter().filter_map(|(name, it)| Some((name.as_str(), of(it)?)));
    let targets = daemon.with_book(Book::targets);
    for (name, federation) in each.chain(rest) {
        let targets = federation.srv.then(|| targets.get(name).map_or(0, Vec::len));
        out.row(|| bounds(name, &federation, targets), || bounds_json(name, &federation, targets)).await?;
    }
    let counts = COLUMNS.map(|column| count(attached.as_deref(), Counter::Unlisted(column)));
    out.row(|| line("(any other)", "-", counts, ""), || row("", "unlisted", counts, None)).await?;
    Ok(())
}

fn count(attached: Option<&Attached>, counter: Counter) -> u64 {
    attached.map_or(0, |attached| attached.counters.sum(counter))
}

fn bounds(name: &str, federation: &Federation, targets: Option<usize>) -> String {
    let rate = federation.rate.map(|limit| format!("{} requests/s, {} at once", limit.0.rate, limit.0.burst));
    let sessions = federation.sessions.map(|most| format!("{most} connections"));
    let targets = targets.map(|targets| format!("{targets} edges by DNS (show dns)"));
    let all: Vec<String> = [rate, sessions, targets].into_iter().flatten().collect();
    format!("federation {name}: {}", all.join("; "))
}

fn bounds_json(name: &str, federation: &Federation, targets: Option<usize>) -> serde_json::Value {
    let rate = federation.rate.map(|limit| limit.0);
    json!({
        "list": "federation", "domain": name, "rate_limit": rate.map(|it| it.rate), "burst": rate.map(|it| it.burst),
        "maximum_session": federation.sessions, "targets": targets,
    })
}

fn name(entry: &Entry) -> String {
    format!("{}{}", if entry.wildcard { "*." } else { "" }, written(&entry.name))
}

fn list(entry: &Entry) -> &'static str {
    if entry.blocked { "block" } else { "permit" }
}

fn line(name: &str, list: &str, counts: [u64; 6], peer: &str) -> String {
    let [a, b, c, d, e, f] = counts;
    format!("{name:<40} {list:<7} {a:>9} {b:>9} {c:>9} {d:>9} {e:>9} {f:>9}  {peer}").trim_end().to_owned()
}

fn row(name: &str, list: &str, counts: [u64; 6], peer: Option<&str>) -> serde_json::Value {
    let mut row = json!({ "domain": name, "list": list, "peer": peer });
    for (column, count) in COLUMNS.iter().zip(counts) {
        row[column.name()] = count.into();
    }
    row
}
