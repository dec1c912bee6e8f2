//! By which columns a row is known again in another export.

use csv::ByteRecord;

use super::super::columns::{Columns as Known, Meaning};
use super::super::rows::{Charset, push_netstring};

/// Where in a row its identity stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    transaction: Option<usize>,
    /// Start time, user and computer.
    connection: Option<[usize; 3]>,
}

/// Which columns two files have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Basis {
    transaction: bool,
    connection: bool,
}

impl Basis {
    pub(super) fn common(one: &Columns, other: &Columns) -> Self {
        Self {
            transaction: one.transaction.is_some() && other.transaction.is_some(),
            connection: one.connection.is_some() && other.connection.is_some(),
        }
    }
}

impl Columns {
    /// Looks for them in a header.
    pub(super) fn find(header: &ByteRecord, charset: Charset) -> Self {
        let known = Known::find(header, charset);
        let connection = || {
            Some([known.place(Meaning::Start)?, known.place(Meaning::User)?, known.place(Meaning::Computer)?])
        };
        Self { transaction: known.place(Meaning::Transaction), connection: connection() }
    }

    /// Writes down what a row is known by; `false` where that is nothing but its content.
    pub(super) fn identity(
        &self,
        basis: Basis,
        cells: &ByteRecord,
        charset: Charset,
        out: &mut Vec<u8>,
    ) -> bool {
        let filled = |place: &usize| cells.get(*place).is_some_and(|cell| !cell.is_empty());
        let transaction = self.transaction.as_slice();
        let connection = self.connection.as_ref().map_or(&[][..], |places| &places[..]);
        let (kind, places) = if basis.transaction && transaction.iter().any(filled) {
            (b'T', transaction)
        } else if basis.connection && connection.iter().any(filled) {
            (b'C', connection)
        } else {
            return false;
        };
        out.clear();
        // No canonical form of a row begins so: identities of different kinds are never equal.
        out.extend_from_slice(&[0, kind]);
        for place in places {
            let (text, _) = charset.read_or_raw(cells.get(*place).unwrap_or_default());
            push_netstring(out, &text);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &[&str]) -> Columns {
        Columns::find(&ByteRecord::from(header.to_vec()), Charset::Utf8)
    }

    #[test]
    fn columns_are_known_in_both_languages_and_as_the_api_spells_them() {
        let all = Columns { transaction: Some(3), connection: Some([2, 1, 0]) };
        for header in [
            ["Computer Name", "User Name", "Connection Start Time", "Transaction ID"],
            ["computer_name", "user_name", "connection_start_time", "transaction_id"],
            ["Desktop", "USERNAME", "start-time (UTC)", "TransactionId"],
            ["计算机名", "用户名", "连接开始时间", "事务ID"],
            ["桌面名称", "用户", "开始时间（UTC）", "事务 id"],
            ["Desktop Name", "Login User", "Started", "Transaction ID"],
            ["Desktop Name", "Connected User", "Connection Started", "Transaction ID"],
            ["桌面名称", "连接用户", "开始连接时间", "事务id"],
            ["桌面名称", "登录用户", "开始连接时间", "事务id"],
        ] {
            assert_eq!(columns(&header), all, "{header:?}");
        }
    }

    #[test]
    fn other_columns_are_not_taken_for_them() {
        let none = Columns { transaction: None, connection: None };
        assert_eq!(columns(&["Terminal Name", "User ID", "Connection End Time", "SID"]), none);
        assert_eq!(columns(&["User Name", "Connection Start Time"]), none);
    }

    #[test]
    fn of_several_columns_the_better_name_counts() {
        let found = columns(&["User", "Start Time", "Desktop Name", "user_name", "Computer Name"]);
        assert_eq!(found.connection, Some([1, 3, 4]));
    }
}
