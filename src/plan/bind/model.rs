//! Binding of `DEFINE ENTITY`.

use std::collections::HashSet;

use super::expr::{NameScope, taken};
use super::{BindInput, Binder};
use crate::entity::Entity;
use crate::error::{Error, Result, shorten};
use crate::event::is_built_in;
use crate::lang;
use crate::lang::ast::{
    self, CountLiteral, DefinitionStmt, EntityDefinitionStmt, Happening, Name, Path, Span, Stmt, TextExpr,
};
use crate::pattern::Pattern;
use crate::plan::field::STATE;
use crate::plan::model::{Assignment, BoundModel, FoldChange, FoldRule};
use crate::plan::parameters::Parameters;
use crate::plan::write::{Define, Defined};
use crate::store::state::fold::Include;
use crate::time::Timestamp;

/// How long a namespace is at most: each event bears it.
const NAMESPACE: usize = 256;

/// What is defined of an entity, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn entity_definition(text: &str) -> Result<BoundModel> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Entity(entity)) = &parsed.statement else {
        return Err(Error::invalid("the definition of an entity", "DEFINE ENTITY …", shorten(text)));
    };
    let parameters = Parameters::new();
    let said =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    Binder::new(said, None).model(entity)
}

impl Binder<'_> {
    pub(super) fn define_entity(&self, entity: &EntityDefinitionStmt) -> Result<Define> {
        let model = self.definition().model(entity)?;
        if let Some(verb) = self.names()?.catalog().verb(&model.kind) {
            let name = crate::entity::NameText(&model.kind);
            let message =
                format!("{name} is a verb, defined at {}: a kind needs a name of its own", verb.position);
            return Err(self.fault(entity.name.span, message));
        }
        let mut said = entity.clone();
        self.put_all_values(&mut said, &model)?;
        let (text, _) = self.said_again(&entity.name, DefinitionStmt::Entity(said), entity_definition)?;
        Ok(self.defined(&entity.name, Defined::Entity, text))
    }

    /// Puts the values of parameters where they stand.
    fn put_all_values(&self, entity: &mut EntityDefinitionStmt, model: &BoundModel) -> Result<()> {
        if let Some(initial) = &mut entity.initial {
            initial.members.iter_mut().try_for_each(|(_, value)| self.put_values(value))?;
        }
        if let Some(count) = &mut entity.snapshot {
            *count = CountLiteral::Number { number: model.every, span: span_of(count) };
        }
        for include in &mut entity.includes {
            let (text, span) = (self.text(&include.pattern, "INCLUDE")?, include.pattern.span());
            include.pattern = TextExpr::Literal { text, span };
        }
        for change in entity.rules.iter_mut().map(|rule| &mut rule.change).chain(&mut entity.otherwise) {
            if let ast::ChangeClause::Set(assigns) = change {
                assigns.iter_mut().try_for_each(|assign| self.put_values(&mut assign.value))?;
            }
        }
        entity.forgotten.iter_mut().try_for_each(|assign| self.put_values(&mut assign.value))
    }

    pub(super) fn model(&self, entity: &EntityDefinitionStmt) -> Result<BoundModel> {
        let name = &entity.name;
        self.at(name.span, Entity::new(&name.text, "x"))?;
        if name.text.starts_with('$') {
            return Err(self.fault(name.span, "a kind that begins with $ is the database's own"));
        }
        let mut model = BoundModel::new(&name.text);
        model.namespace = entity.namespace.as_ref().map(|namespace| self.namespace(namespace)).transpose()?;
        if let Some(initial) = &entity.initial {
            model.initial = self.object(initial, NameScope::None)?;
        }
        if let Some(count) = &entity.snapshot {
            model.every = self.count(count, "SNAPSHOT EVERY")?;
            if model.every == 0 {
                let message = "SNAPSHOT EVERY: expected a number of events from 1 on; snapshots are never needed, and \
                               cost little where there are few";
                return Err(self.fault(span_of(count), message));
            }
        }
        model.includes =
            entity.includes.iter().map(|include| self.include(include)).collect::<Result<_>>()?;
        for rule in &entity.rules {
            let on = self.happening(&rule.on, &model)?;
            model.rules.push(FoldRule { on, change: self.change(&rule.change)? });
        }
        if let Some(otherwise) = &entity.otherwise {
            if let Some((rule, _)) = entity.rules.iter().zip(&model.rules).find(|(_, rule)| rule.on.is_all())
            {
                let message = format!("ON {} is about every event: nothing is left for ELSE", rule.on);
                return Err(self.fault(rule.on.span, message));
            }
            model.otherwise = Some(self.change(otherwise)?);
        }
        model.forgotten = self.assignments(&entity.forgotten, "FORGOTTEN SET")?;
        Ok(model)
    }

    fn namespace(&self, name: &Name) -> Result<String> {
        if name.text.is_empty() {
            return Err(self.fault(name.span, "a namespace: expected a name that is not empty"));
        }
        if name.text.len() > NAMESPACE {
            let message =
                format!("a namespace: expected at most {NAMESPACE} bytes, found {}", name.text.len());
            return Err(self.fault(name.span, message));
        }
        Ok(name.text.clone())
    }

    fn include(&self, include: &ast::IncludeClause) -> Result<Include> {
        let on = self.pattern_text(&include.pattern, "INCLUDE")?;
        let tag = &include.tag;
        if tag.text.is_empty() {
            return Err(self.fault(tag.span, "the name of an index value: expected one that is not empty"));
        }
        if is_built_in(&tag.text) {
            let message = format!(
                "INCLUDE … BY is the name of an index value (INDEX BY), and {} is a field of the event",
                tag.text
            );
            return Err(self.fault(tag.span, message));
        }
        Ok(Include { on, tag: tag.text.clone() })
    }

    /// What a rule is about. One to which no event ever comes says something, and never what was meant.
    fn happening(&self, happening: &Happening, model: &BoundModel) -> Result<Pattern> {
        let on = self.at(happening.span, Pattern::of_happening(&happening.text))?;
        let covers = |rule: &FoldRule, form: &str| {
            let rest = form.strip_prefix(model.kind.as_str()).and_then(|rest| rest.strip_prefix('.'));
            rule.on.matches_text(form) || rest.is_some_and(|rest| rule.on.matches_text(rest))
        };
        let mut by = None;
        for glob in on.alternatives() {
            let (text, whole) = (glob.text(), format!("{}.{}", model.kind, glob.text()));
            let mut forms = Vec::new();
            // A type has a prefix: a name alone is none.
            if text.contains(['.', '*']) {
                forms.push(text);
            }
            if !text.starts_with(&format!("{}.", model.kind)) {
                forms.push(&whole);
            }
            for form in forms {
                // A star matches a star: what the text of a pattern fits, all that the pattern means fits.
                match model.rules.iter().find(|rule| covers(rule, form)) {
                    Some(rule) => by = by.or(Some(rule)),
                    None => return Ok(on),
                }
            }
        }
        let before = by.map_or_else(String::new, |rule| rule.on.to_string());
        let message = if before == on.to_string() {
            format!("ON {happening} stands twice: the first that matches wins")
        } else {
            format!(
                "no event comes as far as ON {happening}: ON '{before}' before it takes them all, the first wins"
            )
        };
        Err(self.fault(happening.span, message))
    }

    fn change(&self, change: &ast::ChangeClause) -> Result<FoldChange> {
        let assigns = match change {
            ast::ChangeClause::Merge => return Ok(FoldChange::Merge),
            ast::ChangeClause::Ignore => return Ok(FoldChange::Ignore),
            ast::ChangeClause::Delete => return Ok(FoldChange::Delete),
            ast::ChangeClause::Set(assigns) => assigns,
        };
        let mut set = self.assignments(assigns, "SET")?;
        Assignment::tell_alone(&mut set);
        Ok(FoldChange::Set(set))
    }

    fn assignments(&self, assigns: &[ast::AssignClause], clause: &str) -> Result<Vec<Assignment>> {
        let mut set: Vec<Assignment> = Vec::with_capacity(assigns.len());
        let mut paths = HashSet::new();
        for assign in assigns {
            let path = self.left(&assign.path)?;
            if !paths.insert(path.clone()) {
                let message = format!("{} is set twice; one event sets it once", assign.path);
                return Err(self.fault(assign.path.span, message));
            }
            let mut value = assign.value.clone();
            // What a parameter stood for, as the definition has it.
            self.put_values(&mut value)?;
            let text = shorten(&format!("{clause} {} = {value}", assign.path)).to_owned();
            let bound = self.expr(&assign.value, NameScope::Fold)?;
            set.push(Assignment { path, value: bound, text, alone: false });
        }
        Ok(set)
    }

    /// The left side: a path in the state.
    fn left(&self, path: &Path) -> Result<Vec<crate::plan::field::FieldStep>> {
        let first = &path.first;
        if first.text == STATE
            && let Some(ast::StepExpr::Member(_)) = path.steps.first()
        {
            let meant: String = path.steps.iter().map(|step| taken(step).0.to_string()).collect();
            let message = "the left side of SET is a path in the state, so it goes without state";
            return Err(self.fault_meaning(
                path.span,
                message,
                Some(meant.trim_start_matches('.').to_owned()),
            ));
        }
        if first.text.is_empty() {
            return Err(self.fault(first.span, "SET: expected a name that is not empty"));
        }
        let first = crate::plan::field::FieldStep::Member(first.text.clone());
        Ok(std::iter::once(first).chain(path.steps.iter().map(|step| taken(step).0)).collect())
    }
}

pub(super) fn span_of(count: &CountLiteral) -> Span {
    match count {
        CountLiteral::Number { span, .. } => *span,
        CountLiteral::Param(param) => param.span,
    }
}
