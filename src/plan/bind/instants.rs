//! Which definitions compare an instant with what may be a text: what is kept of those was once made by other rules.

use super::{BindInput, Binder};
use crate::lang;
use crate::lang::ast::{DefinitionStmt, Stmt};
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::{Field, Sort};
use crate::plan::parameters::Parameters;
use crate::time::Timestamp;
use crate::value::Value;

/// Whether a definition does, as its event says it. What is not understood is not evaluated, and does not.
pub(crate) fn compares_instants(definition: &str) -> bool {
    let Ok(parsed) = lang::parse_one(definition) else { return false };
    let Stmt::Define(statement) = &parsed.statement else { return false };
    let parameters = Parameters::new();
    let said = BindInput {
        text: definition,
        statement: 1,
        parameters: &parameters,
        default_actor: None,
        now: Timestamp::MIN,
    };
    let binder = Binder::new(said, None);
    let bound = match statement {
        DefinitionStmt::Index { expr, .. } => binder.index_of(expr).map(drop),
        DefinitionStmt::Column { pattern, expr, .. } => binder.column(pattern, expr).map(drop),
        DefinitionStmt::Entity(entity) => binder.model(entity).map(drop),
        DefinitionStmt::View { name, query } => binder.view(name, query).map(drop),
        _ => return false,
    };
    bound.is_ok() && binder.instants.get()
}

impl Binder<'_> {
    /// Notes that an instant is compared with what may be a text, if one is.
    pub(super) fn note_instants<'n>(&self, compared: impl IntoIterator<Item = &'n BoundExpr>) {
        // What runs once, or is worked out each time, is not kept: there is nothing to be noted.
        if self.names.is_some() || self.instants.get() {
            return;
        }
        let (mut times, mut texts, mut both) = (0, 0, 0);
        for node in compared {
            let (time, text) = (node.may_be_time(), may_be_text(node));
            times += usize::from(time);
            texts += usize::from(text);
            both += usize::from(time && text);
        }
        // What may be either is compared with something else.
        if times > 0 && texts > 0 && times + texts - both > 1 {
            self.instants.set(true);
        }
    }
}

fn may_be_text(node: &BoundExpr) -> bool {
    match node {
        BoundExpr::Constant(Constant::Value(value)) => matches!(value, Value::Text(_) | Value::Array(_)),
        BoundExpr::Field(Field::Position | Field::Version | Field::Events) => false,
        BoundExpr::Field(field) => !matches!(field.sort(), Sort::Time | Sort::Entity),
        BoundExpr::Call { .. } | BoundExpr::Slot { .. } => node.sort() != Sort::Time,
        BoundExpr::Array(_) => true,
        _ => false,
    }
}
