//! Binding of `GROUP BY`, `SELECT`, `HAVING`, `ORDER BY` and of what `LIMIT` and `LAST` mean beside them.

use std::cell::RefCell;
use std::collections::HashMap;

use indexmap::IndexMap;

use super::Binder;
use super::expr::NameScope;
use crate::error::{Result, shorten};
use crate::lang::ast::{Clauses, Expr, Order, SelectItem, Span};
use crate::plan::expr::BoundExpr;
use crate::plan::field::{Field, Sort};
use crate::plan::function::{AggregateKind, FunctionDef};
use crate::plan::shape::{AggregateCall, GroupPlan, OutputColumn, Shape, SortKey};
use crate::plan::window::RowLimit;

/// What the columns of an answer are bound against: the keys of a group, its aggregates, and columns by their names.
pub(super) struct ColumnScope {
    /// It is about entities, not events.
    pub found: bool,
    keys: Vec<(Expr, Sort)>,
    aggregates: RefCell<Vec<AggregateCall>>,
    /// Those of keys first; then, for `HAVING` and `ORDER BY`, all.
    columns: IndexMap<String, BoundExpr>,
    /// The fields met outside aggregates and keys.
    loose: RefCell<Vec<(String, Span)>>,
}

impl ColumnScope {
    fn new(keys: Vec<(Expr, Sort)>, found: bool) -> ColumnScope {
        ColumnScope {
            found,
            keys,
            aggregates: RefCell::default(),
            columns: IndexMap::new(),
            loose: RefCell::default(),
        }
    }

    /// The slot of an aggregate; the same one twice is worked out once.
    pub fn aggregate(
        &self,
        (function, kind): (&FunctionDef, AggregateKind),
        argument: Option<BoundExpr>,
        text: String,
    ) -> BoundExpr {
        let sort = function.sort(argument.as_slice());
        let mut aggregates = self.aggregates.borrow_mut();
        let known = aggregates.iter().position(|one| one.kind == kind && one.argument == argument);
        let place = known.unwrap_or_else(|| {
            aggregates.push(AggregateCall { kind, argument, text });
            aggregates.len() - 1
        });
        BoundExpr::Slot { index: self.keys.len() + place, sort }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<BoundExpr> {
        self.columns.get(name).cloned()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// A field was met that is part of no key: it is no one value of a group.
    pub fn met(&self, name: String, span: Span) {
        self.loose.borrow_mut().push((name, span));
    }

    /// The slot of a key, if the expression is one: if it says the same.
    pub fn key(&self, expr: &Expr) -> Option<BoundExpr> {
        let index = self.keys.iter().position(|(key, _)| key == expr)?;
        Some(BoundExpr::Slot { index, sort: self.keys[index].1 })
    }

    fn is_grouped(&self) -> bool {
        !self.keys.is_empty() || !self.aggregates.borrow().is_empty()
    }
}

/// What the clauses make of rows.
pub(super) struct Outline {
    pub group: Option<GroupPlan>,
    pub columns: Option<Vec<OutputColumn>>,
    pub order: Vec<SortKey>,
    pub limit: Option<u64>,
}

impl Binder<'_> {
    /// Which events the clauses take, and how they shape them.
    pub(super) fn shape(&self, clauses: &Clauses, history: bool) -> Result<(RowLimit, Option<Shape>)> {
        // The parser refuses LAST beside GROUP BY, ORDER BY and LIMIT.
        let all = match &clauses.last {
            Some(last) => RowLimit::Last(self.count(last, "LAST")?),
            None => RowLimit::All,
        };
        let Outline { group, columns, order, limit } = self.outline(clauses, NameScope::Event)?;
        if let Some(group) = group {
            return Ok((all, Some(Shape::Group(group))));
        }
        // There are more rows than events: neither their order nor how many are wanted is that of the events.
        if !clauses.unnest.is_empty() {
            let shape = match order.is_empty() {
                true => columns.map(Shape::Select),
                false => Some(Shape::Sort { order, limit, columns }),
            };
            return Ok((all, shape));
        }
        let first = limit.map_or(all, RowLimit::First);
        Ok(match along_the_log(&order, limit, first, history) {
            Some(take) => (take, columns.map(Shape::Select)),
            None => (all, Some(Shape::Sort { order, limit, columns })),
        })
    }

    /// What the clauses make of rows, whatever these are of.
    pub(super) fn outline(&self, clauses: &Clauses, names: NameScope) -> Result<Outline> {
        let limit = clauses.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?;
        let keys = self.items(&clauses.group, names, "GROUP BY")?;
        let sorts = clauses.group.iter().zip(&keys).map(|(item, key)| (item.expr.clone(), key.node.sort()));
        let mut frame = ColumnScope::new(sorts.collect(), matches!(names, NameScope::Found));
        let mut columns = keys.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            column.node = BoundExpr::Slot { index, sort: column.node.sort() };
        }
        let named = |columns: &[OutputColumn]| {
            columns.iter().map(|column| (column.name.clone(), column.node.clone())).collect()
        };
        frame.columns = named(&columns);
        columns.extend(self.items(&clauses.select, NameScope::Frame(&frame), "SELECT")?);
        if columns.is_empty() {
            columns = self.unnested_columns();
        }
        self.check_names(clauses, &columns)?;
        frame.columns = named(&columns);

        let having = clauses.having.as_ref().map(|having| self.predicate(having, NameScope::Frame(&frame)));
        let having = having.transpose()?;
        let order = clauses.order.iter().map(|order| self.sort_key(order, NameScope::Frame(&frame)));
        let order = order.collect::<Result<Vec<_>>>()?;

        if frame.is_grouped() {
            self.check_grouped(clauses, &frame)?;
            let aggregates = frame.aggregates.into_inner();
            let group = GroupPlan { keys, aggregates, having, order, limit, columns };
            return Ok(Outline { group: Some(group), columns: None, order: Vec::new(), limit });
        }
        if let Some(having) = &clauses.having {
            let rows = if frame.found { "entities" } else { "events" };
            let message =
                format!("HAVING chooses among groups, and there are none; {rows} are chosen by WHERE");
            return Err(self.fault_meaning(having.span, message, Some("WHERE".to_owned())));
        }
        Ok(Outline { group: None, columns: (!columns.is_empty()).then_some(columns), order, limit })
    }

