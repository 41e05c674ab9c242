//! Binding of reads.

use super::expr::{NameScope, taken};
use super::{BindInput, Binder, Names};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{
    Clauses, EntityRef, Expr, Path, PointExpr, PointKind, ReadStmt, Selector, Start, Stmt, Subscribe,
};
use crate::pattern::Pattern;
use crate::plan::by::By;
use crate::plan::expr::Predicate;
use crate::plan::field::{STATE, StateField};
use crate::plan::logical::{AccessQuery, BlamePlan, DirectRead, EventsRead, FieldHistoryPlan, ReplayPlan};
use crate::plan::moment::ResolvedPoint;
use crate::plan::parameters::Parameters;
use crate::plan::subscription::{SubscriptionEnd, SubscriptionPlan};
use crate::plan::window::{LogWindow, RowLimit};
use crate::time::Timestamp;

impl Binder<'_> {
    pub(super) fn history(&self, entity: &EntityRef, clauses: &Clauses) -> Result<EventsRead> {
        let entity = self.entity(entity)?;
        self.query(None, vec![By::Target(entity.clone())], clauses, Some(&entity))
    }

    pub(super) fn events(&self, selector: &Selector, clauses: &Clauses) -> Result<EventsRead> {
        let pattern = self.pattern(selector)?;
        let tags = self.tags(selector)?;
        self.check_indexed(selector, &tags)?;
        self.query(Some(pattern), tags, clauses, None)
    }

    fn query(
        &self,
        pattern: Option<Pattern>,
        tags: Vec<By>,
        clauses: &Clauses,
        entity: Option<&Entity>,
    ) -> Result<EventsRead> {
        self.raw.set(self.raw.get() || clauses.raw.is_some());
        if let Some(point) = &clauses.at {
            return Err(self.fault(
                point.span,
                "AT tells of states (AT Order 42 …, FIND … AT …); events take SINCE, UNTIL or AS OF",
            ));
        }
        let window = self.window(clauses, entity)?;
        self.name_unnested(clauses)?;
        let predicate =
            clauses.filter.as_ref().map(|filter| self.predicate(filter, NameScope::Event)).transpose()?;
        let unnest = self.unnest(clauses, NameScope::Event)?;
        let enough = self.enough(clauses)?;
        // Indexes hold what is read, not what is stored.
        let indexed = !self.raw.get();
        let query = AccessQuery { pattern, by: tags, predicate, window, take: enough, indexed };
        let (take, shape) = self.shape(clauses, entity.is_some())?;
        let limit = clauses.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?;
        let unnest = unnest.map(|unnest| unnest.limited(limit, shape.as_ref()));
        Ok(EventsRead { query, take, shape, unnest })
    }

    /// How many events will do: where they are put in an order or in groups, all of them are needed.
    fn enough(&self, clauses: &Clauses) -> Result<RowLimit> {
        if !clauses.group.is_empty()
            || !clauses.order.is_empty()
            || !clauses.select.is_empty()
            || !clauses.unnest.is_empty()
        {
            return Ok(RowLimit::All);
        }
        Ok(match (&clauses.limit, &clauses.last) {
            (Some(limit), None) => RowLimit::First(self.count(limit, "LIMIT")?),
            (None, Some(last)) => RowLimit::Last(self.count(last, "LAST")?),
            _ => RowLimit::All,
        })
    }

    pub(super) fn predicate(&self, filter: &Expr, names: NameScope) -> Result<Predicate> {
        let text = self.context.text.get(filter.span.range()).unwrap_or_default();
        let node = self.expr(filter, names)?;
        self.check_condition(filter)?;
        Ok(Predicate { node, text: text.to_owned() })
    }

    pub(super) fn pattern(&self, selector: &Selector) -> Result<Pattern> {
        match &selector.pattern {
            None => Ok(Pattern::all()),
            Some(text) => self.pattern_of(&self.text(text, "a pattern")?, text.span()),
        }
    }

    pub(super) fn replay(
        &self,
        entity: &EntityRef,
        at: Option<&PointExpr>,
        as_of: Option<&PointExpr>,
    ) -> Result<ReplayPlan> {
        let entity = self.entity(entity)?;
        let at = at.map(|point| self.point(point, Some(&entity))).transpose()?;
        let (through, as_of) = self.as_of(as_of, Some(&entity))?;
        Ok(ReplayPlan { entity, window: states(through, at), at, as_of, now: None })
    }

    /// The same; without a point it is of now.
    pub(super) fn state(
        &self,
        entity: &EntityRef,
        at: Option<&PointExpr>,
        as_of: Option<&PointExpr>,
    ) -> Result<ReplayPlan> {
        let replay = self.replay(entity, at, as_of)?;
        let now = replay.at.is_none().then(|| self.now()).transpose()?;
        Ok(ReplayPlan { now, ..replay })
    }

    pub(super) fn blame(
        &self,
        entity: &EntityRef,
        of: Option<&Path>,
        (at, as_of): (Option<&PointExpr>, Option<&PointExpr>),
    ) -> Result<DirectRead> {
        let of = of.map(|of| self.state_field(of)).transpose()?;
        let replay = self.state(entity, at, as_of)?;
        let seen = match (replay.at, replay.as_of) {
            (Some(ResolvedPoint::Time(time)), _) | (_, Some(ResolvedPoint::Time(time))) => time,
            _ => self.now()?,
        };
        Ok(DirectRead::Blame(BlamePlan { replay, of, seen }))
    }

    /// `HISTORY … OF`.
    pub(super) fn field_history(
        &self,
        entity: &EntityRef,
        of: &Path,
        clauses: &Clauses,
    ) -> Result<DirectRead> {
        let items = clauses.group.iter().chain(&clauses.select).map(|item| &item.expr);
        let others = items.chain(&clauses.having).chain(clauses.order.iter().map(|order| &order.expr));
        let at = clauses.at.as_ref().map(|at| at.span);
        let unnested = clauses.unnest.iter().map(|unnest| unnest.list.span);
        let others = others.map(|expr| expr.span).chain(at).chain(unnested);
        if let Some(other) = others.chain(clauses.raw).next() {
            return Err(self.fault(
                other,
                "the history of a field is of what changed it: it takes WHERE, SINCE, UNTIL, AS OF, LIMIT and LAST",
            ));
        }
        let of = self.state_field(of)?;
        let entity = self.entity(entity)?;
        let window = self.window(clauses, Some(&entity))?;
        let predicate =
            clauses.filter.as_ref().map(|filter| self.predicate(filter, NameScope::Event)).transpose()?;
        let take = self.enough(clauses)?;
        // What is told is picked of what happened; what that changed depends on all before it.
        let replay = ReplayPlan::of_all(entity, window.through);
        Ok(DirectRead::FieldHistory(FieldHistoryPlan { replay, of, window, predicate, take }))
    }

    /// The way to a field of a state, which is written `state.status`.
    fn state_field(&self, path: &Path) -> Result<StateField> {
        if path.first.text != STATE {
            let message = "OF is of a field of the state, so it begins with state";
            return Err(self.fault_meaning(path.span, message, Some(format!("{STATE}.{path}"))));
        }
        let steps = path.steps.iter().map(|step| taken(step).0);
        StateField::new(steps.collect())
            .ok_or_else(|| self.fault(path.span, "OF is of a field of the state, like state.status"))
    }

    pub(super) fn diff(
        &self,
        entity: &EntityRef,
        from: &Start,
        to: Option<&PointExpr>,
        as_of: Option<&PointExpr>,
    ) -> Result<DirectRead> {
        let entity = self.entity(entity)?;
        let from = match from {
            Start::Beginning(_) => ResolvedPoint::Position(Position::START),
            Start::Point(point) => self.point(point, Some(&entity))?,
        };
        let to = to.map(|point| self.point(point, Some(&entity))).transpose()?;
        let (through, as_of) = self.as_of(as_of, Some(&entity))?;
        let replay =
            |at| ReplayPlan { entity: entity.clone(), window: states(through, at), at, as_of, now: None };
        let now = to.is_none().then(|| self.now()).transpose()?;
        Ok(DirectRead::Diff(replay(Some(from)), ReplayPlan { now, ..replay(to) }))
    }

    pub(super) fn subscription(
        &self,
        subscribe: &Subscribe,
        selector: &Selector,
    ) -> Result<SubscriptionPlan> {
        let until = self.until(subscribe)?;
        let filter = subscribe.filter.as_ref();
        let predicate = filter.map(|filter| self.predicate(filter, NameScope::Event)).transpose()?;
        let condition = filter.map(|filter| self.written(filter)).transpose()?;
        Ok(SubscriptionPlan {
            pattern: self.pattern(selector)?,
            tags: self.tags(selector)?,
            predicate,
            condition,
            from: subscribe.from.as_ref().map(|start| self.start(start)).transpose()?,
            until,
            limit: subscribe.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?,
            name: subscribe.name.as_ref().map(|name| name.text.clone()),
        })
    }

    /// An expression as the language writes it, with the values of parameters in it.
    fn written(&self, expr: &Expr) -> Result<String> {
        let mut said = expr.clone();
        self.put_values(&mut said)?;
        Ok(said.to_string())
    }
}

