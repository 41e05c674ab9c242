//! Binding of `DEFINE REACTION`.

use std::time::Duration;

use super::expr::NameScope;
use super::{BindInput, Binder};
use crate::entity::{Entity, NameText as Shown, Position};
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{
    self, After, DefinitionStmt, EmitId, EventClauses, IdExpr, Name, Period, PointExpr, PointKind,
    ReactionDefinitionStmt, Start, Stmt, TextExpr,
};
use crate::plan::expr::{BoundExpr, Predicate};
use crate::plan::moment::ResolvedPoint;
use crate::plan::parameters::Parameters;
use crate::plan::reaction::{Deed, Delay, ReactionPlan, StartPoint, What, Whose};
use crate::plan::verb::Owned;
use crate::plan::write::{Define, Defined, OccurredAt};
use crate::store::catalog::ProgramKind;
use crate::time::{Timestamp, display_duration};

/// Why `EXPECT NONE` is not said here.
const ABSENT: &str = "EXPECT NONE is of what a statement looked at, and this runs by itself: let it PERFORM a verb, which REQUIREs";

/// No period is longer: a hundred years of 365 days.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What is defined of a reaction, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn reaction_definition(text: &str) -> Result<ReactionPlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Reaction(reaction)) = &parsed.statement else {
        return Err(Error::invalid("the definition of a reaction", "DEFINE REACTION …", shorten(text)));
    };
    alone(text, |binder| binder.reaction(reaction))
}

/// Binds a text that stands alone.
pub(super) fn alone<T>(text: &str, bind: impl FnOnce(&Binder) -> Result<T>) -> Result<T> {
    let parameters = Parameters::new();
    let said =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    bind(&Binder::new(said, None))
}

