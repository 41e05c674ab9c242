//! What a statement defines: entities, verbs, indexes, views and what runs by itself.

use super::{
    Act, Body, Count, EntityRef, Expr, Facts, Name, ObjectExpr, Path, Period, Query, Span, Start, Text,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Definition {
    Entity(EntityDefinition),
    Verb(VerbDefinition),
    Index { name: Name, pattern: Text, expr: Expr },
    Schedule { name: Name, every: Period, at: Option<Text>, acts: Vec<Act> },
    View { name: Name, query: Query },
    Reaction(ReactionDefinition),
    Webhook(WebhookDefinition),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EntityDefinition {
    pub(crate) name: Name,
    pub(crate) namespace: Option<Name>,
    pub(crate) initial: Option<ObjectExpr>,
    /// `SNAPSHOT EVERY n` events.
    pub(crate) snapshot: Option<Count>,
    pub(crate) includes: Vec<Include>,
    pub(crate) rules: Vec<Rule>,
    /// `ELSE`.
    pub(crate) otherwise: Option<Change>,
}

/// `INCLUDE pattern BY tag`: events of others that join the fold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Include {
    pub(crate) pattern: Text,
    pub(crate) tag: Name,
}

/// `ON happening change`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) on: Happening,
    pub(crate) change: Change,
}

/// What happened, without or with its prefix: `paid`, `item.added`, `'Vehicle.*'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) text: String,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Merge,
    Ignore,
    Delete,
    Set(Vec<Assign>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assign {
    /// In the state.
    pub(crate) path: Path,
    pub(crate) value: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerbDefinition {
    pub(crate) name: Name,
    /// `ON`: of which entities.
    pub(crate) kind: Name,
    /// `BY`: the kinds of those who may; empty means anyone.
    pub(crate) actors: Vec<Name>,
    pub(crate) requires: Vec<Require>,
    /// Empty means the past participle of the name, where there are no cases.
    pub(crate) emits: Vec<VerbEmit>,
    /// The first that holds wins. Where there is one, `emits` is empty.
    pub(crate) cases: Vec<Case>,
}

/// `WHEN condition` with what holds then.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) condition: Expr,
    pub(crate) requires: Vec<Require>,
    /// Empty means the past participle of the verb's name.
    pub(crate) emits: Vec<VerbEmit>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Require {
    pub(crate) condition: Expr,
    /// What to say when it does not hold.
    pub(crate) otherwise: Option<Text>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerbEmit {
    pub(crate) happening: Happening,
    pub(crate) owner: Option<EntityRef>,
    pub(crate) body: Option<Body>,
    pub(crate) facts: Facts,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReactionDefinition {
    pub(crate) name: Name,
    pub(crate) pattern: Text,
    pub(crate) from: Option<Start>,
    pub(crate) filter: Option<Expr>,
    pub(crate) after: Option<After>,
    pub(crate) acts: Vec<Act>,
}

/// `AFTER period [UNLESS pattern]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct After {
    pub(crate) period: Period,
    pub(crate) unless: Option<Text>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WebhookDefinition {
    pub(crate) name: Name,
    pub(crate) pattern: Text,
    pub(crate) from: Option<Start>,
    pub(crate) filter: Option<Expr>,
    pub(crate) to: Text,
    /// `AS`: in which form.
    pub(crate) form: Option<Text>,
    pub(crate) secret: Option<Text>,
}
