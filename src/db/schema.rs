//! Schemas of events, before they are defined.

use super::Db;
use crate::error::{Error, Result};
use crate::exec::schema_check::{self, SchemaCheck};
use crate::lang;
use crate::plan::{self, BindInput, Defined, Parameters, Plan, WritePlan};

impl Db {
    /// What a `DEFINE EVENT` would say of the events that are in the log, before it is defined. Nothing is written, and events that do
    /// not fit stay as they are when it is.
    ///
    /// ```
    /// use bygone::{Db, Parameters, Position};
    /// let db = Db::in_memory()?;
    /// db.query("EMIT Order.placed 42 {total: 10}")?;
    /// db.query("EMIT Order.placed 43 {total: 'ten'}")?;
    /// let check = db.check_schema("DEFINE EVENT Order.placed {total: number}", &Parameters::new())?;
    /// assert_eq!((check.events, check.unfit), (2, 1));
    /// let (position, mismatch) = &check.mismatches[0];
    /// assert_eq!((*position, mismatch.members[0].path.as_str()), (Position(2), "data.total"));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Syntax`] for a text that is no such definition; what reading the log gives.
    pub fn check_schema(&self, definition: &str, parameters: &Parameters) -> Result<SchemaCheck> {
        let parsed = lang::parse_one(definition)?;
        let snapshot = self.store().snapshot().cancelled_by(&self.cancel());
        let input = BindInput {
            text: definition,
            statement: 1,
            parameters,
            default_actor: None,
            now: self.store().shared().options.clock.now(),
        };
        match plan::prepare(&parsed.statement, input, &snapshot)? {
            Plan::Write(WritePlan::Define(define)) if define.what == Defined::Event => {
                schema_check::check(&snapshot, &define.text)
            }
            _ => Err(Error::invalid(
                "the definition of an event",
                "DEFINE EVENT …",
                parsed.statement.to_string(),
            )),
        }
    }
}
