//! Binding of `DEFINE COLUMN`.

use super::expr::NameScope;
use super::{BindInput, Binder};
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{DefinitionStmt, Expr, Name, Stmt, TextExpr};
use crate::pattern::Pattern;
use crate::plan::column::ColumnPlan;
use crate::plan::expr::BoundExpr;
use crate::plan::field::Sort;
use crate::plan::parameters::Parameters;
use crate::plan::write::{Define, Defined};
use crate::time::Timestamp;

/// What is defined of a column, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn column_definition(text: &str) -> Result<ColumnPlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Column { name, pattern, expr }) = &parsed.statement else {
        return Err(Error::invalid("the definition of a column", "DEFINE COLUMN …", shorten(text)));
    };
    let parameters = Parameters::new();
    let input =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    let (on, node) = Binder::new(input, None).column(pattern, expr)?;
    Ok(ColumnPlan { name: name.text.clone(), on, node, text: expr.to_string() })
}

impl Binder<'_> {
    pub(super) fn define_column(&self, name: &Name, pattern: &TextExpr, expr: &Expr) -> Result<Define> {
        if name.text.is_empty() {
            return Err(self.fault(name.span, "the name of a column: expected one that is not empty"));
        }
        let (on, _) = self.definition().column(pattern, expr)?;
        let mut expr = expr.clone();
        self.put_values(&mut expr)?;
        let pattern = TextExpr::Literal { text: on.to_string(), span: pattern.span() };
        let definition = DefinitionStmt::Column { name: name.clone(), pattern, expr };
        let (text, _) = self.said_again(name, definition, column_definition)?;
        Ok(self.defined(name, Defined::Column, text))
    }

    /// Of which events a column is, and what of them.
    pub(super) fn column(&self, pattern: &TextExpr, expr: &Expr) -> Result<(Pattern, BoundExpr)> {
        let on = self.pattern_text(pattern, "ON")?;
        let node = self.expr(expr, NameScope::Event)?;
        if matches!(node, BoundExpr::Constant(_)) {
            let text = shorten(&expr.to_string());
            let message = format!("{text} is the same for every event: a column of it tells nothing");
            return Err(self.fault(expr.span, message));
        }
        if node.sort() == Sort::Entity {
            let text = self.context.text.get(expr.span.range()).unwrap_or_default();
            let message =
                "a column holds texts, numbers, booleans and times: expected one of those, found an entity";
            return Err(self.fault_meaning(expr.span, message, Some(format!("{text}.id"))));
        }
        Ok((on, node))
    }
}
