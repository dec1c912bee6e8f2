//! The columns that connvault knows, by every name that the provider gives or gave them: one table, for finding the
//! header, for knowing a row again in another export, and for start and end times.
//!
//! The names are those of the console's exports in both languages, old and new, and those of the API's records. Case,
//! white space and punctuation do not count, nor does what stands in parentheses after the name.

use csv::ByteRecord;

use super::rows::Charset;

/// What a column says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Transaction,
    /// When the user began to connect.
    Start,
    /// When the connection stood.
    Established,
    End,
    User,
    Computer,
    DesktopId,
    DesktopIp,
    Sid,
    TerminalIp,
    TerminalMac,
    TerminalName,
    TerminalType,
    PublicIp,
    SourceIp,
    ClientVersion,
    AgentVersion,
    Latency,
    EndToEndLatency,
    SessionMonitoring,
    Details,
    FailureCause,
    Reconnect,
    EnterpriseProject,
}

/// The names of each column, as [`plain`] makes them. Of several columns of one meaning, the one counts whose name stands
/// first here.
const KNOWN: &[(Meaning, &[&str])] = &[
    (Meaning::Transaction, &["transactionid", "事务id", "事务编号", "交易id"]),
    (
        Meaning::Start,
        &[
            "connectionstarttime",
            "starttime",
            "连接开始时间",
            "接入开始时间",
            "开始时间",
            "开始连接时间",
            "connectionstarted",
            "started",
        ],
    ),
    (
        Meaning::Established,
        &[
            "connectionsetuptime",
            "setuptime",
            "建立连接时间",
            "连接建立时间",
            "connectionestablished",
            "established",
        ],
    ),
    (
        Meaning::End,
        &[
            "connectionendtime",
            "endtime",
            "连接结束时间",
            "接入结束时间",
            "结束时间",
            "结束连接时间",
            "connectionended",
            "ended",
        ],
    ),
    (
        Meaning::User,
        &[
            "username",
            "user",
            "用户名",
            "用户名称",
            "用户",
            "connecteduser",
            "loginuser",
            "连接用户",
            "登录用户",
        ],
    ),
    (
        Meaning::Computer,
        &[
            "computername",
            "desktopname",
            "computer",
            "desktop",
            "计算机名",
            "计算机名称",
            "桌面名称",
            "桌面名",
            "桌面",
        ],
    ),
    (Meaning::DesktopId, &["desktopid", "桌面id"]),
    (Meaning::DesktopIp, &["desktopip", "desktopipaddress", "桌面ip", "桌面ip地址"]),
    (Meaning::Sid, &["sid", "desktopsid", "桌面sid"]),
    (Meaning::TerminalIp, &["terminalip", "terminalipaddress", "终端ip", "终端ip地址"]),
    (Meaning::TerminalMac, &["terminalmac", "terminalmacaddress", "终端mac", "终端mac地址"]),
    (Meaning::TerminalName, &["terminalname", "终端名称"]),
    (Meaning::TerminalType, &["terminaltype", "terminalostype", "终端系统类型", "终端类型"]),
    (Meaning::PublicIp, &["publicip", "publicipaddress", "客户端出口ip"]),
    (Meaning::SourceIp, &["sourceip", "sourceipaddress"]),
    (Meaning::ClientVersion, &["clientversion", "accessclientversion", "accessclient版本"]),
    (Meaning::AgentVersion, &["agentversion", "accessagentversion", "accessagent版本"]),
    (Meaning::Latency, &["networkrtt", "averagelatency", "网络时延", "平均时延"]),
    (Meaning::EndToEndLatency, &["e2ertt", "端到端时延"]),
    (Meaning::SessionMonitoring, &["sessionmonitoring", "会话监控"]),
    (Meaning::Details, &["connectiondetails", "连接详细描述"]),
    (Meaning::FailureCause, &["connectionfailurereason", "failurecause", "连接失败原因"]),
    (Meaning::Reconnect, &["isreconnect", "reconnection", "是否重连"]),
    (Meaning::EnterpriseProject, &["enterpriseprojectid", "enterpriseproject", "企业项目"]),
];

/// Longer than any known name, in bytes.
const LONGEST: usize = 256;

/// A name without case, white space, punctuation, and what stands in parentheses after it.
fn plain(name: &str) -> String {
    let bare = name.split(['(', '（']).next().unwrap_or_default();
    bare.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What stands in parentheses after a name, without blanks and case: a unit, a time zone.
fn in_parentheses(name: &str) -> String {
    let inside = name.split_once(['(', '（']).map_or("", |(_, rest)| rest);
    let inside = inside.split([')', '）']).next().unwrap_or_default();
    inside.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// A header's name as far as it says which column it is: two of the same sense are the same column in other words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sense {
    meaning: Option<Meaning>,
    plain: String,
    in_parentheses: String,
}

impl Sense {
    /// Reads a name in UTF-8; `None` where it says nothing.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let name = Charset::Utf8.read_lossy(name);
        let name = name.trim();
        if name.is_empty() {
            return None;
        }
        let plain = match plain(name) {
            plain if plain.is_empty() => name.to_owned(),
            plain => plain,
        };
        let known = |&(meaning, known): &(Meaning, &[&str])| known.contains(&&*plain).then_some(meaning);
        let meaning = KNOWN.iter().find_map(known);
        Some(Self { meaning, in_parentheses: in_parentheses(name), plain })
    }

    /// Whether both are written alike, but for case, blanks and punctuation.
    pub(super) fn is_written_as(&self, other: &Self) -> bool {
        self.plain == other.plain && self.in_parentheses == other.in_parentheses
    }

    /// Whether both name the same known column. A unit or a time zone that one of them names must not be another one.
    pub(super) fn means(&self, other: &Self) -> bool {
        let (one, two) = (&self.in_parentheses, &other.in_parentheses);
        let is_time = matches!(self.meaning, Some(Meaning::Start | Meaning::End | Meaning::Established));
        let same_unit = one == two || (!is_time && (one.is_empty() || two.is_empty()));
        self.meaning.is_some() && self.meaning == other.meaning && same_unit
    }
}

