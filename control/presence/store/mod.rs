// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store: what must outlive the process, in SQLite or PostgreSQL by the same statements.
//!
//! The core decides in memory and says what to write ([`Write`]); nothing that depends on a write leaves the node before the
//! transaction it is in has been committed to the disk. Writes are gathered while one transaction is being committed and go into the
//! next one together (group commit), so a slow disk costs delay and not throughput. At the start everything is read once
//! ([`Store::load`]).
//!
//! The statements hold to what both databases read alike: text and 64-bit numbers, `$1`, upserts. SQLite runs with a write-ahead log
//! and `synchronous=FULL`: a committed transaction survives kill -9 and the loss of power.
//! A PostgreSQL may be two nodes', of which one writes at a time ([`Lease`]). The schema's version stands in the store; migrations run forward in one transaction, and a store from a later version is refused.
//!
//! One connection, owned by the driver's store task.

mod lease;
mod schema;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::aor::Aor;
use crate::contact::Contact;
use crate::dialog::Dialog;
use crate::ids::Tag;
use crate::presence::policy::{Subject, Verdict};
use crate::presence::state::{Presence, Reach};
pub(crate) use lease::Lease;

/// Why the store failed. All are final: the node ends, and nothing it has not written has been acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Of the database.
    #[error("the store: {0}")]
    Database(#[from] sqlx::Error),
    /// Made by a later version of this program.
    #[error("the store has version {found}, this program knows {known}")]
    Later {
        /// Of the store.
        found: i64,
        /// Of the program.
        known: i64,
    },
    /// Another node has it now: nothing of this transaction has been written.
    #[error("the store is another node's now")]
    Lost,
    /// A row that this program cannot have written.
    #[error("the store: a row of {table} is damaged: {key}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// Its key.
        key: String,
    },
}

/// Which event package a subscription is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Package {
    /// `presence` (RFC 3856).
    Presence,
    /// `presence.winfo` (RFC 3857).
    Winfo,
}

impl Package {
    /// As the Event header has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Winfo => "presence.winfo",
        }
    }

    /// The package of an Event header's value without parameters.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Presence, Self::Winfo].into_iter().find(|package| package.name() == name)
    }
}

/// An inbound subscription as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSubscription {
    /// Its dialog.
    pub dialog: Dialog,
    /// Who is watched.
    pub resource: Aor,
    /// Who watches.
    pub watcher: Aor,
    /// What.
    pub package: Package,
    /// The `id` of the Event header, which NOTIFYs repeat.
    pub event_id: Option<Box<str>>,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A user's decision; `None` takes it back.
    Policy(Aor, Subject, Option<Verdict>),
    /// A contact of a user; `None` removes it.
    Contact(Aor, Aor, Option<Contact>),
    /// Somebody asks to watch a user (time in ms), or no longer does.
    Asked(Aor, Aor, Option<u64>),
    /// A subscription is made or refreshed.
    Subscribed(Box<StoredSubscription>),
    /// It has ended.
    Unsubscribed(Tag),
    /// What one device says: entity tag, whose, until when (ms), what.
    Published(u64, Aor, u64, Presence),
    /// No longer.
    Unpublished(u64),
    /// Where a device of a user is reached: user, URI, until when (ms), CSeq and Call-ID of the registration.
    Bound(Aor, String, u64, u32, String),
    /// No longer.
    Unbound(Aor, String),
    /// A user's preference by its name; `None` takes it back.
    Preference(Aor, String, Option<String>),
}

/// All that was stored.
#[derive(Debug, Default)]
pub struct Image {
    /// Decisions.
    pub policy: Vec<(Aor, Subject, Verdict)>,
    /// Lists of contacts.
    pub contacts: Vec<(Aor, Aor, Contact)>,
    /// Who asks, since when.
    pub asked: Vec<(Aor, Aor, u64)>,
    /// Inbound subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// Publications.
    pub publications: Vec<(u64, Aor, u64, Presence)>,
    /// Registrations.
    pub bindings: Vec<(Aor, String, u64, u32, String)>,
    /// Preferences.
    pub preferences: Vec<(Aor, String, String)>,
}

/// An open store.
pub struct Store {
    db: AnyConnection,
    is_shared: bool,
    /// What this node writes by, where the store is shared.
    token: Option<i64>,
}

