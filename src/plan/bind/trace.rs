//! Binding of `TRACE`.

use super::Binder;
use crate::entity::Position;
use crate::error::Result;
use crate::lang::ast::{Direction, EventRef};
use crate::plan::{ReadKind, Trace};

impl Binder<'_> {
    pub(super) fn trace(&self, direction: Direction, event: &EventRef) -> Result<ReadKind> {
        let position = self.event(event)?;
        if position == Position::START {
            return Err(self.fault(
                event.span(),
                format!("{position} is before the first event: there is none to trace"),
            ));
        }
        Ok(ReadKind::Trace(Trace {
            event: position,
            causes: direction != Direction::Effects,
            effects: direction != Direction::Causes,
        }))
    }
}
