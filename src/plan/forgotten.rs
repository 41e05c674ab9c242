//! Where a value that is forgotten goes: which paths have something that an expression makes of forgotten fields.

use super::expr::{BoundExpr, Constant};
use super::field::{Field, FieldStep};
use crate::event::private::{FieldRoot, ForgottenFields, PrivateField};
use crate::value::Value;

impl Field {
    /// The field of an event that may be private: members of `data` or `metadata`, as far as the path goes by names.
    fn in_event(&self) -> Option<PrivateField> {
        let (of, steps) = match self {
            Field::Data(steps) => (FieldRoot::Data, steps),
            Field::Metadata(steps) => (FieldRoot::Metadata, steps),
            _ => return None,
        };
        Some(PrivateField::new(of, names(steps).iter().map(|name| &**name)))
    }
}

/// The names that a path begins with.
pub(crate) fn names(steps: &[FieldStep]) -> Vec<String> {
    let named = steps.iter().map_while(|step| match step {
        FieldStep::Member(name) => Some(name.clone()),
        FieldStep::Element(_) => None,
    });
    named.collect()
}

/// Whether an expression looks at what is forgotten.
pub(crate) fn needs_forgotten(node: &BoundExpr, forgotten: &ForgottenFields) -> bool {
    node.any(&mut |part| match part {
        BoundExpr::Field(field) => field.in_event().is_some_and(|field| forgotten.meets(&field)),
        _ => false,
    })
}

/// Adds the paths below `path` that have what an expression makes of what is forgotten, where its value is put there.
pub(crate) fn carried(
    path: &[String],
    node: &BoundExpr,
    forgotten: &ForgottenFields,
    found: &mut Vec<Vec<String>>,
) {
    match node {
        BoundExpr::Field(field) => {
            let Some(from) = field.in_event() else { return };
            for lost in forgotten.fields().iter().filter(|lost| lost.meets(&from)) {
                let within = lost.names().skip(from.names().count()).map(str::to_owned);
                found.push(path.iter().cloned().chain(within).collect());
            }
        }
        BoundExpr::Object(members) => {
            for (name, member) in members {
                carried(&[path, std::slice::from_ref(name)].concat(), member, forgotten, found);
            }
        }
        // What these give has the members of what they are given.
        BoundExpr::Call { function, arguments } if matches!(function.name, "merge" | "coalesce") => {
            arguments.iter().for_each(|argument| carried(path, argument, forgotten, found));
        }
        BoundExpr::Call { function, arguments } if function.name == "put" => match arguments.as_slice() {
            [object, BoundExpr::Constant(Constant::Value(Value::Text(name))), value] => {
                carried(path, object, forgotten, found);
                carried(&[path, std::slice::from_ref(name)].concat(), value, forgotten, found);
            }
            _ => whole(path, node, forgotten, found),
        },
        node => whole(path, node, forgotten, found),
    }
}

fn whole(path: &[String], node: &BoundExpr, forgotten: &ForgottenFields, found: &mut Vec<Vec<String>>) {
    if needs_forgotten(node, forgotten) {
        found.push(path.to_vec());
    }
}
