//! Models: what a definition makes of events.

pub(super) mod path;

use std::sync::Arc;

use path::{Before, extend, put, take_back};

use super::eval::{self, EvalFailure, Scope, written};
use crate::allowance::{Limits, Over, Unmade};
use crate::error::Result;
use crate::event::is_of_standing;
use crate::event::private::ForgottenFields;
use crate::event::record::Record;
use crate::plan;
use crate::plan::field::FieldStep;
use crate::plan::forgotten::{carried, names, needs_forgotten};
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
    /// What the rules make of an event of a type; none where they say nothing. That an entity is closed changes nothing of it.
    fn change(&self, kind: &[u8]) -> Option<&FoldChange> {
        if kind.first() == Some(&b'$') && str::from_utf8(kind).is_ok_and(is_of_standing) {
            return Some(&FoldChange::Ignore);
        }
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
        let forgotten = event.forgotten();
        let instead: Vec<&Assignment> = self.instead(forgotten.as_ref(), None).collect();
        if instead.is_empty() {
            self.begin(state);
            state.merge(data);
            return Ok(growth);
        }
        let before = state.clone();
        let scope = Scope::folding(event, self.folded_onto(&before), limits);
        let values = worked_out(&scope, instead.iter().copied(), forgotten.as_ref())?;
        let growth = growth + weight(instead.iter().copied(), &values);
        self.begin(state);
        state.merge(data);
        put_all(state, instead.into_iter(), values).inspect_err(|_| *state = before.clone())?;
        Ok(growth)
    }

    /// What an event is folded onto.
    fn folded_onto<'v>(&'v self, state: &'v Value) -> &'v Value {
        if *state == Value::Null { self.initial.as_ref().unwrap_or(&Value::Null) } else { state }
    }

    /// What of `FORGOTTEN SET` is about a part of the state that an event makes of its forgotten fields: by assignments, or by merging.
    fn instead<'f>(
        &'f self,
        forgotten: Option<&'f ForgottenFields>,
        assigns: Option<&[Assignment]>,
    ) -> impl Iterator<Item = &'f Assignment> + Clone {
        let mut lost: Vec<Vec<String>> = Vec::new();
        if let Some(forgotten) = forgotten.filter(|_| !self.model.forgotten.is_empty()) {
            match assigns {
                Some(assigns) => assigns.iter().for_each(|assign| {
                    carried(&names(&assign.path), &assign.value, forgotten, &mut lost);
                }),
                None => {
                    let data = forgotten.fields().iter().filter(|field| field.is_in_data());
                    lost.extend(data.map(|field| field.names().map(str::to_owned).collect()));
                }
            }
        }
        self.model.forgotten.iter().filter(move |assign| {
            let path = names(&assign.path);
            lost.iter().any(|lost| lost.starts_with(&path) || path.starts_with(lost))
        })
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
        ModelFold::touch(&mut touched, assigns);
        touched
    }

    fn touch(touched: &mut TouchedPaths, assigns: &[Assignment]) {
        for assign in assigns {
            let names = assign.path.iter().map_while(|step| match step {
                FieldStep::Member(name) => Some(name.as_str()),
                FieldStep::Element(_) => None,
            });
            let named = assign.path.iter().all(|step| matches!(step, FieldStep::Member(_)));
            let end = named && assign.alone && assign.appends().is_some();
            touched.add(names, if end { TouchedPaths::End } else { TouchedPaths::All });
        }
    }

    fn set(
        &self,
        state: &mut Value,
        assigns: &[Assignment],
        event: &Record,
        limits: &Limits,
    ) -> Result<u64, Unmade> {
        let Some(forgotten) = event.forgotten() else {
            return self.assign(state, assigns.iter(), event, None, limits);
        };
        let instead = self.instead(Some(&forgotten), Some(assigns));
        // In the place of what it stands for, so that members keep their order.
        let own = assigns.iter().filter_map(|assign| {
            match instead.clone().find(|other| assign.path.starts_with(&other.path)) {
                Some(other) => (other.path == assign.path).then_some(other),
                None => Some(assign),
            }
        });
        let more = instead.clone().filter(|other| assigns.iter().all(|assign| assign.path != other.path));
        let all: Vec<&Assignment> = own.chain(more).collect();
        self.assign(state, all.into_iter(), event, Some(&forgotten), limits)
    }

    /// All right sides are worked out before the first left side is set.
    fn assign<'m>(
        &self,
        state: &mut Value,
        assigns: impl Iterator<Item = &'m Assignment> + Clone,
        event: &Record,
        forgotten: Option<&ForgottenFields>,
        limits: &Limits,
    ) -> Result<u64, Unmade> {
        let (was_null, beginning) = (*state == Value::Null, self.beginning(state));
        let scope = Scope::folding(event, self.folded_onto(state), limits);
        let values = worked_out(&scope, assigns.clone(), forgotten)?;
        let growth = beginning + weight(assigns.clone(), &values);
        self.begin(state);
        put_all(state, assigns, values).inspect_err(|_| {
            if was_null {
                *state = Value::Null;
            }
        })?;
        Ok(growth)
    }
}

