//! Binding of `DEFINE VERB`.

use std::collections::HashSet;

use super::expr::NameScope;
use super::{BindInput, Binder};
use crate::entity::EventType;
use crate::error::{Error, Result, shorten};
use crate::event::FORGOTTEN;
use crate::lang;
use crate::lang::ast::{
    self, DefinitionStmt, EntityRef, EventClauses, Expr, ForgetClause, Happening, IdExpr, Stmt, TextExpr,
    VerbDefinitionStmt, VerbEmit,
};
use crate::plan::parameters::Parameters;
use crate::plan::past_tense::participle;
use crate::plan::verb::{
    BoundCondition, Emission, ForgottenSubject, Oblivion, Requirement, VerbCase, VerbPlan,
};
use crate::plan::write::{Define, Defined};
use crate::time::Timestamp;

/// What is defined of a verb, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn verb_definition(text: &str) -> Result<VerbPlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Verb(verb)) = &parsed.statement else {
        return Err(Error::invalid("the definition of a verb", "DEFINE VERB …", shorten(text)));
    };
    let parameters = Parameters::new();
    let said =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    Binder::new(said, None).verb(verb)
}

/// Why `EXPECT NONE` is not said here.
const ABSENT: &str = "EXPECT NONE belongs to PERFORM; here EXPECT is about the one whose history it joins";

