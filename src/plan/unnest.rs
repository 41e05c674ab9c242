//! `UNNEST`: a row of each item of a list, and of each item of a list within that.

use std::fmt::{self, Display, Formatter};

use super::expr::Predicate;
use super::field::Field;
use crate::entity::NameText;

/// No statement has more of them: each multiplies the rows.
pub(crate) const MAX_UNNESTED: usize = 8;

/// Lists, each within what is before it, whose items are rows. There is at least one.
#[derive(Debug, Clone)]
pub(crate) struct UnnestPlan {
    pub steps: Vec<UnnestStep>,
    /// How many rows are wanted, where they are wanted as they come.
    pub limit: Option<u64>,
}

/// One of the lists.
#[derive(Debug, Clone)]
pub(crate) struct UnnestStep {
    /// In the event, in the state, or in an item before it.
    pub list: Field,
    pub alias: String,
    pub place: Option<String>,
    /// Which items are wanted.
    pub predicate: Option<Predicate>,
}

impl UnnestPlan {
    /// The same, of the rows that pass this, too.
    pub fn filtered(mut self, more: Option<Predicate>) -> UnnestPlan {
        if let Some(last) = self.steps.last_mut() {
            last.predicate = match (last.predicate.take(), more) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            };
        }
        self
    }

    /// What is said of values that stand where lists are expected, by how many there are at each step; `all` were looked at, or as many as it
    /// took.
    pub fn notices(&self, misfits: &[u64], all: bool, of: &str) -> Vec<String> {
        let told = |(step, misfits): (&UnnestStep, &u64)| {
            let (many, give) = if *misfits == 1 { ("", "gives") } else { ("s", "give") };
            let of = match &step.list {
                Field::Unnested(name, _) => format!("item{many} of {}", NameText(&name.alias)),
                _ => format!("{of}{many}"),
            };
            let least = if all { "" } else { "at least " };
            (*misfits > 0).then(|| {
                format!(
                    "{} is something else than a list in {least}{misfits} {of}, which {give} no row",
                    step.list
                )
            })
        };
        self.steps.iter().zip(misfits).filter_map(told).collect()
    }
}

impl Display for UnnestPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            let line = if at > 0 { "\n" } else { "" };
            write!(f, "{line}unnest {step}")?;
        }
        self.limit.iter().try_for_each(|limit| write!(f, "\n  the first {limit} rows"))
    }
}

impl Display for UnnestStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.list, NameText(&self.alias))?;
        self.place.iter().try_for_each(|place| write!(f, ", {}", NameText(place)))?;
        self.predicate.iter().try_for_each(|predicate| write!(f, "\n  where {}", predicate.text))
    }
}
