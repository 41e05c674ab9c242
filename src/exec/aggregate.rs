//! Aggregates: what is kept of many values, one after another in the order of the log.
//!
//! Nulls are left out of all of them. `sum` and `avg` leave out what is no number, too; both are exact ([`sum`](super::sum)).
//! `min` and `max` go by the one order over all values.

use std::collections::HashSet;

use super::budget::{Budget, ENTRY};
use super::sum::{Sum, WIDE};
use crate::error::Result;
use crate::lang::ast::Operator;
use crate::plan::datum::Datum;
use crate::plan::expr::Number;
use crate::plan::function::Kind;
use crate::plan::order::{total, write_key};

/// One aggregate of one group, so far.
#[derive(Debug)]
pub(super) enum Accumulator {
    Count(u64),
    Sum(Sum),
    Average(Sum),
    Least(Datum<'static>),
    Greatest(Datum<'static>),
    First(Datum<'static>),
    Last(Datum<'static>),
    /// The keys of the values.
    Distinct(HashSet<Box<[u8]>>),
}

/// A number that 64 bits hold: an integer that is wider becomes a float.
fn narrowed(number: Number) -> Datum<'static> {
    match number {
        Number::Integer(n) if number.to_value().is_none() => Datum::Number(Number::Float(n as f64)),
        Number::Float(x) if !x.is_finite() => Datum::Null,
        fits => Datum::Number(fits),
    }
}

impl Accumulator {
    pub fn new(kind: Kind) -> Accumulator {
        match kind {
            Kind::Count => Accumulator::Count(0),
            Kind::Sum => Accumulator::Sum(Sum::default()),
            Kind::Average => Accumulator::Average(Sum::default()),
            Kind::Least => Accumulator::Least(Datum::Null),
            Kind::Greatest => Accumulator::Greatest(Datum::Null),
            Kind::First => Accumulator::First(Datum::Null),
            Kind::Last => Accumulator::Last(Datum::Null),
            Kind::Distinct => Accumulator::Distinct(HashSet::new()),
        }
    }

    /// One more event, without a value.
    pub fn count(&mut self) {
        if let Accumulator::Count(count) = self {
            *count += 1;
        }
    }

    /// One more value. `key` is room to work in.
    pub fn add(&mut self, datum: &Datum, budget: &Budget, key: &mut Vec<u8>) -> Result<()> {
        if datum.is_null() {
            return Ok(());
        }
        match self {
            Accumulator::Count(count) => *count += 1,
            Accumulator::Sum(sum) | Accumulator::Average(sum) => {
                if let Datum::Number(number) = datum
                    && sum.add(*number)
                {
                    budget.take(WIDE)?;
                }
            }
            Accumulator::Least(least) => {
                if least.is_null() || total(datum, least).is_lt() {
                    replace(least, datum, budget)?;
                }
            }
            Accumulator::Greatest(greatest) => {
                if greatest.is_null() || total(datum, greatest).is_gt() {
                    replace(greatest, datum, budget)?;
                }
            }
            Accumulator::First(first) => {
                if first.is_null() {
                    replace(first, datum, budget)?;
                }
            }
            Accumulator::Last(last) => replace(last, datum, budget)?,
            Accumulator::Distinct(seen) => {
                key.clear();
                write_key(datum, key);
                if !seen.contains(key.as_slice()) {
                    budget.take(ENTRY + key.len())?;
                    seen.insert(key.as_slice().into());
                }
            }
        }
        Ok(())
    }

    /// Adds what was kept of values that come later in the log.
    pub fn join(&mut self, later: Accumulator, budget: &Budget) -> Result<()> {
        match (self, later) {
            (Accumulator::Count(count), Accumulator::Count(more)) => *count += more,
            (Accumulator::Sum(sum), Accumulator::Sum(more))
            | (Accumulator::Average(sum), Accumulator::Average(more)) => {
                budget.give(if sum.join(more) { WIDE } else { 0 });
            }
            (Accumulator::Distinct(seen), Accumulator::Distinct(more)) => {
                for key in more {
                    let held = ENTRY + key.len();
                    if !seen.insert(key) {
                        budget.give(held);
                    }
                }
            }
            (
                held,
                Accumulator::Least(datum)
                | Accumulator::Greatest(datum)
                | Accumulator::First(datum)
                | Accumulator::Last(datum),
            ) => {
                budget.give(datum.held());
                // What is kept of one value is kept of two in the same way.
                held.add(&datum, budget, &mut Vec::new())?;
            }
            // Both were made for one aggregate.
            _ => {}
        }
        Ok(())
    }

    /// How many bytes it holds beside itself.
    pub fn held(&self) -> usize {
        match self {
            Accumulator::Count(_) => 0,
            Accumulator::Sum(sum) | Accumulator::Average(sum) => {
                if sum.is_wide() {
                    WIDE
                } else {
                    0
                }
            }
            Accumulator::Least(datum)
            | Accumulator::Greatest(datum)
            | Accumulator::First(datum)
            | Accumulator::Last(datum) => datum.held(),
            Accumulator::Distinct(seen) => seen.iter().map(|key| ENTRY + key.len()).sum(),
        }
    }

    /// What it comes to.
    pub fn result(&self) -> Datum<'static> {
        match self {
            Accumulator::Count(count) => Datum::number(*count),
            Accumulator::Sum(Sum { count: 0, .. }) | Accumulator::Average(Sum { count: 0, .. }) => {
                Datum::Null
            }
            Accumulator::Sum(sum) => narrowed(sum.total()),
            Accumulator::Average(sum) => {
                let count = Number::Integer(sum.count.into());
                sum.total().calculate(Operator::Divide, count).map_or(Datum::Null, narrowed)
            }
            Accumulator::Least(datum)
            | Accumulator::Greatest(datum)
            | Accumulator::First(datum)
            | Accumulator::Last(datum) => datum.clone(),
            Accumulator::Distinct(seen) => Datum::number(seen.len() as u64),
        }
    }
}

fn replace(held: &mut Datum<'static>, by: &Datum, budget: &Budget) -> Result<()> {
    budget.give(held.held());
    // The room of a text is used again: `last` replaces with every event.
    match (&mut *held, by) {
        (Datum::Text(std::borrow::Cow::Owned(room)), Datum::Text(text)) => {
            room.clear();
            room.push_str(text);
        }
        (held, by) => *held = by.clone().into_owned(),
    }
    budget.take(held.held())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::order::tests::any_datum;
    use crate::value::Value;

    fn of(kind: Kind, values: &[Datum]) -> Value {
        let mut accumulator = Accumulator::new(kind);
        let budget = Budget::endless();
        for datum in values {
            accumulator.add(datum, &budget, &mut Vec::new()).unwrap();
        }
        accumulator.result().into_value()
    }

    fn of_json(kind: Kind, json: &str) -> String {
        let Ok(Value::Array(items)) = json.parse() else { panic!("{json}") };
        of(kind, &items.iter().map(Datum::borrowed).collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn sums_are_exact() {
        let max = i64::MAX;
        assert_eq!(of_json(Kind::Sum, "[1, 2, 3]"), "6");
        assert_eq!(of_json(Kind::Sum, &format!("[{max}, {max}, 1]")), u64::MAX.to_string());
        assert_eq!(of_json(Kind::Sum, &format!("[{max}, {max}, {max}, -{max}, -{max}]")), max.to_string());
        assert_eq!(of_json(Kind::Sum, &format!("[{max}, {max}, {max}]")), "2.7670116110564327e+19");
        assert_eq!(of_json(Kind::Sum, "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]"), "2.8");
        assert_eq!(of_json(Kind::Sum, "[1e100, 1.0, -1e100]"), "1.0");
        assert_eq!(of_json(Kind::Sum, "[9007199254740993, -9007199254740992.0]"), "1.0");
        assert_eq!(of_json(Kind::Sum, "[1e308, 1e308]"), "null");
    }

    #[test]
    fn what_is_no_number_is_left_out_of_sums() {
        assert_eq!(of_json(Kind::Sum, r#"[1, "2", null, [3], true, 4]"#), "5");
        assert_eq!(of_json(Kind::Average, r#"[1, "2", null, 4]"#), "2.5");
        assert_eq!(of_json(Kind::Average, "[2, 4]"), "3");
        for kind in [Kind::Sum, Kind::Average] {
            assert_eq!(of_json(kind, r#"["1", null]"#), "null");
        }
    }

    #[test]
    fn nulls_are_left_out_of_all() {
        assert_eq!(of_json(Kind::Count, "[null, 1, false]"), "2");
        assert_eq!(of_json(Kind::First, r#"[null, "a", "b", null]"#), r#""a""#);
        assert_eq!(of_json(Kind::Last, r#"[null, "a", "bc", null]"#), r#""bc""#);
        assert_eq!(of_json(Kind::Least, r#"[null, "a", 3, 1.5]"#), "1.5");
        assert_eq!(of_json(Kind::Greatest, r#"[null, "a", 3, {}]"#), "{}");
        assert_eq!(
            of_json(Kind::Distinct, r#"[1, 1.0, null, "1", [1], [1.0], {"a":1,"b":2}, {"b":2,"a":1}]"#),
            "4"
        );
        for kind in [Kind::First, Kind::Last, Kind::Least, Kind::Greatest] {
            assert_eq!(of_json(kind, "[null]"), "null");
        }
        assert_eq!(of_json(Kind::Distinct, "[]"), "0");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let budget = Budget::of(1 << 20, "distinct");
        let mut accumulator = Accumulator::new(Kind::Distinct);
        let error =
            (0..1_000_000).find_map(|n| accumulator.add(&Datum::number(n), &budget, &mut Vec::new()).err());
        assert_eq!(
            error.unwrap().to_string(),
            "stopped: distinct takes more than the 1 MiB that a query may hold in memory; narrow it with WHERE, SINCE \
             or LIMIT, or raise Options::query_memory (--memory)"
        );
        // What is replaced is given back.
        let budget = Budget::of(100, "last");
        let mut accumulator = Accumulator::new(Kind::Last);
        for _ in 0..1000 {
            accumulator.add(&Datum::text("a text"), &budget, &mut Vec::new()).unwrap();
        }
    }

    proptest! {
        /// Wherever the values are cut in two.
        #[test]
        fn parts_join_to_the_whole(values in prop::collection::vec(any_datum(), 0..8), at in any::<prop::sample::Index>()) {
            use Kind::*;
            let budget = Budget::endless();
            let cut = at.index(values.len() + 1);
            for kind in [Count, Sum, Average, Least, Greatest, First, Last, Distinct] {
                let (before, after) = values.split_at(cut.min(values.len()));
                let part = |values: &[Datum]| {
                    let mut part = Accumulator::new(kind);
                    values.iter().for_each(|datum| part.add(datum, &budget, &mut Vec::new()).unwrap());
                    part
                };
                let mut whole = part(before);
                whole.join(part(after), &budget).unwrap();
                prop_assert_eq!(whole.result().into_value(), of(kind, &values), "{:?}", kind);
            }
        }

        #[test]
        fn least_and_greatest_are_the_ends_of_the_order(values in prop::collection::vec(any_datum(), 0..6)) {
            let mut known: Vec<_> = values.iter().filter(|datum| !datum.is_null()).cloned().collect();
            known.sort_by(total);
            let end = |datum: Option<&Datum>| datum.map_or(Value::Null, |datum| datum.clone().into_value());
            let same = |a: Value, b: Value| total(&Datum::of(a), &Datum::of(b)).is_eq();
            prop_assert!(same(of(Kind::Least, &values), end(known.first())));
            prop_assert!(same(of(Kind::Greatest, &values), end(known.last())));
            known.dedup_by(|a, b| total(a, b).is_eq());
            prop_assert_eq!(of(Kind::Distinct, &values), Value::from(known.len() as u64));
        }
    }
}
