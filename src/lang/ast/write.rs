//! What a statement appends: events, and the facts said beside them.

use super::{Count, EntityRef, EventRef, Expr, Id, Name, ObjectExpr, Point, Selector, Span, Text, TypeRef};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    Act(Act),
    /// `ATOMIC (…) facts`: all of it or nothing.
    Atomic {
        acts: Vec<Act>,
        facts: Facts,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Emit(Emit),
    Perform(Perform),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emit {
    pub(crate) event_type: TypeRef,
    /// Without one, the actor may be the target.
    pub(crate) id: Option<EmitId>,
    /// `ON`: another owner than the prefix says.
    pub(crate) owner: Option<EntityRef>,
    pub(crate) body: Option<Body>,
    pub(crate) facts: Facts,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EmitId {
    Id(Id),
    /// `NEW`: the database makes one.
    New(Span),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Perform {
    pub(crate) verb: Name,
    pub(crate) entity: EntityRef,
    pub(crate) body: Option<Body>,
    pub(crate) facts: Facts,
    pub(crate) span: Span,
}

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Object(ObjectExpr),
    /// `WITH expr`: an expression, or a parameter, whose value is an object.
    With(Expr),
}

/// What is said of an event beside its data. Each at most once, in any order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Facts {
    /// `BY`.
    pub(crate) actor: Option<EntityRef>,
    pub(crate) at: Option<Point>,
    pub(crate) meta: Option<ObjectExpr>,
    pub(crate) key: Option<Text>,
    /// `CAUSED BY`.
    pub(crate) cause: Option<Cause>,
    pub(crate) expect: Option<Guard>,
    /// `INDEX BY`; empty when absent.
    pub(crate) index: Vec<IndexTag>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cause {
    /// An event of this log.
    Event(EventRef),
    /// Something elsewhere: its type and id.
    Elsewhere { event_type: TypeRef, id: Id },
}

/// `EXPECT …`, checked at the moment of commit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guard {
    pub(crate) kind: GuardKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GuardKind {
    /// No event ever.
    New,
    /// The state is not null.
    Exists,
    Version(Count),
    /// No such event (since a point).
    None {
        selector: Selector,
        since: Option<Point>,
    },
}

/// `name = expr` of `INDEX BY`; without a value, the member of `data` by that name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IndexTag {
    pub(crate) name: Name,
    pub(crate) value: Option<Expr>,
}
