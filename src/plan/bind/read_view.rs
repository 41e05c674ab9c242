//! Binding of `READ` and `SUBSCRIBE VIEW`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Binder;
use super::expr::NameScope;
use super::shape::{Outline, along_the_log};
use super::view::view_definition;
use crate::entity::{NameText, Position};
use crate::error::{Error, MissingItem, Result};
use crate::lang;
use crate::lang::ast::{Clauses, Expr, Name, Path, PointExpr, Span, Subscribe};
use crate::plan::expr::{BoundExpr, Predicate};
use crate::plan::fault::nearest;
use crate::plan::find::FindQuery;
use crate::plan::logical::{AccessQuery, EventsRead};
use crate::plan::moment::ResolvedPoint;
use crate::plan::shape::{OutputColumn, Shape, SortKey};
use crate::plan::view::{
    GroupQuery, GroupsOf, RowQuery, Selected, ViewPlan, ViewRead, ViewRows, ViewSource, ViewSubscriptionRead,
};
use crate::plan::window::{LogWindow, RowLimit};
use crate::store::catalog::DefinedView;

/// The columns of a view, by their names: what each is worth, for whatever a row is made of.
pub(super) struct Columns {
    view: String,
    nodes: IndexMap<String, BoundExpr>,
}

impl Columns {
    fn of(view: &ViewPlan) -> Columns {
        let nodes = view.columns().iter().map(|column| (column.name.clone(), column.node.clone()));
        Columns { view: view.name.clone(), nodes: nodes.collect() }
    }

    /// The column that is called so, or by such an expression.
    pub fn get(&self, expr: &Expr) -> Option<BoundExpr> {
        match &expr.kind {
            lang::ast::ExprKind::Field(Path { first, steps, .. }) if steps.is_empty() => {
                self.nodes.get(&first.text).cloned()
            }
            lang::ast::ExprKind::Field(_) | lang::ast::ExprKind::Call { .. } => {
                self.nodes.get(&expr.to_string()).cloned()
            }
            _ => None,
        }
    }
}