    pub(super) fn items(
        &self,
        items: &[SelectItem],
        names: NameScope,
        clause: &str,
    ) -> Result<Vec<OutputColumn>> {
        let column = |item: &SelectItem| {
            let node = self.expr(&item.expr, names)?;
            self.check_column(&item.expr)?;
            if clause == "GROUP BY" && matches!(node, BoundExpr::Constant(_)) {
                let message = format!(
                    "{clause}: {} is the same for every event; say the expression itself",
                    shorten(&item.expr.to_string())
                );
                return Err(self.fault(item.expr.span, message));
            }
            let text = item.expr.to_string();
            let name = item.alias.as_ref().map_or_else(|| text.clone(), |alias| alias.text.clone());
            Ok(OutputColumn { name, node, text })
        };
        items.iter().map(column).collect()
    }

    /// No two columns have one name.
    pub(super) fn check_names(&self, clauses: &Clauses, columns: &[OutputColumn]) -> Result<()> {
        let items = clauses.group.iter().chain(&clauses.select);
        let mut seen = HashMap::new();
        for (i, (column, item)) in columns.iter().zip(items).enumerate() {
            let Some(other) = seen.insert(column.name.as_str(), i) else { continue };
            let span = item.alias.as_ref().map_or(item.expr.span, |alias| alias.span);
            let name = shorten(&column.name);
            let message = if other < clauses.group.len() && i >= clauses.group.len() {
                format!("{name} is in GROUP BY, which comes first in the row: leave it out of SELECT")
            } else {
                format!("two columns are called {name}: give one another name with AS")
            };
            return Err(self.fault(span, message));
        }
        Ok(())
    }

    pub(super) fn sort_key(&self, order: &Order, names: NameScope) -> Result<SortKey> {
        let node = self.expr(&order.expr, names)?;
        if matches!(node, BoundExpr::Constant(_)) {
            let message = format!(
                "ORDER BY: {} is the same for every row; say the name of a column, or an expression",
                shorten(&order.expr.to_string())
            );
            return Err(self.fault(order.expr.span, message));
        }
        Ok(SortKey { node, descending: order.descending, text: order.expr.to_string() })
    }

    fn check_grouped(&self, clauses: &Clauses, frame: &ColumnScope) -> Result<()> {
        if let Some((name, span)) = frame.loose.borrow().first() {
            let message = format!(
                "{name} is not one value of a group: put it in GROUP BY, or say which is meant, like max({name})"
            );
            return Err(self.fault(*span, message));
        }
        if clauses.group.is_empty() && clauses.select.is_empty() {
            let span = clauses.having.as_ref().map(|having| having.span);
            let span =
                span.or_else(|| clauses.order.first().map(|order| order.expr.span)).unwrap_or_default();
            let message = "an aggregate, and nothing that makes rows of many events: add GROUP BY or SELECT";
            return Err(self.fault(span, message));
        }
        Ok(())
    }
}

/// What to take where the order that is asked for is that of the log, one way or the other.
pub(super) fn along_the_log(
    order: &[SortKey],
    limit: Option<u64>,
    first: RowLimit,
    history: bool,
) -> Option<RowLimit> {
    let Some(key) = order.first() else { return Some(first) };
    let along = match &key.node {
        // No two events have one position: what comes after it does not matter.
        BoundExpr::Field(Field::Position) => true,
        BoundExpr::Field(Field::Version) => history,
        // It never decreases; but backwards those that are equal would be turned too.
        BoundExpr::Field(Field::Recorded) => order.len() == 1 && !key.descending,
        _ => false,
    };
    match key.descending {
        _ if !along => None,
        false => Some(first),
        true => Some(RowLimit::Newest(limit.unwrap_or(u64::MAX))),
    }
}
