//! Models: what a definition makes of events.

pub(super) mod path;

use std::sync::Arc;

use path::{Before, extend, put, take_back};

use super::eval::{self, EvalFailure, Scope, written};
use crate::allowance::{Limits, Over, Unmade};
use crate::error::Result;
use crate::event::record::Record;
use crate::plan;
use crate::plan::field::FieldStep;
use crate::plan::model::{Assignment, BoundModel, FoldChange};
use crate::store::state::fold::{Effect, Fold, Include, Plain, TouchedPaths, merged};
use crate::time::Timestamp;
use crate::value::{ITEM, MAX_DEPTH, MEMBER, Value};

/// What works out the definition of an entity: its kind, and its fold.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn Fold>)> {
    let model = plan::entity_definition(text)?;
    // There is no NOW in it.
    let limits = Limits::default();
    let scope = Scope::writing(Timestamp::MIN, &limits);
    let initial = match written(&scope, &model.initial) {
        Ok(initial) => Ok(initial),
        // It is understood, so that it can be dropped; and told of each event.
        Err(failure @ EvalFailure::Over(_)) => Err(format!("INITIAL: {failure}")),
        Err(_) => Ok(eval::value(&model.initial, Timestamp::MIN, &limits)?),
    };
    let prefix = format!("{}.", model.kind).into_bytes();
    Ok((model.kind.clone(), Arc::new(ModelFold { model, initial, prefix })))
}

/// The fold that a definition says.
#[derive(Debug)]
struct ModelFold {
    model: BoundModel,
    /// What the first event folds onto; or why there is no such thing.
    initial: Result<Value, String>,
    /// The kind and a dot.
    prefix: Vec<u8>,
}

impl ModelFold {
    /// What the rules make of an event of a type; none where they say nothing.
    fn change(&self, kind: &[u8]) -> Option<&FoldChange> {
        let happening = kind.strip_prefix(self.prefix.as_slice());
        let is_on = |on: &crate::pattern::Pattern| {
            happening.is_some_and(|happening| on.matches_bytes(happening)) || on.matches_bytes(kind)
        };
        let rule = self.model.rules.iter().find(|rule| is_on(&rule.on));
        rule.map(|rule| &rule.change).or(self.model.otherwise.as_ref())
    }

    fn begin(&self, state: &mut Value) {
        if *state == Value::Null {
            *state = self.initial.clone().unwrap_or_default();
        }
    }

    fn merge(&self, state: &mut Value, event: &Record, limits: &Limits) -> Result<u64, Unmade> {
        let (data, growth) = merged(event, limits)?;
        let growth = growth + self.beginning(state);
        self.begin(state);
        state.merge(data);
        Ok(growth)
    }

    /// What a state takes that begins with this event.
    fn beginning(&self, state: &Value) -> u64 {
        match &self.initial {
            Ok(initial) if *state == Value::Null => initial.weight() as u64,
            _ => 0,
        }
    }

    /// What assignments change: all below their paths, as far as these go by names.
    fn touched_by(assigns: &[Assignment]) -> TouchedPaths {
        let mut touched = TouchedPaths::nothing();
        for assign in assigns {
            let names = assign.path.iter().map_while(|step| match step {
                FieldStep::Member(name) => Some(name.as_str()),
                FieldStep::Element(_) => None,
            });
            let named = assign.path.iter().all(|step| matches!(step, FieldStep::Member(_)));
            let end = named && assign.alone && assign.appends().is_some();
            touched.add(names, if end { TouchedPaths::End } else { TouchedPaths::All });
        }
        touched
    }

    /// All right sides are worked out before the first left side is set.
    fn set(
        &self,
        state: &mut Value,
        assigns: &[Assignment],
        event: &Record,
        limits: &Limits,
    ) -> Result<u64, Unmade> {
        let (was_null, beginning) = (*state == Value::Null, self.beginning(state));
        let initial = self.initial.as_ref().unwrap_or(&Value::Null);
        let scope = Scope::folding(event, if was_null { initial } else { state }, limits);
        let mut values = Vec::with_capacity(assigns.len());
        for assign in assigns {
            values.push(New::of(&scope, assign).map_err(|failure| match failure {
                EvalFailure::Over(error) if scope.allowance().over() == Some(Over::Ended) => {
                    Unmade::Ended(error)
                }
                failure => Unmade::Fault(format!("{}: {failure}", assign.text)),
            })?);
        }
        let growth =
            assigns.iter().zip(&values).map(|(assign, value)| value.weight(&assign.path)).sum::<usize>();
        let growth = beginning + growth as u64;
        self.begin(state);
        let mut done = Vec::with_capacity(assigns.len());
        for (assign, value) in assigns.iter().zip(values) {
            match value.put(state, &assign.path) {
                Ok(before) => done.push((&assign.path, before)),
                Err(why) => {
                    for (path, before) in done.into_iter().rev() {
                        take_back(state, path, before);
                    }
                    if was_null {
                        *state = Value::Null;
                    }
                    return Err(Unmade::Fault(format!("{}: {why}", assign.text)));
                }
            }
        }
        Ok(growth)
    }
}