impl Store {
    /// Opens, makes or migrates the store at `url`: `sqlite:PATH` or `postgres://...`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        let url = if is_sqlite && !url.contains('?') { format!("{url}?mode=rwc") } else { url.to_owned() };
        let mut db = AnyConnection::connect(&url).await?;
        if is_sqlite {
            // A second process on the same file must wait or fail, never write between.
            for pragma in
                ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"]
            {
                db.execute(pragma).await?;
            }
        }
        schema::migrate(&mut db, !is_sqlite).await?;
        Ok(Self { db, is_shared: !is_sqlite, token: None })
    }

    /// Whether other nodes may have it open: then only the holder of its [`Lease`] writes.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Writes by this token of its lease from now on, and by no other; a transaction that stands still for a term is ended.
    pub(crate) async fn fence(&mut self, token: i64, term: std::time::Duration) -> Result<(), StoreError> {
        lease::bound(&mut self.db, term).await?;
        self.token = Some(token);
        Ok(())
    }

    /// Writes all changes in one transaction; once this returns they are on the disk.
    pub async fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        if let Some(token) = self.token {
            let held = sqlx::query(lease::FENCE).bind(token).fetch_optional(&mut *tx).await?;
            if held.is_none() {
                tx.rollback().await?;
                return Err(StoreError::Lost);
            }
        }
        for write in writes {
            apply(&mut tx, write).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Ends well: the log is folded into the file.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.db.close().await?)
    }

    /// Reads everything.
    pub async fn load(&mut self) -> Result<Image, StoreError> {
        let mut image = Image::default();
        for row in self.rows("SELECT owner, kind, who, verdict FROM policy").await? {
            let (owner, kind, who, verdict) =
                (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?, text(&row, 3)?);
            let subject = match kind.as_str() {
                "user" => Aor::parse(&who).map(Subject::User),
                "domain" => Some(Subject::Domain(who.as_str().into())),
                _ => None,
            };
            let good = Aor::parse(&owner).zip(subject).zip(Verdict::of(&verdict));
            let ((owner, subject), verdict) = good.ok_or_else(|| damaged("policy", &owner))?;
            image.policy.push((owner, subject, verdict));
        }
        for row in self.rows("SELECT owner, contact, name, in_groups FROM contact").await? {
            let (owner, contact) = pair(&row, "contact")?;
            let entry = Contact::stored(text(&row, 2)?, &text(&row, 3)?);
            image.contacts.push((owner, contact, entry));
        }
        for row in self.rows("SELECT owner, watcher, since FROM asked").await? {
            let (owner, watcher) = pair(&row, "asked")?;
            image.asked.push((owner, watcher, time(&row, 2)?));
        }
        let columns = "SELECT resource, watcher, tag, package, event_id, expires, dialog FROM subscription";
        for row in self.rows(columns).await? {
            let (resource, watcher) = pair(&row, "subscription")?;
            let (tag, package) = (text(&row, 2)?, text(&row, 3)?);
            let dialog: Option<Dialog> = serde_json::from_str(&text(&row, 6)?).ok();
            let (dialog, package) =
                dialog.zip(Package::of(&package)).ok_or_else(|| damaged("subscription", &tag))?;
            let id = text(&row, 4)?;
            let event_id = (!id.is_empty()).then(|| id.into());
            let expires = time(&row, 5)?;
            image.subscriptions.push(StoredSubscription {
                dialog,
                resource,
                watcher,
                package,
                event_id,
                expires,
            });
        }
        for row in
            self.rows("SELECT etag, owner, expires, reach, note FROM publication ORDER BY expires").await?
        {
            let (etag, owner, reach, note) = (text(&row, 0)?, text(&row, 1)?, text(&row, 3)?, text(&row, 4)?);
            let good = etag.parse::<Tag>().ok().zip(Aor::parse(&owner)).zip(Reach::of(&reach));
            let ((etag, owner), reach) = good.ok_or_else(|| damaged("publication", &etag))?;
            let note = (!note.is_empty()).then(|| note.as_str().into());
            image.publications.push((etag.0, owner, time(&row, 2)?, Presence { reach, note }));
        }
        for row in self.rows("SELECT owner, contact, expires, cseq, call_id FROM binding").await? {
            let owner = text(&row, 0)?;
            let aor = Aor::parse(&owner).ok_or_else(|| damaged("binding", &owner))?;
            let cseq = u32::try_from(time(&row, 3)?).map_err(|_| damaged("binding", &owner))?;
            image.bindings.push((aor, text(&row, 1)?, time(&row, 2)?, cseq, text(&row, 4)?));
        }
        for row in self.rows("SELECT owner, name, value FROM preference").await? {
            let owner = text(&row, 0)?;
            let aor = Aor::parse(&owner).ok_or_else(|| damaged("preference", &owner))?;
            image.preferences.push((aor, text(&row, 1)?, text(&row, 2)?));
        }
        Ok(image)
    }

    async fn rows(&mut self, query: &'static str) -> Result<Vec<AnyRow>, StoreError> {
        Ok(sqlx::query(query).fetch_all(&mut self.db).await?)
    }
}

fn text(row: &AnyRow, column: usize) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

