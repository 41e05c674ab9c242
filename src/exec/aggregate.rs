//! Aggregates: what is kept of many values, one after another in the order of the log.
//!
//! Nulls are left out of all of them. `sum` and `avg` leave out what is no number, too; both are exact ([`sum`](super::sum)).
//! `min` and `max` go by the one order over all values.

use std::collections::HashSet;

use super::budget::{Budget, ENTRY};
use super::deviation::Deviation;
use super::percentile::{NUMBER_ENTRY, NumberCounts};
use super::sum::{Sum, WIDE};
use crate::error::Result;
use crate::lang::ast::Operator;
use crate::plan::datum::Datum;
use crate::plan::expr::Number;
use crate::plan::function::{AggregateKind, Fraction};
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
    Percentile(NumberCounts, Fraction),
    Deviation(Deviation),
}

/// A number that 64 bits hold; a wider one is no result, as with arithmetic, and never rounded to one.
fn narrowed(number: Number) -> Datum<'static> {
    number.to_value().map_or(Datum::Null, |_| Datum::Number(number))
}

impl Accumulator {
    pub fn new(kind: AggregateKind) -> Accumulator {
        match kind {
            AggregateKind::Count => Accumulator::Count(0),
            AggregateKind::Sum => Accumulator::Sum(Sum::default()),
            AggregateKind::Average => Accumulator::Average(Sum::default()),
            AggregateKind::Least => Accumulator::Least(Datum::Null),
            AggregateKind::Greatest => Accumulator::Greatest(Datum::Null),
            AggregateKind::First => Accumulator::First(Datum::Null),
            AggregateKind::Last => Accumulator::Last(Datum::Null),
            AggregateKind::Distinct => Accumulator::Distinct(HashSet::new()),
            AggregateKind::Percentile(part) => Accumulator::Percentile(NumberCounts::default(), part),
            AggregateKind::Deviation => Accumulator::Deviation(Deviation::default()),
        }
    }

    /// One more event, without a value.
    pub fn count(&mut self) {
        if let Accumulator::Count(count) = self {
            *count += 1;
        }
    }

    /// So many more events, without a value.
    pub fn count_more(&mut self, more: u64) {
        if let Accumulator::Count(count) = self {
            *count += more;
        }
    }

