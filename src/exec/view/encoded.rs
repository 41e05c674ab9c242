//! Groups as bytes: what a row of the table `views` holds.
//!
//! A group is its keys, then what its aggregates keep, one behind the other, as its definition has them. A value is a tag and what
//! it needs; an aggregate is told by its place.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::exec::aggregate::Accumulator;
use crate::exec::deviation::Deviation;
use crate::exec::group::AggregateGroup;
use crate::exec::percentile::NumberCounts;
use crate::exec::sum::{Sum, taken};
use crate::plan::datum::Datum;
use crate::plan::expr::Number;
use crate::plan::function::AggregateKind;
use crate::plan::shape;
use crate::time::Timestamp;
use crate::value::Value;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const TIME: u8 = 6;
const SPAN: u8 = 7;
const ENTITY: u8 = 8;
const JSON: u8 = 9;

/// The bytes of a group.
pub(super) fn encode(group: &AggregateGroup) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(32);
    for key in &group.keys {
        put(key, &mut out)?;
    }
    for accumulator in &group.accumulators {
        match accumulator {
            Accumulator::Count(count) => out.extend_from_slice(&count.to_be_bytes()),
            Accumulator::Sum(sum) | Accumulator::Average(sum) => sum.encode(&mut out),
            Accumulator::Least(datum)
            | Accumulator::Greatest(datum)
            | Accumulator::First(datum)
            | Accumulator::Last(datum) => put(datum, &mut out)?,
            Accumulator::Distinct(seen) => {
                out.extend_from_slice(&(seen.len() as u64).to_be_bytes());
                // The same values make the same bytes.
                let mut keys: Vec<_> = seen.iter().collect();
                keys.sort_unstable();
                keys.into_iter().for_each(|key| put_bytes(key, &mut out));
            }
            Accumulator::Percentile(counts, _) => {
                out.extend_from_slice(&(counts.kept() as u64).to_be_bytes());
                for (number, times) in counts.iter() {
                    put(&Datum::Number(number), &mut out)?;
                    out.extend_from_slice(&times.to_be_bytes());
                }
            }
            Accumulator::Deviation(deviation) => {
                deviation.sum.encode(&mut out);
                deviation.squares.encode(&mut out);
            }
        }
    }
    Ok(out)
}

/// The group that bytes are; none if they are not.
pub(super) fn decode(mut bytes: &[u8], plan: &shape::GroupPlan) -> Option<AggregateGroup> {
    let bytes = &mut bytes;
    let keys = plan.keys.iter().map(|_| take(bytes)).collect::<Option<Vec<_>>>()?;
    let accumulator = |aggregate: &shape::AggregateCall| {
        Some(match aggregate.kind {
            AggregateKind::Count => Accumulator::Count(number(bytes)?),
            AggregateKind::Sum => Accumulator::Sum(Sum::decode(bytes)?),
            AggregateKind::Average => Accumulator::Average(Sum::decode(bytes)?),
            AggregateKind::Least => Accumulator::Least(take(bytes)?),
            AggregateKind::Greatest => Accumulator::Greatest(take(bytes)?),
            AggregateKind::First => Accumulator::First(take(bytes)?),
            AggregateKind::Last => Accumulator::Last(take(bytes)?),
            AggregateKind::Distinct => {
                let count = number(bytes)?;
                let mut seen = HashSet::new();
                for _ in 0..count {
                    seen.insert(take_bytes(bytes)?.into());
                }
                Accumulator::Distinct(seen)
            }
            AggregateKind::Percentile(part) => {
                let kept = number(bytes)?;
                let mut one = || match take(bytes)? {
                    Datum::Number(value) => Some((value, number(bytes)?)),
                    _ => None,
                };
                let counts: Option<NumberCounts> = (0..kept).map(|_| one()).collect();
                Accumulator::Percentile(counts?, part)
            }
            AggregateKind::Deviation => {
                let sum = Sum::decode(bytes)?;
                Accumulator::Deviation(Deviation { sum, squares: Sum::decode(bytes)? })
            }
        })
    };
    let accumulators = plan.aggregates.iter().map(accumulator).collect::<Option<Vec<_>>>()?;
    bytes.is_empty().then_some(AggregateGroup { keys, accumulators })
}

