//! The functions of the language: one list, which binding, "did you mean", completion and the reference all read.
//!
//! A function is given data of any type. What it cannot work with has no result: that is null in a filter and in a column, and an error
//! in a value that is to be written. Functions see no clock and no log, so that one of constants is a constant.

mod decimal;
mod list;
mod number;
mod text;
mod time;

use super::datum::Datum;
use super::expr::{BoundExpr, Constant};
use super::field::Sort;
use super::order::total;
use crate::allowance::Allowance;
use crate::value::Value;

/// A function, as it is called.
#[derive(Debug)]
pub(crate) struct FunctionDef {
    pub name: &'static str,
    /// What stands between the brackets, for people to read.
    pub arguments: &'static str,
    pub least: usize,
    pub most: usize,
    /// What it gives, in a line.
    pub doc: &'static str,
    pub work: FunctionBody,
    gives: Gives,
}

/// How it is worked out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FunctionBody {
    /// From what its arguments are worth; none where they are of a wrong type.
    Plain(for<'a> fn(&[Datum<'a>]) -> Option<Datum<'a>>),
    /// The same, of what takes memory: none where there is too little left of the allowance, too.
    Making(for<'a> fn(&[Datum<'a>], &Allowance) -> Option<Datum<'a>>),
    /// Only the branch that is chosen is looked at.
    If,
    /// Only as far as the first that is not null.
    Coalesce,
    /// Its pattern is compiled once.
    Regex,
    /// Its argument is named, not looked at.
    IsForgotten,
    /// From many events.
    Aggregate(AggregateKind),
}

/// What an aggregate keeps of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    Count,
    Sum,
    Average,
    Least,
    Greatest,
    First,
    Last,
    Distinct,
    Percentile(Fraction),
    Deviation,
}

/// A part of a whole, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fraction(f64);

/// It is always a number.
impl Eq for Fraction {}

impl Fraction {
    pub const HALF: Fraction = Fraction(0.5);

    /// None of what is below 0, above 1, or no number.
    pub fn new(part: f64) -> Option<Fraction> {
        (0.0..=1.0).contains(&part).then_some(Fraction(part))
    }

    pub fn part(self) -> f64 {
        self.0
    }
}

/// What the result is known to be, whatever the event.
#[derive(Debug, Clone, Copy)]
enum Gives {
    Other,
    Time,
    Date,
    /// What these arguments are, from this one on, if they are all one.
    Like(usize),
    /// A time where a length of time is what it counts in.
    Bucket,
}

/// As many as one likes.
const ANY: usize = usize::MAX;

const fn plain(
    name: &'static str,
    arguments: &'static str,
    (least, most): (usize, usize),
    gives: Gives,
    work: for<'a> fn(&[Datum<'a>]) -> Option<Datum<'a>>,
    doc: &'static str,
) -> FunctionDef {
    FunctionDef { name, arguments, least, most, doc, work: FunctionBody::Plain(work), gives }
}

const fn making(
    name: &'static str,
    arguments: &'static str,
    (least, most): (usize, usize),
    gives: Gives,
    work: for<'a> fn(&[Datum<'a>], &Allowance) -> Option<Datum<'a>>,
    doc: &'static str,
) -> FunctionDef {
    FunctionDef { name, arguments, least, most, doc, work: FunctionBody::Making(work), gives }
}

const fn special(
    name: &'static str,
    arguments: &'static str,
    (least, most): (usize, usize),
    gives: Gives,
    work: FunctionBody,
    doc: &'static str,
) -> FunctionDef {
    FunctionDef { name, arguments, least, most, doc, work, gives }
}

const fn aggregate(
    name: &'static str,
    arguments: &'static str,
    least: usize,
    gives: Gives,
    kind: AggregateKind,
    doc: &'static str,
) -> FunctionDef {
    FunctionDef { name, arguments, least, most: 1, doc, work: FunctionBody::Aggregate(kind), gives }
}

/// Whether a text says a tile of time by the calendar.
pub(crate) fn is_calendar_unit(unit: &str) -> bool {
    time::CALENDAR_UNITS.iter().any(|(known, _)| *known == unit)
}

use Gives::{Bucket, Date, Like, Other, Time};

/// Tells of ids where those are that begin so.
pub(crate) const STARTS_WITH: &str = "starts_with";

