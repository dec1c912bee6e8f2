//! Connection records, and the set of them that the simulator serves.

use std::{
    borrow::Cow,
    sync::{PoisonError, RwLock},
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{instant, seed};

/// One connection of a user to a desktop. Times are served to the second; absent fields are left out of JSON and
/// are empty in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Name of the desktop.
    pub computer_name: String,
    /// Login name, any Unicode.
    pub user_name: String,
    /// `AA-BB-CC-DD-EE-FF`.
    pub terminal_mac: String,
    /// Name of the user's own machine.
    pub terminal_name: String,
    /// For example `Windows`.
    pub terminal_type: String,
    /// Address of the user's own machine.
    pub terminal_ip: String,
    /// Version of the client program.
    pub client_version: String,
    /// Version of the agent on the desktop.
    pub agent_version: String,
    /// Address of the desktop.
    pub desktop_ip: String,
    /// What the bounds of a request are held against.
    #[serde(serialize_with = "to_second")]
    pub connection_start_time: Timestamp,
    /// When the session stood; none when it never did.
    #[serde(serialize_with = "maybe_to_second", skip_serializing_if = "Option::is_none")]
    pub connection_setup_time: Option<Timestamp>,
    /// When the session ended; served only once that instant has passed.
    #[serde(serialize_with = "maybe_to_second", skip_serializing_if = "Option::is_none")]
    pub connection_end_time: Option<Timestamp>,
    /// Whether the session took up an earlier one.
    pub is_reconnect: bool,
    /// Why no session came about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_failure_reason: Option<String>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_rtt: Option<u32>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_rtt: Option<u32>,
    /// Identifier of the user's account.
    pub sid: String,
    /// Identifier of the connection, in the form of a UUID.
    pub transaction_id: String,
}

/// How many columns a file has.
pub(crate) const COLUMN_COUNT: usize = 18;

/// The columns of a file, in order: header in English, header in Chinese.
pub(crate) const COLUMNS: [(&str, &str); COLUMN_COUNT] = [
    ("Computer Name", "计算机名"),
    ("Username", "用户名"),
    ("Terminal MAC Address", "终端MAC地址"),
    ("Terminal Name", "终端名称"),
    ("Terminal Type", "终端类型"),
    ("Terminal IP Address", "终端IP地址"),
    ("Client Version", "客户端版本"),
    ("Agent Version", "代理版本"),
    ("Desktop IP Address", "桌面IP地址"),
    ("Connection Start Time", "连接开始时间"),
    ("Connection Setup Time", "连接建立时间"),
    ("Connection End Time", "连接结束时间"),
    ("Reconnection", "是否重连"),
    ("Failure Cause", "连接失败原因"),
    ("Network RTT (ms)", "网络时延(ms)"),
    ("E2E RTT (ms)", "端到端时延(ms)"),
    ("SID", "SID"),
    ("Transaction ID", "事务ID"),
];

impl Record {
    /// A record that starts at `start` and whose other fields follow from `seed`.
    pub fn at(start: Timestamp, seed: u64) -> Self {
        seed::record(start, seed)
    }

    /// The record as far as it is known at `now`: what lies in the future is absent.
    pub(crate) fn known_at(mut self, now: Timestamp) -> Self {
        self.connection_setup_time = self.connection_setup_time.filter(|at| *at <= now);
        self.connection_end_time = self.connection_end_time.filter(|at| *at <= now);
        self
    }

    /// The text of every column, in the order of [`COLUMNS`].
    pub(crate) fn cells(&self) -> [Cow<'_, str>; COLUMN_COUNT] {
        let moment = |at: Option<Timestamp>| at.map(instant::second).unwrap_or_default().into();
        let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default().into();
        [
            self.computer_name.as_str().into(),
            self.user_name.as_str().into(),
            self.terminal_mac.as_str().into(),
            self.terminal_name.as_str().into(),
            self.terminal_type.as_str().into(),
            self.terminal_ip.as_str().into(),
            self.client_version.as_str().into(),
            self.agent_version.as_str().into(),
            self.desktop_ip.as_str().into(),
            instant::second(self.connection_start_time).into(),
            moment(self.connection_setup_time),
            moment(self.connection_end_time),
            if self.is_reconnect { "true" } else { "false" }.into(),
            self.connection_failure_reason.as_deref().unwrap_or_default().into(),
            number(self.network_rtt),
            number(self.e2e_rtt),
            self.sid.as_str().into(),
            self.transaction_id.as_str().into(),
        ]
    }
}

fn to_second<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant::second(*at))
}

fn maybe_to_second<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(instant::second).serialize(serializer)
}

/// The records there are, in order of their start; more may come at any time.
#[derive(Debug, Default)]
pub struct Records(RwLock<Vec<Record>>);

impl Records {
    /// `per_day` records for every UTC day, those that start in `[from, to)`. A day's records depend on the seed
    /// and the day alone, so that overlapping ranges agree; the first of every day starts at midnight itself.
    pub fn seeded(seed: u64, from: Timestamp, to: Timestamp, per_day: u32) -> Self {
        Self::from_vec(seed::records(seed, from, to, per_day))
    }

    /// Exactly these, in any order.
    pub fn from_vec(mut records: Vec<Record>) -> Self {
        records.sort_by(|a, b| order(a).cmp(&order(b)));
        Self(RwLock::new(records))
    }

    /// Adds a record, as one that arrives late.
    pub fn push(&self, record: Record) {
        let mut records = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let place = records.partition_point(|other| order(other) <= order(&record));
        records.insert(place, record);
    }

    /// Copies of all, in order of their start.
    pub fn all(&self) -> Vec<Record> {
        self.matching(|_| true)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn matching(&self, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let records = self.0.read().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| wanted(record)).cloned().collect()
    }
}

fn order(record: &Record) -> (Timestamp, &str) {
    (record.connection_start_time, &record.transaction_id)
}
