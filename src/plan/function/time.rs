//! Functions of times. A text that is a time will do: data has no other.

use super::number;
use crate::plan::datum::{Datum, nanos};
use crate::time::{TimeZone, Timestamp};
use jiff::civil::DateTime;

fn time_of(datum: &Datum) -> Option<Timestamp> {
    match datum {
        Datum::Time(time) => Some(*time),
        Datum::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// What clocks show, in UTC or in the zone that comes second.
fn civil(given: &[Datum]) -> Option<jiff::civil::DateTime> {
    let time = time_of(given.first()?)?;
    Some(zone_of(given.get(1))?.map_or_else(|| time.civil(), |zone| zone.civil(time)))
}

/// The zone that is said, if one is.
fn zone_of(said: Option<&Datum>) -> Option<Option<TimeZone>> {
    match said {
        None => Some(None),
        Some(Datum::Text(name)) => TimeZone::named(name).map(Some),
        Some(_) => None,
    }
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

/// What a tile of time may be, where that is no length: how many months each has.
pub(super) const CALENDAR_UNITS: [(&str, i8); 3] = [("month", 1), ("quarter", 3), ("year", 12)];

/// The beginning of the months that a time lies in, so many together, counted from January, midnight.
fn months_of(shown: DateTime, months: i8) -> Option<DateTime> {
    let date = shown.date();
    let month = (date.month() - 1).div_euclid(months) * months + 1;
    let first = jiff::civil::Date::new(date.year(), month, 1).ok()?;
    Some(first.to_datetime(jiff::civil::Time::midnight()))
}

/// The beginning of the tile that a time lies in, of those that have one width.
fn tile_of(time: Timestamp, width: i128) -> Option<Timestamp> {
    let nanos = nanos(time);
    let begins = (nanos - MONDAY).div_euclid(width).checked_mul(width)?.checked_add(MONDAY)?;
    let seconds = i64::try_from(begins.div_euclid(1_000_000_000)).ok()?;
    // Less than a second's nanoseconds. Before the earliest instant no tile begins.
    let rest = begins.rem_euclid(1_000_000_000) as i32;
    Timestamp::from_parts(seconds, rest).ok()
}

/// Tiles of time are counted from a Monday, midnight, as the periods of schedules are, or by the calendar; those of numbers from 0. In a
/// zone its clocks are what counts: a day that has 23 hours is one, and of an hour that comes twice each is one.
pub(super) fn bucket<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let (time, width) = match given {
        [Datum::Number(x), Datum::Number(width)] => return number::bucket(*x, *width),
        [time, width, ..] => (time_of(time)?, width),
        _ => return None,
    };
    let zone = zone_of(given.get(2))?;
    let shown = zone.as_ref().map_or_else(|| time.civil(), |zone| zone.civil(time));
    let begins = match width {
        Datum::Text(unit) => {
            let (_, months) = CALENDAR_UNITS.into_iter().find(|(known, _)| known == unit)?;
            months_of(shown, months)?
        }
        Datum::Span(width) if *width > 0 => match zone {
            None => return tile_of(time, *width).map(Datum::Time),
            Some(_) => tile_of(Timestamp::of_civil(shown)?, *width)?.civil(),
        },
        _ => return None,
    };
    match zone {
        None => Timestamp::of_civil(begins),
        Some(zone) => zone.instant_near(begins, time),
    }
    .map(Datum::Time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::tests::days;

    /// The day of the week by Sakamoto's rule, Monday is 0.
    fn weekday_of(year: i64, month: i64, day: i64) -> i64 {
        let year = if month < 3 { year - 1 } else { year };
        let by_month = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4][month as usize - 1];
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        (year + leaps + by_month + day + 6).rem_euclid(7)
    }

    fn begins(seconds: i64, nanos: i32, width: i64) -> Option<(i64, i32)> {
        // Both parts have one sign.
        let (seconds, nanos) = match seconds < 0 && nanos > 0 {
            true => (seconds + 1, nanos - 1_000_000_000),
            false => (seconds, nanos),
        };
        let time = Timestamp::from_parts(seconds, nanos).unwrap();
        match bucket(&[Datum::Time(time), Datum::Span(i128::from(width) * 1_000_000_000)]) {
            Some(Datum::Time(begins)) => Some(begins.parts()),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tiles_of_a_zone_begin_by_its_clocks() {
        let at = |text: &str| Datum::Time(text.parse().unwrap());
        const HOUR: i128 = 3_600_000_000_000;
        let tile = |time: &str, width: Datum<'static>, zone: &'static str| match bucket(&[
            at(time),
            width,
            Datum::text(zone),
        ]) {
            Some(Datum::Time(begins)) => begins.to_string(),
            other => panic!("{other:?}"),
        };
        for (time, width, zone, expected) in [
            ("2024-03-31T21:59:59Z", 24 * HOUR, "Europe/Berlin", "2024-03-30T23:00:00Z"),
            ("2024-03-31T22:00:00Z", 24 * HOUR, "Europe/Berlin", "2024-03-31T22:00:00Z"),
            ("2024-10-27T22:59:59Z", 24 * HOUR, "Europe/Berlin", "2024-10-26T22:00:00Z"),
            ("2024-03-31T21:00:00Z", 7 * 24 * HOUR, "Europe/Berlin", "2024-03-24T23:00:00Z"),
            // An hour that comes twice is two.
            ("2024-10-27T00:30:00Z", HOUR, "Europe/Berlin", "2024-10-27T00:00:00Z"),
            ("2024-10-27T01:30:00Z", HOUR, "Europe/Berlin", "2024-10-27T01:00:00Z"),
            ("2024-10-27T02:30:00Z", 6 * HOUR, "Europe/Berlin", "2024-10-26T22:00:00Z"),
            // What would begin in an hour that is left out begins behind it.
            ("2024-03-31T01:30:00Z", 2 * HOUR, "Europe/Berlin", "2024-03-31T01:00:00Z"),
            ("2024-05-01T00:20:00Z", HOUR, "Asia/Kolkata", "2024-04-30T23:30:00Z"),
            ("2018-11-04T12:00:00Z", 24 * HOUR, "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ] {
            assert_eq!(tile(time, Datum::Span(width), zone), expected, "{time} {zone}");
        }
        assert_eq!(
            tile("2024-03-31T22:30:00Z", Datum::text("month"), "Europe/Berlin"),
            "2024-03-31T22:00:00Z"
        );
        assert!(bucket(&[at("2024-01-01"), Datum::Span(HOUR), Datum::text("Nowhere")]).is_none());
        assert!(
            matches!(hour(&[at("2024-07-01T22:00:00Z"), Datum::text("Europe/Berlin")]), Some(hour) if hour.glimpse() == "0")
        );
        assert!(
            matches!(date(&[at("2024-07-01T22:00:00Z"), Datum::text("Europe/Berlin")]), Some(date) if date.glimpse().contains("2024-07-02"))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Weeks begin on the Monday of the calendar, days at midnight, and what divides a day at so many of it since midnight.
        #[test]
        fn tiles_are_what_the_calendar_says(
            year in prop_oneof![-9999i64..10000, 1960i64..2040], month in 1i64..13, day in 1i64..29,
            second in 0i64..86400, nanos in prop_oneof![Just(0), 0i32..1_000_000_000],
            part in prop::sample::select(vec![1i64, 60, 900, 3600, 21_600, 43_200]), weeks in 2i64..9,
        ) {
            const DAY: i64 = 86400;
            let midnight = days(year, month, day) * DAY;
            let time = midnight + second;
            let there = |seconds: i64| (seconds >= Timestamp::MIN.parts().0).then_some((seconds, 0));
            let monday = midnight - weekday_of(year, month, day) * DAY;
            prop_assert_eq!(begins(time, nanos, 7 * DAY), there(monday));
            prop_assert_eq!(begins(time, nanos, DAY), there(midnight));
            prop_assert_eq!(begins(time, nanos, part), there(midnight + second / part * part));
            let of_calendar = |unit: &'static str| {
                let time = Timestamp::from_parts(time, 0).unwrap();
                let begins = bucket(&[Datum::Time(time), Datum::text(unit)]);
                begins.map(|begins| match begins {
                    Datum::Time(begins) => begins.parts(),
                    other => panic!("{other:?}"),
                })
            };
            for (unit, months) in CALENDAR_UNITS {
                let first = (month - 1) / i64::from(months) * i64::from(months) + 1;
                prop_assert_eq!(of_calendar(unit), there(days(year, first, 1) * DAY), "{}", unit);
            }
            // Several weeks begin on a Monday, too, and lie one behind the other.
            if let Some((first, 0)) = begins(time, nanos, weeks * 7 * DAY) {
                prop_assert_eq!((monday - first).rem_euclid(7 * DAY), 0);
                prop_assert!((0..weeks * 7 * DAY).contains(&(time - first)));
                prop_assert_eq!(begins(first, 0, weeks * 7 * DAY), Some((first, 0)));
                if let Some(before) = begins(first - 1, 0, weeks * 7 * DAY) {
                    prop_assert_eq!(before, (first - weeks * 7 * DAY, 0));
                }
            }
        }
    }
}