    /// So many more whole numbers.
    pub fn add_integers(&mut self, count: u64, total: i128) {
        if let Accumulator::Sum(sum) | Accumulator::Average(sum) = self {
            sum.add_integers(count, total);
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
            Accumulator::Percentile(counts, _) => {
                if let Datum::Number(number) = datum
                    && counts.add(*number)
                {
                    budget.take(NUMBER_ENTRY)?;
                }
            }
            Accumulator::Deviation(deviation) => {
                if let Datum::Number(number) = datum {
                    budget.take(WIDE * deviation.add(*number))?;
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
            (Accumulator::Percentile(counts, _), Accumulator::Percentile(more, _)) => {
                budget.give(NUMBER_ENTRY * counts.join(more));
            }
            (Accumulator::Deviation(deviation), Accumulator::Deviation(more)) => {
                budget.give(WIDE * deviation.join(more));
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
            Accumulator::Percentile(counts, _) => NUMBER_ENTRY * counts.kept(),
            Accumulator::Deviation(deviation) => WIDE * deviation.wide(),
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
            Accumulator::Percentile(counts, part) => counts.at(*part).map_or(Datum::Null, narrowed),
            Accumulator::Deviation(deviation) => {
                deviation.result().map_or(Datum::Null, |x| Datum::Number(Number::Float(x)))
            }
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

    fn of(kind: AggregateKind, values: &[Datum]) -> Value {
        let mut accumulator = Accumulator::new(kind);
        let budget = Budget::endless();
        for datum in values {
            accumulator.add(datum, &budget, &mut Vec::new()).unwrap();
        }
        accumulator.result().into_value()
    }

    fn of_json(kind: AggregateKind, json: &str) -> String {
        let Ok(Value::Array(items)) = json.parse() else { panic!("{json}") };
        of(kind, &items.iter().map(Datum::borrowed).collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn sums_are_exact() {
        let max = i64::MAX;
        assert_eq!(of_json(AggregateKind::Sum, "[1, 2, 3]"), "6");
        assert_eq!(of_json(AggregateKind::Sum, &format!("[{max}, {max}, 1]")), u64::MAX.to_string());
        assert_eq!(
            of_json(AggregateKind::Sum, &format!("[{max}, {max}, {max}, -{max}, -{max}]")),
            max.to_string()
        );
        assert_eq!(of_json(AggregateKind::Sum, &format!("[{max}, {max}, 2]")), "null");
        assert_eq!(of_json(AggregateKind::Sum, &format!("[-{max}, -1, -1]")), "null");
        assert_eq!(of_json(AggregateKind::Sum, &format!("[{max}, {max}, 2, -1]")), u64::MAX.to_string());
        assert_eq!(of_json(AggregateKind::Average, &format!("[{max}, {max}, {max}]")), max.to_string());
        // With a float among them the sum is one, which is rounded once.
        assert_eq!(
            of_json(AggregateKind::Sum, &format!("[{max}, {max}, {max}, 0.0]")),
            "2.7670116110564327e+19"
        );
        assert_eq!(of_json(AggregateKind::Sum, "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]"), "2.8");
        assert_eq!(of_json(AggregateKind::Sum, "[1e100, 1.0, -1e100]"), "1.0");
        assert_eq!(of_json(AggregateKind::Sum, "[9007199254740993, -9007199254740992.0]"), "1.0");
        assert_eq!(of_json(AggregateKind::Sum, "[1e308, 1e308]"), "null");
    }

    #[test]
    fn what_is_no_number_is_left_out_of_sums() {
        assert_eq!(of_json(AggregateKind::Sum, r#"[1, "2", null, [3], true, 4]"#), "5");
        assert_eq!(of_json(AggregateKind::Average, r#"[1, "2", null, 4]"#), "2.5");
        assert_eq!(of_json(AggregateKind::Average, "[2, 4]"), "3");
        let median = AggregateKind::Percentile(Fraction::HALF);
        assert_eq!(of_json(median, r#"[1, "2", null, 4, [9]]"#), "2.5");
        assert_eq!(of_json(median, "[2, 4.0]"), "3");
        assert_eq!(of_json(AggregateKind::Deviation, r#"[1, "2", null, 3]"#), "1.4142135623730951");
        for kind in [AggregateKind::Sum, AggregateKind::Average, median, AggregateKind::Deviation] {
            assert_eq!(of_json(kind, r#"["1", null]"#), "null");
        }
    }

    #[test]
    fn nulls_are_left_out_of_all() {
        assert_eq!(of_json(AggregateKind::Count, "[null, 1, false]"), "2");
        assert_eq!(of_json(AggregateKind::First, r#"[null, "a", "b", null]"#), r#""a""#);
        assert_eq!(of_json(AggregateKind::Last, r#"[null, "a", "bc", null]"#), r#""bc""#);
        assert_eq!(of_json(AggregateKind::Least, r#"[null, "a", 3, 1.5]"#), "1.5");
        assert_eq!(of_json(AggregateKind::Greatest, r#"[null, "a", 3, {}]"#), "{}");
        assert_eq!(
            of_json(
                AggregateKind::Distinct,
                r#"[1, 1.0, null, "1", [1], [1.0], {"a":1,"b":2}, {"b":2,"a":1}]"#
            ),
            "4"
        );
        for kind in [AggregateKind::First, AggregateKind::Last, AggregateKind::Least, AggregateKind::Greatest]
        {
            assert_eq!(of_json(kind, "[null]"), "null");
        }
        assert_eq!(of_json(AggregateKind::Distinct, "[]"), "0");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let budget = Budget::of(1 << 20, "distinct");
        let mut accumulator = Accumulator::new(AggregateKind::Distinct);
        let error =
            (0..1_000_000).find_map(|n| accumulator.add(&Datum::number(n), &budget, &mut Vec::new()).err());
        assert_eq!(
            error.unwrap().to_string(),
            "stopped: distinct takes more than the 1 MiB that a query may hold in memory; narrow it with WHERE, SINCE \
             or LIMIT, or raise Options::query_memory (--memory)"
        );
        // What is replaced is given back.
        let budget = Budget::of(100, "last");
        let mut accumulator = Accumulator::new(AggregateKind::Last);
        for _ in 0..1000 {
            accumulator.add(&Datum::text("a text"), &budget, &mut Vec::new()).unwrap();
        }
    }

    /// Integers near the ends of 64 bits and near 0.
    fn integer() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-3i64..4).prop_map(Value::Int),
            (0u64..4).prop_map(|by| Value::from(u64::MAX - by)),
            (0i64..4).prop_map(|by| Value::Int(i64::MIN + by)),
            (0i64..4).prop_map(|by| Value::Int(i64::MAX - by)),
            any::<i64>().prop_map(Value::Int),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// The model adds in 128 bits, counted in 1024ths, so that the floats here are whole in it, too.
        #[test]
        fn sums_are_what_wider_numbers_say(
            integers in prop::collection::vec(integer(), 0..6),
            floats in prop_oneof![Just(Vec::new()), prop::collection::vec(-(1i64 << 53)..=1 << 53, 1..4)],
        ) {
            let whole = |value: &Value| match value {
                Value::Int(n) => i128::from(*n),
                Value::UInt(n) => i128::from(*n),
                other => panic!("{other}"),
            };
            let total = integers.iter().map(whole).sum::<i128>() * 1024
                + floats.iter().map(|n| i128::from(*n)).sum::<i128>();
            let mut values: Vec<Value> = integers.clone();
            values.extend(floats.iter().map(|n| Value::Float(*n as f64 / 1024.0)));
            let values: Vec<Datum> = values.iter().map(Datum::borrowed).collect();
            let integer = |n: i128| match (i64::try_from(n), u64::try_from(n)) {
                (Ok(n), _) => Value::Int(n),
                (_, Ok(n)) => Value::from(n),
                _ => Value::Null,
            };
            let sum = match (values.is_empty(), floats.is_empty()) {
                (true, _) => Value::Null,
                (_, true) => integer(total / 1024),
                // From an integer of 128 bits to a float is rounded once.
                _ => Value::Float(total as f64 / 1024.0),
            };
            prop_assert_eq!(of(AggregateKind::Sum, &values), sum.clone());
            let count = values.len() as i128;
            let average = match of(AggregateKind::Average, &values) {
                Value::Float(x) => x,
                other => {
                    let even = if values.is_empty() { Value::Null } else { integer(total / 1024 / count) };
                    prop_assert_eq!(other, even);
                    prop_assert!(values.is_empty() || (floats.is_empty() && total % (1024 * count) == 0));
                    return Ok(());
                }
            };
            // Rounded twice at most: of the sum, and of its part.
            let near = |n: i128| n as f64 / 1024.0 / count as f64;
            prop_assert!((average - near(total)).abs() <= near(total).abs() * 2.0 * f64::EPSILON);
        }
    }

    proptest! {
        /// Wherever the values are cut in two.
        #[test]
        fn parts_join_to_the_whole(values in prop::collection::vec(any_datum(), 0..8), at in any::<prop::sample::Index>()) {
            use AggregateKind::*;
            let budget = Budget::endless();
            let cut = at.index(values.len() + 1);
            for kind in [Count, Sum, Average, Least, Greatest, First, Last, Distinct, Percentile(Fraction::HALF), Deviation] {
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
            prop_assert!(same(of(AggregateKind::Least, &values), end(known.first())));
            prop_assert!(same(of(AggregateKind::Greatest, &values), end(known.last())));
            known.dedup_by(|a, b| total(a, b).is_eq());
            prop_assert_eq!(of(AggregateKind::Distinct, &values), Value::from(known.len() as u64));
        }
    }
}
