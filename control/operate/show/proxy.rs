// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show tls-proxy`: totals, members of pools, then the sessions, each leg with its state and cipher.

use fedgate_tables::counters::{Counter, Gauge, Histo, Stat};
use fedgate_tables::link::{Filter, ProxyRow, Rows, What};
use serde_json::json;

use super::{attached, hms, listing};
use crate::config::model::Model;
use crate::operate::daemon::Daemon;
use crate::operate::events::escaped;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::proxies;

/// What totals are about, by the beginnings of their names, in the order shown.
const TOTALS: [&str; 7] = ["proxy_", "tls_", "sip_", "pool_", "targets_", "media_", "events_"];

/// The totals, those of a kind in the order in which they are declared.
fn totals() -> impl Iterator<Item = Stat> {
    TOTALS
        .into_iter()
        .flat_map(|begins| Stat::ALL.iter().copied().filter(move |it| it.name().starts_with(begins)))
}

/// The TLS proxies in the order of their indices in the policy: by name, those that are complete.
pub fn names(model: &Model) -> Vec<&str> {
    proxies(model).into_iter().map(|(name, _)| name).collect()
}

/// `show proxy`
pub async fn proxy(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let gauge = |gauge| attached.counters.sum(Counter::Gauge(gauge));
    let (now, most) = (gauge(Gauge::ProxySessionsInUse), gauge(Gauge::ProxySessionsMostUsed));
    let memory = gauge(Gauge::ProxyMemoryBytes);
    out.row(
        || format!("{now} in use, {most} most used, {memory} bytes"),
        || json!({ "in_use": now, "most_used": most, "memory_bytes": memory }),
    )
    .await?;
    for stat in totals() {
        let value = attached.counters.sum(Counter::Stat(stat));
        out.row(
            || format!("  {:<60} {value:>10}", stat.text()),
            || json!({ "total": stat.name(), "value": value }),
        )
        .await?;
    }
    let handshakes = attached.counters.histo(Histo::HandshakeUs).hdr();
    let at = |quantile| handshakes.value_at_quantile(quantile);
    out.row(
        || {
            format!(
                "  TLS handshake time, microseconds: median {}, 99 % {}, longest {}",
                at(0.5),
                at(0.99),
                at(1.0)
            )
        },
        || json!({ "handshake_us": { "p50": at(0.5), "p99": at(0.99), "max": at(1.0) } }),
    )
    .await?;
    super::members::brief(daemon, out).await?;
    let config = daemon.config();
    let names = names(&config.model);
    listing(&attached, What::Proxy, Filter::default(), async |rows| {
        let Rows::Proxy(rows) = rows else { return Ok(()) };
        for row in &rows {
            let name = names.get(row.tls_proxy as usize).copied().unwrap_or("?");
            out.row(|| text(row, name), || object(row, name)).await?;
        }
        Ok(())
    })
    .await
}

fn identity(row: &ProxyRow) -> Vec<String> {
    row.identity.iter().map(|name| escaped(name)).collect()
}

fn text(row: &ProxyRow, name: &str) -> String {
    let side = |outside: bool| if outside { "outside" } else { "inside" };
    format!(
        "{} {} {} {} P:{name} session {} age {} idle {} memory {}\n\
         \x20   Client: State {}  Cipher {}\n\
         \x20   Server: State {}  Cipher {}\n\
         \x20   Peer: {}\n\
         \x20   Messages in {} out {} denied {}, bytes in {} out {}",
        side(row.outside_is_client),
        row.client,
        side(!row.outside_is_client),
        row.server,
        row.session,
        hms(row.age_secs),
        hms(row.idle_secs),
        row.memory,
        escaped(&row.client_state),
        escaped(&row.client_cipher),
        escaped(&row.server_state),
        escaped(&row.server_cipher),
        identity(row).join(" "),
        row.messages_in,
        row.messages_out,
        row.denied,
        row.bytes_in,
        row.bytes_out,
    )
}

fn object(row: &ProxyRow, name: &str) -> serde_json::Value {
    json!({
        "session": row.session, "tls_proxy": name, "outside_is_client": row.outside_is_client,
        "client": row.client.to_string(), "server": row.server.to_string(),
        "client_state": row.client_state, "server_state": row.server_state,
        "client_cipher": row.client_cipher, "server_cipher": row.server_cipher, "identity": row.identity,
        "messages_in": row.messages_in, "messages_out": row.messages_out, "denied": row.denied,
        "bytes_in": row.bytes_in, "bytes_out": row.bytes_out,
        "age_seconds": row.age_secs, "idle_seconds": row.idle_secs, "memory_bytes": row.memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_total_of_the_proxy_is_shown_and_no_other() {
        let shown: Vec<Stat> = totals().collect();
        for stat in [Stat::SipDeniedRefer, Stat::TargetsMoved, Stat::TlsUnvouched, Stat::EventsLost] {
            assert_eq!(shown.iter().filter(|it| **it == stat).count(), 1, "{}", stat.name());
        }
        assert!(!shown.contains(&Stat::ConnsBuilt) && !shown.contains(&Stat::InterceptCookies));
        for begins in TOTALS {
            assert!(Stat::ALL.iter().any(|stat| stat.name().starts_with(begins)), "{begins}");
        }
    }
}
