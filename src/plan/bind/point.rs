//! Points: what a place in time or in the log turns out to be.

use super::{Binder, Names};
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, MissingItem, Result, shorten};
use crate::event::EventId;
use crate::lang::ast::{Clauses, CountLiteral, EventRef, PointExpr, PointKind, Span, Start, TextExpr};
use crate::plan::moment::ResolvedPoint;
use crate::plan::window::LogWindow;
use crate::time::{Timestamp, why_no_time};
use crate::value::Value;

impl Binder<'_> {
    /// A point as a time or a position. `VERSION n` is one of the entity's, where there is one.
    pub(super) fn point(&self, point: &PointExpr, entity: Option<&Entity>) -> Result<ResolvedPoint> {
        let span = point.span;
        match &point.kind {
            PointKind::Time(time) => Ok(ResolvedPoint::Time(*time)),
            PointKind::Text(text) => self.point_of_text(text, span),
            PointKind::Position(position) => self.position(*position, span).map(ResolvedPoint::Position),
            PointKind::Now => {
                let now = self.now()?;
                self.notice(format!("NOW is {now}"));
                Ok(ResolvedPoint::Time(now))
            }
            PointKind::Ago(duration) => self.ago(*duration, span),
            PointKind::Version(count) => match entity {
                Some(entity) => self.version(count, entity, span).map(ResolvedPoint::Position),
                None => Err(self.fault(
                    span,
                    "VERSION counts the events of one entity, and there is none here; say #n or a time",
                )),
            },
            PointKind::Param(param) => match self.parameter(param)? {
                Value::Text(text) => self.point_of_text(text, span),
                Value::Int(n) if *n >= 0 => {
                    self.position(Position(n.unsigned_abs()), span).map(ResolvedPoint::Position)
                }
                Value::UInt(n) => self.position(Position(*n), span).map(ResolvedPoint::Position),
                other => {
                    Err(self.wrong(param, "a point", "a time, the id of an event, or a position", other))
                }
            },
        }
    }

    /// The instant so long ago, if there was one.
    pub(super) fn time_ago(&self, duration: std::time::Duration, span: Span) -> Result<Timestamp> {
        let nanos = i128::try_from(duration.as_nanos()).ok();
        nanos.and_then(|nanos| self.now().ok()?.moved(-nanos)).ok_or_else(|| self.too_early(span))
    }

    fn ago(&self, duration: std::time::Duration, span: Span) -> Result<ResolvedPoint> {
        let then = self.time_ago(duration, span)?;
        self.notice(format!("-{} is {then}", crate::time::display_duration(duration)));
        Ok(ResolvedPoint::Time(then))
    }

    /// Where a length of time reaches back too far.
    pub(super) fn too_early(&self, span: Span) -> Error {
        let message = format!("no time is so long ago; the earliest is {}", Timestamp::MIN);
        self.fault(span, message)
    }

    fn point_of_text(&self, text: &str, span: Span) -> Result<ResolvedPoint> {
        if let Ok(time) = text.parse() {
            return Ok(ResolvedPoint::Time(time));
        }
        let known = self.position_of(text, span)?;
        // Then as the language writes them: a parameter may be any of the points.
        if known.is_none() {
            if let Some(Ok(ago)) = text.strip_prefix('-').map(crate::time::parse_duration) {
                return self.ago(ago, span);
            }
            if let Some(Ok(position)) = text.strip_prefix('#').map(str::parse) {
                return self.position(Position(position), span).map(ResolvedPoint::Position);
            }
            if let Some(time) = self.beginning(text)? {
                self.notice(format!("'{text}' is {time}"));
                return Ok(ResolvedPoint::Time(time));
            }
        }
        let position = known.ok_or_else(|| {
            let found = shorten(text);
            let why = why_no_time(text).map_or_else(String::new, |why| format!(" ({why})"));
            let message = format!(
                "expected a time like 2024-01-01 or the id of an event, found '{found}', which is neither{why}"
            );
            self.fault(span, message)
        })?;
        self.notice(format!("'{}' is {position}", shorten(text)));
        Ok(ResolvedPoint::Position(position))
    }

    /// Where a day, a month or a year begins that is called so, in UTC.
    fn beginning(&self, text: &str) -> Result<Option<Timestamp>> {
        const DAY: i128 = 86_400_000_000_000;
        let days = match text {
            "today" => 0,
            "yesterday" => -1,
            "tomorrow" => 1,
            _ => return Ok(Timestamp::beginning_of(text)),
        };
        Ok(self.now()?.moved(days * DAY).and_then(Timestamp::midnight))
    }

    pub(super) fn position_of(&self, id: &str, span: Span) -> Result<Option<Position>> {
        let id = self.at(span, EventId::new(id))?;
        self.names()?.position_of(&id)
    }

    pub(super) fn position(&self, position: Position, span: Span) -> Result<Position> {
        let head = self.names()?.head();
        if position > head {
            return Err(self.missing(span, MissingItem::Position { asked: position, head }));
        }
        Ok(position)
    }

    fn version(&self, count: &CountLiteral, entity: &Entity, span: Span) -> Result<Position> {
        let wanted = self.count(count, "VERSION")?;
        let newest = self.names()?.version_at(entity, self.names()?.head())?;
        if wanted > newest.0 {
            return Err(self.missing(
                span,
                MissingItem::Version { entity: entity.to_string(), asked: Version(wanted), newest },
            ));
        }
        if wanted == 0 {
            return Ok(Position::START);
        }
        let count = |head: Position| Ok(self.names()?.version_at(entity, head)?.0 >= wanted);
        let position = first_that(self.names()?.head(), count)?;
        self.notice(format!("VERSION {wanted} is {position}"));
        Ok(position)
    }

    /// The event of this log that is meant.
    pub(super) fn event(&self, event: &EventRef) -> Result<Position> {
        match event {
            EventRef::Position { position, span } => self.position(*position, *span),
            EventRef::Id(TextExpr::Param(param)) => match self.parameter(param)? {
                Value::Text(id) => self.known(id, param.span),
                Value::Int(n) if *n >= 0 => self.position(Position(n.unsigned_abs()), param.span),
                other => Err(self.wrong(param, "an event", "its id or its position", other)),
            },
            EventRef::Id(TextExpr::Literal { text, span }) => self.known(text, *span),
        }
    }

    fn known(&self, id: &str, span: Span) -> Result<Position> {
        self.position_of(id, span)?
            .ok_or_else(|| self.missing(span, MissingItem::Event { id: id.to_owned() }))
    }

    /// The newest position that was recorded by then, or strictly before then.
    pub(super) fn recorded(&self, time: Timestamp, strictly: bool) -> Result<Position> {
        recorded(self.names()?, time, strictly)
    }

    /// How far `AS OF` sees; the head without it.
    pub(super) fn as_of(
        &self,
        as_of: Option<&PointExpr>,
        entity: Option<&Entity>,
    ) -> Result<(Position, Option<ResolvedPoint>)> {
        let moment = as_of.map(|point| self.point(point, entity)).transpose()?;
        let through = match moment {
            None => self.head()?,
            Some(ResolvedPoint::Position(position)) => position,
            Some(ResolvedPoint::Time(time)) => self.recorded(time, false)?,
        };
        self.as_of.set(Some(through));
        if moment.is_some() {
            let recorded = self.names()?.event(through)?.map(|event| event.recorded);
            self.notice(match recorded {
                Some(recorded) => format!("as of {through}, {recorded}"),
                None => "as of the start: no event yet".to_owned(),
            });
        }
        Ok((through, moment))
    }

    /// `SINCE`, `UNTIL` and `AS OF`.
    pub(super) fn window(&self, clauses: &Clauses, entity: Option<&Entity>) -> Result<LogWindow> {
        let since = clauses.since.as_ref().map(|point| self.point(point, entity)).transpose()?;
        let until = clauses.until.as_ref().map(|point| self.point(point, entity)).transpose()?;
        let (through, _) = self.as_of(clauses.as_of.as_ref(), entity)?;
        let mut window = LogWindow::through(through);
        match since {
            Some(ResolvedPoint::Position(position)) => window.after = position,
            Some(ResolvedPoint::Time(time)) => window.since = Some(time),
            None => {}
        }
        match until {
            Some(ResolvedPoint::Position(position)) => window.through = window.through.min(position),
            Some(ResolvedPoint::Time(time)) => window.before = Some(time),
            None => {}
        }
        Ok(window)
    }

    /// Where a subscription begins: after this position. Its times are those of recording.
    pub(super) fn start(&self, start: &Start) -> Result<Position> {
        match start {
            Start::Beginning(_) => Ok(Position::START),
            // What has been recorded by now is past, though it was recorded at this very instant.
            Start::Point(PointExpr { kind: PointKind::Now, .. }) => Ok(self.names()?.head()),
            Start::Point(point) => match self.point(point, None)? {
                ResolvedPoint::Position(position) => Ok(position),
                ResolvedPoint::Time(time) if time > self.now()? => Err(self.fault(
                    point.span,
                    format!("FROM a time that lies ahead ({time}); leave FROM out to begin with what comes"),
                )),
                ResolvedPoint::Time(time) => self.recorded(time, true),
            },
        }
    }
}

/// The newest position that was recorded by an instant, or strictly before it.
pub(crate) fn recorded(names: Names, time: Timestamp, strictly: bool) -> Result<Position> {
    let later = |position: Position| {
        let event = names.event(position)?;
        Ok(event.is_none_or(|event| event.recorded > time || (strictly && event.recorded == time)))
    };
    let first = first_that(Position(names.head().0 + 1), later)?;
    Ok(Position(first.0 - 1))
}

/// The first position from 1 to `last` for which it holds; it holds at `last`, and from the first on.
fn first_that(last: Position, holds: impl Fn(Position) -> Result<bool>) -> Result<Position> {
    let (mut low, mut high) = (1, last.0.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(Position(middle))? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Position(high))
}
