// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show sip-pool`: the members of each pool, what they say to health checks and what they have to do.
//!
//! State and health are one for all workers, counts are each worker's and summed here. A pool that no `tls-proxy` uses is none of the
//! dataplane's: its members are told from the configuration.

use std::collections::{BTreeMap, BTreeSet};

use fedgate_tables::link::{End2, Filter, MemberRow, Rows, What};
use serde_json::json;

use super::{attached, hms, listing};
use crate::config::model::Model;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

const HEAD: &str = "  Member                State             Weight Sessions  Dialogs   Requests Failures  Last answer                     Last change\n";

/// Members by pool and address.
type Members = BTreeMap<(String, u32, u16), MemberRow>;

/// `show sip-pool [NAME]`
pub async fn sip_pool(daemon: &Daemon, name: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let model = &config.model;
    if let Some(name) = name.filter(|name| !model.sip_pools.contains_key(*name)) {
        return Err(Stop::Failed(format!("there is no sip-pool {name}")));
    }
    let members = members(daemon).await?;
    for (pool, of) in &model.sip_pools {
        if name.is_some_and(|name| name != pool) {
            continue;
        }
        let used: BTreeSet<&str> = users(model, pool).collect();
        let used = match used.is_empty() {
            true => "not used by any tls-proxy".to_owned(),
            false => format!("tls-proxy {}", used.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let check = match of.check() {
            Some(check) => {
                format!("OPTIONS every {} s, fail {}, rise {}", check.interval, check.fail, check.rise)
            }
            None => "no health check".to_owned(),
        };
        out.note(&format!("sip-pool {pool}: {used}; {check}\n{HEAD}")).await?;
        for (&(addr, port), share) in &of.members {
            let unused = || MemberRow {
                pool: pool.clone(),
                member: End2 { addr: addr.into(), port },
                weight: share.weight,
                draining: share.drain,
                health: "not in use".into(),
                ..MemberRow::default()
            };
            let known = members.get(&(pool.clone(), addr.into(), port)).cloned();
            let row = known.unwrap_or_else(unused);
            out.row(|| text(&row), || object(&row)).await?;
        }
    }
    Ok(())
}

/// What `show proxy` says of them: a line each, of those in use.
pub async fn brief(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    for row in members(daemon).await?.values() {
        let text = || {
            format!(
                "  sip-pool {} member {}: {}, {} sessions, {} dialogs, {} requests",
                row.pool,
                row.member,
                state(row),
                row.sessions,
                row.dialogs,
                row.requests
            )
        };
        out.row(text, || object(row)).await?;
    }
    Ok(())
}

async fn members(daemon: &Daemon) -> Result<Members, Stop> {
    let attached = attached(daemon)?;
    let mut members = Members::new();
    listing(&attached, What::Members, Filter::default(), async |rows| {
        let Rows::Members(rows) = rows else { return Ok(()) };
        for row in rows {
            let key = (row.pool.clone(), row.member.addr, row.member.port);
            members.entry(key).and_modify(|sum| add(sum, &row)).or_insert(row);
        }
        Ok(())
    })
    .await?;
    Ok(members)
}

fn add(sum: &mut MemberRow, row: &MemberRow) {
    sum.sessions += row.sessions;
    sum.dialogs += row.dialogs;
    sum.requests += row.requests;
    sum.failures += row.failures;
}

fn users<'m>(model: &'m Model, pool: &str) -> impl Iterator<Item = &'m str> {
    let users = model.tls_proxies.iter().filter(move |(_, proxy)| proxy.pool.as_deref() == Some(pool));
    users.map(|(name, _)| name.as_str())
}

fn state(row: &MemberRow) -> String {
    let mut state = row.health.clone();
    if row.draining {
        state.push_str(", draining");
    } else if row.avoided_secs > 0 && row.health != "down" {
        state.push_str(", avoided");
    }
    state
}

fn ago(secs: Option<u32>) -> String {
    secs.map_or("never".to_owned(), |secs| format!("{} ago", hms(secs)))
}

fn text(row: &MemberRow) -> String {
    let answer = match row.answer_secs {
        Some(secs) => format!("{}, {} ago", row.answer, hms(secs)),
        None => "none".to_owned(),
    };
    format!(
        "  {:<21} {:<17} {:>6} {:>8} {:>8} {:>10} {:>8}  {answer:<31} {}",
        row.member.to_string(),
        state(row),
        row.weight,
        row.sessions,
        row.dialogs,
        row.requests,
        row.failures,
        ago(row.turned_secs)
    )
}

fn object(row: &MemberRow) -> serde_json::Value {
    json!({
        "sip_pool": row.pool, "member": row.member.to_string(), "state": state(row), "health": row.health,
        "draining": row.draining, "avoided_seconds": row.avoided_secs, "weight": row.weight,
        "sessions": row.sessions, "dialogs": row.dialogs, "requests": row.requests, "failures": row.failures,
        "last_answer": row.answer, "last_answer_seconds": row.answer_secs, "last_change_seconds": row.turned_secs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> MemberRow {
        MemberRow {
            pool: "front".into(),
            member: End2 { addr: 0x0a0a_000b, port: 5061 },
            weight: 2,
            health: "up".into(),
            sessions: 1,
            dialogs: 3,
            requests: 1200,
            answer: "200".into(),
            answer_secs: Some(3),
            turned_secs: Some(720),
            ..MemberRow::default()
        }
    }

    #[test]
    fn a_member_is_a_line_under_its_head() {
        let mut row = row();
        let line = "  10.10.0.11:5061       up                     2        1        3       1200        0  200, 0:00:03 ago                0:12:00 ago";
        assert_eq!(text(&row), line);
        let column = |name: &str| HEAD.find(name).unwrap();
        assert_eq!(&line[column("State")..][..2], "up");
        assert_eq!(&line[column("Last answer")..][..3], "200");
        assert_eq!(&line[column("Last change")..], "0:12:00 ago");
        row.avoided_secs = 20;
        assert_eq!(state(&row), "up, avoided");
        row.draining = true;
        assert_eq!(state(&row), "up, draining");
        (row.health, row.draining) = ("down".into(), false);
        assert_eq!(state(&row), "down");
        (row.answer_secs, row.turned_secs) = (None, None);
        assert!(text(&row).contains(" none ") && text(&row).ends_with("never"));
    }

    #[test]
    fn workers_add_up() {
        let mut sum = row();
        add(&mut sum, &MemberRow { sessions: 2, dialogs: 1, requests: 5, failures: 4, ..row() });
        assert_eq!((sum.sessions, sum.dialogs, sum.requests, sum.failures), (3, 4, 1205, 4));
        assert_eq!(sum.health, "up");
    }
}