fn time(row: &AnyRow, column: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn pair(row: &AnyRow, table: &'static str) -> Result<(Aor, Aor), StoreError> {
    let (a, b) = (text(row, 0)?, text(row, 1)?);
    Aor::parse(&a).zip(Aor::parse(&b)).ok_or_else(|| damaged(table, &format!("{a}, {b}")))
}

fn damaged(table: &'static str, key: &str) -> StoreError {
    StoreError::Damaged { table, key: key.to_owned() }
}

/// A value of a statement.
enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&Aor> for Value {
    fn from(aor: &Aor) -> Self {
        Self::Text(aor.as_str().to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        // Times in milliseconds and numbers of 32 bits: they fit.
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

async fn run(db: &mut AnyConnection, sql: &'static str, values: Vec<Value>) -> Result<(), StoreError> {
    let mut query = sqlx::query(sql);
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        };
    }
    query.execute(db).await?;
    Ok(())
}

async fn apply(db: &mut AnyConnection, write: &Write) -> Result<(), StoreError> {
    let (sql, values) = match write {
        Write::Policy(owner, subject, Some(verdict)) => (
            "INSERT INTO policy (owner, kind, who, verdict) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (owner, kind, who) DO UPDATE SET verdict = excluded.verdict",
            vec![owner.into(), subject.kind().into(), subject.who().into(), verdict.name().into()],
        ),
        Write::Policy(owner, subject, None) => (
            "DELETE FROM policy WHERE owner = $1 AND kind = $2 AND who = $3",
            vec![owner.into(), subject.kind().into(), subject.who().into()],
        ),
        Write::Contact(owner, contact, Some(entry)) => (
            "INSERT INTO contact (owner, contact, name, in_groups) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (owner, contact) DO UPDATE SET name = excluded.name, in_groups = excluded.in_groups",
            vec![owner.into(), contact.into(), entry.name.as_str().into(), entry.lines().as_str().into()],
        ),
        Write::Contact(owner, contact, None) => {
            ("DELETE FROM contact WHERE owner = $1 AND contact = $2", vec![owner.into(), contact.into()])
        }
        Write::Asked(owner, watcher, Some(since)) => (
            "INSERT INTO asked (owner, watcher, since) VALUES ($1, $2, $3) \
             ON CONFLICT (owner, watcher) DO NOTHING",
            vec![owner.into(), watcher.into(), (*since).into()],
        ),
        Write::Asked(owner, watcher, None) => {
            ("DELETE FROM asked WHERE owner = $1 AND watcher = $2", vec![owner.into(), watcher.into()])
        }
        Write::Subscribed(sub) => {
            // A dialog is text and numbers: it always has a JSON form.
            let dialog = serde_json::to_string(&sub.dialog).unwrap_or_default();
            (
                "INSERT INTO subscription (tag, resource, watcher, package, event_id, expires, dialog) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tag) DO UPDATE \
                 SET expires = excluded.expires, dialog = excluded.dialog",
                vec![
                    Value::Text(sub.dialog.tag.to_string()),
                    (&sub.resource).into(),
                    (&sub.watcher).into(),
                    sub.package.name().into(),
                    sub.event_id.as_deref().unwrap_or_default().into(),
                    sub.expires.into(),
                    Value::Text(dialog),
                ],
            )
        }
        Write::Unsubscribed(tag) => {
            ("DELETE FROM subscription WHERE tag = $1", vec![Value::Text(tag.to_string())])
        }
        Write::Published(etag, owner, expires, presence) => (
            "INSERT INTO publication (etag, owner, expires, reach, note) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (etag) DO UPDATE SET expires = excluded.expires, reach = excluded.reach, note = excluded.note",
            vec![
                Value::Text(Tag(*etag).to_string()),
                owner.into(),
                (*expires).into(),
                presence.reach.name().into(),
                presence.note.as_deref().unwrap_or_default().into(),
            ],
        ),
        Write::Unpublished(etag) => {
            ("DELETE FROM publication WHERE etag = $1", vec![Value::Text(Tag(*etag).to_string())])
        }
        Write::Bound(owner, contact, expires, cseq, call_id) => (
            "INSERT INTO binding (owner, contact, expires, cseq, call_id) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (owner, contact) DO UPDATE \
             SET expires = excluded.expires, cseq = excluded.cseq, call_id = excluded.call_id",
            vec![
                owner.into(),
                contact.as_str().into(),
                (*expires).into(),
                u64::from(*cseq).into(),
                call_id.as_str().into(),
            ],
        ),
        Write::Unbound(owner, contact) => (
            "DELETE FROM binding WHERE owner = $1 AND contact = $2",
            vec![owner.into(), contact.as_str().into()],
        ),
        Write::Preference(owner, name, Some(value)) => (
            "INSERT INTO preference (owner, name, value) VALUES ($1, $2, $3) \
             ON CONFLICT (owner, name) DO UPDATE SET value = excluded.value",
            vec![owner.into(), name.as_str().into(), value.as_str().into()],
        ),
        Write::Preference(owner, name, None) => (
            "DELETE FROM preference WHERE owner = $1 AND name = $2",
            vec![owner.into(), name.as_str().into()],
        ),
    };
    run(db, sql, values).await
}

#[cfg(test)]
mod tests;
