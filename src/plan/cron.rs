//! Times of the calendar at which something runs: `0 2 1 * *` is 02:00 of the first day of each month.
//!
//! The five fields are those of cron: minute, hour, day, month, day of the week. Where day and day of the week are both said, one of them is
//! enough. Where clocks are put forward over a time, it runs at the first instant behind; where they are set back over one, it runs
//! at the first of the two. Only where every hour is meant (`30 * * * *`) hours are those that pass: one that is left out is
//! left out, and one that comes twice counts twice.
//!
//! It is our own, as the crates for it bring another calendar beside the one in use.

use std::fmt;

use jiff::civil::{Date, DateTime};

use crate::time::{TimeZone, Timestamp, ZoneInstants};

/// The longest that there may be nothing: a 29th of February comes again after eight years at most.
const DAYS: usize = 366 * 9;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something runs, by the clocks of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    /// As it was said.
    text: String,
    minutes: CronField,
    hours: CronField,
    days: CronField,
    months: CronField,
    /// Sunday is 0.
    weekdays: CronField,
    zone: TimeZone,
}

/// Some numbers, each a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CronField {
    bits: u64,
    /// `*`: it restricts nothing.
    all: bool,
}

/// What a field may hold.
struct CronUnit {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of numbers, from the least on.
    names: &'static [&'static str],
}

const UNITS: [CronUnit; 5] = [
    CronUnit { name: "minute", least: 0, most: 59, names: &[] },
    CronUnit { name: "hour", least: 0, most: 23, names: &[] },
    CronUnit { name: "day of the month", least: 1, most: 31, names: &[] },
    CronUnit { name: "month", least: 1, most: 12, names: MONTHS },
    CronUnit { name: "day of the week", least: 0, most: 7, names: WEEKDAYS },
];

impl Cron {
    /// Five fields; else what is wrong with them.
    pub fn new(text: &str, zone: TimeZone) -> Result<Cron, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(format!(
                "expected five fields: minute, hour, day of the month, month, day of the week, as in '0 2 1 * *', found {}",
                words.len()
            ));
        };
        let field = |at: usize, text: &str| UNITS[at].read(text);
        let mut weekdays = field(4, weekday)?;
        // Sunday is 7, too.
        weekdays.bits = (weekdays.bits | weekdays.bits >> 7) & 0x7f;
        let cron = Cron {
            text: words.join(" "),
            minutes: field(0, minute)?,
            hours: field(1, hour)?,
            days: field(2, day)?,
            months: field(3, month)?,
            weekdays,
            zone,
        };
        if !cron.comes() {
            return Err(format!("'{}' never comes: no such month has that day", cron.text));
        }
        Ok(cron)
    }

    /// Whether there is a day at all.
    fn comes(&self) -> bool {
        let by_weekday = !self.weekdays.all && !self.days.all;
        let length = |month| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        by_weekday || (1..=12).any(|m| self.months.has(m) && (1..=length(m)).any(|day| self.days.has(day)))
    }

    /// The first instant behind another; the latest one if there is none.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        let mut date = self.date_before(after);
        for _ in 0..DAYS {
            if let Some(found) = self.of_day(date).into_iter().find(|instant| *instant > after) {
                return found;
            }
            let Ok(tomorrow) = date.tomorrow() else { break };
            date = tomorrow;
        }
        Timestamp::MAX
    }

    /// The last instant up to another, which may be it; the earliest one if there is none.
    pub fn last(&self, until: Timestamp) -> Timestamp {
        let date = self.zone.civil(until).date();
        let mut date = date.tomorrow().unwrap_or(date);
        for _ in 0..DAYS {
            if let Some(found) = self.of_day(date).into_iter().rfind(|instant| *instant <= until) {
                return found;
            }
            let Ok(yesterday) = date.yesterday() else { break };
            date = yesterday;
        }
        Timestamp::MIN
    }

    /// How many instants there are behind one, up to another.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> u64 {
        let (mut count, mut date) = (0, self.date_before(after));
        let last = self.zone.civil(until).date();
        let last = last.tomorrow().unwrap_or(last);
        while date <= last {
            let of_day =
                self.of_day(date).into_iter().filter(|instant| *instant > after && *instant <= until);
            count += of_day.count() as u64;
            let Ok(tomorrow) = date.tomorrow() else { break };
            date = tomorrow;
        }
        count
    }

    /// A day before that of an instant: clocks may be set back over midnight.
    fn date_before(&self, at: Timestamp) -> Date {
        let date = self.zone.civil(at).date();
        date.yesterday().unwrap_or(date)
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        let either = !self.days.all && !self.weekdays.all;
        self.months.has(date.month()) && if either { day || weekday } else { day && weekday }
    }

    /// All instants of a day, in order.
    fn of_day(&self, date: Date) -> Vec<Timestamp> {
        if !self.has_day(date) {
            return Vec::new();
        }
        let each_hour = self.hours.all;
        let mut instants = Vec::new();
        let times = (0..24).filter(|hour| self.hours.has(*hour)).flat_map(|hour| {
            (0..60).filter(|minute| self.minutes.has(*minute)).map(move |minute| (hour, minute))
        });
        for (hour, minute) in times {
            match self.zone.instants(DateTime::from_parts(date, jiff::civil::time(hour, minute, 0, 0))) {
                Some(ZoneInstants::Once(instant)) => instants.push(instant),
                Some(ZoneInstants::Twice(first, second)) => {
                    instants.push(first);
                    instants.extend(each_hour.then_some(second));
                }
                Some(ZoneInstants::Never(behind)) => instants.extend((!each_hour).then_some(behind)),
                None => {}
            }
        }
        instants.sort_unstable();
        instants.dedup();
        instants
    }
}

