// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators see of the proxy: sessions, the dialogs that they carry, the members of pools.
//!
//! Pages of listings, as [`super::command`] asks for them: a bounded number of entries a loop. Members are few, and told all at once, with
//! this worker's part of the counts. Worker core, at an operator's pace.

use super::clock::Now;
use super::command::{Clear, Dump, PAGE, SCAN};
use super::net::Net;
use super::proxied::Sessions;
use super::runtime::View;
use fedgate_proxy::pool::Pool;
use fedgate_sip::dialog::{Check, Row, State, Usage};
use fedgate_sip::domain::Domain;
use fedgate_tables::link::{End2, Filter, ProxyRow, Rows, SipRow};
use std::sync::Arc;

/// A page of sessions.
pub(super) fn sessions(dump: &Dump, net: &Net, sessions: &Sessions, now: Now) -> (Rows, Option<u32>) {
    let rows = sessions.engine.rows(now.proxy()).skip(dump.cursor as usize).take(PAGE);
    let rows: Vec<_> = rows.map(|row| ProxyRow { session: net.session_number(row.session), ..row }).collect();
    let next = (rows.len() == PAGE).then_some(dump.cursor + PAGE as u32);
    (Rows::Proxy(rows), next)
}

/// A page of dialogs.
pub(super) fn dialogs(
    dump: &Dump,
    net: &Net,
    sessions: &Sessions,
    view: Option<&View<'_>>,
    now: Now,
) -> (Rows, Option<u32>) {
    let Ok(domain) = domain(&dump.filter) else { return (Rows::Sip(Vec::new()), None) };
    let timeout = view.map_or(0, |view| view.flow.globals.timeout_sip);
    let dialogs = sessions.engine.dialogs();
    let (found, next) = dialogs.page(dump.cursor as usize, PAGE, SCAN, domain.as_ref(), now.proxy().0);
    let row = |row| SipRow { timeout_secs: timeout, worker: net.worker().into(), ..dialog(row) };
    (Rows::Sip(found.into_iter().map(row).collect()), next.map(|at| at as u32))
}

/// Forgets dialogs, a bounded number.
pub(super) fn clear(clear: &Clear, sessions: &mut Sessions) -> (u64, Option<u32>) {
    let Ok(domain) = domain(&clear.filter) else { return (0, None) };
    let (count, next) = sessions.engine.clear_dialogs(clear.cursor as usize, SCAN, domain.as_ref());
    (count, next.map(|at| at as u32))
}

/// The members of all pools that are in use.
pub(super) fn members(sessions: &Sessions, view: &View<'_>, now: Now) -> Rows {
    let mut pools: Vec<&Arc<Pool>> = Vec::new();
    for pool in view.image.tls.iter().flatten().filter_map(|tls| tls.pool()) {
        if !pools.iter().any(|known| Arc::ptr_eq(known, pool)) {
            pools.push(pool);
        }
    }
    Rows::Members(pools.iter().flat_map(|pool| sessions.engine.member_rows(pool, now.proxy())).collect())
}

/// The domain that is asked for; an error where nothing can have it.
fn domain(filter: &Filter) -> Result<Option<Domain>, ()> {
    let domain = filter.domain.as_ref().map(|domain| Domain::canonical(domain.as_bytes()));
    domain.transpose().map_err(|_| ())
}

fn dialog(row: Row<'_>) -> SipRow {
    let secs = |micros: u64| u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
    let host = row.outside.rsplit('@').next().unwrap_or_default();
    let domain = Domain::canonical(host.as_bytes()).map_or(host.to_owned(), |it| it.as_str().to_owned());
    let [check, last_check] = row.checks.map(|check| match check {
        Check::Domain => "domain",
        Check::Host => "host",
        Check::Dialog => "dialog",
    });
    SipRow {
        call_id: row.call_id.into(),
        state: match row.state {
            State::Init => "Call init",
            State::Active => "Active",
            State::Closing => "Call closing",
        }
        .into(),
        usage: match row.usage {
            Usage::Call => "call",
            Usage::Subscription => "subscription",
            Usage::Refer => "referral",
        }
        .into(),
        inbound: row.inbound,
        domain,
        outside: row.outside.into(),
        inside: row.inside.into(),
        server: End2 { addr: row.server.0, port: row.server.1 },
        peer: row.peer.into(),
        check: check.into(),
        last_check: last_check.into(),
        age_secs: secs(row.age),
        subscribe_secs: row.subscribe.map(|(since, _)| secs(since)),
        expires_secs: row.subscribe.map(|(_, expires)| expires),
        refresh_secs: row.refresh.map(secs),
        subscribed_secs: row.subscribed.map(secs),
        idle_secs: secs(row.idle),
        left_secs: secs(row.left),
        timeout_secs: 0,
        worker: 0,
    }
}
