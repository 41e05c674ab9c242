//! Binding of `TRACE`.

use super::Binder;
use crate::entity::Position;
use crate::error::Result;
use crate::lang::ast::{EventRef, TraceDirection};
use crate::plan::logical::{DirectRead, TracePlan};

impl Binder<'_> {
    pub(super) fn trace(&self, direction: TraceDirection, event: &EventRef) -> Result<DirectRead> {
        let position = self.event(event)?;
        if position == Position::START {
            return Err(self.fault(
                event.span(),
                format!("{position} is before the first event: there is none to trace"),
            ));
        }
        Ok(DirectRead::Trace(TracePlan {
            event: position,
            causes: direction != TraceDirection::Effects,
            effects: direction != TraceDirection::Causes,
        }))
    }
}
