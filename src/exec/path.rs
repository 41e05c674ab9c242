//! Paths: where in a state something stands.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::entity::NameText;
use crate::plan::field::{FieldStep, StateField};

/// A place in a state. Displays, and serializes, as the language writes it behind `state.`: `customer.name`, `items[0].price`,
/// with odd names in backticks. The path of the whole state is empty.
///
/// ```
/// use bygone::{Db, Row};
/// let db = Db::in_memory()?;
/// db.query("EMIT Order.created 42 {customer: {'first name': 'ann'}}")?;
/// let mut rows = db.query("BLAME Order 42")?.rows;
/// let Some(Row::Blame(leaf)) = rows.next().transpose()? else { panic!("a leaf") };
/// assert_eq!(leaf.path.to_string(), "customer.`first name`");
/// assert_eq!(leaf.path.pointer(), "/customer/first name");
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct StatePath(Vec<PathStep>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PathStep {
    Member(String),
    Item(usize),
}

impl StatePath {
    /// The path as a JSON pointer (RFC 6901): `/items/0/price`.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                PathStep::Member(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
                PathStep::Item(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }

    #[cfg(feature = "share")]
    /// Reads what it displays as.
    pub(super) fn read(text: &str) -> Option<StatePath> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = if let Some(after) = rest.strip_prefix("['']") {
                (PathStep::Member(String::new()), after)
            } else if let Some(item) = rest.strip_prefix('[') {
                let (index, after) = item.split_once(']')?;
                (PathStep::Item(index.parse().ok()?), after)
            } else {
                let name = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let (name, after) = NameText::read(name)?;
                (PathStep::Member(name), after)
            };
            steps.push(step);
            rest = after;
        }
        Some(StatePath(steps))
    }

    #[cfg(feature = "share")]
    /// Reads a JSON pointer, in which a number is the place of an item: it may have been the name of a member.
    pub(super) fn from_pointer(pointer: &str) -> Option<StatePath> {
        if pointer.is_empty() {
            return Some(StatePath::default());
        }
        let steps = pointer.strip_prefix('/')?.split('/').map(|step| match step.parse::<usize>() {
            Ok(index) if index.to_string() == step => PathStep::Item(index),
            _ => PathStep::Member(step.replace("~1", "/").replace("~0", "~")),
        });
        Some(StatePath(steps.collect()))
    }

    /// Whether what is there is the other, or within it.
    pub(super) fn is_within(&self, other: &StatePath) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether it is that of the whole state.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes it takes, roughly.
    pub(super) fn held(&self) -> usize {
        let own = |step: &PathStep| match step {
            PathStep::Member(name) => name.len(),
            PathStep::Item(_) => 0,
        };
        self.0.iter().map(|step| size_of::<PathStep>() + own(step)).sum()
    }

    /// Visits a member: for as long as that takes, this is its path.
    pub(super) fn in_member<T>(&mut self, name: &str, visit: impl FnOnce(&mut StatePath) -> T) -> T {
        self.within(PathStep::Member(name.to_owned()), visit)
    }

    /// Visits an item of an array.
    pub(super) fn in_item<T>(&mut self, index: usize, visit: impl FnOnce(&mut StatePath) -> T) -> T {
        self.within(PathStep::Item(index), visit)
    }

    fn within<T>(&mut self, step: PathStep, visit: impl FnOnce(&mut StatePath) -> T) -> T {
        self.0.push(step);
        let visited = visit(self);
        self.0.pop();
        visited
    }
}

impl From<&StateField> for StatePath {
    fn from(field: &StateField) -> StatePath {
        let step = |step: &FieldStep| match step {
            FieldStep::Member(name) => PathStep::Member(name.clone()),
            FieldStep::Element(index) => PathStep::Item(*index),
        };
        StatePath(field.steps().iter().map(step).collect())
    }
}

impl fmt::Display for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                // No name in backticks is empty.
                PathStep::Member(name) if name.is_empty() => f.write_str("['']")?,
                PathStep::Member(name) if at == 0 => NameText(name).fmt(f)?,
                PathStep::Member(name) => write!(f, ".{}", NameText(name))?,
                PathStep::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for StatePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lang;
    use crate::lang::ast::{ReadStmt, Stmt};

    proptest! {
        #[test]
        fn a_path_is_what_the_language_reads(
            first in "\\PC{1,4}",
            others in prop::collection::vec(
                prop_oneof![
                    "[a-z_][a-z0-9]{0,3}|`|'|limit|and|\\PC{0,4}".prop_map(PathStep::Member),
                    (0..1000usize).prop_map(PathStep::Item),
                ],
                0..4,
            ),
        ) {
            let steps: Vec<PathStep> = std::iter::once(PathStep::Member(first)).chain(others).collect();
            let path = StatePath(steps.clone());
            let read = StatePath::read(&path.to_string());
            prop_assert_eq!(read.as_ref(), Some(&path));
            let parsed = lang::parse_one(&format!("EVENTS WHERE data.{path} = 1")).unwrap();
            let Stmt::Read(ReadStmt::Query(lang::ast::Query::Events { clauses, .. })) = parsed.statement else {
                panic!("no events")
            };
            let lang::ast::ExprKind::Compare { left, .. } = clauses.filter.unwrap().kind else { panic!("no =") };
            let lang::ast::ExprKind::Field(read) = left.kind else { panic!("no path") };
            let read: Vec<PathStep> = read.steps.into_iter().map(|step| match step {
                lang::ast::StepExpr::Member(name) => PathStep::Member(name.text),
                lang::ast::StepExpr::Element { index, .. } => PathStep::Item(index as usize),
            }).collect();
            prop_assert_eq!(read, steps);
        }
    }
}
