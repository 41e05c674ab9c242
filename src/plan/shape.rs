//! The shape of an answer: which columns its rows have, of each event or of groups of events, and in which order.

use std::fmt::{self, Display, Formatter};

use super::expr::{BoundExpr, Predicate};
use super::function::AggregateKind;

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// A row of each event, as it comes.
    Select(Vec<OutputColumn>),
    /// The events in an order of their own, whole or as rows.
    Sort {
        order: Vec<SortKey>,
        limit: Option<u64>,
        columns: Option<Vec<OutputColumn>>,
    },
    Group(GroupPlan),
}

/// `GROUP BY`, or aggregates over everything.
///
/// What reads a group names its parts by slots: the keys, then the aggregates.
#[derive(Debug, Clone)]
pub(crate) struct GroupPlan {
    /// None of them: everything is one group.
    pub keys: Vec<OutputColumn>,
    pub aggregates: Vec<AggregateCall>,
    pub having: Option<Predicate>,
    /// None: in the order of the keys.
    pub order: Vec<SortKey>,
    pub limit: Option<u64>,
    pub columns: Vec<OutputColumn>,
}

/// A value with its name.
#[derive(Debug, Clone)]
pub(crate) struct OutputColumn {
    pub name: String,
    pub node: BoundExpr,
    /// As it is written canonically.
    pub text: String,
}

#[derive(Debug, Clone)]
pub(crate) struct SortKey {
    pub node: BoundExpr,
    pub descending: bool,
    pub text: String,
}

/// What is kept of many events.
#[derive(Debug, Clone)]
pub(crate) struct AggregateCall {
    pub kind: AggregateKind,
    /// None: the events themselves.
    pub argument: Option<BoundExpr>,
    pub text: String,
}

/// Texts in a row, with commas.
struct TextList<'a, T>(&'a [T], fn(&T) -> String);

impl<T> Display for TextList<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, one) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}", self.1(one))?;
        }
        Ok(())
    }
}

fn columns(columns: &[OutputColumn]) -> TextList<'_, OutputColumn> {
    TextList(columns, |column| {
        if column.name == column.text {
            column.text.clone()
        } else {
            format!("{} as {}", column.text, column.name)
        }
    })
}

pub(super) fn order(order: &[SortKey]) -> impl Display + '_ {
    TextList(order, |key| format!("{}{}", key.text, if key.descending { " descending" } else { "" }))
}

pub(super) fn limit(f: &mut Formatter<'_>, limit: Option<u64>) -> fmt::Result {
    limit.iter().try_for_each(|limit| write!(f, "\n  the first {limit}"))
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Select(selected) => write!(f, "select {}", columns(selected))?,
            Shape::Sort { order: by, limit: most, columns: selected } => {
                write!(f, "sort by {}", order(by))?;
                match most {
                    Some(most) => write!(f, "\n  keeping the first {most}")?,
                    None => write!(f, "\n  keeping all")?,
                }
                selected.iter().try_for_each(|selected| write!(f, "\n  select {}", columns(selected)))?;
            }
            Shape::Group(group) => group.fmt(f)?,
        }
        Ok(())
    }
}

impl Display for GroupPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.keys.as_slice() {
            [] => f.write_str("one row of everything")?,
            keys => write!(f, "group by {}", columns(keys))?,
        }
        if !self.aggregates.is_empty() {
            write!(f, "\n  keeping {}", TextList(&self.aggregates, |aggregate| aggregate.text.clone()))?;
        }
        self.having.iter().try_for_each(|having| write!(f, "\n  having {}", having.text))?;
        if !self.order.is_empty() {
            write!(f, "\n  sort by {}", order(&self.order))?;
        }
        limit(f, self.limit)?;
        write!(f, "\n  select {}", columns(&self.columns))
    }
}
