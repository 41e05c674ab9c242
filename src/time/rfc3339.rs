//! Reads a time from a text, as RFC 3339 writes it, and shorter: a date alone is its midnight, a time without an offset is UTC.
//!
//! What RFC 3339 allows and the calendar's library does not is taken here: any number of digits of a fraction (those behind
//! nanoseconds are dropped). Of what it forbids, an offset of 24 hours and a second 60 where no leap second can be are refused.

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::fmt::temporal::Pieces;

use super::{EPOCH, Timestamp};

/// How many digits of a fraction are of use: nanoseconds.
const DIGITS: usize = 9;

/// The instant that a text says, or why it says none.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let text = &*without_what_is_below_nanoseconds(text);
    if text.contains('[') {
        // Annotations and named zones would be read and dropped: a time says its offset or is UTC.
        return Err("expected an offset, not a zone".to_owned());
    }
    if offset_hours(text).is_some_and(|hours| hours > 23) {
        return Err("an offset goes from -23:59 to +23:59".to_owned());
    }
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Timestamp(instant.as_duration()),
        // Without an offset, or near the ends of what can be said.
        Err(_) => {
            let pieces = Pieces::parse(text).map_err(|_| why(text))?;
            let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
            let offset = pieces.to_numeric_offset().map_or(0, jiff::tz::Offset::seconds);
            civil
                .duration_since(EPOCH)
                .checked_sub(SignedDuration::from_secs(offset.into()))
                .and_then(Timestamp::said)
                .ok_or_else(|| format!("from {} to {}", Timestamp::MIN, Timestamp::MAX))?
        }
    };
    if !says_second_60(text) {
        return Ok(instant);
    }
    end_of_month(instant).ok_or_else(|| {
        "a second 60 is a leap second, which comes at 23:59:60Z on the last day of a month".to_owned()
    })
}

/// Why a text that begins as a date does is no time; none for one that is a time, or does not begin so.
pub(crate) fn why_no_time(text: &str) -> Option<String> {
    let begin = text.as_bytes().get(..5)?;
    let is_date = begin[..4].iter().all(u8::is_ascii_digit) && begin[4] == b'-';
    parse(text).err().filter(|_| is_date)
}

/// There are no leap seconds here: one is the end of the second before it, so that it is before nothing that it comes after. It was
/// read as a second 59.
fn end_of_month(read: Timestamp) -> Option<Timestamp> {
    let civil = read.civil();
    let is_it = civil.hour() == 23 && civil.minute() == 59 && civil.date() == civil.date().last_of_month();
    let second = read.0.as_secs() - i64::from(read.0.subsec_nanos() < 0);
    let end = Timestamp(SignedDuration::from_secs(second)).moved(999_999_999);
    end.filter(|_| is_it)
}

/// The time of day in a text, behind the date (whose year may have a sign), with its offset.
fn time_of_day(text: &str) -> Option<&str> {
    text.split_once(['T', 't', ' ']).map(|(_, time)| time)
}

/// Whether a text that is a time says a second 60.
fn says_second_60(text: &str) -> bool {
    // Before a fraction or an offset.
    let Some(time) = time_of_day(text) else { return false };
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(time.len());
    let time = &time[..end];
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    digits == 6 && time.ends_with("60")
}

fn offset_hours(text: &str) -> Option<u32> {
    let time = time_of_day(text)?;
    let offset = &time[time.find(['+', '-'])? + 1..];
    offset.get(..2)?.parse().ok()
}

fn without_what_is_below_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some(time) = time_of_day(text) else { return text.into() };
    let Some(point) = time.find(['.', ',']) else { return text.into() };
    let fraction = text.len() - time.len() + point + 1;
    let digits = text[fraction..].bytes().take_while(u8::is_ascii_digit).count();
    if digits <= DIGITS {
        return text.into();
    }
    format!("{}{}", &text[..fraction + DIGITS], &text[fraction + digits..]).into()
}

/// Why a text that is none says no time, in words of the calendar.
fn why(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_ascii_digit()).take(6).map(|part| part.parse().ok());
    let mut parts = parts.collect::<Vec<Option<i16>>>().into_iter();
    let mut next = || parts.next().flatten();
    let (Some(year), Some(month), Some(day)) = (next(), next(), next()) else {
        return "a year, a month and a day, in this order".to_owned();
    };
    if year > 9999 {
        return format!("from {} to {}", Timestamp::MIN, Timestamp::MAX);
    }
    if !(1..=12).contains(&month) {
        return format!("there is no month {month}");
    }
    // Within twelve.
    let length = Date::new(year, month as i8, 1).map_or(31, |date| i16::from(date.days_in_month()));
    if !(1..=length).contains(&day) {
        return format!("{year}-{month:02} has no day {day}");
    }
    match (next(), next(), next()) {
        (Some(hour), ..) if hour > 23 => format!("there is no hour {hour}"),
        (_, Some(minute), _) if minute > 59 => format!("there is no minute {minute}"),
        (.., Some(second)) if second > 60 => format!("there is no second {second}"),
        _ => {
            "two digits for month, day, hour, minute and second, and for the offset, as in +02:00".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_3339_allows_is_taken() {
        let at = |text: &str| parse(text).unwrap_or_else(|why| panic!("{text}: {why}")).to_string();
        assert_eq!(at("9999-12-31T23:59:59Z"), "9999-12-31T23:59:59Z");
        assert_eq!(at("2024-01-01t10:00:00z"), "2024-01-01T10:00:00Z");
        assert_eq!(at("2024-01-01T10:00:00.1234567899999Z"), "2024-01-01T10:00:00.123456789Z");
        assert_eq!(at("2024-01-01T10:00:00,12345678999-01:00"), "2024-01-01T11:00:00.123456789Z");
        assert_eq!(
            at(&format!("1969-12-31T23:59:59.{}Z", "9".repeat(5000))),
            "1969-12-31T23:59:59.999999999Z"
        );
        assert_eq!(at("2024-01-01T10:00:00-23:59"), "2024-01-02T09:59:00Z");
        assert_eq!(at("2024-06-30T23:59:60.5z"), "2024-06-30T23:59:59.999999999Z");
        assert_eq!(at("1990-12-31T15:59:60-08:00"), "1990-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn what_it_forbids_is_refused_in_words_of_the_calendar() {
        for (text, told) in [
            ("2024-01-01T10:00:60Z", "a second 60 is a leap second"),
            ("2024-12-30T23:59:60Z", "a second 60 is a leap second"),
            ("2024-12-31T23:59:60+01:00", "a second 60 is a leap second"),
            ("2024-01-01T10:00:00-24:00", "an offset goes from -23:59 to +23:59"),
            ("2024-01-01T10:00:00+25", "an offset goes from -23:59 to +23:59"),
            ("2024-02-30", "2024-02 has no day 30"),
            ("2023-02-29T10:00:00Z", "2023-02 has no day 29"),
            ("2024-13-01", "there is no month 13"),
            ("2024-01-01T24:00:00Z", "there is no hour 24"),
            ("2024-01-01T10:61:00Z", "there is no minute 61"),
            ("2024-01-01T10:00:61Z", "there is no second 61"),
            ("2024-1-1", "two digits for month"),
            ("2024-01-01T10:00:00+5", "two digits for month"),
            ("yesterday", "a year, a month and a day"),
            ("10000-01-01", "from -009999-01-01"),
            ("", "a year, a month and a day"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.starts_with(told), "{text}: {why}");
        }
    }
}
