//! What `WHERE` says that lists, positions and runs know of.
//!
//! Only what stands in `AND` and `OR` at the top counts, and only comparisons with constants. The condition is checked on each event
//! all the same, so what is found here has to hold all that is wanted, and may hold more.

use std::ops::Bound;
use std::sync::Arc;

use super::Times;
use crate::entity::{EventType, Position};
use crate::event::{Cause, EventId};
use crate::lang::ast::Comparison;
use crate::pattern::Pattern;
use crate::plan::by::{By, Derived, Tagged, Test, order};
use crate::plan::expr::{BoundExpr, Constant, Like, Number};
use crate::plan::field::{Caused, EntityPart, Field, FieldStep};
use crate::plan::window::LogWindow;
use crate::store::catalog::Index;
use crate::store::index::term::IndexKey;
use crate::value::Value;

#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// All of them must hold.
    pub by: Vec<By>,
    /// Of the type.
    pub kinds: Vec<Kinds>,
    pub times: Times,
    /// Of each `OR`, one at least must hold.
    pub alternatives: Vec<Vec<Conditions>>,
}

/// What an index is of, so that `WHERE` may find it there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexed<'s> {
    pub node: &'s BoundExpr,
    pub index: &'s Arc<Index>,
}

/// Which types are meant.
#[derive(Debug)]
pub(super) enum Kinds {
    These(Vec<EventType>),
    Like(Pattern),
}

impl Kinds {
    pub fn mean(&self, kind: &str) -> bool {
        match self {
            Kinds::These(kinds) => kinds.iter().any(|one| one.as_str() == kind),
            Kinds::Like(pattern) => pattern.matches_text(kind),
        }
    }
}

