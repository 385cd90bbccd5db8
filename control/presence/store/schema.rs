// SPDX-License-Identifier: MIT OR Apache-2.0
//! The schema and how it came about: one step a version, run forward in one transaction.
//!
//! A step, once released, is never changed; a new one is put behind it. The version is the number of steps that have run.
//! Text keys compare by octets in both databases for the ASCII that addresses are made of. Called when a store is opened.

use super::*;

const STEPS: &[&[&str]] = &[FIRST, PREFERENCES, GROUPS, LEASE];

const FIRST: &[&str] = &[
    "CREATE TABLE policy (owner TEXT NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, verdict TEXT NOT NULL, \
     PRIMARY KEY (owner, kind, who))",
    "CREATE TABLE contact (owner TEXT NOT NULL, contact TEXT NOT NULL, name TEXT NOT NULL, \
     PRIMARY KEY (owner, contact))",
    "CREATE TABLE asked (owner TEXT NOT NULL, watcher TEXT NOT NULL, since BIGINT NOT NULL, \
     PRIMARY KEY (owner, watcher))",
    "CREATE TABLE subscription (tag TEXT NOT NULL PRIMARY KEY, resource TEXT NOT NULL, watcher TEXT NOT NULL, \
     package TEXT NOT NULL, event_id TEXT NOT NULL, expires BIGINT NOT NULL, dialog TEXT NOT NULL)",
    "CREATE TABLE publication (etag TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, expires BIGINT NOT NULL, \
     reach TEXT NOT NULL, note TEXT NOT NULL)",
    "CREATE TABLE binding (owner TEXT NOT NULL, contact TEXT NOT NULL, expires BIGINT NOT NULL, \
     cseq BIGINT NOT NULL, call_id TEXT NOT NULL, PRIMARY KEY (owner, contact))",
];

const PREFERENCES: &[&str] = &[
    "CREATE TABLE preference (owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, name))",
];

/// Of contacts; a line each.
const GROUPS: &[&str] = &["ALTER TABLE contact ADD COLUMN in_groups TEXT NOT NULL DEFAULT ''"];

const LEASE: &[&str] = &[
    "CREATE TABLE lease (id BIGINT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token BIGINT NOT NULL, until BIGINT NOT NULL)",
    "INSERT INTO lease (id, holder, token, until) VALUES (1, '', 0, 0)",
];

/// So that of two nodes that start at once only one does it.
const ALONE: &str = "SELECT pg_advisory_xact_lock(7310582316)";

pub(super) async fn migrate(db: &mut AnyConnection, is_shared: bool) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let mut tx = db.begin().await?;
    if is_shared {
        tx.execute(ALONE).await?;
    }
    tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    let row = sqlx::query("SELECT version FROM schema_version").fetch_optional(&mut *tx).await?;
    let found = match row {
        Some(row) => row.try_get::<i64, _>(0)?,
        None => {
            tx.execute("INSERT INTO schema_version (version) VALUES (0)").await?;
            0
        }
    };
    if found > known {
        return Err(StoreError::Later { found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        for statement in *step {
            tx.execute(*statement).await?;
        }
    }
    if found < known {
        let update = format!("UPDATE schema_version SET version = {known}");
        tx.execute(AssertSqlSafe(update)).await?;
    }
    Ok(tx.commit().await?)
}
