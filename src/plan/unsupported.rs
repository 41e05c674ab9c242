//! The one list of what the grammar has and the plans have not yet. It is to become empty.

use crate::error::Error;
use crate::lang::ast::{Admin, Stmt};

/// A form of the language whose meaning comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsupported {
    Compact,
    Form,
}

impl Unsupported {
    fn what(self) -> &'static str {
        match self {
            Unsupported::Compact => "COMPACT",
            Unsupported::Form => "this statement",
        }
    }

    pub fn error(self) -> Error {
        Error::Unavailable { what: self.what().to_owned() }
    }
}

/// The statements that as a whole come later.
pub(super) fn statement(statement: &Stmt) -> Option<Unsupported> {
    match statement {
        Stmt::Explain { statement, .. } => self::statement(statement),
        Stmt::Write(_) => None,
        Stmt::Read(_) => None,
        Stmt::Define(_) => None,
        Stmt::Drop { .. } => None,
        Stmt::Show(_) => None,
        Stmt::Describe(_) => None,
        Stmt::Admin(Admin::Verify { .. } | Admin::Checkpoint | Admin::Backup { .. }) => None,
        Stmt::Admin(Admin::Compact) => Some(Unsupported::Compact),
        Stmt::Admin(Admin::Retry { .. } | Admin::Skip { .. }) => None,
    }
}
