//! Values as they stand in columns.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};

use super::connection::{storage, unreadable};
use crate::domain::failure::FailureKind;
use crate::domain::message::Message;
use crate::domain::object_key::{Revision, Seq};
use crate::domain::snapshot::FailureNote;
use crate::domain::window::Window;
use crate::ports::ledger::LedgerError;

/// Whole milliseconds since 1970.
pub(super) fn ms(instant: Timestamp) -> i64 {
    instant.as_millisecond()
}

/// A column of a row.
pub(super) fn get<'r, T, I>(row: &'r SqliteRow, column: I) -> Result<T, LedgerError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
    I: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(storage)
}

pub(super) fn instant(row: &SqliteRow, column: &'static str) -> Result<Timestamp, LedgerError> {
    optional_instant(row, column)?.ok_or_else(|| unreadable(column, "no value"))
}

pub(super) fn optional_instant(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<Timestamp>, LedgerError> {
    let ms: Option<i64> = get(row, column)?;
    ms.map(Timestamp::from_millisecond).transpose().map_err(|e| unreadable(column, e))
}

/// A text that one of our types reads back.
pub(super) fn parsed<T>(row: &SqliteRow, column: &'static str) -> Result<T, LedgerError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    get::<&str, _>(row, column)?.parse().map_err(|e: T::Err| unreadable(column, e))
}

/// A text that may be absent and that one of our types reads back.
pub(super) fn optional_parsed<T>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, LedgerError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = get::<Option<&str>, _>(row, column)?;
    text.map(str::parse).transpose().map_err(|e: T::Err| unreadable(column, e))
}

/// A JSON text.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, LedgerError> {
    serde_json::from_str(get::<&str, _>(row, column)?).map_err(|e| unreadable(column, e))
}

/// The JSON text of a value of ours.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|e| unreadable("a value", e))
}

/// A number that SQLite holds with a sign.
pub(super) fn number(value: u64, what: &str) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|e| unreadable(what, e))
}

/// A number that may be absent.
pub(super) fn optional_number(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, LedgerError> {
    let number: Option<i64> = get(row, column)?;
    number.map(u64::try_from).transpose().map_err(|e| unreadable(column, e))
}

pub(super) fn count(row: &SqliteRow, column: &'static str) -> Result<u32, LedgerError> {
    u32::try_from(get::<i64, _>(row, column)?).map_err(|e| unreadable(column, e))
}

pub(super) fn window(row: &SqliteRow) -> Result<Window, LedgerError> {
    Window::new(instant(row, "start_ms")?, instant(row, "end_ms")?).map_err(|e| unreadable("a window", e))
}

pub(super) fn seq(row: &SqliteRow, column: &'static str) -> Result<Seq, LedgerError> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).ok().and_then(Seq::new).ok_or_else(|| unreadable(column, number))
}

pub(super) fn optional_seq(row: &SqliteRow, column: &'static str) -> Result<Option<Seq>, LedgerError> {
    let number: Option<i64> = get(row, column)?;
    number.map(|_| seq(row, column)).transpose()
}

pub(super) fn revision(row: &SqliteRow) -> Result<Revision, LedgerError> {
    let number: i64 = get(row, "revision")?;
    u32::try_from(number).ok().and_then(Revision::new).ok_or_else(|| unreadable("a revision", number))
}

/// The failure that the columns `failure_kind`, `failure_message` and `failed_at_ms` hold, if they do.
pub(super) fn failure_note(row: &SqliteRow) -> Result<Option<FailureNote>, LedgerError> {
    note(row, ["failure_kind", "failure_message", "failed_at_ms"])
}

/// The failure whose kind, message and instant these columns hold, if they do.
pub(super) fn note(
    row: &SqliteRow,
    [kind, message, at]: [&'static str; 3],
) -> Result<Option<FailureNote>, LedgerError> {
    let Some(kind) = get::<Option<&str>, _>(row, kind)? else {
        return Ok(None);
    };
    Ok(Some(FailureNote {
        kind: failure_kind(kind)?,
        message: Message::read(get(row, message)?),
        at: instant(row, at)?,
    }))
}

/// A kind of failure, from [`FailureKind::as_str`].
pub(super) fn failure_kind(text: &str) -> Result<FailureKind, LedgerError> {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;
    FailureKind::deserialize(IntoDeserializer::<Error>::into_deserializer(text))
        .map_err(|e| unreadable("a kind of failure", e))
}
