//! Binding of `DEFINE VERB`.

use super::define::OWN;
use super::expr::Names;
use super::{Binder, Said, id_text};
use crate::entity::{Entity, EventType, Version};
use crate::error::{Error, Result, shorten};
use crate::event::Expect;
use crate::lang;
use crate::lang::ast::{
    self, Body, Count, Definition, EntityRef, Expr, Facts, GuardKind, Happening, Id, Name, Span, Statement,
    Text, VerbDefinition, VerbEmit,
};
use crate::plan::expr::{Constant, Node};
use crate::plan::field::Sort;
use crate::plan::participle::participle;
use crate::plan::verb::{Case, Condition, Emission, Owned, Require, Verb};
use crate::plan::{DefineVerb, Parameters};
use crate::time::Timestamp;
use crate::value::Value;

/// What is defined of a verb, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn verb_definition(text: &str) -> Result<Verb> {
    let parsed = lang::parse_one(text)?;
    let Statement::Define(Definition::Verb(verb)) = &parsed.statement else {
        return Err(Error::invalid("the definition of a verb", "DEFINE VERB …", shorten(text)));
    };
    let parameters = Parameters::new();
    let said = Said { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    Binder::new(said, None).verb(verb)
}

impl Binder<'_> {
    pub(super) fn define_verb(&self, verb: &VerbDefinition) -> Result<DefineVerb> {
        let bound = Binder::new(self.context, None).verb(verb)?;
        self.check_verb_name(verb)?;
        let mut said = verb.clone();
        self.put_verb_values(&mut said)?;
        self.put_happenings(&mut said)?;
        let text = Statement::Define(Definition::Verb(said)).to_string();
        // What is kept is the text: it has to mean this again.
        if let Err(error) = verb_definition(&text) {
            let message = format!("{} is not understood ({error})", shorten(&text));
            return Err(self.fault(verb.name.span, message));
        }
        let actor = self.context.default_actor.cloned();
        Ok(DefineVerb { name: bound.name, kind: bound.kind, text, actor })
    }

    /// A name is one thing, and a verb stays with its entities.
    fn check_verb_name(&self, verb: &VerbDefinition) -> Result<()> {
        let (name, snapshot) = (&verb.name.text, self.snapshot()?);
        let shown = crate::entity::Name(name);
        if snapshot.added_verb(name).is_some() {
            let message =
                format!("{shown} is a verb of this program: one that is defined needs another name");
            return Err(self.fault(verb.name.span, message));
        }
        let known = snapshot.indexes().verb(name);
        // Anybody may emit an event whose type begins with the name of a verb: the name is the verb's all the same.
        if known.is_none() && (snapshot.indexes().model(name).is_some() || snapshot.has_kind(name)?) {
            let message = format!("{shown} is a kind of entities: a verb needs a name of its own");
            return Err(self.fault(verb.name.span, message));
        }
        if let Some(known) = known
            && let Ok(rule) = known.rule()
            && rule.kind() != verb.kind.text
        {
            let message = format!(
                "{shown} is a verb of {}, defined at {}: DROP VERB {shown} first, if it is to be one of {}",
                crate::entity::Name(rule.kind()),
                known.position,
                verb.kind
            );
            return Err(self.fault(verb.kind.span, message));
        }
        Ok(())
    }

    /// Puts what happens where nothing of it is said. What a name becomes may be told otherwise one day, and what is defined stays.
    fn put_happenings(&self, verb: &mut VerbDefinition) -> Result<()> {
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
    fn put_verb_values(&self, verb: &mut VerbDefinition) -> Result<()> {
        self.put_part_values(&mut verb.requires, &mut verb.emits)?;
        verb.cases.iter_mut().try_for_each(|case| {
            self.put_values(&mut case.condition)?;
            self.put_part_values(&mut case.requires, &mut case.emits)
        })
    }

    fn put_part_values(&self, requires: &mut [ast::Require], emits: &mut [VerbEmit]) -> Result<()> {
        for require in requires {
            self.put_values(&mut require.condition)?;
            if let Some(otherwise) = &mut require.otherwise {
                *otherwise = Text::Literal { text: self.text(otherwise, "ELSE")?, span: otherwise.span() };
            }
        }
        for emit in emits {
            if let Some(owner) = &mut emit.owner {
                match &mut owner.id {
                    Id::Expr(expr) => self.put_values(expr)?,
                    id => *id = Id::Text { text: self.id(id)?, span: id.span() },
                }
            }
            match &mut emit.body {
                Some(Body::Object(object)) => self.put_object_values(object)?,
                Some(Body::With(expr)) => self.put_values(expr)?,
                None => {}
            }
            if let Some(meta) = &mut emit.facts.meta {
                self.put_object_values(meta)?;
            }
            for value in emit.facts.index.iter_mut().filter_map(|tag| tag.value.as_mut()) {
                self.put_values(value)?;
            }
            if let Some(guard) = &mut emit.facts.expect
                && let GuardKind::Version(count) = &mut guard.kind
            {
                let number = self.count(count, "EXPECT VERSION")?;
                *count = Count::Number { number, span: super::model::span_of(count) };
            }
        }
        Ok(())
    }

    fn put_object_values(&self, object: &mut ast::ObjectExpr) -> Result<()> {
        object.members.iter_mut().try_for_each(|(_, value)| self.put_values(value))
    }

    fn verb(&self, verb: &VerbDefinition) -> Result<Verb> {
        self.verb_name(&verb.name)?;
        for (at, kind) in std::iter::once(&verb.kind).chain(&verb.actors).enumerate() {
            self.kind_name(kind)?;
            if at > 0 && verb.actors.iter().take(at - 1).any(|other| other == kind) {
                return Err(self.fault(kind.span, format!("BY {kind} stands twice")));
            }
        }
        let cases = match verb.cases.as_slice() {
            [] => {
                let emits = self.emissions(verb, &verb.emits)?;
                vec![Case { when: None, requires: Vec::new(), emits }]
            }
            some => self.cases(verb, some)?,
        };
        Ok(Verb {
            name: verb.name.text.clone(),
            kind: verb.kind.text.clone(),
            actors: verb.actors.iter().map(|kind| kind.text.clone()).collect(),
            requires: self.requires(&verb.requires)?,
            cases,
        })
    }

    fn verb_name(&self, name: &Name) -> Result<()> {
        if name.text.is_empty() {
            return Err(self.fault(name.span, "the name of a verb: expected one that is not empty"));
        }
        if name.text.starts_with('$') {
            return Err(self.fault(name.span, "a name that begins with $ is the database's own"));
        }
        Ok(())
    }

    fn kind_name(&self, kind: &Name) -> Result<()> {
        self.at(kind.span, Entity::new(&kind.text, "x"))?;
        if kind.text.starts_with('$') {
            return Err(self.fault(kind.span, "a kind that begins with $ is the database's own"));
        }
        Ok(())
    }

    fn cases(&self, verb: &VerbDefinition, cases: &[ast::Case]) -> Result<Vec<Case>> {
        let mut bound: Vec<Case> = Vec::with_capacity(cases.len());
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
            bound.push(Case { when: Some(when), requires, emits });
        }
        Ok(bound)
    }

    fn requires(&self, requires: &[ast::Require]) -> Result<Vec<Require>> {
        let each = requires.iter().map(|require| {
            let condition = self.verb_condition(&require.condition, "REQUIRE")?;
            let otherwise = require.otherwise.as_ref().map(|text| self.text(text, "ELSE")).transpose()?;
            Ok(Require { condition, otherwise })
        });
        each.collect()
    }

    fn verb_condition(&self, expr: &Expr, clause: &str) -> Result<Condition> {
        self.check_condition(expr)?;
        let node = self.expr(expr, Names::Verb)?;
        let mut said = expr.clone();
        // What a parameter stood for, as the definition has it.
        self.put_values(&mut said)?;
        let condition = Condition::new(node, said.to_string());
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
    fn emissions(&self, verb: &VerbDefinition, emits: &[VerbEmit]) -> Result<Vec<Emission>> {
        if emits.is_empty() {
            return Ok(vec![self.emission(verb, &self.named_after(verb)?)?]);
        }
        emits.iter().map(|emit| self.emission(verb, emit)).collect()
    }

    /// The past participle of a verb.
    fn named_after(&self, verb: &VerbDefinition) -> Result<VerbEmit> {
        let participle = participle(&verb.name.text);
        let whole = format!("{}.{participle}", verb.kind.text);
        EventType::new(&whole).map_err(|error| {
            let message = format!("no event is named after {}: say what it EMITs ({error})", verb.name);
            self.fault(verb.name.span, message)
        })?;
        // With a dot in it, it would be taken for a type of another kind.
        let text = if participle.contains('.') { whole } else { participle };
        let span = verb.name.span;
        let happening = Happening { text, span };
        Ok(VerbEmit { happening, owner: None, body: None, facts: Facts::default(), span })
    }

    fn emission(&self, verb: &VerbDefinition, emit: &VerbEmit) -> Result<Emission> {
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
        let facts = &emit.facts;
        let index = facts.index.iter().map(|tag| {
            if tag.name.text.is_empty() || OWN.contains(&tag.name.text.as_str()) {
                let message = format!("INDEX BY {}: expected a name that is no field of the event", tag.name);
                return Err(self.fault(tag.name.span, message));
            }
            let value = tag.value.as_ref().map(|value| self.expr(value, Names::Verb)).transpose()?;
            Ok((tag.name.text.clone(), value))
        });
        let mut said = [emit.clone()];
        self.put_part_values(&mut [], &mut said)?;
        let [said] = said;
        Ok(Emission {
            kind,
            owner: emit.owner.as_ref().map(|owner| self.owned(owner)).transpose()?,
            data: emit.body.as_ref().map(|body| self.verb_body(body)).transpose()?,
            metadata: facts.meta.as_ref().map(|meta| self.object(meta, Names::Verb)).transpose()?,
            index: index.collect::<Result<_>>()?,
            expect: self.verb_expect(facts)?,
            text: said.to_string(),
        })
    }

    /// What is said with `PERFORM` is not said here.
    fn refuse_facts(&self, emit: &VerbEmit) -> Result<()> {
        let Facts { actor, at, key, cause, .. } = &emit.facts;
        let said = [
            ("BY", actor.as_ref().map(|actor| actor.span), "on whose behalf"),
            ("AT", at.as_ref().map(|at| at.span), "when what happens occurs"),
            ("KEY", key.as_ref().map(Text::span), "the key of all that happens"),
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

    fn verb_expect(&self, facts: &Facts) -> Result<Option<Expect>> {
        let Some(guard) = &facts.expect else { return Ok(None) };
        Ok(Some(match &guard.kind {
            GuardKind::New => Expect::New,
            GuardKind::Exists => Expect::Exists,
            GuardKind::Version(count) => Expect::Version(Version(self.count(count, "EXPECT VERSION")?)),
            GuardKind::None { .. } => {
                let message =
                    "EXPECT NONE belongs to PERFORM; here EXPECT is about the one whose history it joins";
                return Err(self.fault(guard.span, message));
            }
        }))
    }

    /// Another whose history an event joins.
    fn owned(&self, owner: &EntityRef) -> Result<Owned> {
        self.kind_name(&owner.kind)?;
        let (id, text) = match &owner.id {
            Id::Expr(expr) => {
                let node = self.expr(expr, Names::Verb)?;
                self.check_id(&node, expr.span)?;
                let mut said = expr.clone();
                self.put_values(&mut said)?;
                (node, format!("ON {} ({said})", owner.kind))
            }
            _ => {
                let entity = self.entity(owner)?;
                (Node::value(entity.id()), format!("ON {entity}"))
            }
        };
        Ok(Owned { kind: owner.kind.text.clone(), id, text })
    }

    /// What is known never to be an id.
    fn check_id(&self, node: &Node, span: Span) -> Result<()> {
        let expected = "an id: expected a text or a whole number";
        if node.sort() == Sort::Entity {
            let said = self.context.text.get(span.range()).unwrap_or_default();
            let message = format!("{expected}, found an entity");
            return Err(self.fault_meaning(span, message, Some(format!("{said}.id"))));
        }
        match node {
            Node::Constant(Constant::Value(value)) if id_text(value).is_none() => {
                Err(self.fault(span, format!("{expected}, found {}", value.kind())))
            }
            Node::Object(_) | Node::Array(_) => Err(self.fault(
                span,
                format!(
                    "{expected}, found {}",
                    match node {
                        Node::Object(_) => "an object",
                        _ => "an array",
                    }
                ),
            )),
            _ => Ok(()),
        }
    }

    fn verb_body(&self, body: &Body) -> Result<Node> {
        match body {
            Body::Object(object) => self.object(object, Names::Verb),
            Body::With(expr) => {
                let node = self.expr(expr, Names::Verb)?;
                match &node {
                    Node::Constant(Constant::Value(Value::Object(_))) => Ok(node),
                    Node::Constant(_) | Node::Array(_) | Node::Now => {
                        let message =
                            "WITH: expected an object, like WITH {total: 10}, or what is one, like data";
                        Err(self.fault(expr.span, message))
                    }
                    _ => Ok(node),
                }
            }
        }
    }
}