/// All functions there are: aggregates, then the others by what they work on.
pub(crate) const FUNCTIONS: &[FunctionDef] = &[
    aggregate("count", "[x]", 0, Other, AggregateKind::Count, "how many events; of x, how many are not null"),
    aggregate(
        "sum",
        "x",
        1,
        Other,
        AggregateKind::Sum,
        "the numbers added up: integers exactly, and null beyond 64 bits; with floats among them a float, rounded once; null if there are none",
    ),
    aggregate(
        "avg",
        "x",
        1,
        Other,
        AggregateKind::Average,
        "the sum of the numbers by their count; null if there are none",
    ),
    aggregate("min", "x", 1, Like(0), AggregateKind::Least, "the least value that is not null"),
    aggregate("max", "x", 1, Like(0), AggregateKind::Greatest, "the greatest value that is not null"),
    aggregate("first", "x", 1, Like(0), AggregateKind::First, "the first value in the log that is not null"),
    aggregate("last", "x", 1, Like(0), AggregateKind::Last, "the last value in the log that is not null"),
    aggregate(
        "distinct",
        "x",
        1,
        Other,
        AggregateKind::Distinct,
        "how many different values that are not null",
    ),
    aggregate(
        "median",
        "x",
        1,
        Other,
        AggregateKind::Percentile(Fraction::HALF),
        "the number in the middle; between two of them, the one halfway; null if there are none",
    ),
    special(
        "percentile",
        "x, part",
        (2, 2),
        Other,
        FunctionBody::Aggregate(AggregateKind::Percentile(Fraction::HALF)),
        "the number below which this part of the numbers lies, from 0 to 1 (percentile(data.delay, 0.95)), on the line between the two beside it; null if there are none",
    ),
    aggregate(
        "stddev",
        "x",
        1,
        Other,
        AggregateKind::Deviation,
        "the standard deviation of the numbers as a sample; null of fewer than two, and of numbers beyond 1e154",
    ),
    special(
        "if",
        "condition, a, b",
        (3, 3),
        Like(1),
        FunctionBody::If,
        "a where the condition is true, b where it is false or null",
    ),
    special("coalesce", "a, …", (1, ANY), Like(0), FunctionBody::Coalesce, "the first that is not null"),
    special(
        "is_forgotten",
        "field",
        (1, 1),
        Other,
        FunctionBody::IsForgotten,
        "whether this field of the event is forgotten (FORGET), or one around it or within it",
    ),
    making("least", "a, …", (1, ANY), Like(0), least, "the least of them, nulls left out"),
    making("greatest", "a, …", (1, ANY), Like(0), greatest, "the greatest of them, nulls left out"),
    plain(
        "bucket",
        "x, width[, zone]",
        (2, 3),
        Bucket,
        time::bucket,
        "where the tile that x lies in begins: of times (bucket(timestamp, 1h)), counted from a Monday, 1970-01-05, midnight UTC, or by the calendar ('month', 'quarter', 'year'), by the clocks of a zone where one is said (bucket(timestamp, 1d, 'Europe/Berlin')), or of numbers (bucket(data.total, 100)), counted from 0 and exact for decimals",
    ),
    plain(
        "typeof",
        "x",
        (1, 1),
        Other,
        type_of,
        "'null', 'boolean', 'number', 'text', 'time', 'duration', 'entity', 'array' or 'object'",
    ),
    making("lower", "text", (1, 1), Other, text::lower, "in small letters"),
    making("upper", "text", (1, 1), Other, text::upper, "in capital letters"),
    making("trim", "text", (1, 1), Other, text::trim, "without the space around it"),
    plain("length", "x", (1, 1), Other, text::length, "how many characters, items or members"),
    making(
        "substring",
        "text, start[, length]",
        (2, 3),
        Other,
        text::substring,
        "the characters from start on, counted from 0",
    ),
    making("concat", "a, …", (1, ANY), Other, text::concat, "as text, one behind the other, nulls left out"),
    making(
        "split",
        "text, separator",
        (2, 2),
        Other,
        text::split,
        "the pieces between the separators, as an array",
    ),
    plain(STARTS_WITH, "text, beginning", (2, 2), Other, text::starts_with, "whether it begins so"),
    plain("ends_with", "text, end", (2, 2), Other, text::ends_with, "whether it ends so"),
    special(
        "regex",
        "text, 'pattern'",
        (2, 2),
        Other,
        FunctionBody::Regex,
        "whether the regular expression is found in it; (?i), \\w, \\d, \\s and \\b know ASCII only: regex(lower(x), 'é') is for letters of either case beyond it",
    ),
    plain(
        "round",
        "x[, digits]",
        (1, 2),
        Other,
        number::round,
        "to the nearest whole number, or to so many digits, by the shortest decimal that prints x; halves away from zero",
    ),
    plain("floor", "x", (1, 1), Other, number::floor, "the next whole number below"),
    plain("ceil", "x", (1, 1), Other, number::ceil, "the next whole number above"),
    plain("abs", "x", (1, 1), Other, number::abs, "without its sign"),
    plain("year", "time[, zone]", (1, 2), Other, time::year, "the year, in UTC or a zone"),
    plain("month", "time[, zone]", (1, 2), Other, time::month, "the month from 1 to 12, in UTC or a zone"),
    plain("day", "time[, zone]", (1, 2), Other, time::day, "the day of the month, in UTC or a zone"),
    plain("hour", "time[, zone]", (1, 2), Other, time::hour, "the hour from 0 to 23, in UTC or a zone"),
    plain("minute", "time[, zone]", (1, 2), Other, time::minute, "the minute from 0 to 59, in UTC or a zone"),
    plain("second", "time", (1, 1), Other, time::second, "the second from 0 to 59"),
    plain(
        "weekday",
        "time[, zone]",
        (1, 2),
        Other,
        time::weekday,
        "the day of the week, Monday is 1, in UTC or a zone",
    ),
    plain(
        "date",
        "time[, zone]",
        (1, 2),
        Date,
        time::date,
        "the day as text, like '2024-01-01', in UTC or a zone ('Europe/Berlin')",
    ),
    making("keys", "object", (1, 1), Other, text::keys, "the names of its members, as an array"),
    making("values", "object", (1, 1), Other, text::values, "the values of its members, as an array"),
    making(
        "append",
        "list, x, …",
        (2, ANY),
        Other,
        list::append,
        "the list and these items behind it; a null list is empty",
    ),
    making(
        "without",
        "x, y, …",
        (2, ANY),
        Other,
        list::without,
        "the list without the items that equal one of these, or the object without the members so named",
    ),
    making("union", "list, …", (1, ANY), Other, list::union, "the items of the lists, each once"),
    making(
        "slice",
        "list, start[, length]",
        (2, 3),
        Other,
        list::slice,
        "the items from start on, counted from 0, or from the end if it is below (slice(x, -10): the last ten)",
    ),
    making(
        "get",
        "x, key",
        (2, 2),
        Other,
        list::get,
        "the member of this name, or the item at this place, from the end if it is below 0; null where there is none",
    ),
    making(
        "put",
        "object, name, x",
        (3, 3),
        Other,
        list::put,
        "the object with x as its member of this name; a null object is empty",
    ),
    making(
        "merge",
        "object, patch",
        (2, 2),
        Other,
        list::merge,
        "the object after a JSON merge patch: null removes, objects merge, anything else replaces",
    ),
    making("text", "x", (1, 1), Other, text::text, "x as text; arrays and objects as JSON"),
    plain(
        "number",
        "x",
        (1, 1),
        Other,
        number::number,
        "the number that a text says, or the seconds of a duration; null where it is none",
    ),
    plain("time", "x", (1, 1), Time, time::time, "the time that a text says; null where it is none"),
];

