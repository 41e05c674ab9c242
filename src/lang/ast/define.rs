//! What a statement defines: entities, verbs, indexes, columns, views and what runs by itself.

use super::{
    ActStmt, Body, CountLiteral, EntityRef, EventClauses, EventDefinitionStmt, Expr, Name, ObjectExpr, Path,
    Period, Query, Span, Start, TextExpr,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DefinitionStmt {
    Entity(EntityDefinitionStmt),
    Event(EventDefinitionStmt),
    Verb(VerbDefinitionStmt),
    Index { name: Name, pattern: TextExpr, expr: Expr },
    Column { name: Name, pattern: TextExpr, expr: Expr },
    Schedule { name: Name, rhythm: RhythmClause, acts: Vec<ActStmt> },
    View { name: Name, query: Query },
    Private(PrivateDefinitionStmt),
    Reaction(ReactionDefinitionStmt),
    Webhook(WebhookDefinitionStmt),
}

/// When a schedule runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RhythmClause {
    /// `EVERY period AT text`.
    Every { period: Period, at: Option<TextExpr> },
    /// `CRON fields IN zone`.
    Cron { fields: TextExpr, zone: Option<TextExpr> },
}

/// `PRIVATE name ON pattern OF subject FIELDS paths INCLUDING PAST`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrivateDefinitionStmt {
    pub(crate) name: Name,
    pub(crate) pattern: TextExpr,
    /// `target`, `actor`, or a kind whose id a field has.
    pub(crate) subject: Name,
    pub(crate) id: Option<Path>,
    /// Never empty.
    pub(crate) fields: Vec<Path>,
    /// `INCLUDING PAST`
    pub(crate) past: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EntityDefinitionStmt {
    pub(crate) name: Name,
    pub(crate) namespace: Option<Name>,
    pub(crate) initial: Option<ObjectExpr>,
    /// `SNAPSHOT EVERY n` events.
    pub(crate) snapshot: Option<CountLiteral>,
    pub(crate) includes: Vec<IncludeClause>,
    pub(crate) rules: Vec<RuleClause>,
    /// `ELSE`.
    pub(crate) otherwise: Option<ChangeClause>,
    /// `FORGOTTEN SET`.
    pub(crate) forgotten: Vec<AssignClause>,
}

/// `INCLUDE pattern BY tag`: events of others that join the fold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IncludeClause {
    pub(crate) pattern: TextExpr,
    pub(crate) tag: Name,
}

/// `ON happening change`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleClause {
    pub(crate) on: Happening,
    pub(crate) change: ChangeClause,
}

/// What happened, without or with its prefix: `paid`, `item.added`, `'Vehicle.*'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) text: String,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ChangeClause {
    Merge,
    Ignore,
    Delete,
    Set(Vec<AssignClause>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssignClause {
    /// In the state.
    pub(crate) path: Path,
    pub(crate) value: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerbDefinitionStmt {
    pub(crate) name: Name,
    /// `ON`: of which entities.
    pub(crate) kind: Name,
    /// `BY`: the kinds of those who may; empty means anyone.
    pub(crate) actors: Vec<Name>,
    pub(crate) requires: Vec<RequireClause>,
    /// Empty means the past participle of the name, where there are no cases.
    pub(crate) emits: Vec<VerbEmit>,
    pub(crate) forgets: Option<ForgetClause>,
    /// The first that holds wins. Where there is one, `emits` is empty, and `forgets` none.
    pub(crate) cases: Vec<CaseClause>,
}

/// `WHEN condition` with what holds then.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CaseClause {
    pub(crate) condition: Expr,
    pub(crate) requires: Vec<RequireClause>,
    /// Empty means the past participle of the verb's name.
    pub(crate) emits: Vec<VerbEmit>,
    pub(crate) forgets: Option<ForgetClause>,
}

/// `FORGET subject BECAUSE text`, within a verb.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForgetClause {
    /// `target`, `actor`, or a kind with an id.
    pub(crate) subject: Name,
    pub(crate) id: Option<Expr>,
    pub(crate) because: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequireClause {
    pub(crate) condition: Expr,
    /// What to say when it does not hold.
    pub(crate) otherwise: Option<TextExpr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerbEmit {
    pub(crate) happening: Happening,
    pub(crate) owner: Option<EntityRef>,
    pub(crate) body: Option<Body>,
    pub(crate) facts: EventClauses,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReactionDefinitionStmt {
    pub(crate) name: Name,
    pub(crate) pattern: TextExpr,
    pub(crate) from: Option<Start>,
    pub(crate) filter: Option<Expr>,
    pub(crate) after: Option<After>,
    pub(crate) acts: Vec<ActStmt>,
}

/// `AFTER period [UNLESS pattern]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct After {
    pub(crate) period: Period,
    pub(crate) unless: Option<TextExpr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WebhookDefinitionStmt {
    pub(crate) name: Name,
    pub(crate) pattern: TextExpr,
    pub(crate) from: Option<Start>,
    pub(crate) filter: Option<Expr>,
    pub(crate) to: TextExpr,
    /// `AS`: in which form.
    pub(crate) form: Option<TextExpr>,
    pub(crate) secret: Option<TextExpr>,
}