impl Binder<'_> {
    pub(super) fn define_reaction(&self, reaction: &ReactionDefinitionStmt) -> Result<Define> {
        let mut said = reaction.clone();
        said.pattern = self.said_text(&reaction.pattern, "ON")?;
        self.put_start(&mut said.from)?;
        if let Some(filter) = &mut said.filter {
            self.check_condition(filter)?;
            self.put_values(filter)?;
        }
        if let Some(after) = &mut said.after {
            self.put_period(&mut after.period, "AFTER")?;
            after.unless =
                after.unless.as_ref().map(|unless| self.said_text(unless, "UNLESS")).transpose()?;
        }
        // What is wrong is told of the text as it was said.
        let bound = self.definition().reaction(reaction)?;
        self.check_free_name(&reaction.name, ProgramKind::Reaction.word())?;
        self.check_performed(&reaction.acts)?;
        self.check_self(reaction, &bound)?;
        self.tell_circle(&bound)?;
        self.put_act_values(&mut said.acts)?;
        let said = DefinitionStmt::Reaction(said);
        self.program(ProgramKind::Reaction, &reaction.name, said, reaction_definition)
    }

    /// The definition of what runs by itself.
    pub(super) fn program<T>(
        &self,
        kind: ProgramKind,
        name: &Name,
        said: DefinitionStmt,
        check: impl FnOnce(&str) -> Result<T>,
    ) -> Result<Define> {
        let (text, _) = self.said_again(name, said, check)?;
        Ok(Define { notices: self.notices.take(), ..self.defined(name, Defined::Program(kind), text) })
    }

    fn reaction(&self, reaction: &ReactionDefinitionStmt) -> Result<ReactionPlan> {
        self.defined_name(&reaction.name, "a reaction")?;
        let filter = reaction.filter.as_ref().map(|filter| {
            self.check_condition(filter)?;
            let node = self.expr(filter, NameScope::Reaction)?;
            if !node.any(&mut |part| matches!(part, BoundExpr::Field(_) | BoundExpr::Now)) {
                let message = "WHERE: always the same: expected a condition on the event, or on state";
                return Err(self.fault(filter.span, message));
            }
            Ok(Predicate { node, text: filter.to_string() })
        });
        Ok(ReactionPlan {
            name: reaction.name.text.clone(),
            pattern: self.pattern_text(&reaction.pattern, "ON")?,
            from: reaction.from.as_ref().map(|start| self.program_start(start)).transpose()?,
            filter: filter.transpose()?,
            after: reaction.after.as_ref().map(|after| self.delay(after)).transpose()?,
            deeds: self.deeds(&reaction.acts, NameScope::Reaction)?,
        })
    }

    fn delay(&self, after: &After) -> Result<Delay> {
        let unless = after.unless.as_ref().map(|unless| self.pattern_text(unless, "UNLESS")).transpose()?;
        Ok(Delay { period: self.period(&after.period, "AFTER")?, unless })
    }

    /// Where it begins, of a text that is looked at without a log.
    pub(super) fn program_start(&self, start: &Start) -> Result<StartPoint> {
        let Start::Point(point) = start else { return Ok(StartPoint::Position(Position::START)) };
        let expected = "FROM: expected START, a position or a time";
        match &point.kind {
            PointKind::Position(position) => Ok(StartPoint::Position(*position)),
            PointKind::Time(time) => Ok(StartPoint::Time(*time)),
            PointKind::Text(text) => text
                .parse()
                .map(StartPoint::Time)
                .map_err(|_| self.fault(point.span, format!("{expected}, found '{}'", shorten(text)))),
            // Of these the text that is kept has the place or the time.
            PointKind::Now | PointKind::Ago(_) | PointKind::Param(_) => {
                Ok(StartPoint::Time(self.context.now))
            }
            PointKind::Version(_) => Err(self.fault(point.span, expected)),
        }
    }

    /// Puts the place, or the time, where it stands that it begins.
    pub(super) fn put_start(&self, start: &mut Option<Start>) -> Result<()> {
        if let Some(Start::Point(point)) = start {
            let kind = match self.point(point, None)? {
                ResolvedPoint::Position(position) => PointKind::Position(position),
                ResolvedPoint::Time(time) if time > self.context.now => {
                    return Err(self.fault(
                        point.span,
                        format!(
                            "FROM a time that lies ahead ({time}); leave FROM out to begin with what comes"
                        ),
                    ));
                }
                ResolvedPoint::Time(time) => PointKind::Text(time.to_string()),
            };
            *point = PointExpr { kind, span: point.span };
        }
        Ok(())
    }

    pub(super) fn deeds(&self, acts: &[ast::ActStmt], names: NameScope) -> Result<Vec<Deed>> {
        acts.iter().map(|act| self.deed(act, names)).collect()
    }

    fn deed(&self, act: &ast::ActStmt, names: NameScope) -> Result<Deed> {
        let (body, facts, what) = match act {
            ast::ActStmt::Emit(emit) => {
                let kind = emit.event_type.event_type.clone();
                if kind.is_internal() {
                    let message = "a type that begins with $ is the database's own";
                    return Err(self.fault(emit.event_type.span, message));
                }
                let owner = self.whose(emit, names)?;
                let index = self.made_tags(&emit.facts.index, names)?;
                (&emit.body, &emit.facts, What::Emit { kind, owner, index })
            }
            ast::ActStmt::Perform(perform) => {
                if let Some(index) = perform.facts.index.first() {
                    let message = "INDEX BY is of one event: the EMIT of the verb says it";
                    return Err(self.fault(index.name.span, message));
                }
                let on = self.owned(&perform.entity, names, "ON")?;
                (&perform.body, &perform.facts, What::Perform { verb: perform.verb.text.clone(), on })
            }
            ast::ActStmt::Close(close) => {
                let word = if close.reopens { "REOPEN" } else { "CLOSE" };
                let message = format!(
                    "{word} is said by people and programs: what runs by itself does EMIT or PERFORM"
                );
                return Err(self.fault(close.span, message));
            }
        };
        self.refuse_own(act, facts)?;
        Ok(Deed {
            what,
            data: body.as_ref().map(|body| self.made_body(body, names)).transpose()?,
            metadata: facts.meta.as_ref().map(|meta| self.object(meta, names)).transpose()?,
            actor: facts.actor.as_ref().map(|actor| self.owned(actor, names, "BY")).transpose()?,
            at: facts.at.as_ref().map(|at| self.deed_time(at)).transpose()?,
            expect: self.made_expect(facts, ABSENT)?,
            text: act.to_string(),
        })
    }

    /// What is known of it by itself: its key, which makes it happen once, and its cause.
    fn refuse_own(&self, act: &ast::ActStmt, facts: &EventClauses) -> Result<()> {
        if let Some(key) = &facts.key {
            let message =
                "KEY: what runs by itself has a key of its own, by which each run takes effect once";
            return Err(self.fault(key.span(), message));
        }
        self.refuse_id(facts)?;
        if facts.cause.is_some() {
            let span = match act {
                ast::ActStmt::Emit(emit) => emit.span,
                ast::ActStmt::Perform(perform) => perform.span,
                ast::ActStmt::Close(close) => close.span,
            };
            let message = "CAUSED BY: what triggers it is the cause of what it does";
            return Err(self.fault(span, message));
        }
        Ok(())
    }

    fn whose(&self, emit: &ast::EmitStmt, names: NameScope) -> Result<Whose> {
        match (&emit.id, &emit.owner) {
            (None, None) => Ok(Whose::Unsaid),
            (None, Some(owner)) => self.owned(owner, names, "ON").map(Whose::One),
            (Some(EmitId::New(_)), None) => Ok(Whose::New),
            (Some(EmitId::Id(id)), None) => {
                let kind = emit.event_type.event_type.prefix().to_owned();
                let (id, text) = match id {
                    IdExpr::Expr(expr) => (self.expr(expr, names)?, format!("{kind} ({expr})")),
                    id => {
                        let entity = self.at(id.span(), Entity::new(&kind, &self.id(id)?))?;
                        (BoundExpr::value(entity.id()), entity.to_string())
                    }
                };
                if let Some(EmitId::Id(IdExpr::Expr(expr))) = &emit.id {
                    self.check_id(&id, expr.span)?;
                }
                Ok(Whose::One(Owned { kind, id, text }))
            }
            (Some(_), Some(owner)) => {
                let message = format!(
                    "an event joins one history: the id says {}, and ON says {}; leave one out",
                    emit.event_type.event_type.prefix(),
                    owner.kind.text
                );
                Err(self.fault(owner.span, message))
            }
        }
    }

    /// When what it does occurs: at an instant, or so long before the one that it runs at.
    fn deed_time(&self, at: &PointExpr) -> Result<OccurredAt> {
        let expected = "AT of an event is when it occurred: expected a time";
        match &at.kind {
            PointKind::Now => Ok(OccurredAt::Ago(Duration::ZERO)),
            PointKind::Ago(ago) => {
                if *ago > LONGEST {
                    return Err(self.too_early(at.span));
                }
                Ok(OccurredAt::Ago(*ago))
            }
            PointKind::Time(time) => Ok(OccurredAt::Time(*time)),
            PointKind::Text(text) => {
                text.parse().map(OccurredAt::Time).map_err(|_| self.fault(at.span, expected))
            }
            PointKind::Param(param) => match self.parameter(param)?.as_text().map(str::parse) {
                Some(Ok(time)) => Ok(OccurredAt::Time(time)),
                _ => Err(self.fault(at.span, expected)),
            },
            PointKind::Position(_) | PointKind::Version(_) => Err(self.fault(at.span, expected)),
        }
    }

    pub(super) fn period(&self, period: &Period, what: &str) -> Result<Duration> {
        let found = self.said_period(period, what)?;
        if found > LONGEST {
            let message = format!("{what}: expected {} or less", display_duration(LONGEST));
            return Err(self.fault(span_of(period), message));
        }
        Ok(found)
    }

    fn said_period(&self, period: &Period, what: &str) -> Result<Duration> {
        match period {
            Period::Fixed { duration, .. } => Ok(*duration),
            Period::Param(param) => {
                let value = self.parameter(param)?;
                let parsed = value.as_text().map(crate::time::parse_duration);
                match parsed {
                    Some(Ok(duration)) => Ok(duration),
                    _ => Err(self.wrong(param, what, "a length of time like '30s'", value)),
                }
            }
        }
    }

    pub(super) fn put_period(&self, period: &mut Period, what: &str) -> Result<()> {
        *period = Period::Fixed { duration: self.period(period, what)?, span: span_of(period) };
        Ok(())
    }

    /// A text with its value, where a parameter stands.
    pub(super) fn said_text(&self, text: &TextExpr, what: &str) -> Result<TextExpr> {
        Ok(TextExpr::Literal { text: self.text(text, what)?, span: text.span() })
    }

    pub(super) fn put_act_values(&self, acts: &mut [ast::ActStmt]) -> Result<()> {
        for act in acts {
            let (body, facts) = match act {
                ast::ActStmt::Emit(emit) => {
                    if let Some(EmitId::Id(id)) = &mut emit.id {
                        self.put_id_values(id)?;
                    }
                    if let Some(owner) = &mut emit.owner {
                        self.put_id_values(&mut owner.id)?;
                    }
                    (&mut emit.body, &mut emit.facts)
                }
                ast::ActStmt::Perform(perform) => {
                    self.put_id_values(&mut perform.entity.id)?;
                    (&mut perform.body, &mut perform.facts)
                }
                // It is refused.
                ast::ActStmt::Close(_) => continue,
            };
            self.put_body_values(body.as_mut())?;
            self.put_fact_values(facts)?;
            if let Some(actor) = &mut facts.actor {
                self.put_id_values(&mut actor.id)?;
            }
            if let Some(at) = &mut facts.at
                && matches!(at.kind, PointKind::Param(_))
                && let OccurredAt::Time(time) = self.deed_time(at)?
            {
                at.kind = PointKind::Text(time.to_string());
            }
        }
        Ok(())
    }

    /// An error for a verb that is not there.
    pub(super) fn check_performed(&self, acts: &[ast::ActStmt]) -> Result<()> {
        for act in acts {
            if let ast::ActStmt::Perform(perform) = act {
                self.check_verb(perform)?;
                let verb = self.names()?.catalog().verb(&perform.verb.text);
                if verb.is_some_and(|verb| verb.rule().is_ok_and(|rule| rule.forgets())) {
                    let message = format!(
                        "{} forgets somebody, which is for good and takes long: what runs by itself does not, somebody has to \
                         PERFORM it",
                        perform.verb
                    );
                    return Err(self.fault(perform.verb.span, message));
                }
            }
        }
        Ok(())
    }

    /// A reaction that sets itself off. Where nothing can stop it, that is an error.
    fn check_self(&self, said: &ReactionDefinitionStmt, reaction: &ReactionPlan) -> Result<()> {
        for (act, deed) in said.acts.iter().zip(&reaction.deeds) {
            let (types, span) = match (&deed.what, act) {
                (What::Emit { kind, .. }, ast::ActStmt::Emit(emit)) => {
                    (vec![kind.to_string()], emit.event_type.span)
                }
                (What::Perform { verb, .. }, ast::ActStmt::Perform(perform)) => {
                    let known = self.names()?.catalog().verb(verb);
                    let known = known.map(|verb| super::verb_definition(&verb.text)).transpose()?;
                    let types = known.iter().flat_map(|verb| verb.types()).map(ToString::to_string);
                    (types.collect(), perform.verb.span)
                }
                _ => continue,
            };
            let Some(own) = types.into_iter().find(|kind| reaction.pattern.matches_text(kind)) else {
                continue;
            };
            let name = Shown(&reaction.name);
            if !reaction.is_conditional() {
                let message = format!(
                    "{own} is of ON '{}': {name} would set itself off for ever; a WHERE, or AFTER … UNLESS, says when it ends",
                    reaction.pattern
                );
                return Err(self.fault(span, message));
            }
            self.notice(format!(
                "{name} sets itself off: {own} is of ON '{}'; only its WHERE or UNLESS ends that",
                reaction.pattern
            ));
            break;
        }
        Ok(())
    }
}

pub(super) fn span_of(period: &Period) -> ast::Span {
    match period {
        Period::Fixed { span, .. } => *span,
        Period::Param(param) => param.span,
    }
}