/// The function of this name.
pub(crate) fn named(name: &str) -> Option<&'static FunctionDef> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl PartialEq for FunctionDef {
    /// There is one of a name.
    fn eq(&self, other: &FunctionDef) -> bool {
        self.name == other.name
    }
}

impl FunctionBody {
    /// What it makes of what its arguments are worth; none where it is not worked out of these.
    pub fn of<'a>(self, given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
        match self {
            FunctionBody::Plain(work) => work(given),
            FunctionBody::Making(work) => work(given, allowance),
            _ => None,
        }
    }
}

impl FunctionDef {
    /// As one writes it: `substring(text, start[, length])`.
    pub fn form(&self) -> String {
        format!("{}({})", self.name, self.arguments)
    }

    /// What it is known to give.
    pub fn sort(&self, arguments: &[BoundExpr]) -> Sort {
        match self.gives {
            Gives::Other => Sort::Other,
            Gives::Time => Sort::Time,
            Gives::Date => Sort::Date,
            Gives::Like(from) => {
                let mut sorts =
                    arguments.iter().skip(from).filter(|node| !node.is_null()).map(BoundExpr::sort);
                match sorts.next() {
                    Some(sort) if sorts.all(|other| other == sort) => sort,
                    _ => Sort::Other,
                }
            }
            Gives::Bucket => match arguments {
                [_, _, _] => Sort::Time,
                [_, BoundExpr::Constant(Constant::Span(_) | Constant::Value(Value::Text(_)))] => Sort::Time,
                _ => Sort::Other,
            },
        }
    }

