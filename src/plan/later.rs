//! The one list of what the grammar has and the plans have not yet. It is to become empty.

use crate::error::Error;
use crate::lang::ast::{Admin, DefinedKind, Definition, Read, Shown, Source, Statement};

/// A form of the language whose meaning comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    Define(&'static str),
    Drop,
    Show(&'static str),
    Backup,
    VerifyAgainst,
    Compact,
    Retry,
    SubscribeView,
    SubscribeAs,
    Form,
}

impl Later {
    fn what(self) -> &'static str {
        match self {
            Later::Define(what) | Later::Show(what) => what,
            Later::Drop => "DROP of anything but an index, an entity, a verb or a view",
            Later::Backup => "BACKUP",
            Later::VerifyAgainst => "VERIFY AGAINST",
            Later::Compact => "COMPACT",
            Later::Retry => "RETRY and SKIP",
            Later::SubscribeView => "SUBSCRIBE VIEW",
            Later::SubscribeAs => "SUBSCRIBE … AS name",
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
        Statement::Read(read) => self::read(read),
        Statement::Define(definition) => define(definition),
        Statement::Drop {
            kind: DefinedKind::Index | DefinedKind::Entity | DefinedKind::Verb | DefinedKind::View,
            ..
        } => None,
        Statement::Drop { .. } => Some(Later::Drop),
        Statement::Show(shown) => show(*shown),
        Statement::Describe(_) => None,
        Statement::Admin(Admin::Verify { against: None } | Admin::Checkpoint) => None,
        Statement::Admin(Admin::Verify { .. }) => Some(Later::VerifyAgainst),
        Statement::Admin(Admin::Backup { .. }) => Some(Later::Backup),
        Statement::Admin(Admin::Compact) => Some(Later::Compact),
        Statement::Admin(Admin::Retry { .. } | Admin::Skip { .. }) => Some(Later::Retry),
    }
}

fn read(read: &Read) -> Option<Later> {
    match read {
        Read::History { .. } | Read::At { .. } | Read::Replay { .. } => None,
        Read::Blame { .. } | Read::Diff { .. } | Read::Trace { .. } => None,
        Read::Query(_) => None,
        Read::View { .. } => None,
        Read::Subscribe(subscribe) => match (&subscribe.source, &subscribe.name) {
            (Source::View(_), _) => None,
            (Source::Events(_), Some(_)) => Some(Later::SubscribeAs),
            (Source::Events(_), None) => None,
        },
    }
}

fn define(definition: &Definition) -> Option<Later> {
    Some(Later::Define(match definition {
        Definition::Index { .. } | Definition::Entity(_) | Definition::Verb(_) | Definition::View { .. } => {
            return None;
        }
        Definition::Reaction(_) => "DEFINE REACTION",
        Definition::Webhook(_) => "DEFINE WEBHOOK",
        Definition::Schedule { .. } => "DEFINE SCHEDULE",
    }))
}

fn show(shown: Shown) -> Option<Later> {
    Some(Later::Show(match shown {
        Shown::Kinds
        | Shown::Types
        | Shown::Verbs
        | Shown::Indexes
        | Shown::Views
        | Shown::Stats
        | Shown::Head => {
            return None;
        }
        Shown::Reactions => "SHOW REACTIONS",
        Shown::Webhooks => "SHOW WEBHOOKS",
        Shown::Schedules => "SHOW SCHEDULES",
        Shown::Subscriptions => "SHOW SUBSCRIPTIONS",
    }))
}