impl CronField {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }
}

impl CronUnit {
    /// `*`, or numbers, ranges and steps: `1,15`, `mon-fri`, `*/5`, `10-20/2`.
    fn read(&self, text: &str) -> Result<CronField, String> {
        let (mut bits, whole) = (0, u64::MAX >> (63 - self.most) & u64::MAX << self.least);
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.least, self.most),
                Some((from, to)) => (self.number(from, text)?, self.number(to, text)?),
                None if step.is_some() => (self.number(range, text)?, self.most),
                None => (self.number(range, text)?, self.number(range, text)?),
            };
            if from > to {
                return Err(self.wrong(text, &format!("{range} ends before it begins")));
            }
            let step = match step.map(str::parse::<u8>) {
                None => 1,
                Some(Ok(step @ 1..)) => step,
                Some(_) => return Err(self.wrong(text, "a step is a number from 1 on")),
            };
            (from..=to).step_by(usize::from(step)).for_each(|number| bits |= 1 << number);
        }
        // The seventh day of the week is the first.
        let all = bits == whole || self.most == 7 && bits & 0x7f == 0x7f;
        Ok(CronField { bits, all: all && text.starts_with('*') })
    }

    fn number(&self, text: &str, whole: &str) -> Result<u8, String> {
        let name = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            return Ok(self.least + u8::try_from(at).unwrap_or_default());
        }
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u8>().ok().filter(|_| digits);
        number.filter(|number| (self.least..=self.most).contains(number)).ok_or_else(|| {
            let named = match self.names {
                [first, .., last] => format!(" or a name from {first} to {last}"),
                _ => String::new(),
            };
            self.wrong(whole, &format!("'{text}' is no number from {} to {}{named}", self.least, self.most))
        })
    }

    fn wrong(&self, text: &str, why: &str) -> String {
        format!("the {} '{text}': {why}", self.name)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(text: &str, zone: &str) -> Cron {
        Cron::new(text, TimeZone::named(zone).unwrap()).unwrap()
    }

    fn run(cron: &Cron, from: &str, count: usize) -> Vec<String> {
        let next = std::iter::successors(Some(at(from)), |last| Some(cron.next(*last)));
        next.skip(1).take(count).map(|at| at.to_string()).collect()
    }

    #[test]
    fn fields_are_those_of_cron() {
        for (text, from, expected) in [
            ("0 2 1 * *", "2024-01-01T02:00:00Z", &["2024-02-01T02:00:00Z", "2024-03-01T02:00:00Z"][..]),
            (
                "*/20 0-1 * * *",
                "2024-01-01",
                &["2024-01-01T00:20:00Z", "2024-01-01T00:40:00Z", "2024-01-01T01:00:00Z"],
            ),
            (
                "50/5 0 * * *",
                "2024-01-01",
                &["2024-01-01T00:50:00Z", "2024-01-01T00:55:00Z", "2024-01-02T00:50:00Z"],
            ),
            ("0 9 * * mon-FRI", "2024-01-05T09:00:00Z", &["2024-01-08T09:00:00Z"]),
            ("0 0 * * 7", "2024-01-01", &["2024-01-07T00:00:00Z", "2024-01-14T00:00:00Z"]),
            ("0 0 13 * 5", "2024-09-07", &["2024-09-13T00:00:00Z", "2024-09-20T00:00:00Z"]),
            ("0 0 */10 * mon", "2024-01-01", &["2024-01-08T00:00:00Z", "2024-01-11T00:00:00Z"]),
            ("0 0 29 feb *", "2024-03-01", &["2028-02-29T00:00:00Z"]),
            ("0 0 29 2 *", "1896-03-01", &["1904-02-29T00:00:00Z"]),
            ("0 0 31 4,5 *", "2024-01-01", &["2024-05-31T00:00:00Z", "2025-05-31T00:00:00Z"]),
        ] {
            assert_eq!(run(&cron(text, "UTC"), from, expected.len()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_cron_is_told() {
        for (text, expected) in [
            ("", "found 0"),
            ("0 2 * *", "expected five fields: minute, hour, day of the month, month, day of the week"),
            ("0 2 * * * *", "found 6"),
            ("@daily", "found 1"),
            ("60 * * * *", "the minute '60': '60' is no number from 0 to 59"),
            ("0 24 * * *", "the hour '24'"),
            ("0 0 0 * *", "the day of the month '0'"),
            ("0 0 1 13 *", "the month '13': '13' is no number from 1 to 12 or a name from jan to dec"),
            ("0 0 * * fri-mon", "the day of the week 'fri-mon': fri-mon ends before it begins"),
            ("*/0 * * * *", "a step is a number from 1 on"),
            ("1,,2 * * * *", "'' is no number"),
            ("+1 * * * *", "'+1' is no number"),
            ("0 0 31 2 *", "'0 0 31 2 *' never comes"),
            ("0 0 30,31 2 *", "never comes"),
            ("0 0 31 4,6 *", "never comes"),
        ] {
            let error = Cron::new(text, TimeZone::UTC).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        // One of both is enough.
        assert!(Cron::new("0 0 31 2 mon", TimeZone::UTC).is_ok());
    }

    #[test]
    fn clocks_that_are_changed_lose_nothing_and_repeat_nothing() {
        let berlin = |text: &str| cron(text, "Europe/Berlin");
        let nightly = berlin("30 2 * * *");
        // There is no 02:30 on the last of March.
        let spring = ["2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"];
        assert_eq!(run(&nightly, "2024-03-29T12:00:00Z", 3), spring);
        let autumn = ["2024-10-26T00:30:00Z", "2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"];
        assert_eq!(run(&nightly, "2024-10-25T12:00:00Z", 3), autumn);
        // Every hour is every hour.
        let hourly = berlin("30 * * * *");
        let spring = ["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31T02:30:00Z"];
        assert_eq!(run(&hourly, "2024-03-31T00:00:00Z", 3), spring);
        let autumn = ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:30:00Z"];
        assert_eq!(run(&hourly, "2024-10-27T00:00:00Z", 3), autumn);
        // Both times that are passed over are one.
        let both = berlin("10,40 2 31 3 *");
        assert_eq!(run(&both, "2024-03-01", 2), ["2024-03-31T01:00:00Z", "2025-03-31T00:10:00Z"]);
        let york = cron("30 2 * * *", "America/New_York");
        assert_eq!(run(&york, "2024-03-10T00:00:00Z", 2), ["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"]);
        let howe = cron("15 2 * * *", "Australia/Lord_Howe");
        assert_eq!(run(&howe, "2024-10-05T00:00:00Z", 2), ["2024-10-05T15:30:00Z", "2024-10-06T15:15:00Z"]);
    }

    #[test]
    fn the_ends_of_time_have_none_beyond() {
        let monthly = cron("0 0 1 * *", "Europe/Berlin");
        assert_eq!(monthly.next(Timestamp::MAX), Timestamp::MAX);
        assert_eq!(monthly.last(Timestamp::MIN), Timestamp::MIN);
        assert!(
            monthly.last(Timestamp::MAX) < Timestamp::MAX && monthly.next(Timestamp::MIN) > Timestamp::MIN
        );
    }

    /// Minute by minute: what clocks show, whether they show it for the second time, and what they pass over.
    fn naively(cron: &Cron, first: Timestamp, minutes: i64) -> Vec<Timestamp> {
        let instant = |minute: i64| Timestamp::from_millis(first.as_millis() + minute * 60_000);
        let is_time = |civil: DateTime| {
            cron.has_day(civil.date()) && cron.hours.has(civil.hour()) && cron.minutes.has(civil.minute())
        };
        let mut found = Vec::new();
        let mut latest = cron.zone.civil(instant(-1));
        for minute in 0..minutes {
            let shown = cron.zone.civil(instant(minute));
            let again = shown <= latest;
            let mut passed = latest;
            let mut over = false;
            if !again {
                while passed + jiff::SignedDuration::from_mins(1) < shown {
                    passed += jiff::SignedDuration::from_mins(1);
                    over |= is_time(passed);
                }
            }
            let by_clock = is_time(shown) && (!again || cron.hours.all);
            if by_clock || over && !cron.hours.all {
                found.push(instant(minute));
            }
            latest = latest.max(shown);
        }
        found
    }

    fn a_field(least: u8, most: u8) -> impl Strategy<Value = String> {
        prop_oneof![
            2 => Just("*".to_owned()),
            2 => (least..=most).prop_map(|n| n.to_string()),
            1 => (least..=most, least..=most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
            1 => (1u8..=most).prop_map(|n| format!("*/{n}")),
            1 => (least..=most, least..=most).prop_map(|(a, b)| format!("{a},{b}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn it_runs_when_clocks_say_so(
            fields in (a_field(0, 59), a_field(0, 23), a_field(1, 31), Just("*".to_owned()), a_field(0, 7)),
            (zone, day) in prop::sample::select(vec![
                ("UTC", "2024-05-01"), ("Europe/Berlin", "2024-03-30"), ("Europe/Berlin", "2024-10-26"),
                ("America/New_York", "2024-11-02"), ("Australia/Lord_Howe", "2024-10-04"), ("Australia/Lord_Howe", "2024-04-05"),
                ("America/Sao_Paulo", "2018-11-03"), ("America/Sao_Paulo", "2018-02-17"), ("Asia/Kathmandu", "1985-12-31"),
            ]),
        ) {
            let (minute, hour, day_of_month, month, weekday) = fields;
            let text = format!("{minute} {hour} {day_of_month} {month} {weekday}");
            let cron = Cron::new(&text, TimeZone::named(zone).unwrap()).unwrap();
            let first = at(day);
            let minutes = 3 * 24 * 60;
            let expected = naively(&cron, first, minutes);
            let end = Timestamp::from_millis(first.as_millis() + (minutes - 1) * 60_000);
            let before = Timestamp::from_millis(first.as_millis() - 1);
            // One by one as far as it is quick; all of them are counted.
            let found: Vec<_> = std::iter::successors(Some(cron.next(before)), |last| Some(cron.next(*last)))
                .take_while(|instant| *instant <= end).take(40).collect();
            prop_assert_eq!(&found, &expected.iter().copied().take(40).collect::<Vec<_>>(), "{} {}", &text, zone);
            let days: Vec<_> = std::iter::successors(Some(cron.date_before(first)), |date| date.tomorrow().ok()).take(6)
                .flat_map(|date| cron.of_day(date)).filter(|instant| *instant > before && *instant <= end).collect();
            prop_assert_eq!(&days, &expected, "{} {}", &text, zone);
            prop_assert_eq!(cron.between(before, end), expected.len() as u64);
            prop_assert_eq!(cron.between(end, before), 0);
            for instant in expected.iter().take(20) {
                prop_assert_eq!(cron.last(*instant), *instant);
                prop_assert!(cron.last(Timestamp::from_millis(instant.as_millis() - 1)) < *instant);
            }
        }
    }
}
