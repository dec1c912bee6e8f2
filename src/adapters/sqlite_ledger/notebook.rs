//! The notebook of the sources: their orders, and what they have found out about their providers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Sqlite, SqliteExecutor, query::Query};

use super::SqliteLedger;
use super::connection::{storage, unreadable};
use super::rows::{get, instant, ms, parsed, window};
use crate::domain::export::Bounds;
use crate::domain::name::SourceName;
use crate::domain::snapshot::{Note, Notes};
use crate::ports::ledger::LedgerError;
use crate::ports::notebook::{Notebook, Order, OrderId, OrderNumber, OrderState, Standing, Subject};

/// The columns that say what an order is for.
const OF_SUBJECT: &str = "source = ? AND stream = ? AND start_ms = ? AND end_ms = ? AND from_ms = ? AND to_ms = ? AND definition = ?";

type Written<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_subject<'q>(query: Written<'q>, subject: &Subject) -> Written<'q> {
    let Subject { source, stream, window, bounds, definition } = subject;
    query
        .bind(source.as_str().to_owned())
        .bind(stream.as_str().to_owned())
        .bind(ms(window.start()))
        .bind(ms(window.end()))
        .bind(ms(bounds.start))
        .bind(ms(bounds.end))
        .bind(definition.to_string())
}

impl SqliteLedger {
    /// One statement, in a transaction of its own. Returns how many rows it changed.
    async fn write(&self, query: Written<'_>) -> Result<u64, LedgerError> {
        let mut transaction = self.begin().await?;
        let done = query.execute(&mut *transaction).await.map_err(storage)?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl Notebook for SqliteLedger {
    async fn standing(&self, subject: &Subject) -> Result<Option<Standing>, LedgerError> {
        let text = format!(
            "SELECT number, id, asked_at_ms FROM orders WHERE state = 'created' AND {OF_SUBJECT} ORDER BY number DESC LIMIT 1"
        );
        let query = bind_subject(sqlx::query(sqlx::AssertSqlSafe(text)), subject);
        let row = query.fetch_optional(&self.readers).await.map_err(storage)?;
        let standing = |row: SqliteRow| {
            let (number, asked_at) = (OrderNumber(get(&row, "number")?), instant(&row, "asked_at_ms")?);
            Ok(Standing { number, id: parsed(&row, "id")?, asked_at })
        };
        row.map(standing).transpose()
    }

    async fn ask(&self, subject: &Subject, now: Timestamp) -> Result<OrderNumber, LedgerError> {
        let query = sqlx::query(
            "INSERT INTO orders (source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let mut transaction = self.begin().await?;
        let done =
            bind_subject(query, subject).bind(ms(now)).execute(&mut *transaction).await.map_err(storage)?;
        transaction.commit().await?;
        Ok(OrderNumber(done.last_insert_rowid()))
    }

    async fn created(&self, order: OrderNumber, id: &OrderId) -> Result<(), LedgerError> {
        let query = sqlx::query("UPDATE orders SET state = 'created', id = ? WHERE number = ?");
        self.write(query.bind(id.as_str().to_owned()).bind(order.0)).await.map(|_| ())
    }

    async fn finished(&self, order: OrderNumber) -> Result<(), LedgerError> {
        let query =
            sqlx::query("UPDATE orders SET state = 'finished' WHERE number = ? AND state = 'created'");
        self.write(query.bind(order.0)).await.map(|_| ())
    }

    async fn discard(&self, subject: &Subject) -> Result<(), LedgerError> {
        let text = format!("UPDATE orders SET state = 'finished' WHERE state = 'created' AND {OF_SUBJECT}");
        self.write(bind_subject(sqlx::query(sqlx::AssertSqlSafe(text)), subject)).await.map(|_| ())
    }

    async fn gone(&self, order: OrderNumber) -> Result<(), LedgerError> {
        self.write(sqlx::query("DELETE FROM orders WHERE number = ?").bind(order.0)).await.map(|_| ())
    }

    async fn forget_unknown(&self, order: OrderNumber) -> Result<bool, LedgerError> {
        let query = sqlx::query("DELETE FROM orders WHERE number = ? AND state = 'asked'");
        self.write(query.bind(order.0)).await.map(|rows| rows > 0)
    }

    async fn orders(&self) -> Result<Vec<Order>, LedgerError> {
        let rows = sqlx::query(
            "SELECT number, source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms, state, id
             FROM orders ORDER BY number",
        );
        let rows = rows.fetch_all(&self.readers).await.map_err(storage)?;
        rows.iter().map(order).collect()
    }

    async fn note(&self, source: &SourceName, topic: &str, note: &Note) -> Result<bool, LedgerError> {
        let query =
            sqlx::query("INSERT OR IGNORE INTO notes (source, topic, at_ms, reason) VALUES (?, ?, ?, ?)");
        let query = query.bind(source.as_str().to_owned()).bind(topic.to_owned()).bind(ms(note.at));
        self.write(query.bind(note.reason.to_string())).await.map(|rows| rows > 0)
    }

    async fn erase(&self, source: &SourceName, topic: &str) -> Result<bool, LedgerError> {
        // Nearly always there is nothing to forget: that is no write.
        if self.noted(source, topic).await?.is_none() {
            return Ok(false);
        }
        let query = sqlx::query("DELETE FROM notes WHERE source = ? AND topic = ?");
        self.write(query.bind(source.as_str().to_owned()).bind(topic.to_owned())).await.map(|rows| rows > 0)
    }

    async fn noted(&self, source: &SourceName, topic: &str) -> Result<Option<Note>, LedgerError> {
        Ok(notes(&self.readers).await?.remove(source).and_then(|mut notes| notes.remove(topic)))
    }
}

/// What every source has noted.
pub(super) async fn notes(executor: impl SqliteExecutor<'_>) -> Result<Notes, LedgerError> {
    let rows = sqlx::query("SELECT source, topic, at_ms, reason FROM notes").fetch_all(executor).await;
    let mut notes: Notes = BTreeMap::new();
    for row in rows.map_err(storage)? {
        let note = Note { at: instant(&row, "at_ms")?, reason: get::<String, _>(&row, "reason")?.into() };
        notes.entry(parsed(&row, "source")?).or_default().insert(get(&row, "topic")?, note);
    }
    Ok(notes)
}

fn order(row: &SqliteRow) -> Result<Order, LedgerError> {
    let state = match get(row, "state")? {
        "asked" => OrderState::Asked,
        "created" => OrderState::Created(parsed(row, "id")?),
        "finished" => OrderState::Finished(parsed(row, "id")?),
        other => return Err(unreadable("an order's state", other)),
    };
    Ok(Order {
        number: OrderNumber(get(row, "number")?),
        subject: Subject {
            source: parsed(row, "source")?,
            stream: parsed(row, "stream")?,
            window: window(row)?,
            bounds: Bounds { start: instant(row, "from_ms")?, end: instant(row, "to_ms")? },
            definition: parsed(row, "definition")?,
        },
        asked_at: instant(row, "asked_at_ms")?,
        state,
    })
}
