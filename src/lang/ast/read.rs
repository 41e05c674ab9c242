//! What a statement reads, and the clauses that narrow and shape it.

use super::{
    Comparison, CountLiteral, EntityRef, EventRef, Expr, IdExpr, Name, Path, PointExpr, Span, Start, TextExpr,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ReadStmt {
    History {
        entity: EntityRef,
        /// The field of the state whose changes are asked for.
        of: Option<Path>,
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
        point: Option<PointExpr>,
        as_of: Option<PointExpr>,
    },
    Replay {
        entity: EntityRef,
        steps: bool,
        as_of: Option<PointExpr>,
    },
    Diff {
        entity: EntityRef,
        from: Start,
        to: Option<PointExpr>,
        as_of: Option<PointExpr>,
    },
    Trace {
        direction: TraceDirection,
        event: EventRef,
    },
    Blame {
        entity: EntityRef,
        of: Option<Path>,
        point: Option<PointExpr>,
        as_of: Option<PointExpr>,
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
pub(crate) enum TraceDirection {
    Both,
    Causes,
    Effects,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subscribe {
    pub(crate) source: SourceClause,
    /// `AS`: the name that keeps its place.
    pub(crate) name: Option<Name>,
    pub(crate) from: Option<Start>,
    pub(crate) until: Option<PointExpr>,
    pub(crate) filter: Option<Expr>,
    pub(crate) limit: Option<CountLiteral>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SourceClause {
    View(Name),
    Events(Selector),
}

/// Which events: by type, and by what an index answers. Empty means all.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Selector {
    pub(crate) pattern: Option<TextExpr>,
    pub(crate) tags: Vec<TagCondition>,
}

/// One condition of `BY`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TagCondition {
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
    Is(IdExpr),
}

/// What follows a read. Each at most once, in any order; but `UNNEST`, and `WHERE` once before it and once behind each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Clauses {
    /// `WHERE` before any `UNNEST`.
    pub(crate) filter: Option<Expr>,
    pub(crate) unnest: Vec<UnnestClause>,
    pub(crate) since: Option<PointExpr>,
    pub(crate) until: Option<PointExpr>,
    pub(crate) at: Option<PointExpr>,
    pub(crate) as_of: Option<PointExpr>,
    pub(crate) group: Vec<SelectItem>,
    pub(crate) select: Vec<SelectItem>,
    pub(crate) having: Option<Expr>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<CountLiteral>,
    /// Never together with `group`, `order` or `limit`.
    pub(crate) last: Option<CountLiteral>,
    /// `RAW`: as events are stored.
    pub(crate) raw: Option<Span>,
}

/// `UNNEST data.lines AS line, n`: a row of each item of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnnestClause {
    /// A path: [`ExprKind::Field`](super::ExprKind).
    pub(crate) list: Expr,
    pub(crate) alias: Name,
    /// What the place of the item in its list is called.
    pub(crate) place: Option<Name>,
    /// `WHERE` behind it, and before the next one.
    pub(crate) filter: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SelectItem {
    pub(crate) expr: Expr,
    pub(crate) alias: Option<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
}
