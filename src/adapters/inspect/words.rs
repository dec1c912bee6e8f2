//! What a few words in place of a table say: that something failed, that there are no records, or nothing that is known.
//!
//! Words count as "no records" only where they say so, or are a title. A title consists of words that titles of such
//! exports are made of, and of nothing else. So a message in unknown words is never taken for an export without records.

use csv::ByteRecord;

use super::charset::Charset;
use super::columns::Columns;

/// Of messages about a failure: in lower case.
const FAILURES: &[&str] = &[
    "error",
    "fail",
    "unavailable",
    "timeout",
    "timed out",
    "time-out",
    "denied",
    "refused",
    "forbidden",
    "authoriz",
    "authoris",
    "permission",
    "not allowed",
    "exception",
    "bad gateway",
    "bad request",
    "too many requests",
    "too large",
    "try again",
    "retry",
    "busy",
    "not found",
    "invalid",
    "illegal",
    "expired",
    "quota",
    "exceed",
    "throttl",
    "overload",
    "abort",
    "cannot",
    "could not",
    "unable",
    "maintenance",
    "sign in",
    "log in",
    "not logged",
    "错误",
    "失败",
    "故障",
    "异常",
    "超时",
    "拒绝",
    "繁忙",
    "权限",
    "无法",
    "无效",
    "过期",
    "限制",
    "不存在",
    "维护",
    "稍后",
    "重试",
    "请先",
    "请登录",
    "未登录",
    "没有登录",
];

/// The whole of a text that says there is nothing.
const NOTHING: &[&str] = &["null", "none", "nil", "empty", "n/a", "nothing", "空", "无"];

/// Of texts that say there are no records: words of English, each of them one after the other.
const NO_RECORDS: &[&[&str]] = &[
    &["no", "data"],
    &["no", "record"],
    &["no", "records"],
    &["no", "result"],
    &["no", "results"],
    &["no", "row"],
    &["no", "rows"],
    &["no", "entries"],
    &["no", "connections"],
    &["no", "connection", "records"],
    &["no", "login", "records"],
    &["no", "logins"],
    &["no", "matching", "records"],
    &["no", "matching", "data"],
    &["0", "records"],
    &["0", "rows"],
    &["0", "results"],
    &["zero", "records"],
    &["total", "0"],
    &["records", "0"],
    &["nothing", "found"],
    &["nothing", "to", "export"],
    &["list", "is", "empty"],
    &["result", "is", "empty"],
    &["table", "is", "empty"],
];

/// After such words the text speaks of something else, as in "No data source".
const OF_SOMETHING_ELSE: &[&str] = &["source", "sources", "base", "store", "center", "centre", "connection"];

const NO_RECORDS_IN_CHINESE: &[&str] = &[
    "暂无数据",
    "暂无记录",
    "暂无相关",
    "暂无符合",
    "暂无连接",
    "无数据",
    "无记录",
    "无结果",
    "无匹配",
    "无符合",
    "没有数据",
    "没有记录",
    "没有找到",
    "没有查询到",
    "没有符合",
    "没有匹配",
    "没有相关",
    "没有任何",
    "没有连接记录",
    "没有登录记录",
    "未查询到",
    "未找到",
    "数据为空",
    "记录为空",
    "结果为空",
];

/// Nouns that say a text is the title of many records.
const COLLECTIONS: &[&str] = &[
    "record",
    "records",
    "report",
    "list",
    "history",
    "log",
    "logs",
    "logins",
    "connections",
    "sessions",
    "users",
    "desktops",
];

/// Other words that titles consist of.
const OF_TITLES: &[&str] = &[
    "workspace",
    "cloud",
    "huawei",
    "login",
    "logon",
    "connection",
    "desktop",
    "user",
    "access",
    "session",
    "client",
    "terminal",
    "export",
    "exported",
    "generated",
    "detail",
    "details",
    "data",
    "time",
    "date",
    "period",
    "page",
    "sheet",
];

/// Small words in titles.
const BETWEEN: &[&str] =
    &["of", "the", "for", "and", "from", "to", "by", "in", "on", "at", "utc", "gmt", "t", "z"];

/// As [`COLLECTIONS`], and as [`OF_TITLES`]. Longer ones stand before their parts.
const COLLECTIONS_IN_CHINESE: &[&str] = &["记录", "报表", "报告", "列表", "明细", "日志", "统计表"];
const OF_TITLES_IN_CHINESE: &[&str] = &[
    "华为云",
    "云桌面",
    "云办公",
    "桌面",
    "用户",
    "登录",
    "登陆",
    "连接",
    "接入",
    "会话",
    "终端",
    "导出",
    "时间",
    "日期",
    "详情",
    "数据",
    "年",
    "月",
    "日",
    "时",
    "分",
    "秒",
    "的",
    "至",
    "到",
];

/// A name of a column has at most this many words.
const LONGEST_NAME: usize = 4;

/// Whether one of these rows, which is no title, says that something failed.
pub(super) fn say_failure(rows: &[ByteRecord]) -> bool {
    let fails = |text: &str| FAILURES.iter().any(|words| text.contains(words));
    rows.iter().map(text).any(|text| fails(&text) && !is_title(&text))
}

