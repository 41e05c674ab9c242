//! Binding of `UNNEST`: which lists, and from where on their items have names.

use super::Binder;
use super::expr::NameScope;
use crate::entity::NameText;
use crate::error::Result;
use crate::lang::ast::{Clauses, ExprKind, Path, UnnestClause};
use crate::plan::expr::BoundExpr;
use crate::plan::field::{FOUND_NAMES, Field, NAMES, UnnestedName};
use crate::plan::shape::{OutputColumn, Shape};
use crate::plan::unnest::{MAX_UNNESTED, UnnestPlan, UnnestStep};

/// The names of a statement's `UNNEST`, and how far it has been bound.
#[derive(Debug, Default)]
pub(super) struct UnnestedScope {
    /// With each whether it is of the item or of its place.
    names: Vec<(UnnestedName, bool)>,
    /// So many steps of it stand before what is being bound.
    known: usize,
}

impl Binder<'_> {
    /// Takes in the names, none of which is known yet.
    pub(super) fn name_unnested(&self, clauses: &Clauses) -> Result<()> {
        if let Some(unnest) = clauses.unnest.get(MAX_UNNESTED) {
            let message = format!(
                "an UNNEST too many: a statement has at most {MAX_UNNESTED}, each of which multiplies the rows"
            );
            return Err(self.fault(unnest.alias.span, message));
        }
        let mut names: Vec<(UnnestedName, bool)> = Vec::new();
        for (step, unnest) in clauses.unnest.iter().enumerate() {
            let place = unnest.place.iter().map(|place| (place, true));
            for (name, is_place) in std::iter::once((&unnest.alias, false)).chain(place) {
                let text = name.text.as_str();
                if NAMES.contains(&text) || FOUND_NAMES.contains(&text) {
                    let message =
                        format!("{name} is a field of what is unnested: AS gives the items another name");
                    return Err(self.fault(name.span, message));
                }
                if names.iter().any(|(known, _)| known.alias == name.text) {
                    let message =
                        format!("{name} is a name that UNNEST has given already: AS gives another one");
                    return Err(self.fault(name.span, message));
                }
                names.push((UnnestedName { alias: name.text.clone(), step }, is_place));
            }
        }
        *self.unnested.borrow_mut() = UnnestedScope { names, known: 0 };
        Ok(())
    }

    /// The lists, one after another; from then on all names are known.
    pub(super) fn unnest(&self, clauses: &Clauses, names: NameScope) -> Result<Option<UnnestPlan>> {
        let step = |unnest: &UnnestClause| {
            let list = self.list(unnest, names)?;
            self.unnested.borrow_mut().known += 1;
            let filter = unnest.filter.as_ref();
            let predicate = filter.map(|filter| self.predicate(filter, names)).transpose()?;
            let place = unnest.place.as_ref().map(|place| place.text.clone());
            Ok(UnnestStep { list, alias: unnest.alias.text.clone(), place, predicate })
        };
        let steps = clauses.unnest.iter().map(step).collect::<Result<Vec<_>>>()?;
        Ok((!steps.is_empty()).then_some(UnnestPlan { steps, limit: None }))
    }

    fn list(&self, unnest: &UnnestClause, names: NameScope) -> Result<Field> {
        let field = match &unnest.list.kind {
            ExprKind::Field(_) => match self.expr(&unnest.list, names)? {
                BoundExpr::Field(field) => Some(field),
                _ => None,
            },
            _ => None,
        };
        match field {
            Some(field @ (Field::Data(_) | Field::Metadata(_) | Field::State(_) | Field::Unnested(..))) => {
                Ok(field)
            }
            _ => {
                let of = match names {
                    NameScope::Found => "the state, like state.lines",
                    _ => "the data or the metadata, like data.lines",
                };
                let message = format!(
                    "{} is never a list: UNNEST takes one of {of}, or of an item before it",
                    unnest.list
                );
                Err(self.fault(unnest.list.span, message))
            }
        }
    }

    /// What a path leads to that begins with a name of `UNNEST`; none where it does not.
    pub(super) fn unnested_field(&self, path: &Path) -> Result<Option<Field>> {
        let scope = self.unnested.borrow();
        let first = path.first.text.as_str();
        let Some((name, is_place)) = scope.names.iter().find(|(name, _)| name.alias == first) else {
            return Ok(None);
        };
        if name.step >= scope.known {
            let message = format!(
                "{} is of an item, and here there is none yet: what uses it stands behind the UNNEST that names it",
                path.first
            );
            return Err(self.fault(path.first.span, message));
        }
        let (name, is_place) = (name.clone(), *is_place);
        drop(scope);
        let field = if is_place { Field::Place(name) } else { Field::Unnested(name, Vec::new()) };
        self.steps(path, field).map(Some)
    }

    /// The names that items have, for who has misspelt one.
    pub(super) fn unnested_names(&self) -> Vec<String> {
        self.unnested.borrow().names.iter().map(|(name, _)| name.alias.clone()).collect()
    }

    /// What a row is where nothing says so: the items, and their places.
    pub(super) fn unnested_columns(&self) -> Vec<OutputColumn> {
        let scope = self.unnested.borrow();
        let column = |(name, is_place): &(UnnestedName, bool)| {
            let field = if *is_place {
                Field::Place(name.clone())
            } else {
                Field::Unnested(name.clone(), Vec::new())
            };
            let text = NameText(&name.alias).to_string();
            OutputColumn { name: name.alias.clone(), node: BoundExpr::Field(field), text }
        };
        scope.names.iter().map(column).collect()
    }
}

impl UnnestPlan {
    /// The same with a limit, where rows are wanted as they come: elsewhere the shape has it.
    pub(super) fn limited(self, limit: Option<u64>, shape: Option<&Shape>) -> UnnestPlan {
        let limit = limit.filter(|_| matches!(shape, Some(Shape::Select(_))));
        UnnestPlan { limit, ..self }
    }
}