impl Fold for ModelFold {
    fn apply(&self, state: &mut Value, event: &Record, own: bool, limits: &Limits) -> Result<u64, Unmade> {
        if let Err(why) = &self.initial {
            return Err(Unmade::Fault(why.clone()));
        }
        match self.change(event.kind_bytes()) {
            Some(FoldChange::Merge) => self.merge(state, event, limits),
            Some(FoldChange::Ignore) => Ok(0),
            Some(FoldChange::Delete) => {
                *state = Value::Null;
                Ok(0)
            }
            Some(FoldChange::Set(assigns)) => self.set(state, assigns, event, limits),
            None => match Plain.effect(event.kind(), own) {
                Effect::Deletes => {
                    *state = Value::Null;
                    Ok(0)
                }
                _ => self.merge(state, event, limits),
            },
        }
    }

    fn effect(&self, kind: &str, own: bool) -> Effect {
        match self.change(kind.as_bytes()) {
            Some(FoldChange::Merge | FoldChange::Set(_)) => Effect::Makes,
            Some(FoldChange::Ignore) => Effect::Nothing,
            Some(FoldChange::Delete) => Effect::Deletes,
            None => Plain.effect(kind, own),
        }
    }

    fn touches(&self, event: &Record, own: bool) -> TouchedPaths {
        match self.change(event.kind_bytes()) {
            Some(FoldChange::Set(assigns)) => ModelFold::touched_by(assigns),
            Some(FoldChange::Ignore) => TouchedPaths::nothing(),
            Some(FoldChange::Delete) => TouchedPaths::All,
            Some(FoldChange::Merge) => match event.data().to_value() {
                Ok(data) => TouchedPaths::by_merging(&data),
                Err(_) => TouchedPaths::All,
            },
            None => Plain.touches(event, own),
        }
    }

    fn includes(&self) -> &[Include] {
        &self.model.includes
    }

    fn every(&self) -> u64 {
        self.model.every
    }

    fn namespace(&self) -> Option<&str> {
        self.model.namespace.as_deref()
    }
}

/// What is set.
enum New {
    Value(Value),
    /// Behind a list that is there already, which is not copied for that.
    Items(Vec<Value>),
}

impl New {
    fn of<'a>(scope: &Scope<'a>, assign: &'a Assignment) -> Result<New, EvalFailure> {
        let fits = |levels: usize, value: &Value| assign.path.len() + levels + depth(value) <= MAX_DEPTH;
        // What is put behind a list is put there as it is then: nothing else may have changed it by then.
        let (new, fits) = match assign.appends().filter(|_| assign.alone && scope.has_list(&assign.path)) {
            Some(more) => {
                let more = more.iter().map(|node| written(scope, node)).collect::<Result<Vec<_>, _>>()?;
                let fits = more.iter().all(|item| fits(1, item));
                (New::Items(more), fits)
            }
            None => {
                let value = written(scope, &assign.value)?;
                let fits = fits(0, &value);
                (New::Value(value), fits)
            }
        };
        scope.check().map_err(EvalFailure::Over)?;
        if fits { Ok(new) } else { Err(EvalFailure::too_deep()) }
    }

    /// What it takes, with what is made on the way to it.
    fn weight(&self, path: &[FieldStep]) -> usize {
        let way = path.iter().map(|step| match step {
            FieldStep::Member(name) => MEMBER + name.len(),
            FieldStep::Element(_) => ITEM,
        });
        let new = match self {
            New::Value(value) => value.weight(),
            New::Items(items) => items.iter().map(|item| ITEM + item.weight()).sum(),
        };
        way.sum::<usize>() + new
    }

    fn put(self, state: &mut Value, path: &[FieldStep]) -> Result<Before, String> {
        match self {
            New::Value(value) => put(state, path, value),
            New::Items(more) => {
                extend(state, path, more).ok_or_else(|| "there is no list any more".to_owned())
            }
        }
    }
}

/// How deep a value nests: a scalar is no level, an empty array one.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