    /// Whether the result may be an instant.
    pub fn may_be_time(&self, arguments: &[BoundExpr]) -> bool {
        match self.gives {
            Gives::Other | Gives::Date => false,
            Gives::Time => true,
            Gives::Like(from) => arguments.iter().skip(from).any(BoundExpr::may_be_time),
            Gives::Bucket => {
                self.sort(arguments) == Sort::Time || arguments.first().is_some_and(BoundExpr::may_be_time)
            }
        }
    }

    /// Which of its arguments is a zone, if one is.
    pub fn zone(&self) -> Option<usize> {
        self.arguments.ends_with("[, zone]").then_some(self.most - 1)
    }

    /// Whether it makes more of a list or an object, its first argument, which so may not be there yet.
    pub fn grows(&self) -> bool {
        matches!(self.name, "append" | "union" | "merge" | "put")
    }

    /// Whether its arguments from some place on stand beside each other as those of a comparison do.
    pub fn compares_from(&self) -> Option<usize> {
        match (self.gives, self.most) {
            (Gives::Like(from), most) if most > 1 => Some(from),
            _ => None,
        }
    }
}

fn least<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    if !comparable(given, allowance) {
        return None;
    }
    let known = given.iter().filter(|datum| !datum.is_null());
    known.min_by(|a, b| total(a, b)).map_or(Some(Datum::Null), |least| least.copied(allowance))
}

fn greatest<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    if !comparable(given, allowance) {
        return None;
    }
    let known = given.iter().filter(|datum| !datum.is_null());
    // Of equal ones the first, as in `least`.
    known.rev().max_by(|a, b| total(a, b)).map_or(Some(Datum::Null), |greatest| greatest.copied(allowance))
}

/// What is stored is decoded to be compared, two at a time.
fn comparable(given: &[Datum], allowance: &Allowance) -> bool {
    given.iter().all(|datum| {
        !matches!(datum, Datum::Json(_) | Datum::Stored(_)) || allowance.lend(2 * datum.weight())
    })
}

fn type_of<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [one] = given else { return None };
    Some(Datum::Text(one.kind().into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::order::tests::any_datum;

    #[test]
    fn every_function_has_a_name_of_its_own_and_a_line_that_says_what_it_gives() {
        for (i, function) in FUNCTIONS.iter().enumerate() {
            assert!(FUNCTIONS[..i].iter().all(|other| other.name != function.name), "{}", function.name);
            assert!(function.least <= function.most && !function.doc.is_empty());
            let named = function.arguments.split(", ").filter(|name| *name != "…").count();
            let optional = function.arguments.matches('[').count();
            assert!(function.arguments.contains('…') == (function.most == ANY), "{}", function.name);
            if function.most != ANY {
                let inner = function.arguments.matches("[, ").count();
                assert_eq!(named.max(inner), function.most, "{}", function.name);
                assert_eq!(function.most - optional, function.least, "{}", function.name);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Whatever it is given, and what it gives are data that can be told.
        #[test]
        fn no_function_panics(given in prop::collection::vec(any_datum(), 1..4)) {
            for function in FUNCTIONS {
                let (FunctionBody::Plain(_) | FunctionBody::Making(_)) = function.work else { continue };
                let work = |given: &[Datum]| {
                    function.work.of(given, &Allowance::default()).map(|datum| datum.into_owned())
                };
                if !(function.least..=function.most).contains(&given.len()) {
                    continue;
                }
                let result = work(&given);
                if let Some(Datum::Number(number)) = result {
                    prop_assert!(number.to_value().is_some(), "{}({given:?}) = {number:?}", function.name);
                }
                let borrowed: Vec<Datum> = given.iter().map(Datum::reborrow).collect();
                let told = |datum: Option<Datum>| datum.map(|datum| datum.into_value());
                prop_assert_eq!(told(work(&borrowed)), told(result));
            }
        }
    }
}
