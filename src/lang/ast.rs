//! The tree: what a text says, before anything in it has been looked up.
//!
//! Names are not resolved here, parameters are still parameters, and a quoted time is still a text: binding decides.
//! Every node that a later message may point at carries its [`Span`]. Chains (`a AND b AND c`, `a + b - c`) are flat,
//! so that the depth of a tree is the depth of its brackets, which the parser caps.
//! The `Display` of each node is its canonical text; see [`print`](super::print).

#![allow(
    clippy::large_enum_variant,
    reason = "a statement has one tree, and it is matched on more often than moved"
)]

use std::ops::Range;
use std::time::Duration;

use indexmap::IndexSet;

use crate::definition::DefinitionKind;
use crate::entity::{EventType, Position};
use crate::time::Timestamp;

mod define;
mod event_schema;
pub(in crate::lang) mod expr;
pub(in crate::lang) mod read;
pub(in crate::lang) mod write;

pub(crate) use define::*;
pub(crate) use event_schema::*;
pub(crate) use expr::*;
pub(crate) use read::*;
pub(crate) use write::*;

/// Where in the text something stands, in bytes.
///
/// All spans are *equal*: two trees are the same when they say the same, wherever they stand. That is what
/// "print, then parse, is the same tree" means.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    // Every token has one: half the size is much of what parsing takes. No statement is longer.
    start: u32,
    end: u32,
}

impl PartialEq for Span {
    fn eq(&self, _: &Span) -> bool {
        true
    }
}

impl Eq for Span {}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(start), end: place(end) }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    /// From where this begins to where the other ends.
    pub(crate) fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end.max(self.start) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

/// A whole text: its statements in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScriptTree {
    pub(crate) statements: Vec<Sourced>,
}

impl ScriptTree {
    /// The names of the parameters of all statements, each once, in order of appearance.
    pub(crate) fn params(&self) -> Vec<&str> {
        let names = self.statements.iter().flat_map(|s| &s.params).map(String::as_str);
        names.collect::<IndexSet<_>>().into_iter().collect()
    }
}

/// A statement and where it stands: its text is `&text[span.range()]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sourced {
    pub(crate) statement: Stmt,
    pub(crate) span: Span,
    /// The names of its parameters, each once, in order of appearance.
    pub(crate) params: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stmt {
    /// `EXPLAIN [ANALYZE]` of a write, a read or a definition.
    Explain {
        analyze: bool,
        statement: Box<Stmt>,
    },
    Write(WriteStmt),
    Read(ReadStmt),
    Define(DefinitionStmt),
    Forget(ForgetStmt),
    Drop {
        kind: DropTarget,
        name: Name,
    },
    Show(ShowTarget),
    Describe(Name),
    /// Of a type of events.
    DescribeType(TypeRef),
    Admin(Admin),
}

/// `FORGET entity BECAUSE text`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForgetStmt {
    pub(crate) subject: EntityRef,
    pub(crate) because: Option<TextExpr>,
}

/// A name as written: of a kind, a field, a view. Case matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A parameter: `$name`. Its value is given beside the text, and so can never become syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    /// Without the `$`.
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// A text that a statement wants as such: a pattern, a key, a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextExpr {
    Literal { text: String, span: Span },
    Param(Param),
}

impl TextExpr {
    pub(crate) fn span(&self) -> Span {
        match self {
            TextExpr::Literal { span, .. } => *span,
            TextExpr::Param(param) => param.span,
        }
    }
}

/// How many: `LIMIT 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CountLiteral {
    Number { number: u64, span: Span },
    Param(Param),
}

/// How long: `EVERY 1d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Period {
    Fixed { duration: Duration, span: Span },
    Param(Param),
}

/// The type of an event, with its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeRef {
    pub(crate) event_type: EventType,
    pub(crate) span: Span,
}

/// An entity, as a statement says it: its id may come from a parameter or an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EntityRef {
    pub(crate) kind: Name,
    pub(crate) id: IdExpr,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IdExpr {
    /// Verbatim: `42`, `'42'` and `"42"` are one.
    Text {
        text: String,
        span: Span,
    },
    Param(Param),
    /// In parentheses.
    Expr(Box<Expr>),
}

impl IdExpr {
    pub(crate) fn span(&self) -> Span {
        match self {
            IdExpr::Text { span, .. } => *span,
            IdExpr::Param(param) => param.span,
            IdExpr::Expr(expr) => expr.span,
        }
    }
}

/// A place in time or in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PointExpr {
    pub(crate) kind: PointKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PointKind {
    /// Quoted: a time, or the id of an event; binding decides.
    Text(String),
    /// A bare date, also with a time.
    Time(Timestamp),
    /// `#1207`.
    Position(Position),
    Param(Param),
    Now,
    /// `-7d`: so long before now.
    Ago(Duration),
    /// `VERSION 3`.
    Version(CountLiteral),
}

/// Where a range begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// `START`: before the first event.
    Beginning(Span),
    Point(PointExpr),
}

/// One event of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EventRef {
    Position {
        position: Position,
        span: Span,
    },
    /// The id of the event.
    Id(TextExpr),
}

impl EventRef {
    pub(crate) fn span(&self) -> Span {
        match self {
            EventRef::Position { span, .. } => *span,
            EventRef::Id(text) => text.span(),
        }
    }
}

/// What `DROP` ends: what was defined, or a subscription, which is no definition but a place, made by its first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropTarget {
    Definition(DefinitionKind),
    Subscription,
}

/// What `SHOW` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShowTarget {
    /// What is defined of a kind; of entities the kinds that only events are about, too.
    Definitions(DefinitionKind),
    Types,
    Subscriptions,
    Functions,
    Stats,
    Head,
}

/// What becomes of a file that has the name of a backup already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackupClause {
    New,
    Increment,
    Replace,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Admin {
    Backup {
        to: TextExpr,
        mode: BackupClause,
        without_keys: bool,
        /// Where the key is that it is encrypted with.
        key: Option<TextExpr>,
    },
    /// Where the new key is.
    Rekey {
        key: TextExpr,
    },
    /// The hash, and the position that it is of.
    Verify {
        against: Option<(TextExpr, Option<Position>)>,
    },
    /// The position, and that of the log that it is proved to be in: the newest, if not said.
    Prove {
        position: Position,
        as_of: Option<Position>,
    },
    /// Where the key is.
    SignHead {
        key: TextExpr,
    },
    Compact,
    Checkpoint,
    /// Takes in all that a shared log holds now.
    Sync,
    Retry {
        kind: DropTarget,
        name: Name,
        position: Option<Position>,
    },
    Skip {
        kind: DropTarget,
        name: Name,
        position: Option<Position>,
    },
}