/// Whether rows without a failure in them say that there are no records: one of them in words, or all as titles.
pub(super) fn say_none(rows: &[ByteRecord]) -> bool {
    let none = |row: &ByteRecord| says_none(&text(row));
    let known = |row: &ByteRecord| filled_is_one(row) && Columns::find_in_any(row).len() > 0;
    let title = |row: &ByteRecord| known(row) || is_title(&text(row));
    let of_titles = |row: &ByteRecord| title(row) || has_only_words_of_titles(&text(row));
    let names = |row: &ByteRecord| row.len() >= 2 && !filled_is_one(row) && !is_prose(row);
    rows.iter().any(none) || (rows.iter().any(title) && rows.iter().all(|row| of_titles(row) || names(row)))
}

/// Whether a row reads like a sentence, and not like the names of columns.
pub(super) fn is_prose(row: &ByteRecord) -> bool {
    row.iter().map(read).any(|cell| {
        let bare = cell.split(['(', '（']).next().unwrap_or_default().trim();
        let is_sentence = bare.ends_with(['.', '!', '?', '。', '！', '？', '}']) || bare.starts_with('{');
        is_sentence
            || [". ", ": ", "。", "，"].iter().any(|mark| bare.contains(mark))
            || bare.split_whitespace().count() > LONGEST_NAME
    })
}

fn filled_is_one(row: &ByteRecord) -> bool {
    super::rows::filled(row) == 1
}

/// The text of a cell, in lower case.
fn read(cell: &[u8]) -> String {
    let charset = Charset::ALL.into_iter().find(|charset| charset.read(cell).is_some());
    charset.unwrap_or(Charset::Utf8).read_lossy(cell).trim().to_lowercase()
}

/// The text of a row, whatever stands between its cells.
fn text(row: &ByteRecord) -> String {
    row.iter().map(read).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn says_none(text: &str) -> bool {
    let bare = text.trim_matches(|c: char| c.is_ascii_punctuation() || c.is_whitespace() || c == '。');
    let words: Vec<&str> =
        bare.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let in_english = NO_RECORDS.iter().any(|wanted| {
        words.windows(wanted.len()).enumerate().any(|(at, found)| {
            let next = words.get(at + wanted.len());
            let ends = wanted.last() != Some(&"0") || next.is_none();
            found == *wanted && ends && next.is_none_or(|next| !OF_SOMETHING_ELSE.contains(next))
        })
    });
    let none_counted = bare
        .match_indices("0条")
        .chain(bare.match_indices("0 条"))
        .any(|(at, _)| !bare[..at].ends_with(|c: char| c.is_ascii_digit()));
    let in_chinese = NO_RECORDS_IN_CHINESE.iter().any(|words| bare.contains(words));
    NOTHING.contains(&bare) || in_english || none_counted || in_chinese
}

/// What a text consists of.
#[derive(Default)]
struct Makeup {
    /// It has a word that no title has.
    other: bool,
    /// The last of its words that is no number says that it is the title of many records.
    collection: bool,
    /// It has a noun for many records.
    collections: bool,
    /// It has the noun for a failure: some exports hold connections that failed.
    failure: bool,
    /// It has a small word.
    between: bool,
}

fn is_title(text: &str) -> bool {
    let makeup = makeup(text);
    !makeup.other && makeup.collections && (!makeup.failure || (makeup.collection && !makeup.between))
}

fn has_only_words_of_titles(text: &str) -> bool {
    let makeup = makeup(text);
    !makeup.other && !makeup.failure
}

fn makeup(text: &str) -> Makeup {
    let mut makeup = Makeup::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_like_first = |c: char| match first {
            '0'..='9' => c.is_ascii_digit() || matches!(c, '-' | '/' | ':' | '.'),
            'a'..='z' => c.is_ascii_lowercase(),
            _ => c == first,
        };
        let run = &rest[..rest.find(|c| !is_like_first(c)).unwrap_or(rest.len())];
        rest = match first {
            '0'..='9' => {
                // A small number alone may say how many records there are.
                let is_date =
                    run.len() >= 4 || rest[run.len()..].starts_with(['年', '月', '日', '时', '分', '秒']);
                makeup.other |= !is_date;
                &rest[run.len()..]
            }
            'a'..='z' => {
                makeup.add(run);
                &rest[run.len()..]
            }
            _ if first.is_alphanumeric() => makeup.add_chinese(rest, first.len_utf8()),
            _ => &rest[first.len_utf8()..],
        };
    }
    makeup
}

impl Makeup {
    fn add(&mut self, word: &str) {
        self.collection = COLLECTIONS.contains(&word);
        self.collections |= self.collection;
        let is_failure = matches!(word, "failure" | "failures");
        self.failure |= is_failure;
        let is_between = BETWEEN.contains(&word);
        self.between |= is_between;
        self.other |= !(self.collection || is_failure || is_between || OF_TITLES.contains(&word));
    }

    /// Takes the word that `text` begins with, or its first character of `first` bytes; returns what comes after.
    fn add_chinese<'t>(&mut self, text: &'t str, first: usize) -> &'t str {
        let begins = |words: &[&str]| words.iter().find_map(|word| text.strip_prefix(word));
        self.collection = false;
        if let Some(rest) = begins(COLLECTIONS_IN_CHINESE) {
            (self.collection, self.collections) = (true, true);
            return rest;
        }
        if let Some(rest) = text.strip_prefix("失败") {
            self.failure = true;
            return rest;
        }
        begins(OF_TITLES_IN_CHINESE).unwrap_or_else(|| {
            self.other = true;
            &text[first..]
        })
    }
}
