//! Binding of `FIND`.

use std::sync::Arc;

use super::Binder;
use super::expr::NameScope;
use super::shape::Outline;
use crate::entity::Entity;
use crate::error::Result;
use crate::lang::ast::{Clauses, Name};
use crate::plan::find::FindQuery;
use crate::plan::moment::ResolvedPoint;
use crate::plan::shape::Shape;
use crate::plan::window::LogWindow;

impl Binder<'_> {
    pub(super) fn find(&self, kind: &Name, clauses: &Clauses) -> Result<FindQuery> {
        self.at(kind.span, Entity::new(&kind.text, "x"))?;
        let wrong = [
            (clauses.since.as_ref().map(|point| point.span), "SINCE"),
            (clauses.until.as_ref().map(|point| point.span), "UNTIL"),
        ];
        if let Some((span, clause)) = wrong.into_iter().find_map(|(span, clause)| Some((span?, clause))) {
            let message = format!(
                "{clause} is for events; FIND tells what entities are: AT a point, or AS OF what the log knew"
            );
            return Err(self.fault(span, message));
        }
        if let Some(last) = &clauses.last {
            let message = "LAST is for events, which have an order; of entities say ORDER BY … DESC LIMIT n";
            return Err(self.fault(super::model::span_of(last), message));
        }
        if let Some(span) = clauses.raw {
            let message = "RAW is for events, as they are stored; FIND tells what they make of entities";
            return Err(self.fault(span, message));
        }
        let at = clauses.at.as_ref().map(|point| self.point(point, None)).transpose()?;
        let (through, as_of) = self.as_of(clauses.as_of.as_ref(), None)?;
        let mut window = LogWindow::through(through);
        match at {
            Some(ResolvedPoint::Position(position)) => window.through = window.through.min(position),
            Some(ResolvedPoint::Time(time)) => window.by = Some(time),
            None => {}
        }
        self.name_unnested(clauses)?;
        let predicate =
            clauses.filter.as_ref().map(|filter| self.predicate(filter, NameScope::Found)).transpose()?;
        let unnest = self.unnest(clauses, NameScope::Found)?;
        let Outline { group, columns, order, limit } = self.outline(clauses, NameScope::Found)?;
        let shape = match (group, columns) {
            (Some(group), _) => Some(Shape::Group(group)),
            (None, columns) if !order.is_empty() => Some(Shape::Sort { order, limit, columns }),
            (None, columns) => columns.map(Shape::Select),
        };
        let kind = kind.text.clone();
        let unnest = unnest.map(|unnest| Arc::new(unnest.limited(limit, shape.as_ref())));
        // Of what is unnested it is rows that are counted, and not entities.
        let limit = limit.filter(|_| unnest.is_none());
        Ok(FindQuery { kind, window, at, as_of, predicate, limit, shape, unnest })
    }
}