/// A condition on events that stands alone, as a program says it. Its text is the canonical one, with the values of parameters in it.
pub(crate) fn event_condition(
    names: Names,
    text: &str,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Predicate> {
    // A line of its own: a remark at the end of it does not reach the bracket.
    let whole = format!("SUBSCRIBE WHERE ({text}\n)");
    let parsed = lang::parse_one(&whole)?;
    parameters.check_used(parsed.params.iter().map(String::as_str))?;
    let filter = match &parsed.statement {
        Stmt::Read(ReadStmt::Subscribe(Subscribe {
            filter: Some(filter),
            from: None,
            until: None,
            limit: None,
            name: None,
            ..
        })) => filter,
        _ => return Err(Error::invalid("a condition", "one expression", shorten(text))),
    };
    let input = BindInput { text: &whole, statement: 1, parameters, default_actor: None, now };
    let binder = Binder::new(input, Some(names));
    let predicate = binder.predicate(filter, NameScope::Event)?;
    Ok(Predicate { text: binder.written(filter)?, ..predicate })
}

impl Binder<'_> {
    /// Where a subscription ends.
    pub(super) fn until(&self, subscribe: &Subscribe) -> Result<Option<SubscriptionEnd>> {
        Ok(match &subscribe.until {
            None => None,
            // What has been recorded by now is what there is: the head, though it was recorded at this very instant.
            Some(PointExpr { kind: PointKind::Now, .. }) => {
                Some(SubscriptionEnd::Position(self.names()?.head()))
            }
            Some(point) => Some(match self.point(point, None)? {
                ResolvedPoint::Position(position) => SubscriptionEnd::Position(position),
                ResolvedPoint::Time(time) if time > self.now()? => SubscriptionEnd::Recorded(time),
                ResolvedPoint::Time(time) => SubscriptionEnd::Position(self.recorded(time, true)?),
            }),
        })
    }
}

/// What a state at a moment is made of, of a log that goes so far.
fn states(through: Position, at: Option<ResolvedPoint>) -> LogWindow {
    let mut window = LogWindow::through(through);
    match at {
        Some(ResolvedPoint::Position(position)) => window.through = window.through.min(position),
        Some(ResolvedPoint::Time(time)) => window.by = Some(time),
        None => {}
    }
    window
}