impl Binder<'_> {
    /// `READ`.
    pub(super) fn read_view(&self, name: &Name, clauses: &Clauses) -> Result<ViewRead> {
        let defined = self.defined_view(name)?;
        self.check_read(clauses)?;
        if let Some(span) = clauses.raw {
            return Err(
                self.fault(span, "RAW is for EVENTS and HISTORY: a view is of events as they are read")
            );
        }
        let reading = Reading { binder: self, view: view_definition(&defined.text)?, clauses };
        let newer = self.names()?.catalog().view(&name.text).map(|newest| newest.position);
        let newer = newer.filter(|newest| *newest != defined.position);
        if let Some(newer) = newer {
            let shown = NameText(&name.text);
            self.notice(format!(
                "{shown} is as it is defined at {}, until the one of {newer} is complete",
                defined.position
            ));
        }
        let (through, as_of) = self.as_of(clauses.as_of.as_ref(), None)?;
        let rows = reading.rows(through, as_of)?;
        let narrows = matches!(&reading.view.of, ViewSource::Entities { predicate: Some(_), .. });
        Ok(ViewRead { view: defined, newer, through, narrows, rows })
    }

    /// The view that is to be read.
    fn defined_view(&self, name: &Name) -> Result<Arc<DefinedView>> {
        let catalog = self.names()?.catalog();
        if let Some(view) = catalog.usable_view(&name.text) {
            view.view()?;
            return Ok(view.clone());
        }
        let meant = nearest(&name.text, catalog.views().map(|view| view.name.as_str()));
        let message = if catalog.model(&name.text).is_some() || self.names()?.has_kind(&name.text)? {
            format!("{name} is a kind of entities, and no view: FIND {name} reads them")
        } else {
            format!("no view '{}' is defined; SHOW VIEWS tells what there is", name.text)
        };
        let meant = meant.map(|name| NameText(name).to_string());
        let item = MissingItem::Name { sort: "view", name: name.text.clone() };
        Err(self.missing_meaning(name.span, item, message, meant))
    }

    fn check_read(&self, clauses: &Clauses) -> Result<()> {
        let point = |point: &Option<PointExpr>| point.as_ref().map(|point| point.span);
        let defined =
            "belongs in the definition of the view; READ takes WHERE, SELECT, ORDER BY, LIMIT and AS OF";
        let wrong = [
            (clauses.unnest.first().map(|unnest| unnest.list.span), format!("UNNEST {defined}")),
            (clauses.group.first().map(|item| item.expr.span), format!("GROUP BY {defined}")),
            (
                clauses.having.as_ref().map(|having| having.span),
                "HAVING: of rows of a view say WHERE".to_owned(),
            ),
            (point(&clauses.since), format!("SINCE {defined}")),
            (point(&clauses.until), format!("UNTIL {defined}")),
            (point(&clauses.at), "AT: a view tells what the log knew: READ … AS OF a point".to_owned()),
            (
                clauses.last.as_ref().map(super::model::span_of),
                "LAST: of rows of a view say ORDER BY … DESC LIMIT n".to_owned(),
            ),
        ];
        match wrong.into_iter().find_map(|(span, message)| Some((span?, message))) {
            Some((span, message)) => Err(self.fault(span, message)),
            None => Ok(()),
        }
    }

    /// `SUBSCRIBE VIEW`.
    pub(super) fn view_subscription(
        &self,
        subscribe: &Subscribe,
        name: &Name,
    ) -> Result<ViewSubscriptionRead> {
        if let Some(as_name) = &subscribe.name {
            let message =
                "a view is told as it is, and then as it changes: there is no place to keep for a name";
            return Err(self.fault(as_name.span, message));
        }
        if subscribe.from.is_some() {
            let message =
                "FROM: a view is told as it is now, and then as it changes; READ … AS OF tells what it was";
            return Err(self.fault(name.span, message));
        }
        let clauses = Clauses { filter: subscribe.filter.clone(), ..Clauses::default() };
        let read = self.read_view(name, &clauses)?;
        if let RowQuery::Entities(FindQuery { unnest: Some(_), .. }) = &read.rows {
            let message = format!(
                "the rows of {name} are items of states, which have no name to be told by when they are no more: what can be \
                 followed is EVENTS … UNNEST, and groups"
            );
            return Err(self.fault(name.span, message));
        }
        Ok(ViewSubscriptionRead {
            read,
            until: self.until(subscribe)?,
            limit: subscribe.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?,
        })
    }

    /// What a name among the columns of a view leads to.
    pub(super) fn column_of_view(&self, columns: &Columns, path: &Path) -> Result<BoundExpr> {
        let written = path.to_string();
        if let Some(node) = columns.nodes.get(&written) {
            return Ok(node.clone());
        }
        let first = &path.first.text;
        let known = columns.nodes.keys().map(String::as_str);
        if columns.nodes.contains_key(first) {
            let message = format!(
                "{first} is a column, and READ takes it whole; the definition of the view may say a part of it in a column of \
                 its own"
            );
            return Err(self.fault(path.first.span, message));
        }
        // A column without a name is called by its text, as `count()`.
        let call = known.clone().find(|column| column.split('(').next() == Some(first.as_str()));
        let meant = call.or_else(|| nearest(first, known.clone()));
        let message = format!(
            "the view {} has no column '{written}'; it has {}",
            NameText(&columns.view),
            known.collect::<Vec<_>>().join(", ")
        );
        Err(self.fault_meaning(path.first.span, message, meant.map(str::to_owned)))
    }

    pub(super) fn aggregate_of_view(&self, function: &str, span: Span) -> Error {
        let message = format!(
            "{function}() is worked out from many rows: it belongs in the definition of the view, and READ takes its columns"
        );
        self.fault(span, message)
    }
}

/// A view that is read.
struct Reading<'b, 's> {
    binder: &'b Binder<'s>,
    view: ViewPlan,
    clauses: &'b Clauses,
}

/// What is asked of the rows.
struct RowClauses {
    predicate: Option<Predicate>,
    columns: Option<Vec<OutputColumn>>,
    /// They are said by `SELECT`.
    selects: bool,
    order: Vec<SortKey>,
    limit: Option<u64>,
}

impl Reading<'_, '_> {
    fn rows(&self, through: Position, as_of: Option<ResolvedPoint>) -> Result<RowQuery> {
        let asked = self.asked()?;
        if let ViewRows::Group(group) = &self.view.shape {
            let of = match &self.view.of {
                ViewSource::Events(events) => GroupsOf::Events(Box::new(events.clone())),
                ViewSource::Entities { kind, predicate, unnest } => {
                    let mut find = find(kind, predicate.clone(), through, as_of);
                    find.unnest = unnest.clone().map(Arc::new);
                    GroupsOf::Entities(Box::new(find))
                }
            };
            return Ok(RowQuery::Groups(Box::new(GroupQuery {
                of,
                group: (**group).clone(),
                through,
                latest: as_of.is_none(),
                predicate: asked.predicate,
                order: asked.order,
                limit: asked.limit,
                columns: asked.columns.filter(|_| asked.selects),
            })));
        }
        match &self.view.of {
            ViewSource::Events(events) => Ok(RowQuery::Events(self.events(events, asked, through))),
            ViewSource::Entities { kind, predicate, unnest } => {
                // What is asked of rows of items is asked of each of these.
                let (of_entities, of_items) = match unnest {
                    Some(unnest) => (None, Some(unnest.clone().filtered(asked.predicate))),
                    None => (asked.predicate, None),
                };
                let predicate = both(predicate.clone(), of_entities);
                let mut find = find(kind, predicate, through, as_of);
                find.shape = match asked.columns {
                    columns if !asked.order.is_empty() => {
                        Some(Shape::Sort { order: asked.order, limit: asked.limit, columns })
                    }
                    columns => columns.map(Shape::Select),
                };
                find.limit = asked.limit.filter(|_| of_items.is_none());
                find.unnest =
                    of_items.map(|unnest| Arc::new(unnest.limited(asked.limit, find.shape.as_ref())));
                Ok(RowQuery::Entities(find))
            }
        }
    }

