//! Entities that nobody meant: two words side by side are one, and habits from elsewhere put them side by side.
//!
//! `SELECT type t`, `count(DISTINCT data.total)` and `WHERE data.total > 5 AND LIMIT 3` all say something, and never what was
//! meant. A kind of such a name is still there to be had, in backticks.

use super::Binder;
use crate::error::{Result, shorten};
use crate::lang::ast::{Expr, ExprKind, Name, Span};
use crate::plan::field::Field;

/// Clauses that a number or a word may follow.
const CLAUSES: [&str; 7] = ["LIMIT", "LAST", "WHERE", "SINCE", "UNTIL", "SELECT", "HAVING"];

impl Binder<'_> {
    /// An error for an entity that is none: its kind is a word of a clause. `data` says that it stands where a value is
    /// written, and no field could.
    pub(super) fn check_entity(&self, kind: &Name, span: Span, data: bool) -> Result<()> {
        let written = self.source(kind.span);
        let shouted = written == written.to_uppercase() || written == written.to_lowercase();
        if shouted && let Some(clause) = CLAUSES.iter().find(|word| written.eq_ignore_ascii_case(word)) {
            let said = shorten(self.source(span));
            let before = self.source(Span::new(0, kind.span.start()));
            let message = if before.trim_end().ends_with(',') {
                format!("the comma before {clause} is one too many")
            } else {
                format!(
                    "{said} reads as an entity here: something is missing before {clause}, or a word too much"
                )
            };
            return Err(self.fault(kind.span, message));
        }
        if !data && written.eq_ignore_ascii_case("distinct") {
            let of = self.source(Span::new(kind.span.end(), span.end())).trim();
            let message = format!(
                "no DISTINCT before a value: distinct({of}) counts the different ones, GROUP BY {of} gives each once",
            );
            return Err(self.fault_meaning(kind.span, message, Some(format!("GROUP BY {of}"))));
        }
        Ok(())
    }

    /// An error for a condition that is an entity, or joins one.
    pub(super) fn check_condition(&self, expr: &Expr) -> Result<()> {
        match &expr.kind {
            ExprKind::And(terms) | ExprKind::Or(terms) => {
                terms.iter().try_for_each(|term| self.check_condition(term))
            }
            ExprKind::Not(inner) => self.check_condition(inner),
            ExprKind::Entity(entity) if entity.kind.text.eq_ignore_ascii_case("exists") => {
                let name = self.source(Span::new(entity.kind.span.end(), expr.span.end())).trim();
                let message = "no EXISTS in a condition: what is there is not null";
                Err(self.fault_meaning(expr.span, message, Some(format!("{name} IS NOT NULL"))))
            }
            ExprKind::Entity(_) => {
                let said = shorten(self.source(expr.span));
                let message = format!("a condition is true or false, and {said} is an entity");
                Err(self.fault_meaning(expr.span, message, Some(format!("target = {said}"))))
            }
            _ => Ok(()),
        }
    }

    /// An error for a column that is an entity: the same for every event, and mostly a name without its `AS`.
    pub(super) fn check_column(&self, expr: &Expr) -> Result<()> {
        let ExprKind::Entity(entity) = &expr.kind else { return Ok(()) };
        let (first, said) = (self.source(entity.kind.span), shorten(self.source(expr.span)));
        if Field::named(first).is_some() {
            let name = self.source(Span::new(entity.kind.span.end(), expr.span.end())).trim();
            let message = "a column is named with AS, and two columns have a comma between them";
            return Err(self.fault_meaning(expr.span, message, Some(format!("{first} AS {name}"))));
        }
        Err(self.fault(
            expr.span,
            format!(
                "{said} reads as an entity, which is the same for every event: a column is named with AS"
            ),
        ))
    }

    pub(super) fn source(&self, span: Span) -> &str {
        self.context.text.get(span.range()).unwrap_or_default()
    }
}
