//! What a statement reads, and the clauses that narrow and shape it.

use super::{Comparison, Count, EntityRef, EventRef, Expr, Id, Name, Point, Span, Start, Text};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Read {
    History {
        entity: EntityRef,
        clauses: Clauses,
    },
    Query(Query),
    /// `READ view`.
    View {
        view: Name,
        clauses: Clauses,
    },
    At {
        entity: EntityRef,
        point: Option<Point>,
        as_of: Option<Point>,
    },
    Replay {
        entity: EntityRef,
        steps: bool,
        as_of: Option<Point>,
    },
    Diff {
        entity: EntityRef,
        from: Start,
        to: Option<Point>,
        as_of: Option<Point>,
    },
    Trace {
        direction: Direction,
        event: EventRef,
    },
    Blame {
        entity: EntityRef,
        point: Option<Point>,
        as_of: Option<Point>,
    },
    Subscribe(Subscribe),
}

/// A read that a view can keep.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    Events { selector: Selector, clauses: Clauses },
    Find { kind: Name, clauses: Clauses },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Both,
    Causes,
    Effects,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subscribe {
    pub(crate) source: Source,
    /// `AS`: the name that keeps its place.
    pub(crate) name: Option<Name>,
    pub(crate) from: Option<Start>,
    pub(crate) until: Option<Point>,
    pub(crate) filter: Option<Expr>,
    pub(crate) limit: Option<Count>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    View(Name),
    Events(Selector),
}

/// Which events: by type, and by what an index answers. Empty means all.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Selector {
    pub(crate) pattern: Option<Text>,
    pub(crate) tags: Vec<Tag>,
}

/// One condition of `BY`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag {
    pub(crate) name: Name,
    pub(crate) test: TagTest,
    pub(crate) span: Span,
}

/// The values are literals, parameters or entities: [`ExprKind::Literal`](super::ExprKind), `Param`, `Entity`. The kind of such an entity
/// may have dots: what an event was caused by elsewhere has a type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TagTest {
    Compare(Comparison, Expr),
    In(Vec<Expr>),
    Between(Expr, Expr),
    /// `BY User 7`: the name is a kind, and the actor is that entity.
    Is(Id),
}

/// What follows a read. Each at most once, in any order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Clauses {
    pub(crate) filter: Option<Expr>,
    pub(crate) since: Option<Point>,
    pub(crate) until: Option<Point>,
    pub(crate) at: Option<Point>,
    pub(crate) as_of: Option<Point>,
    pub(crate) group: Vec<Item>,
    pub(crate) select: Vec<Item>,
    pub(crate) having: Option<Expr>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<Count>,
    /// Never together with `group`, `order` or `limit`.
    pub(crate) last: Option<Count>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) expr: Expr,
    pub(crate) alias: Option<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
}