    /// What the clauses ask, in terms of what rows are made of.
    fn asked(&self) -> Result<RowClauses> {
        let (binder, clauses) = (self.binder, self.clauses);
        let names = match (&self.view.shape, &self.view.of) {
            (ViewRows::Whole, ViewSource::Events(_)) => NameScope::Event,
            (ViewRows::Whole, ViewSource::Entities { .. }) => NameScope::Found,
            _ => return self.asked_of_columns(),
        };
        let predicate = clauses.filter.as_ref().map(|filter| binder.predicate(filter, names)).transpose()?;
        let Outline { group, columns, order, limit } = binder.outline(clauses, names)?;
        if group.is_some() {
            let item = clauses.select.first().map(|item| item.expr.span);
            let span =
                item.or_else(|| clauses.order.first().map(|order| order.expr.span)).unwrap_or_default();
            return Err(binder.aggregate_of_view("an aggregate", span));
        }
        Ok(RowClauses { predicate, columns, selects: !clauses.select.is_empty(), order, limit })
    }

    fn asked_of_columns(&self) -> Result<RowClauses> {
        let (binder, clauses) = (self.binder, self.clauses);
        let mut columns = Columns::of(&self.view);
        let names = NameScope::Columns(&columns);
        let predicate = clauses.filter.as_ref().map(|filter| binder.predicate(filter, names)).transpose()?;
        let selected = binder.items(&clauses.select, names, "SELECT")?;
        binder.check_names(clauses, &selected)?;
        columns.nodes.extend(selected.iter().map(|column| (column.name.clone(), column.node.clone())));
        let names = NameScope::Columns(&columns);
        let order = clauses.order.iter().map(|order| binder.sort_key(order, names)).collect::<Result<_>>()?;
        let limit = clauses.limit.as_ref().map(|limit| binder.count(limit, "LIMIT")).transpose()?;
        let selects = !selected.is_empty();
        let columns = if selects { selected } else { self.view.columns().to_vec() };
        Ok(RowClauses { predicate, columns: Some(columns), selects, order, limit })
    }

    /// The events of the view.
    fn events(&self, events: &Selected, asked: RowClauses, through: Position) -> EventsRead {
        let RowClauses { predicate, columns, order, limit, .. } = asked;
        if let Some(unnest) = &events.unnest {
            let shape = match order.is_empty() {
                true => columns.map(Shape::Select),
                false => Some(Shape::Sort { order, limit, columns }),
            };
            let unnest = unnest.clone().filtered(predicate).limited(limit, shape.as_ref());
            let query = events_of(events, None, RowLimit::All, through);
            return EventsRead { query, take: RowLimit::All, shape, unnest: Some(unnest) };
        }
        let first = limit.map_or(RowLimit::All, RowLimit::First);
        let most = if order.is_empty() { first } else { RowLimit::All };
        let query = events_of(events, predicate, most, through);
        let (take, shape) = match along_the_log(&order, limit, first, false) {
            Some(take) => (take, columns.map(Shape::Select)),
            None => (RowLimit::All, Some(Shape::Sort { order, limit, columns })),
        };
        EventsRead { query, take, shape, unnest: None }
    }
}

/// What is asked of the log for the events of a view.
fn events_of(
    events: &Selected,
    predicate: Option<Predicate>,
    take: RowLimit,
    through: Position,
) -> AccessQuery {
    let (pattern, window) = (Some(events.pattern.clone()), LogWindow::through(through));
    AccessQuery { pattern, by: Vec::new(), predicate, window, take, indexed: false }
}

/// All entities of a kind that it holds for.
fn find(
    kind: &str,
    predicate: Option<Predicate>,
    through: Position,
    as_of: Option<ResolvedPoint>,
) -> FindQuery {
    let (kind, window) = (kind.to_owned(), LogWindow::through(through));
    FindQuery { kind, window, at: None, as_of, predicate, limit: None, shape: None, unnest: None }
}

/// What holds where both do.
fn both(one: Option<Predicate>, other: Option<Predicate>) -> Option<Predicate> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Predicate {
            text: format!("{} AND {}", one.text, other.text),
            node: BoundExpr::And(vec![one.node, other.node]),
        }),
        (one, other) => one.or(other),
    }
}
