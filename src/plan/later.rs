//! The one list of what the grammar has and the plans have not yet. It is to become empty.

use crate::error::Error;
use crate::lang::ast::{Admin, Statement};

/// A form of the language whose meaning comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    Backup,
    VerifyAgainst,
    Compact,
    Form,
}

impl Later {
    fn what(self) -> &'static str {
        match self {
            Later::Backup => "BACKUP",
            Later::VerifyAgainst => "VERIFY AGAINST",
            Later::Compact => "COMPACT",
            Later::Form => "this statement",
        }
    }

    pub fn error(self) -> Error {
        Error::Unavailable { what: self.what().to_owned() }
    }
}

/// The statements that as a whole come later.
pub(super) fn statement(statement: &Statement) -> Option<Later> {
    match statement {
        Statement::Explain { statement, .. } => self::statement(statement),
        Statement::Write(_) => None,
        Statement::Read(_) => None,
        Statement::Define(_) => None,
        Statement::Drop { .. } => None,
        Statement::Show(_) => None,
        Statement::Describe(_) => None,
        Statement::Admin(Admin::Verify { against: None } | Admin::Checkpoint) => None,
        Statement::Admin(Admin::Verify { .. }) => Some(Later::VerifyAgainst),
        Statement::Admin(Admin::Backup { .. }) => Some(Later::Backup),
        Statement::Admin(Admin::Compact) => Some(Later::Compact),
        Statement::Admin(Admin::Retry { .. } | Admin::Skip { .. }) => None,
    }
}
