//! Functions of times. A text that is a time will do: data has no other.

use super::number;
use crate::plan::datum::{Datum, nanos};
use crate::time::Timestamp;

fn time_of(datum: &Datum) -> Option<Timestamp> {
    match datum {
        Datum::Time(time) => Some(*time),
        Datum::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn civil(given: &[Datum]) -> Option<jiff::civil::DateTime> {
    time_of(given.first()?).map(Timestamp::civil)
}

fn part<'a>(given: &[Datum], part: impl Fn(jiff::civil::DateTime) -> i16) -> Option<Datum<'a>> {
    civil(given).map(|civil| Datum::Number(super::super::expr::Number::Integer(part(civil).into())))
}

pub(super) fn year<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.year())
}

pub(super) fn month<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.month().into())
}

pub(super) fn day<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.day().into())
}

pub(super) fn hour<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.hour().into())
}

pub(super) fn minute<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.minute().into())
}

pub(super) fn second<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.second().into())
}

pub(super) fn weekday<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    part(given, |civil| civil.weekday().to_monday_one_offset().into())
}

pub(super) fn date<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    civil(given).map(|civil| Datum::text(civil.date()))
}

pub(super) fn time<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    Some(time_of(given.first()?).map_or(Datum::Null, Datum::Time))
}

/// 1970-01-05T00:00:00Z, in nanoseconds since 1970.
const MONDAY: i128 = 4 * 86_400_000_000_000;

/// Tiles of time are counted from a Monday, midnight of UTC, as the periods of schedules are; those of numbers from 0.
pub(super) fn bucket<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    match given {
        [Datum::Number(x), Datum::Number(width)] => number::bucket(*x, *width),
        [time, Datum::Span(width)] if *width > 0 => {
            let nanos = nanos(time_of(time)?);
            let begins = (nanos - MONDAY).div_euclid(*width).checked_mul(*width)?.checked_add(MONDAY)?;
            let seconds = i64::try_from(begins.div_euclid(1_000_000_000)).ok()?;
            // Less than a second's nanoseconds. Before the earliest instant no tile begins.
            let rest = begins.rem_euclid(1_000_000_000) as i32;
            Timestamp::from_parts(seconds, rest).ok().map(Datum::Time)
        }
        _ => None,
    }
}