impl Binder<'_> {
    pub(super) fn define_verb(&self, verb: &VerbDefinitionStmt) -> Result<Define> {
        self.check_verb_name(verb)?;
        let bound = self.definition().verb(verb)?;
        let mut said = verb.clone();
        self.put_verb_values(&mut said)?;
        self.put_happenings(&mut said)?;
        let (text, _) = self.said_again(&verb.name, DefinitionStmt::Verb(said), verb_definition)?;
        let notices = bound.cases.iter().filter_map(|case| case.forgets.as_ref()?.notice()).collect();
        Ok(Define { notices, ..self.defined(&verb.name, Defined::Verb(bound.kind), text) })
    }

    /// A name is one thing, and a verb stays with its entities.
    fn check_verb_name(&self, verb: &VerbDefinitionStmt) -> Result<()> {
        let (name, names) = (&verb.name.text, self.names()?);
        let shown = crate::entity::NameText(name);
        if names.added_verb(name).is_some() {
            let message =
                format!("{shown} is a verb of this program: one that is defined needs another name");
            return Err(self.fault(verb.name.span, message));
        }
        let known = names.catalog().verb(name);
        // Anybody may emit an event whose type begins with the name of a verb: the name is the verb's all the same.
        if known.is_none() && (names.catalog().model(name).is_some() || names.has_kind(name)?) {
            let message = format!("{shown} is a kind of entities: a verb needs a name of its own");
            return Err(self.fault(verb.name.span, message));
        }
        if let Some(known) = known
            && let Ok(rule) = known.rule()
            && rule.kind() != verb.kind.text
        {
            let message = format!(
                "{shown} is a verb of {}, defined at {}: DROP VERB {shown} first, if it is to be one of {}",
                crate::entity::NameText(rule.kind()),
                known.position,
                verb.kind
            );
            return Err(self.fault(verb.kind.span, message));
        }
        Ok(())
    }

    /// Puts what happens where nothing of it is said. What a name becomes may be told otherwise one day, and what is defined stays.
    fn put_happenings(&self, verb: &mut VerbDefinitionStmt) -> Result<()> {
        let unsaid = match verb.cases.is_empty() {
            true => verb.emits.is_empty(),
            false => verb.cases.iter().any(|case| case.emits.is_empty()),
        };
        if !unsaid {
            return Ok(());
        }
        let emit = self.named_after(verb)?;
        let emits: Vec<&mut Vec<VerbEmit>> = match verb.cases.is_empty() {
            true => vec![&mut verb.emits],
            false => verb.cases.iter_mut().map(|case| &mut case.emits).collect(),
        };
        emits.into_iter().filter(|emits| emits.is_empty()).for_each(|emits| emits.push(emit.clone()));
        Ok(())
    }

    /// Puts the values of parameters where they stand.
    fn put_verb_values(&self, verb: &mut VerbDefinitionStmt) -> Result<()> {
        self.put_part_values(&mut verb.requires, &mut verb.emits)?;
        self.put_forget_values(verb.forgets.as_mut())?;
        verb.cases.iter_mut().try_for_each(|case| {
            self.put_values(&mut case.condition)?;
            self.put_part_values(&mut case.requires, &mut case.emits)?;
            self.put_forget_values(case.forgets.as_mut())
        })
    }

    fn put_forget_values(&self, forgets: Option<&mut ForgetClause>) -> Result<()> {
        let Some(ForgetClause { id, because, .. }) = forgets else { return Ok(()) };
        id.iter_mut().chain(because).try_for_each(|expr| self.put_values(expr))
    }

    fn put_part_values(&self, requires: &mut [ast::RequireClause], emits: &mut [VerbEmit]) -> Result<()> {
        for require in requires {
            self.put_values(&mut require.condition)?;
            if let Some(otherwise) = &mut require.otherwise {
                *otherwise =
                    TextExpr::Literal { text: self.text(otherwise, "ELSE")?, span: otherwise.span() };
            }
        }
        for emit in emits {
            if let Some(owner) = &mut emit.owner {
                self.put_id_values(&mut owner.id)?;
            }
            self.put_body_values(emit.body.as_mut())?;
            self.put_fact_values(&mut emit.facts)?;
        }
        Ok(())
    }

    fn verb(&self, verb: &VerbDefinitionStmt) -> Result<VerbPlan> {
        self.defined_name(&verb.name, "a verb")?;
        self.kind_name(&verb.kind)?;
        let mut actors = HashSet::new();
        for kind in &verb.actors {
            self.kind_name(kind)?;
            if !actors.insert(kind.text.as_str()) {
                return Err(self.fault(kind.span, format!("BY {kind} stands twice")));
            }
        }
        let cases = match verb.cases.as_slice() {
            [] => {
                let emits = self.emissions(verb, &verb.emits)?;
                let forgets = verb.forgets.as_ref().map(|forgets| self.forgets(forgets)).transpose()?;
                vec![VerbCase { when: None, requires: Vec::new(), emits, forgets }]
            }
            some => self.cases(verb, some)?,
        };
        Ok(VerbPlan {
            name: verb.name.text.clone(),
            kind: verb.kind.text.clone(),
            actors: verb.actors.iter().map(|kind| kind.text.clone()).collect(),
            requires: self.requires(&verb.requires)?,
            cases,
        })
    }

    fn cases(&self, verb: &VerbDefinitionStmt, cases: &[ast::CaseClause]) -> Result<Vec<VerbCase>> {
        let mut bound: Vec<VerbCase> = Vec::with_capacity(cases.len());
        for case in cases {
            let when = self.verb_condition(&case.condition, "WHEN")?;
            let before = bound.iter().filter_map(|case| case.when.as_ref());
            if let Some(first) =
                before.into_iter().find(|before| before.is_true() || before.text == when.text)
            {
                let message = format!(
                    "nothing comes as far as WHEN {}: WHEN {} before it takes it, the first that holds wins",
                    shorten(&when.text),
                    shorten(&first.text)
                );
                return Err(self.fault(case.condition.span, message));
            }
            let (requires, emits) = (self.requires(&case.requires)?, self.emissions(verb, &case.emits)?);
            let forgets = case.forgets.as_ref().map(|forgets| self.forgets(forgets)).transpose()?;
            bound.push(VerbCase { when: Some(when), requires, emits, forgets });
        }
        Ok(bound)
    }

    fn requires(&self, requires: &[ast::RequireClause]) -> Result<Vec<Requirement>> {
        let each = requires.iter().map(|require| {
            let condition = self.verb_condition(&require.condition, "REQUIRE")?;
            let otherwise = require.otherwise.as_ref().map(|text| self.text(text, "ELSE")).transpose()?;
            Ok(Requirement { condition, otherwise })
        });
        each.collect()
    }

    fn verb_condition(&self, expr: &Expr, clause: &str) -> Result<BoundCondition> {
        self.check_condition(expr)?;
        let node = self.expr(expr, NameScope::Verb)?;
        let mut said = expr.clone();
        // What a parameter stood for, as the definition has it.
        self.put_values(&mut said)?;
        let condition = BoundCondition::new(node, said.to_string());
        if condition.names.is_empty() && !(clause == "WHEN" && condition.is_true()) {
            let always = match clause {
                "WHEN" => {
                    "always the same: WHEN TRUE is for what is left, and else it is about state, data or actor"
                }
                _ => {
                    "always the same: expected a condition on state, data, metadata, actor, target or version"
                }
            };
            return Err(self.fault(expr.span, format!("{clause} {} is {always}", shorten(&condition.text))));
        }
        Ok(condition)
    }

    /// What happens; without a word of it, the past participle of the verb.
    fn emissions(&self, verb: &VerbDefinitionStmt, emits: &[VerbEmit]) -> Result<Vec<Emission>> {
        if emits.is_empty() {
            return Ok(vec![self.emission(verb, &self.named_after(verb)?)?]);
        }
        emits.iter().map(|emit| self.emission(verb, emit)).collect()
    }

    /// Who is forgotten.
    fn forgets(&self, forgets: &ForgetClause) -> Result<Oblivion> {
        let ForgetClause { subject, id, because } = forgets;
        let of = match (id, subject.text.as_str()) {
            (None, "target") => ForgottenSubject::Target,
            (None, "actor") => ForgottenSubject::Actor,
            (Some(id), _) => {
                let id = IdExpr::Expr(Box::new(id.clone()));
                let owner = EntityRef { kind: subject.clone(), id, span: subject.span };
                ForgottenSubject::Entity(self.owned(&owner, NameScope::Verb, "FORGET")?)
            }
            (None, kind) => {
                let kind = crate::entity::NameText(kind);
                let message = format!(
                    "FORGET in a verb says whom: target, actor, or a kind and an id, like {kind} (state.customer)"
                );
                return Err(self.fault(subject.span, message));
            }
        };
        let bound = because.as_ref().map(|because| self.expr(because, NameScope::Verb)).transpose()?;
        let mut said = forgets.clone();
        self.put_forget_values(Some(&mut said))?;
        let kind = EventType::new(FORGOTTEN)?;
        Ok(Oblivion { kind, subject: of, because: bound, text: said.to_string() })
    }

    /// The past participle of a verb.
    fn named_after(&self, verb: &VerbDefinitionStmt) -> Result<VerbEmit> {
        let Some(participle) = participle(&verb.name.text) else {
            let message = format!(
                "what has happened after {} is known of English verbs alone: say what it EMITs, as in EMIT {}.done",
                verb.name, verb.kind
            );
            return Err(self.fault(verb.name.span, message));
        };
        let whole = format!("{}.{participle}", verb.kind.text);
        EventType::new(&whole).map_err(|error| {
            let message = format!("no event is named after {}: say what it EMITs ({error})", verb.name);
            self.fault(verb.name.span, message)
        })?;
        // With a dot in it, it would be taken for a type of another kind.
        let text = if participle.contains('.') { whole } else { participle };
        let span = verb.name.span;
        let happening = Happening { text, span };
        Ok(VerbEmit { happening, owner: None, body: None, facts: EventClauses::default(), span })
    }

    fn emission(&self, verb: &VerbDefinitionStmt, emit: &VerbEmit) -> Result<Emission> {
        let happening = &emit.happening;
        let whole = match happening.text.contains('.') {
            true => happening.text.clone(),
            false => format!("{}.{}", verb.kind.text, happening.text),
        };
        let kind = self.at(happening.span, EventType::new(&whole))?;
        if kind.is_internal() {
            return Err(self.fault(happening.span, "a type that begins with $ is the database's own"));
        }
        self.refuse_facts(emit)?;
        self.refuse_id(&emit.facts)?;
        let facts = &emit.facts;
        let mut said = [emit.clone()];
        self.put_part_values(&mut [], &mut said)?;
        let [said] = said;
        Ok(Emission {
            kind,
            owner: emit.owner.as_ref().map(|owner| self.owned(owner, NameScope::Verb, "ON")).transpose()?,
            data: emit.body.as_ref().map(|body| self.made_body(body, NameScope::Verb)).transpose()?,
            metadata: facts.meta.as_ref().map(|meta| self.object(meta, NameScope::Verb)).transpose()?,
            index: self.made_tags(&facts.index, NameScope::Verb)?,
            expect: self.made_expect(facts, ABSENT)?,
            text: said.to_string(),
        })
    }

    /// What is said with `PERFORM` is not said here.
    fn refuse_facts(&self, emit: &VerbEmit) -> Result<()> {
        let EventClauses { actor, at, key, cause, .. } = &emit.facts;
        let said = [
            ("BY", actor.as_ref().map(|actor| actor.span), "on whose behalf"),
            ("AT", at.as_ref().map(|at| at.span), "when what happens occurs"),
            ("KEY", key.as_ref().map(TextExpr::span), "the key of all that happens"),
            ("CAUSED BY", cause.as_ref().map(|_| emit.span), "what brought it about"),
        ];
        match said.into_iter().find_map(|(fact, span, what)| Some((fact, span?, what))) {
            None => Ok(()),
            Some((fact, span, what)) => {
                let message =
                    format!("{fact} belongs to PERFORM, which says {what}; a verb says what happens");
                Err(self.fault(span, message))
            }
        }
    }
}