/// What assignments set. What is made of forgotten fields is null, where it cannot be made; what adds to what was there before stays as it was.
fn worked_out<'s, 'm: 's>(
    scope: &Scope<'s>,
    assigns: impl Iterator<Item = &'m Assignment>,
    forgotten: Option<&ForgottenFields>,
) -> Result<Vec<New>, Unmade> {
    let needs = |assign: &Assignment| forgotten.is_some_and(|lost| needs_forgotten(&assign.value, lost));
    let instead = |assign: &Assignment| if assign.goes_on() { New::Kept } else { New::Value(Value::Null) };
    let each = assigns.map(|assign| match New::of(scope, assign) {
        Err(EvalFailure::Over(error)) if scope.allowance().over() == Some(Over::Ended) => {
            Err(Unmade::Ended(error))
        }
        Err(EvalFailure::Missing { .. } | EvalFailure::Wrong { .. }) if needs(assign) => Ok(instead(assign)),
        other => other.map_err(|failure| Unmade::Fault(format!("{}: {failure}", assign.text))),
    });
    each.collect()
}

/// What they take.
fn weight<'m>(assigns: impl Iterator<Item = &'m Assignment>, values: &[New]) -> u64 {
    assigns.zip(values).map(|(assign, value)| value.weight(&assign.path)).sum::<usize>() as u64
}

/// Puts what assignments set in its places; on an error nothing is changed.
fn put_all<'m>(
    state: &mut Value,
    assigns: impl Iterator<Item = &'m Assignment>,
    values: Vec<New>,
) -> Result<(), Unmade> {
    let mut done = Vec::with_capacity(values.len());
    for (assign, value) in assigns.zip(values) {
        match value.put(state, &assign.path) {
            Ok(before) => done.extend(before.map(|before| (&assign.path, before))),
            Err(why) => {
                for (path, before) in done.into_iter().rev() {
                    take_back(state, path, before);
                }
                return Err(Unmade::Fault(format!("{}: {why}", assign.text)));
            }
        }
    }
    Ok(())
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

    fn merges(&self, event: &Record, own: bool, begins: bool) -> bool {
        // The first is merged into `INITIAL`, and what is said of forgotten fields is worked out.
        !begins
            && self.initial.is_ok()
            && match self.change(event.kind_bytes()) {
                Some(FoldChange::Merge) => true,
                Some(_) => false,
                None => Plain.effect(event.kind(), own) == Effect::Makes,
            }
            && (self.model.forgotten.is_empty() || event.forgotten().is_none())
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
        let mut touched = match self.change(event.kind_bytes()) {
            Some(FoldChange::Set(assigns)) => ModelFold::touched_by(assigns),
            Some(FoldChange::Ignore) => TouchedPaths::nothing(),
            Some(FoldChange::Delete) => TouchedPaths::All,
            Some(FoldChange::Merge) => match event.data().to_value() {
                Ok(data) => TouchedPaths::by_merging(&data),
                Err(_) => TouchedPaths::All,
            },
            None => Plain.touches(event, own),
        };
        if event.forgotten().is_some() {
            ModelFold::touch(&mut touched, &self.model.forgotten);
        }
        touched
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
    /// Nothing: it stays as it was.
    Kept,
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
            New::Kept => return 0,
            New::Value(value) => value.weight(),
            New::Items(items) => items.iter().map(|item| ITEM + item.weight()).sum(),
        };
        way.sum::<usize>() + new
    }

    /// Puts it in its place, and tells what was there before, where that is another.
    fn put(self, state: &mut Value, path: &[FieldStep]) -> Result<Option<Before>, String> {
        match self {
            New::Value(value) => put(state, path, value).map(Some),
            New::Items(more) => match extend(state, path, more) {
                Some(before) => Ok(Some(before)),
                None => Err("there is no list any more".to_owned()),
            },
            New::Kept => Ok(None),
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
