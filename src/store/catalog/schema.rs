//! Schemas of events that are defined.
//!
//! Of a type all versions are kept, in order: which version an event was appended under follows from where it is.

use std::fmt;
use std::sync::Arc;

use super::definition::SchemaDefinition;
use super::definition_set::DefinitionEntry;
use super::{Understood, not_understood};
use crate::allowance::{Limits, Unmade};
use crate::document::Raw;
use crate::entity::Position;
use crate::error::{Error, Result, SchemaMismatch};
use crate::event::private::ForgottenFields;
use crate::store::event_schema::{EventSchema, Mismatches, UpcastData};

/// How often the schema of a type is defined anew, at most, until it is dropped.
pub(crate) const MAX_VERSIONS: usize = 1000;

/// The schema of a type of events, with the versions before. At least one version is there.
#[derive(Clone)]
pub(crate) struct CatalogSchema {
    pub event_type: String,
    newest: SchemaVersion,
    /// In order.
    before: Arc<[SchemaVersion]>,
}

/// What is said of a type at one time.
#[derive(Clone)]
pub(crate) struct SchemaVersion {
    /// Counted from 1.
    pub number: u64,
    /// Where its definition is.
    pub position: Position,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    pub(super) schema: Understood<dyn EventSchema>,
}

impl CatalogSchema {
    /// The next version of a schema; the first, where there is none before.
    pub(super) fn new(
        position: Position,
        SchemaDefinition { event_type, text, schema }: SchemaDefinition,
        before: Option<&CatalogSchema>,
    ) -> CatalogSchema {
        let before: Arc<[SchemaVersion]> =
            before.map(CatalogSchema::versions).into_iter().flatten().cloned().collect();
        let newest = SchemaVersion { number: before.len() as u64 + 1, position, text, schema };
        CatalogSchema { event_type, newest, before }
    }

    /// The version that holds for what is appended.
    pub fn newest(&self) -> &SchemaVersion {
        &self.newest
    }

    /// All versions, in order.
    pub fn versions(&self) -> impl Iterator<Item = &SchemaVersion> {
        self.before.iter().chain([&self.newest])
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.before.len() + 1
    }

    /// Whether events of an earlier version are read otherwise than they are stored.
    pub fn has_upcast(&self) -> bool {
        self.versions().any(SchemaVersion::has_upcast)
    }

    /// What the data of the event at a position is read as: each version since makes of it what it says. None: as it is stored.
    ///
    /// # Errors
    /// [`Error::Upcast`] if one of them cannot.
    pub fn upcast(
        &self,
        position: Position,
        data: Raw,
        forgotten: Option<&ForgottenFields>,
        limits: &Limits,
        until: Position,
    ) -> Result<Option<UpcastData>> {
        let mut made: Option<UpcastData> = None;
        let since = self.versions().filter(|version| position < version.position && version.position < until);
        for version in since.filter(|version| version.has_upcast()) {
            let Ok(schema) = &version.schema else { continue };
            let (data, forgotten) = match &made {
                Some(made) => (made.data.raw(), made.forgotten.as_ref()),
                None => (data, forgotten),
            };
            let after = schema.upcast(data, forgotten, limits).map_err(|unmade| match unmade {
                Unmade::Ended(error) => error,
                Unmade::Fault(why) => self.not_upcast(position, version, why),
                Unmade::Over(why) => self.not_upcast(position, version, why.to_string()),
            })?;
            made = Some(after);
        }
        Ok(made)
    }

    fn not_upcast(&self, position: Position, version: &SchemaVersion, why: String) -> Error {
        Error::Upcast {
            event_type: self.event_type.clone(),
            position: position.0,
            version: version.number,
            why,
        }
    }

    /// What does not fit, as it is told.
    pub fn mismatch(&self, found: Mismatches) -> SchemaMismatch {
        SchemaMismatch {
            event_type: self.event_type.clone(),
            version: self.newest.number,
            definition: Some(self.newest.position.0),
            members: found.members,
            more: found.more,
        }
    }

    /// What the data of events is to be.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn rule(&self) -> Result<&Arc<dyn EventSchema>> {
        let SchemaVersion { schema, position, .. } = &self.newest;
        schema.as_ref().map_err(|why| not_understood("schema of", &self.event_type, *position, why))
    }
}

impl SchemaVersion {
    fn has_upcast(&self) -> bool {
        self.schema.as_ref().is_ok_and(|schema| schema.has_upcast())
    }

    /// What the data of events is to be, where this version of the program understands it.
    pub fn schema(&self) -> Option<&Arc<dyn EventSchema>> {
        self.schema.as_ref().ok()
    }
}

impl fmt::Debug for CatalogSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} at {})", self.event_type, self.newest.position)
    }
}

impl DefinitionEntry for CatalogSchema {
    fn name(&self) -> &str {
        &self.event_type
    }

    fn position(&self) -> Position {
        self.newest.position
    }
}
