//! What came in place of an export: markup, an answer in JSON, or a few words (`words.rs`).

use serde_json::Value;

use super::error::{InspectError, JsonAnswer, NotAnExport};
use super::notes::clean;
use super::sniff::PREFIX;

/// An error message is cut to this many characters.
const MESSAGE: usize = 200;

/// Rows of one cell that may be titles or a remark in place of a table. More of them may be records.
pub(super) const MOST_WORDS: usize = 8;

/// A text of more bytes than this is no message.
pub(super) const LONGEST_MESSAGE: u64 = 4096;

/// Whether a text that begins like markup or JSON holds nothing.
///
/// # Errors
/// When it is something else than a table: a page, an answer in JSON, a list in JSON.
pub(super) fn refuse_messages(text: &[u8]) -> Result<bool, InspectError> {
    match text.first() {
        Some(b'<') => refuse_markup(text),
        Some(b'{' | b'[') => refuse_json(text),
        _ => Ok(false),
    }
}

fn refuse_markup(text: &[u8]) -> Result<bool, InspectError> {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if has(b"urn:schemas-microsoft-com:office:spreadsheet") {
        return Err(InspectError::unread("it is a spreadsheet in the XML of Excel 2003"));
    }
    Err(InspectError::NotAnExport(NotAnExport::Html))
}

/// A text that begins like JSON is JSON if it can be parsed, or if it is cut off and has the shape of an object.
fn refuse_json(text: &[u8]) -> Result<bool, InspectError> {
    let answer = |whole: &Value| Err(InspectError::NotAnExport(NotAnExport::Json(read_error(whole))));
    match serde_json::from_slice::<Value>(text) {
        Ok(whole) if holds_nothing(&whole) => Ok(true),
        Ok(whole) if holds_records(&whole) => Err(InspectError::unread("it is JSON that holds a list")),
        Ok(whole) => answer(&whole),
        Err(_) if is_several_objects(text) => Err(InspectError::unread("it is several objects in JSON")),
        Err(_) => {
            let next = text[1..].trim_ascii_start().first();
            match (text[0], next) {
                (b'{', Some(b'"')) | (b'[', Some(b'{')) if text.len() < PREFIX - 64 => answer(&Value::Null),
                (b'{', Some(b'"')) | (b'[', Some(b'{')) => {
                    Err(InspectError::unread("it is a long text in JSON"))
                }
                _ => Ok(false),
            }
        }
    }
}

/// Whether a value holds nothing: it is empty, the number 0, or an object of such values.
fn holds_nothing(whole: &Value) -> bool {
    fn is_void(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Number(number) => number.as_u64() == Some(0),
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.values().all(is_void),
            Value::Bool(_) | Value::String(_) => false,
        }
    }
    is_void(whole) && read_error(whole) == JsonAnswer::default()
}

/// Whether a text is JSON objects one after the other, of which the first says nothing of an error.
fn is_several_objects(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let is_record = |value: &Value| value.is_object() && read_error(value) == JsonAnswer::default();
    let first = values.next().and_then(Result::ok).is_some_and(|value| is_record(&value));
    first && text[values.byte_offset()..].trim_ascii_start().first() == Some(&b'{')
}

/// Whether a value is a list of objects, or has one in it, and says nothing of an error.
fn holds_records(whole: &Value) -> bool {
    let is_list = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
    let inside = whole.as_object().is_some_and(|object| object.values().any(is_list));
    (is_list(whole) || inside) && read_error(whole) == JsonAnswer::default()
}

/// Reads the shapes of error that the provider's services answer with: `{"error_code", "error_msg"}`, and
/// `{"error": {"code", "message"}}` from IAM, whose code may be a number.
fn read_error(whole: &Value) -> JsonAnswer {
    let body = whole.get("error").filter(|inner| inner.is_object()).unwrap_or(whole);
    let field = |names: [&str; 2]| names.into_iter().find_map(|name| one_line(body.get(name)?));
    JsonAnswer { error_code: field(["error_code", "code"]), error_msg: field(["error_msg", "message"]) }
}

fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clean(text, MESSAGE)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