pub(in crate::exec) fn put(datum: &Datum, out: &mut Vec<u8>) -> Result<()> {
    match datum {
        Datum::Null => out.push(NULL),
        Datum::Bool(false) => out.push(FALSE),
        Datum::Bool(true) => out.push(TRUE),
        Datum::Number(Number::Integer(n)) => {
            out.push(INTEGER);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Datum::Number(Number::Float(x)) => {
            out.push(FLOAT);
            out.extend_from_slice(&x.to_bits().to_be_bytes());
        }
        Datum::Text(text) => {
            out.push(TEXT);
            put_bytes(text.as_bytes(), out);
        }
        Datum::Time(time) => {
            out.push(TIME);
            let (seconds, nanos) = time.parts();
            out.extend_from_slice(&seconds.to_be_bytes());
            out.extend_from_slice(&nanos.to_be_bytes());
        }
        Datum::Span(span) => {
            out.push(SPAN);
            out.extend_from_slice(&span.to_be_bytes());
        }
        Datum::Entity { kind, id } => {
            out.push(ENTITY);
            put_bytes(kind.as_bytes(), out);
            put_bytes(id.as_bytes(), out);
        }
        Datum::Json(_) | Datum::Stored(_) => {
            out.push(JSON);
            let value = datum.clone().into_value();
            let bytes = rmp_serde::to_vec(&value).map_err(|e| Error::corrupt("a value", e.to_string()))?;
            put_bytes(&bytes, out);
        }
    }
    Ok(())
}

pub(in crate::exec) fn take(bytes: &mut &[u8]) -> Option<Datum<'static>> {
    let [tag] = *taken(bytes)?;
    Some(match tag {
        NULL => Datum::Null,
        FALSE => Datum::Bool(false),
        TRUE => Datum::Bool(true),
        INTEGER => Datum::Number(Number::Integer(i128::from_be_bytes(*taken(bytes)?))),
        FLOAT => Datum::Number(Number::Float(f64::from_bits(number(bytes)?))),
        TEXT => Datum::Text(text(bytes)?.into()),
        TIME => {
            let (seconds, nanos) = (i64::from_be_bytes(*taken(bytes)?), i32::from_be_bytes(*taken(bytes)?));
            Datum::Time(Timestamp::from_parts(seconds, nanos).ok()?)
        }
        SPAN => Datum::Span(i128::from_be_bytes(*taken(bytes)?)),
        ENTITY => Datum::Entity { kind: text(bytes)?.into(), id: text(bytes)?.into() },
        JSON => Datum::of(rmp_serde::from_slice::<Value>(take_bytes(bytes)?).ok()?),
        _ => return None,
    })
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(bytes)?.to_vec()).ok()
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    taken(bytes).map(|number| u64::from_be_bytes(*number))
}

fn put_bytes(some: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(some.len() as u64).to_be_bytes());
    out.extend_from_slice(some);
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(number(bytes)?).ok()?;
    let (some, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exec::budget::Budget;
    use crate::plan::function::Fraction;
    use crate::plan::order::tests::any_datum;

    const KINDS: [AggregateKind; 10] = [
        AggregateKind::Count,
        AggregateKind::Sum,
        AggregateKind::Average,
        AggregateKind::Least,
        AggregateKind::Greatest,
        AggregateKind::First,
        AggregateKind::Last,
        AggregateKind::Distinct,
        AggregateKind::Percentile(Fraction::HALF),
        AggregateKind::Deviation,
    ];

    fn plan(keys: usize) -> shape::GroupPlan {
        let node = crate::plan::expr::BoundExpr::value(Value::Null);
        let column =
            |n: usize| shape::OutputColumn { name: n.to_string(), node: node.clone(), text: String::new() };
        shape::GroupPlan {
            keys: (0..keys).map(column).collect(),
            aggregates: KINDS
                .map(|kind| shape::AggregateCall { kind, argument: None, text: String::new() })
                .to_vec(),
            having: None,
            order: Vec::new(),
            limit: None,
            columns: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_group_is_read_again(
            keys in prop::collection::vec(any_datum(), 0..3),
            values in prop::collection::vec(any_datum(), 0..6),
        ) {
            let accumulators = KINDS.map(|kind| {
                let mut accumulator = Accumulator::new(kind);
                let budget = Budget::endless();
                values.iter().for_each(|datum| accumulator.add(datum, &budget, &mut Vec::new()).unwrap());
                accumulator
            });
            let group = AggregateGroup { keys, accumulators: accumulators.into() };
            let bytes = encode(&group).unwrap();
            let again = decode(&bytes, &plan(group.keys.len())).unwrap();
            prop_assert_eq!(format!("{:?}", again.keys), format!("{:?}", group.keys));
            for (one, other) in group.accumulators.iter().zip(&again.accumulators) {
                prop_assert_eq!(one.result().into_value(), other.result().into_value());
            }
            prop_assert_eq!(encode(&again).unwrap(), bytes.clone());
            // One byte less is none.
            prop_assert!(decode(&bytes[..bytes.len() - 1], &plan(group.keys.len())).is_none());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), keys in 0usize..3) {
            let _ = decode(&bytes, &plan(keys));
        }
    }
}
