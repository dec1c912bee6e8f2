//! What sources must not forget: their export tasks, and that the v2 export is gone.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Sqlite, SqliteExecutor, query::Query};

use super::SqliteLedger;
use super::connection::{storage, unreadable};
use super::rows::{get, instant, ms, parsed, window};
use crate::domain::export::Bounds;
use crate::domain::export_task::{ExportTask, Pull, TaskId, TaskNumber, TaskState, Wanted};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Withdrawal;
use crate::ports::ledger::LedgerError;
use crate::ports::source_memory::SourceMemory;

/// The columns that say what a task is for.
const OF_PULL: &str = "source = ? AND stream = ? AND start_ms = ? AND end_ms = ? AND from_ms = ? AND to_ms = ? AND definition = ?";

type Written<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_pull<'q>(query: Written<'q>, pull: &Pull) -> Written<'q> {
    query
        .bind(pull.source.as_str().to_owned())
        .bind(pull.stream.as_str().to_owned())
        .bind(ms(pull.window.start()))
        .bind(ms(pull.window.end()))
        .bind(ms(pull.bounds.start))
        .bind(ms(pull.bounds.end))
        .bind(pull.definition.to_string())
}

impl SqliteLedger {
    /// One statement, in a transaction of its own; says how many rows it changed.
    async fn write(&self, query: Written<'_>) -> Result<u64, LedgerError> {
        let mut transaction = self.begin().await?;
        let done = query.execute(&mut *transaction).await.map_err(storage)?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl SourceMemory for SqliteLedger {
    async fn standing(&self, pull: &Pull) -> Result<Option<Wanted>, LedgerError> {
        let text = format!(
            "SELECT task, task_id, asked_at_ms FROM export_tasks WHERE state = 'created' AND {OF_PULL} ORDER BY task DESC LIMIT 1"
        );
        let query = bind_pull(sqlx::query(sqlx::AssertSqlSafe(text)), pull);
        let row = query.fetch_optional(&self.readers).await.map_err(storage)?;
        let wanted = |row: SqliteRow| {
            let (number, asked_at) = (TaskNumber(get(&row, "task")?), instant(&row, "asked_at_ms")?);
            Ok(Wanted { number, id: parsed(&row, "task_id")?, asked_at })
        };
        row.map(wanted).transpose()
    }

    async fn ask(&self, pull: &Pull, now: Timestamp) -> Result<TaskNumber, LedgerError> {
        let query = sqlx::query(
            "INSERT INTO export_tasks (source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let mut transaction = self.begin().await?;
        let done = bind_pull(query, pull).bind(ms(now)).execute(&mut *transaction).await.map_err(storage)?;
        transaction.commit().await?;
        Ok(TaskNumber(done.last_insert_rowid()))
    }

    async fn created(&self, task: TaskNumber, id: &TaskId) -> Result<(), LedgerError> {
        let query = sqlx::query("UPDATE export_tasks SET state = 'created', task_id = ? WHERE task = ?");
        self.write(query.bind(id.as_str().to_owned()).bind(task.0)).await.map(|_| ())
    }

    async fn finished(&self, task: TaskNumber) -> Result<(), LedgerError> {
        let query =
            sqlx::query("UPDATE export_tasks SET state = 'finished' WHERE task = ? AND state = 'created'");
        self.write(query.bind(task.0)).await.map(|_| ())
    }

    async fn discard(&self, pull: &Pull) -> Result<(), LedgerError> {
        let text =
            format!("UPDATE export_tasks SET state = 'finished' WHERE state = 'created' AND {OF_PULL}");
        self.write(bind_pull(sqlx::query(sqlx::AssertSqlSafe(text)), pull)).await.map(|_| ())
    }

    async fn gone(&self, task: TaskNumber) -> Result<(), LedgerError> {
        self.write(sqlx::query("DELETE FROM export_tasks WHERE task = ?").bind(task.0)).await.map(|_| ())
    }

    async fn tasks(&self) -> Result<Vec<ExportTask>, LedgerError> {
        let rows = sqlx::query(
            "SELECT task, source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms, state, task_id
             FROM export_tasks ORDER BY task",
        );
        let rows = rows.fetch_all(&self.readers).await.map_err(storage)?;
        rows.iter().map(task).collect()
    }

    async fn withdrawn(&self, source: &SourceName, withdrawal: &Withdrawal) -> Result<bool, LedgerError> {
        let query = sqlx::query("INSERT OR IGNORE INTO withdrawals (source, at_ms, reason) VALUES (?, ?, ?)");
        let query = query.bind(source.as_str().to_owned()).bind(ms(withdrawal.at));
        self.write(query.bind(withdrawal.reason.to_string())).await.map(|rows| rows > 0)
    }

    async fn restored(&self, source: &SourceName) -> Result<bool, LedgerError> {
        // Nearly always there is nothing to forget: that is no write.
        if self.withdrawal(source).await?.is_none() {
            return Ok(false);
        }
        let query = sqlx::query("DELETE FROM withdrawals WHERE source = ?");
        self.write(query.bind(source.as_str().to_owned())).await.map(|rows| rows > 0)
    }

    async fn withdrawal(&self, source: &SourceName) -> Result<Option<Withdrawal>, LedgerError> {
        Ok(withdrawals(&self.readers).await?.remove(source))
    }
}

/// Every source whose v2 export is gone.
pub(super) async fn withdrawals(
    executor: impl SqliteExecutor<'_>,
) -> Result<BTreeMap<SourceName, Withdrawal>, LedgerError> {
    let rows = sqlx::query("SELECT source, at_ms, reason FROM withdrawals");
    let rows = rows.fetch_all(executor).await.map_err(storage)?;
    let withdrawal = |row: &SqliteRow| {
        Ok(Withdrawal { at: instant(row, "at_ms")?, reason: get::<String, _>(row, "reason")?.into() })
    };
    rows.iter().map(|row| Ok((parsed(row, "source")?, withdrawal(row)?))).collect()
}

fn task(row: &SqliteRow) -> Result<ExportTask, LedgerError> {
    let state = match get(row, "state")? {
        "asked" => TaskState::Asked,
        "created" => TaskState::Created(parsed(row, "task_id")?),
        "finished" => TaskState::Finished(parsed(row, "task_id")?),
        other => return Err(unreadable("an export task's state", other)),
    };
    Ok(ExportTask {
        number: TaskNumber(get(row, "task")?),
        pull: Pull {
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
