//! What the store is given to understand definitions with.

use std::sync::Arc;

use super::{column, event_schema, index, model, private, reaction, verb, view};
use crate::error::Result;
use crate::event::ExpectNone;
use crate::plan::{self, bind::Names};
use crate::store::catalog::{Compile, Derive, Flow, PrivateFields, ProgramKind};
use crate::store::condition::{CommitCondition, CompileConditions};
use crate::store::event_schema::EventSchema;
use crate::store::snapshot::Snapshot;
use crate::store::state::fold::Fold;
use crate::store::verb::VerbHandler;
use crate::store::view::ViewMaterializer;

/// Understands definitions.
pub(crate) struct Compiler;

impl Compile for Compiler {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        index::compile(text)
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        model::compile(text)
    }

    fn event(&self, text: &str) -> Result<(String, Arc<dyn EventSchema>)> {
        event_schema::compile(text)
    }

    fn verb(&self, text: &str) -> Result<(String, Arc<dyn VerbHandler>)> {
        verb::compile(text)
    }

    fn program(&self, kind: ProgramKind, text: &str) -> Result<(String, Flow)> {
        reaction::check(kind, text)
    }

    fn column(&self, text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
        column::compile(text)
    }

    fn view(&self, text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
        view::compile(text)
    }

    fn private(&self, text: &str) -> Result<(String, Arc<PrivateFields>)> {
        private::compile(text)
    }

    fn compares_instants(&self, definition: &str) -> bool {
        plan::compares_instants(definition)
    }
}

impl CompileConditions for Compiler {
    fn absence(
        &self,
        said: &ExpectNone,
        snapshot: &Snapshot,
        own: &[&str],
    ) -> Result<Arc<dyn CommitCondition>> {
        Ok(Arc::new(plan::AbsenceCheck::of(said, Names::of(snapshot), own)?))
    }
}
