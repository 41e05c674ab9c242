//! How long ago something was, in words.

use bygone::Timestamp;

use crate::shell::terminal::count;

/// Units, with how many seconds each has; one is taken from two of it on.
const UNITS: [(&str, u64); 6] = [
    ("year", 365 * DAY),
    ("month", 30 * DAY),
    ("week", 7 * DAY),
    ("day", DAY),
    ("hour", 60 * 60),
    ("minute", 60),
];
const DAY: u64 = 24 * 60 * 60;

/// How long before `seen` it was: `3 days`, or `in 3 days` where it lies ahead.
pub fn age(then: Timestamp, seen: Timestamp) -> String {
    let millis = seen.as_millis().saturating_sub(then.as_millis());
    let seconds = millis.unsigned_abs() / 1000;
    let unit = UNITS.iter().find(|(_, long)| seconds >= 2 * long);
    let long = match unit {
        Some((name, long)) => count(seconds / long, name),
        None if seconds == 0 => return "now".to_owned(),
        None => count(seconds, "second"),
    };
    if millis < 0 { format!("in {long}") } else { long }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        for (then, expected) in [
            ("2024-06-01T12:00:00Z", "now"),
            ("2024-06-01T11:59:59Z", "1 second"),
            ("2024-06-01T11:58:01Z", "119 seconds"),
            ("2024-06-01T11:58:00Z", "2 minutes"),
            ("2024-06-01T10:00:00Z", "2 hours"),
            ("2024-05-30T12:00:01Z", "47 hours"),
            ("2024-05-30T12:00:00Z", "2 days"),
            ("2024-05-12", "2 weeks"),
            ("2024-03-01", "3 months"),
            ("2023-05-01", "13 months"),
            ("1999-05-01", "25 years"),
            ("2024-06-05T12:00:00Z", "in 4 days"),
        ] {
            let seen = "2024-06-01T12:00:00Z".parse().unwrap();
            assert_eq!(age(then.parse().unwrap(), seen), expected, "{then}");
        }
    }
}