/// The known columns of a header, and the place of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns(Vec<(Meaning, usize)>);

impl Columns {
    /// Looks for known names in the cells of a row.
    pub(super) fn find(row: &ByteRecord, charset: Charset) -> Self {
        let short = row.iter().enumerate().filter(|(_, cell)| (1..=LONGEST).contains(&cell.len()));
        let names: Vec<(usize, String)> =
            short.filter_map(|(place, cell)| Some((place, plain(&charset.read(cell)?)))).collect();
        let find = |wanted: &&str| names.iter().find(|(_, name)| name == wanted).map(|(place, _)| *place);
        let place = |&(meaning, known): &(Meaning, &[&str])| {
            known.iter().find_map(find).map(|place| (meaning, place))
        };
        Self(KNOWN.iter().filter_map(place).collect())
    }

    /// Looks for known names in whichever charset has more of them.
    pub(super) fn find_in_any(row: &ByteRecord) -> Self {
        let utf8 = Self::find(row, Charset::Utf8);
        if row.as_slice().is_ascii() {
            return utf8;
        }
        let gb18030 = Self::find(row, Charset::Gb18030);
        if gb18030.len() > utf8.len() { gb18030 } else { utf8 }
    }

    /// How many columns of different meanings are known.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether these columns are a header: it names two columns at least.
    pub(super) fn are_a_header(&self) -> bool {
        self.len() >= 2
    }

    /// The place of a column, from 0.
    pub(super) fn place(&self, meaning: Meaning) -> Option<usize> {
        self.0.iter().find_map(|&(known, place)| (known == meaning).then_some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str) -> Columns {
        Columns::find_in_any(&ByteRecord::from(header.split(", ").collect::<Vec<_>>()))
    }

    /// The headers that the provider's console and API are known to use or to have used.
    const HEADERS: [&str; 6] = [
        "连接用户, 桌面名称, 终端IP, 终端系统类型, 桌面IP, 客户端出口IP, 开始连接时间, 结束连接时间, 平均时延(ms), 会话监控, 连接详细描述, \
         终端MAC地址, 终端名称, AccessClient版本, AccessAgent版本, 建立连接时间, 是否重连, 企业项目",
        "桌面名称, 登录用户, 终端IP, 终端系统类型, 桌面IP, 开始连接时间, 结束连接时间, 连接失败原因",
        "Desktop Name, Connected User, Terminal IP Address, Terminal OS Type, Desktop IP Address, Connection Started, Average Latency, \
         Session Monitoring, Connection Details, Terminal MAC Address, Terminal Name, AccessClient Version, AccessAgent Version, \
         Connection Established, Reconnection (Yes/No)",
        "Desktop Name, Login User, Terminal IP, Terminal OS Type, Desktop IP, Started, Ended, Failure Cause",
        "计算机名, 用户名, 终端MAC地址, 终端名称, 终端IP, AccessClient版本, 终端系统类型, AccessAgent版本, 桌面IP, 开始连接时间, 建立连接时间, \
         结束连接时间, 是否重连, 连接失败原因, 网络时延, 端到端时延, 桌面sid, 事务id",
        "computer_name, user_name, terminal_mac, terminal_name, terminal_type, terminal_ip, client_version, agent_version, desktop_ip, \
         connection_start_time, connection_setup_time, connection_end_time, is_reconnect, connection_failure_reason, network_rtt, e2e_rtt, \
         sid, transaction_id, source_ip, public_ip, enterprise_project_id, desktop_id",
    ];

    #[test]
    fn every_name_that_the_provider_gives_a_column_is_known() {
        for header in HEADERS {
            assert_eq!(columns(header).len(), header.split(", ").count(), "{header}");
        }
    }

    #[test]
    fn case_space_punctuation_and_parentheses_do_not_count() {
        for header in [
            "[START-TIME] (UTC), \"User\u{b}Name\"",
            " start time（UTC）, USER_NAME",
            "开始时间 (UTC+08:00), 用户",
        ] {
            let found = columns(header);
            assert_eq!(
                (found.place(Meaning::Start), found.place(Meaning::User)),
                (Some(0), Some(1)),
                "{header}"
            );
        }
        assert_eq!(columns("Users, 2026-11-22, alice, "), Columns::default());
    }

    #[test]
    fn of_two_columns_of_one_meaning_the_better_name_counts() {
        assert_eq!(columns("User, user_name").place(Meaning::User), Some(1));
        assert!(!columns("User, user_name").are_a_header());
    }
}
