// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose a shared store is: a lease with a fencing token, for two nodes on one PostgreSQL.
//!
//! One row says which token writes, and until when by the database's own clock. A node takes it when it has run out, with a token greater by one, and
//! then reads the store; the holder renews it on a connection of its own. Each transaction of the holder's reads the row and locks it against
//! change: with a token that is not the row's it fails ([`StoreError::Lost`]), so a node that was paused, cut off or given up writes nothing any
//! more; and who takes the lease waits for a transaction that is under way, so what that stores is read. A holder that is paused inside of one is ended by
//! the database after a term.
//!
//! The holder, too, knows by its own clock when it may no longer act ([`crate::driver`] looks before each thing it does): a term after the last
//! renewal was begun. SQLite needs none of this: its file is one process's.
//!
//! Owned by the driver's lease task.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::StoreError;

/// The database's time, ms since 1970.
macro_rules! now {
    () => {
        "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT"
    };
}

/// The token of the row, if it is this one; nobody changes it before the transaction ends.
pub(super) const FENCE: &str = "SELECT token FROM lease WHERE id = 1 AND token = $1 FOR SHARE";

/// A node's part in the lease of a store.
pub(crate) struct Lease {
    db: AnyConnection,
    holder: String,
    term: i64,
    token: i64,
}

impl Lease {
    /// Of the open store at `url`, for a node that is shown as `holder`. Nothing is taken yet.
    pub(crate) async fn open(url: &str, holder: &str, term: Duration) -> Result<Self, StoreError> {
        let db = AnyConnection::connect(url).await?;
        let term = i64::try_from(term.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { db, holder: holder.to_owned(), term, token: 0 })
    }

    /// Takes it if nobody has it: the token to write by. Waits for a transaction of who had it.
    pub(crate) async fn take(&mut self) -> Result<Option<i64>, StoreError> {
        let sql = concat!(
            "UPDATE lease SET holder = $1, token = token + 1, until = ",
            now!(),
            " + $2 WHERE id = 1 AND until < ",
            now!(),
            " RETURNING token"
        );
        let taken =
            sqlx::query(sql).bind(self.holder.clone()).bind(self.term).fetch_optional(&mut self.db).await?;
        let token = taken.map(|row| row.try_get::<i64, _>(0)).transpose()?;
        self.token = token.unwrap_or(self.token);
        Ok(token)
    }

    /// Who has it.
    pub(crate) async fn holder(&mut self) -> Result<String, StoreError> {
        let row = sqlx::query("SELECT holder FROM lease WHERE id = 1").fetch_one(&mut self.db).await?;
        Ok(row.try_get(0)?)
    }

    /// Holds it for another term.
    pub(crate) async fn renew(&mut self) -> Result<(), StoreError> {
        let sql = concat!("UPDATE lease SET until = ", now!(), " + $2 WHERE id = 1 AND token = $1");
        let done = sqlx::query(sql).bind(self.token).bind(self.term).execute(&mut self.db).await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Lost) }
    }

    /// Gives it back: whoever waits has it at once.
    pub(crate) async fn release(mut self) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET until = 0, holder = '' WHERE id = 1 AND token = $1";
        sqlx::query(sql).bind(self.token).execute(&mut self.db).await?;
        Ok(self.db.close().await?)
    }
}

/// Has the database end a transaction of this connection in which nothing happens for a term.
pub(super) async fn bound(db: &mut AnyConnection, term: Duration) -> Result<(), StoreError> {
    let set = format!("SET idle_in_transaction_session_timeout = {}", term.as_millis());
    db.execute(AssertSqlSafe(set)).await?;
    Ok(())
}
