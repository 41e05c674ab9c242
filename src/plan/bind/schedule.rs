//! Binding of `DEFINE SCHEDULE`.

use std::time::Duration;

use super::Binder;
use super::expr::NameScope;
use super::reaction::{alone, span_of};
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{self, DefinitionStmt, Name, Period, RhythmClause, Span, Stmt, TextExpr};
use crate::plan::cron::Cron;
use crate::plan::fault::nearest;
use crate::plan::reaction::{Rhythm, SchedulePlan};
use crate::plan::write::Define;
use crate::store::catalog::ProgramKind;
use crate::time::{TimeZone, display_duration};

/// The shortest period of a schedule.
const SHORTEST: Duration = Duration::from_millis(10);

/// What is defined of a schedule, from the canonical text of the statement.
pub(crate) fn schedule_definition(text: &str) -> Result<SchedulePlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Schedule { name, rhythm, acts }) = &parsed.statement else {
        return Err(Error::invalid("the definition of a schedule", "DEFINE SCHEDULE …", shorten(text)));
    };
    alone(text, |binder| binder.schedule(name, rhythm, acts))
}

impl Binder<'_> {
    pub(super) fn define_schedule(
        &self,
        name: &Name,
        rhythm: &RhythmClause,
        acts: &[ast::ActStmt],
    ) -> Result<Define> {
        self.definition().schedule(name, rhythm, acts)?;
        self.check_free_name(name, ProgramKind::Schedule.word())?;
        let (mut rhythm, mut acts) = (rhythm.clone(), acts.to_vec());
        match &mut rhythm {
            RhythmClause::Every { period, at } => {
                self.put_period(period, "EVERY")?;
                self.put_text(at.as_mut(), "AT")?;
            }
            RhythmClause::Cron { fields, zone } => {
                self.put_text(Some(fields), "CRON")?;
                self.put_text(zone.as_mut(), "IN")?;
            }
        }
        self.check_performed(&acts)?;
        self.put_act_values(&mut acts)?;
        let said = DefinitionStmt::Schedule { name: name.clone(), rhythm, acts };
        self.program(ProgramKind::Schedule, name, said, schedule_definition)
    }

    fn put_text(&self, text: Option<&mut TextExpr>, clause: &str) -> Result<()> {
        if let Some(text) = text {
            *text = self.said_text(text, clause)?;
        }
        Ok(())
    }

    fn schedule(&self, name: &Name, rhythm: &RhythmClause, acts: &[ast::ActStmt]) -> Result<SchedulePlan> {
        self.defined_name(name, "a schedule")?;
        let rhythm = match rhythm {
            RhythmClause::Every { period, at } => self.every(period, at.as_ref())?,
            RhythmClause::Cron { fields, zone } => self.cron(fields, zone.as_ref())?,
        };
        let deeds = self.deeds(acts, NameScope::Schedule)?;
        Ok(SchedulePlan { name: name.text.clone(), rhythm, deeds })
    }

    fn every(&self, every: &Period, at: Option<&TextExpr>) -> Result<Rhythm> {
        let period = self.period(every, "EVERY")?;
        if period < SHORTEST {
            let message = format!("EVERY: expected {} or more", display_duration(SHORTEST));
            return Err(self.fault(span_of(every), message));
        }
        let offset = at.map(|at| self.offset(at, period)).transpose()?;
        Ok(Rhythm::Every { period, offset })
    }

    fn cron(&self, fields: &TextExpr, zone: Option<&TextExpr>) -> Result<Rhythm> {
        let in_zone = match zone {
            None => TimeZone::UTC,
            Some(zone) => self.zone(zone.span(), &self.text(zone, "IN")?)?,
        };
        let cron = Cron::new(&self.text(fields, "CRON")?, in_zone);
        cron.map(Rhythm::Cron).map_err(|why| self.fault(fields.span(), format!("CRON: {}", shorten(&why))))
    }

    /// The zone of a name.
    pub(super) fn zone(&self, span: Span, name: &str) -> Result<TimeZone> {
        TimeZone::named(name).ok_or_else(|| {
            let message = format!("expected a zone like 'Europe/Berlin' or 'UTC', found '{}'", shorten(name));
            let names = TimeZone::names();
            // The place alone is what people know.
            let meant = names.iter().find(|known| {
                known
                    .rsplit('/')
                    .next()
                    .is_some_and(|place| place.eq_ignore_ascii_case(&name.replace(' ', "_")))
            });
            let meant = meant.map(String::as_str).or_else(|| nearest(name, names.iter().map(String::as_str)));
            self.fault_meaning(span, message, meant.map(str::to_owned))
        })
    }

    /// How long after the begin of each period: of a day or of an hour that is a time, of weeks a day and a time.
    fn offset(&self, at: &TextExpr, every: Duration) -> Result<Duration> {
        let text = self.text(at, "AT")?;
        let offset = offset_of(&text).ok_or_else(|| {
            let message = format!(
                "AT: expected a time of day in UTC, like '02:00', or of a week, like 'Monday 02:00', found '{}'",
                shorten(&text)
            );
            self.fault(at.span(), message)
        })?;
        if offset >= every {
            let message = format!(
                "AT says how long after the begin of each period: '{}' lies beyond EVERY {}",
                shorten(&text),
                display_duration(every)
            );
            return Err(self.fault(at.span(), message));
        }
        Ok(offset)
    }
}

/// `02:00`, `02:00:30`, `Monday 02:00`, `Mon`, or a length of time.
fn offset_of(text: &str) -> Option<Duration> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let mut words = text.split_whitespace().peekable();
    let mut days = 0;
    if let Some(word) = words.peek().map(|word| word.to_ascii_lowercase())
        && word.len() >= 3
        && let Some(day) = DAYS.iter().position(|day| day.starts_with(&word))
    {
        days = day as u64;
        words.next();
        if words.peek().is_none() {
            return Some(Duration::from_secs(days * 86_400));
        }
    }
    let time = words.next().filter(|_| words.peek().is_none())?;
    let time = time.strip_suffix(['Z', 'z']).unwrap_or(time);
    let parts: Vec<&str> = time.split(':').collect();
    let whole =
        |part: &&str| part.len() <= 2 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(whole) {
        return None;
    }
    let numbers: Vec<u64> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let (hours, minutes, seconds) = (numbers.first()?, numbers.get(1)?, numbers.get(2).copied().unwrap_or(0));
    (*hours < 24 && *minutes < 60 && seconds < 60)
        .then(|| Duration::from_secs(days * 86_400 + hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_day_or_a_week_is_read() {
        let seconds = |text| offset_of(text).map(|offset| offset.as_secs());
        assert_eq!(seconds("02:00"), Some(7200));
        assert_eq!(seconds("00:15:30"), Some(930));
        assert_eq!(seconds("02:00Z"), Some(7200));
        assert_eq!(seconds("Monday 02:00"), Some(7200));
        assert_eq!(seconds("tue 00:00"), Some(86_400));
        assert_eq!(seconds("Sunday"), Some(6 * 86_400));
        for wrong in
            ["", "2", "24:00", "02:60", "noon", "02:00 Monday", "1d", "+2:00", "02:00:00:00", "xyz 02:00"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
