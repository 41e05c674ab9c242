//! Spans of `tracing`, where the feature of that name is on; else nothing at all. All of them are of the target `bygone`, at the level debug.
//!
//! Their fields are positions, counts, bytes and the names of definitions, never data of events.

#[cfg(feature = "tracing")]
mod told {
    /// A piece of work that is told of.
    #[derive(Debug)]
    pub(crate) struct Span(pub(super) tracing::Span);

    pub(crate) type Entered<'s> = tracing::span::Entered<'s>;

    impl Span {
        /// It is being worked on until what this gives is dropped.
        pub fn enter(&self) -> Entered<'_> {
            self.0.enter()
        }

        /// Says what is known only by now.
        pub fn record(&self, field: &'static str, value: u64) {
            self.0.record(field, value);
        }
    }

    macro_rules! open {
        ($name:literal, { $($field:ident: $value:expr),* }, [$($later:ident),*]) => {
            Span(tracing::debug_span!(
                target: "bygone", $name, $($field = $value,)* $($later = tracing::field::Empty,)*
            ))
        };
    }
    pub(super) use open;
}

#[cfg(not(feature = "tracing"))]
mod told {
    /// Nobody is told of it.
    #[derive(Debug)]
    pub(crate) struct Span;

    /// Nobody is told.
    pub(crate) struct Entered<'s>(std::marker::PhantomData<&'s Span>);

    impl Drop for Entered<'_> {
        fn drop(&mut self) {}
    }

    impl Span {
        #[inline]
        pub fn enter(&self) -> Entered<'_> {
            Entered(std::marker::PhantomData)
        }

        #[inline]
        pub fn record(&self, _: &'static str, _: u64) {}
    }

    macro_rules! open {
        ($name:literal, { $($field:ident: $value:expr),* }, [$($later:ident),*]) => {{
            $(let _ = $value;)*
            Span
        }};
    }
    pub(super) use open;
}

use told::open;
pub(crate) use told::{Entered, Span};

use super::StatementKind;
use crate::position::Position;

/// A frame is admitted, made durable and applied. It has so many events and bytes, and the last of them is at the position.
pub(crate) fn commit(groups: usize) -> Span {
    open!("commit", { groups: groups as u64 }, [events, bytes, position])
}

/// The log is made durable up to a position.
pub(crate) fn sync(through: Position) -> Span {
    open!("sync", { position: through.0 }, [])
}

/// A memtable moves into the tables, up to a position.
pub(crate) fn checkpoint(through: Position) -> Span {
    open!("checkpoint", { position: through.0 }, [])
}

/// A statement is run, and its rows are pulled.
pub(crate) fn statement(kind: StatementKind) -> Span {
    open!("statement", { kind: kind.word() }, [])
}

/// A reaction or a schedule does what it is to do about an event, or an instant.
pub(crate) fn program(kind: &'static str, name: &str, position: u64, attempt: u32) -> Span {
    match kind {
        "schedule" => open!("schedule", { name: name, position: position, attempt: attempt }, []),
        _ => open!("reaction", { name: name, position: position, attempt: attempt }, []),
    }
}

/// A webhook tells of an event.
#[cfg(feature = "webhooks")]
pub(crate) fn webhook(name: &str, position: u64, attempt: u32) -> Span {
    open!("webhook", { name: name, position: position, attempt: attempt }, [])
}
