//! What a statement appends: events, and the facts said beside them.

use super::{
    CountLiteral, EntityRef, EventRef, Expr, IdExpr, Name, ObjectExpr, PointExpr, Selector, Span, TextExpr,
    TypeRef,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WriteStmt {
    Act(ActStmt),
    /// `ATOMIC (…) facts`: all of it or nothing.
    Atomic {
        acts: Vec<ActStmt>,
        facts: EventClauses,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ActStmt {
    Emit(EmitStmt),
    Perform(PerformStmt),
    Close(CloseStmt),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EmitStmt {
    pub(crate) event_type: TypeRef,
    /// Without one, the actor may be the target.
    pub(crate) id: Option<EmitId>,
    /// `ON`: another owner than the prefix says.
    pub(crate) owner: Option<EntityRef>,
    pub(crate) body: Option<Body>,
    pub(crate) facts: EventClauses,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EmitId {
    Id(IdExpr),
    /// `NEW`: the database makes one.
    New(Span),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PerformStmt {
    pub(crate) verb: Name,
    pub(crate) entity: EntityRef,
    pub(crate) body: Option<Body>,
    pub(crate) facts: EventClauses,
    pub(crate) span: Span,
}

/// `CLOSE entity BECAUSE text facts`, and `REOPEN`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CloseStmt {
    pub(crate) reopens: bool,
    pub(crate) entity: EntityRef,
    pub(crate) because: Option<TextExpr>,
    pub(crate) facts: EventClauses,
    pub(crate) span: Span,
}

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Object(ObjectExpr),
    /// `WITH expr`: an expression, or a parameter, whose value is an object.
    With(Expr),
}

/// What is said of an event beside its data, in any order. Each at most once, `EXPECT` any number of times.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct EventClauses {
    /// `BY`.
    pub(crate) actor: Option<EntityRef>,
    pub(crate) at: Option<PointExpr>,
    pub(crate) meta: Option<ObjectExpr>,
    pub(crate) key: Option<TextExpr>,
    /// `ID`: that of the event, where the database is not to make one.
    pub(crate) id: Option<TextExpr>,
    /// `CAUSED BY`.
    pub(crate) cause: Option<CauseClause>,
    /// `EXPECT`: all of them must hold.
    pub(crate) expect: Vec<GuardClause>,
    /// `INDEX BY`; empty when absent.
    pub(crate) index: Vec<IndexTag>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CauseClause {
    /// An event of this log.
    Event(EventRef),
    /// Something elsewhere: its type and id.
    Elsewhere { event_type: TypeRef, id: IdExpr },
}

/// `EXPECT …`, checked at the moment of commit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GuardClause {
    pub(crate) kind: GuardKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GuardKind {
    /// No event ever.
    New,
    /// The state is not null.
    Exists,
    /// The state is null.
    Absent,
    Version(CountLiteral),
    /// No event that one of these selects (since a point).
    None {
        selectors: Vec<Selector>,
        since: Option<PointExpr>,
    },
}

/// `name = expr` of `INDEX BY`; without a value, the member of `data` by that name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IndexTag {
    pub(crate) name: Name,
    pub(crate) value: Option<Expr>,
}
