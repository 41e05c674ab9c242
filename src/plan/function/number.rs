//! Functions of numbers.

use super::decimal::Decimal;
use crate::plan::datum::Datum;
use crate::plan::expr::Number;
use crate::value::Value;

fn number_of(datum: &Datum) -> Option<Number> {
    match datum {
        Datum::Number(number) => Some(*number),
        _ => None,
    }
}

/// A whole number, of any form.
pub(super) fn whole_of(datum: &Datum) -> Option<i128> {
    match number_of(datum)? {
        Number::Integer(n) => Some(n),
        Number::Float(x) if x.fract() == 0.0 && x.abs() < 1e18 => Some(x as i128),
        Number::Float(_) => None,
    }
}

/// A float without a fraction, as an integer where 64 bits hold it.
fn whole<'a>(x: f64) -> Option<Datum<'a>> {
    let integer = Number::Integer(x as i128);
    let fits = x.abs() < 1e30 && integer.to_value().is_some();
    Some(Datum::Number(if fits { integer } else { Number::Float(x) }))
}

fn fitting<'a>(number: Number) -> Option<Datum<'a>> {
    number.to_value().map(|_| Datum::Number(number))
}

fn decimal_of(number: Number) -> Option<Decimal> {
    match number {
        Number::Integer(n) => Some(Decimal::whole(n)),
        Number::Float(x) => Decimal::of(x),
    }
}

/// By the shortest decimal that prints the number; halves away from zero.
pub(super) fn round<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let x = number_of(given.first()?)?;
    let digits = given.get(1).map_or(Some(0), whole_of)?;
    match x {
        Number::Integer(_) if digits >= 0 => Some(Datum::Number(x)),
        Number::Integer(n) => fitting(Number::Integer(to_tens(n, digits.unsigned_abs()))),
        Number::Float(x) => {
            // No float has digits so far from the point.
            let places = digits.clamp(-400, 400) as i32;
            let rounded = Decimal::of(x)?.rounded(places);
            match rounded.to_whole().map(Number::Integer) {
                Some(integer) if places <= 0 && integer.to_value().is_some() => Some(Datum::Number(integer)),
                _ => fitting(Number::Float(rounded.to_float()?)),
            }
        }
    }
}

/// An integer to tens, hundreds and so on; halves away from zero.
fn to_tens(n: i128, digits: u128) -> i128 {
    let scale = u32::try_from(digits).ok().and_then(|digits| 10i128.checked_pow(digits));
    let Some(scale) = scale else { return 0 };
    // 64 bits and half a scale, which is below 38 digits: far from the edges.
    (n + n.signum() * (scale / 2)) / scale * scale
}

pub(super) fn floor<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    match number_of(given.first()?)? {
        Number::Float(x) => whole(x.floor()),
        integer => Some(Datum::Number(integer)),
    }
}

pub(super) fn ceil<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    match number_of(given.first()?)? {
        Number::Float(x) => whole(x.ceil()),
        integer => Some(Datum::Number(integer)),
    }
}

pub(super) fn abs<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    match given.first()? {
        Datum::Number(Number::Integer(n)) => fitting(Number::Integer(n.abs())),
        Datum::Number(Number::Float(x)) => Some(Datum::Number(Number::Float(x.abs()))),
        Datum::Span(span) => span.checked_abs().map(Datum::Span),
        _ => None,
    }
}

pub(super) fn number<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    Some(match given.first()? {
        Datum::Number(number) => Datum::Number(*number),
        Datum::Text(text) => match text.trim().parse::<Value>() {
            Ok(value) => Number::of(&value).map_or(Datum::Null, Datum::Number),
            Err(_) => Datum::Null,
        },
        Datum::Span(nanos) if nanos % 1_000_000_000 == 0 => {
            fitting(Number::Integer(nanos / 1_000_000_000)).unwrap_or(Datum::Null)
        }
        Datum::Span(nanos) => Datum::Number(Number::Float(*nanos as f64 / 1e9)),
        _ => Datum::Null,
    })
}

/// Where the tile of a number begins.
pub(super) fn bucket<'a>(x: Number, width: Number) -> Option<Datum<'a>> {
    match (x, width) {
        (Number::Integer(n), Number::Integer(width)) if width > 0 => {
            fitting(Number::Integer(n.div_euclid(width) * width))
        }
        (x, width) if width.to_float() > 0.0 => {
            fitting(Number::Float(decimal_of(x)?.tile(decimal_of(width)?)?.to_float()?))
        }
        _ => None,
    }
}