/// A comparison with constants, whichever stood left.
pub(super) enum Against<'n> {
    One(Comparison, &'n Constant),
    Between(&'n Constant, &'n Constant),
    In(Vec<&'n Constant>),
    /// An array of which it is an item, or a text of which it is a piece.
    Contains(&'n Constant),
}

/// What stands in `AND` at the top.
pub(super) fn conjuncts<'n>(node: &'n BoundExpr, terms: &mut Vec<&'n BoundExpr>) {
    match node {
        BoundExpr::And(several) => several.iter().for_each(|term| conjuncts(term, terms)),
        one => terms.push(one),
    }
}

/// What is compared with constants, and how, if that is what it says.
pub(super) fn comparison(node: &BoundExpr) -> Option<(&BoundExpr, Against<'_>)> {
    match node {
        BoundExpr::Compare { left, comparison, right } => match (&**left, &**right) {
            (subject, BoundExpr::Constant(constant)) => Some((subject, Against::One(*comparison, constant))),
            (BoundExpr::Constant(constant), subject) => {
                Some((subject, Against::One(turned(*comparison), constant)))
            }
            _ => None,
        },
        BoundExpr::Between { subject, low, high } => match (&**low, &**high) {
            (BoundExpr::Constant(low), BoundExpr::Constant(high)) => {
                Some((&**subject, Against::Between(low, high)))
            }
            _ => None,
        },
        BoundExpr::In { subject, items } => {
            let items = items.iter().map(|item| match item {
                BoundExpr::Constant(constant) => Some(constant),
                _ => None,
            });
            Some((&**subject, Against::In(items.collect::<Option<_>>()?)))
        }
        _ => None,
    }
}

impl Conditions {
    pub fn read(&mut self, node: &BoundExpr, window: &mut LogWindow, indexed: &[Indexed]) {
        let mut terms = Vec::new();
        conjuncts(node, &mut terms);
        for term in terms {
            match term {
                BoundExpr::Matches { subject, pattern: Like::Type(pattern) }
                    if **subject == BoundExpr::Field(Field::Type) =>
                {
                    self.kinds.push(Kinds::Like(pattern.clone()));
                }
                BoundExpr::Or(several) => {
                    let read = |one| {
                        let mut conditions = Conditions::default();
                        // What one of them says of positions and times holds for that one.
                        conditions.read(one, &mut window.clone(), indexed);
                        conditions
                    };
                    self.alternatives.push(several.iter().map(read).collect());
                }
                BoundExpr::Contains { subject, item } => {
                    if let BoundExpr::Constant(item) = &**item {
                        self.subject(subject, Against::Contains(item), window, indexed);
                    }
                }
                _ => {
                    if let Some((subject, against)) = comparison(term) {
                        self.subject(subject, against, window, indexed);
                    }
                }
            }
        }
    }

    fn subject(
        &mut self,
        subject: &BoundExpr,
        against: Against,
        window: &mut LogWindow,
        indexed: &[Indexed],
    ) {
        if let Some(Indexed { index, .. }) = indexed.iter().find(|indexed| indexed.node == subject)
            && let Some(test) = against.test()
        {
            self.indexed(index, test);
        }
        let BoundExpr::Field(field) = subject else { return };
        match field {
            Field::Position => against.narrow(window),
            Field::Timestamp | Field::Recorded => {
                let times = match field {
                    Field::Timestamp => &mut self.times.occurred,
                    _ => &mut self.times.recorded,
                };
                let time = |constant: &Constant| match constant {
                    Constant::Time(time) => Some(*time),
                    _ => None,
                };
                if let Some((low, high)) = against.bounds(time) {
                    times.narrow(low, high);
                }
            }
            Field::Type => {
                let kinds = against.each(|constant| EventType::new(text(constant)?).ok());
                self.kinds.extend(kinds.map(Kinds::These));
            }
            Field::Target(EntityPart::Whole) => self.any(against.each(|c| Some(By::Target(entity(c)?)))),
            Field::Actor(EntityPart::Whole) => self.any(against.each(|c| Some(By::Actor(entity(c)?)))),
            Field::Key => self.any(against.each(|c| Some(By::Key(text(c)?.to_owned())))),
            Field::Correlation => self.any(against.each(|c| Some(By::Correlation(text(c)?.to_owned())))),
            Field::Id => self.any(against.each(|c| Some(By::Id(EventId::new(text(c)?).ok()?)))),
            Field::Cause(Caused::Position) => {
                let position = |c: &Constant| Some(By::Cause(Cause::Event(Position(whole(c)?))));
                self.any(against.each(position));
            }
            Field::Tags(steps) => {
                if let [FieldStep::Member(name)] = steps.as_slice()
                    && let Some(test) = against.test()
                {
                    let name = name.clone();
                    self.by.push(By::Tag(Tagged { name, test, index: None, own: true }));
                }
            }
            _ => {}
        }
    }

    /// Two bounds on what one index is of are one range: of its values, only a single one compares.
    fn indexed(&mut self, index: &Arc<Index>, test: Test) {
        let derived = Some(Derived(index.clone()));
        for by in &mut self.by {
            if let By::Tag(tagged) = by
                && (tagged.own, &tagged.index) == (false, &derived)
                && let Some(both) = tagged.test.and(&test)
            {
                tagged.test = both;
                return;
            }
        }
        self.by.push(By::Tag(Tagged { name: index.name().to_owned(), test, index: derived, own: false }));
    }

    fn any(&mut self, some: Option<Vec<By>>) {
        let Some(mut some) = some else { return };
        self.by.push(if some.len() == 1 { some.swap_remove(0) } else { By::Any(some) });
    }
}

impl Against<'_> {
    /// Each of the values that are equal, if it is about that and all of them are of the right sort.
    pub fn each<T>(&self, of: impl Fn(&Constant) -> Option<T>) -> Option<Vec<T>> {
        match self {
            Against::One(Comparison::Equal, constant) => Some(vec![of(constant)?]),
            Against::In(constants) => constants.iter().map(|constant| of(constant)).collect(),
            _ => None,
        }
    }

    /// Between what the subject must lie, if all of the values are of one sort that has an order.
    fn bounds<T: Ord + Copy>(&self, of: impl Fn(&Constant) -> Option<T>) -> Option<(Bound<T>, Bound<T>)> {
        Some(match self {
            Against::One(comparison, constant) => {
                let value = of(constant)?;
                match comparison {
                    Comparison::Equal => (Bound::Included(value), Bound::Included(value)),
                    Comparison::NotEqual => return None,
                    Comparison::Less => (Bound::Unbounded, Bound::Excluded(value)),
                    Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(value)),
                    Comparison::Greater => (Bound::Excluded(value), Bound::Unbounded),
                    Comparison::GreaterOrEqual => (Bound::Included(value), Bound::Unbounded),
                }
            }
            Against::Between(low, high) => (Bound::Included(of(low)?), Bound::Included(of(high)?)),
            Against::Contains(_) => return None,
            Against::In(constants) => {
                let values = constants.iter().map(|constant| of(constant)).collect::<Option<Vec<_>>>()?;
                (Bound::Included(*values.iter().min()?), Bound::Included(*values.iter().max()?))
            }
        })
    }

    fn narrow(&self, window: &mut LogWindow) {
        // Whole numbers beyond those of 64 bits, so that what lies outside of all positions stays outside.
        let number = |up: bool| {
            move |constant: &Constant| match constant {
                Constant::Value(value) => match Number::of(value)? {
                    Number::Integer(n) => Some(n),
                    // A float beyond the range stays at its end.
                    Number::Float(x) => Some(if up { x.ceil() } else { x.floor() } as i128),
                },
                _ => None,
            }
        };
        // Rounded outwards: `position > 1.5` begins after 1, and `position < 1.5` ends before 2.
        let low = self.bounds(number(false)).map(|(low, _)| match low {
            Bound::Included(n) => n.saturating_sub(1),
            Bound::Excluded(n) => n,
            Bound::Unbounded => 0,
        });
        let high = self.bounds(number(true)).map(|(_, high)| match high {
            Bound::Included(n) => n,
            Bound::Excluded(n) => n.saturating_sub(1),
            Bound::Unbounded => i128::MAX,
        });
        let position = |n: i128| Position(u64::try_from(n.max(0)).unwrap_or(u64::MAX));
        if let Some(low) = low {
            window.after = window.after.max(position(low));
        }
        if let Some(high) = high {
            window.through = window.through.min(position(high));
        }
    }

    /// The same of an index value. Null is what is not there, and no index knows of that.
    pub fn test(&self) -> Option<Test> {
        let scalar = |constant: &Constant| match constant {
            Constant::Value(Value::Null | Value::Array(_) | Value::Object(_)) => None,
            Constant::Value(value) => Some(IndexKey::Value(value.clone())),
            Constant::Time(time) => Some(IndexKey::Time(*time)),
            _ => None,
        };
        Some(match self {
            Against::One(comparison, constant) => {
                let value = scalar(constant)?;
                match comparison {
                    Comparison::Equal => Test::Is(value),
                    Comparison::NotEqual => return None,
                    Comparison::Less => Test::Between(Bound::Unbounded, Bound::Excluded(value)),
                    Comparison::LessOrEqual => Test::Between(Bound::Unbounded, Bound::Included(value)),
                    Comparison::Greater => Test::Between(Bound::Excluded(value), Bound::Unbounded),
                    Comparison::GreaterOrEqual => Test::Between(Bound::Included(value), Bound::Unbounded),
                }
            }
            Against::Between(low, high) => {
                let (low, high) = (scalar(low)?, scalar(high)?);
                order(&low, &high)?;
                if matches!(low, IndexKey::Time(_)) != matches!(high, IndexKey::Time(_)) {
                    return None;
                }
                Test::Between(Bound::Included(low), Bound::Included(high))
            }
            // An index has each item of an array, and a text whole.
            Against::Contains(item) => match scalar(item)? {
                IndexKey::Value(Value::Text(piece)) => Test::Contains(piece),
                item => Test::Is(item),
            },
            Against::In(constants) => {
                Test::In(constants.iter().map(|constant| scalar(constant)).collect::<Option<_>>()?)
            }
        })
    }
}

/// The comparison with its sides exchanged.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

fn text(constant: &Constant) -> Option<&str> {
    match constant {
        Constant::Value(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn entity(constant: &Constant) -> Option<crate::entity::Entity> {
    match constant {
        Constant::Entity(entity) => Some(entity.clone()),
        _ => None,
    }
}

fn whole(constant: &Constant) -> Option<u64> {
    match constant {
        Constant::Value(value) => match Number::of(value)? {
            Number::Integer(n) => u64::try_from(n).ok(),
            Number::Float(x) if x.fract() == 0.0 => u64::try_from(x as i128).ok(),
            Number::Float(_) => None,
        },
        _ => None,
    }
}
