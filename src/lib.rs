//! **Bygone** is an embedded event database: one file, one binary, one small language.
//!
//! It is to events what SQLite is to rows. The log is the truth: an event gets a position (1, 2, 3 …) and is never changed, and
//! everything else follows from the log. An application opens the file as a library; a person opens the same file in a shell.
//!
//! ```
//! use bygone::{Db, Row};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(tag = "type", content = "data", rename_all = "camelCase")]
//! enum OrderEvent {
//!     Created { total: u32 },
//!     Paid { amount: u32 },
//! }
//!
//! let db = Db::in_memory()?; // or Db::create("shop.bygone")
//! db.emit(("Order", 42), &OrderEvent::Created { total: 10 })?;
//! db.emit(("Order", 42), &OrderEvent::Paid { amount: 10 })?;
//!
//! for event in db.history(("Order", 42))? {
//!     println!("{:?}", event?.parse::<OrderEvent>()?);
//! }
//! let mut answer = db.query("AT Order 42 NOW")?;
//! let Some(Row::State(order)) = answer.rows.next().transpose()? else { panic!() };
//! assert_eq!(order.state.to_string(), r#"{"total":10,"amount":10}"#);
//! # Ok::<(), bygone::Error>(())
//! ```
//!
//! What an entity is can be a type of one's own, that events are applied to ([`Aggregate`]) and that decides what a command makes
//! happen ([`Decide`]): `examples/account.rs` is a good first read, and [`testing`] tries such types without a database.
//!
//! What a program uses every day is at the root. The rest is in modules by purpose: [`append`], [`read`], [`react`], [`project`],
//! [`maintain`], `share`, [`testing`]; [`error`] has the parts of an [`Error`], [`disk`] what a database stands on, and [`editor`] what a prompt needs.
//!
//! `docs/ARCHITECTURE.md` has the whole on one page: a diagram, the layers, threads, locks, protocols and caches. `docs/GLOSSARY.md` has the
//! words, `docs/CONTRIBUTING.md` tells where to add what.
//!
//! # The life of an event
//!
//! 1. A caller says what happened: a [`NewEvent`] (`event/new.rs`), from Rust, from a statement, or from a line of JSON
//!    (`event/json.rs`).
//! 2. It joins a group, all or nothing, which is checked and looked up on the caller's own thread (`store/append_request.rs`); there what of it is
//!    private is found (`store/private_values/prepared.rs`).
//! 3. Groups meet in a queue (`store/queue.rs`); one of those who wait leads.
//! 4. The leader checks each group in order, what it expects of the log with it (`store/admission/guard.rs`, `store/condition.rs`), and
//!    gives each event its position, version, id and instant, in a frame in memory (`store/admission.rs`, `store/commit.rs`). The log
//!    makes the frame durable (`store/log.rs`, `store/journal.rs`), and then it is applied: readers see it (`store/apply.rs`).
//!    Where its type has a schema, its data was held to that on the caller's thread, and is so again if another one holds by now
//!    (`store/admission/schema.rs`, `exec/event_schema.rs`).
//!    What of it is private is encrypted as it is written into the frame, under the key of its subject (`store/admission/private.rs`, `store/keyring.rs`), and is read in
//!    plain until the subject is forgotten (`store/read_form.rs`, `store/forget.rs`).
//! 5. It is read from the active memtable in memory (`store/memtable.rs`), by its position or by any of its terms (`store/index/term.rs`).
//! 6. A checkpoint moves the frozen memtable into the tables, in one transaction, packed with its neighbours
//!    (`store/checkpoint.rs`, `store/tables.rs`, `store/tables/block.rs`), with its place in every posting list (`store/index/posting.rs`).
//! 7. It is folded into the state of its entity (`store/state/fold.rs`), as a definition says (`exec/model.rs`). What is kept of states
//!    is brought along by the checkpoint (`store/materialize.rs`, `store/state/stored_state.rs`), and snapshots with it.
//! 8. Definitions of indexes and of entities are events, too (`store/catalog.rs`): what came before them is added in the
//!    background (`store/materialize/backfill.rs`, `store/materialize.rs`).
//! 9. Subscriptions see it, from wherever they are in the log (`live/subscribe.rs`), and handlers are told of it
//!    (`live/handler.rs`).
//! 10. Views take it in (`store/view.rs`, `exec/view.rs`), and so does a program's own ([`Projection`](project::Projection)).
//! 11. Where the database is opened live, reactions answer it, webhooks tell it elsewhere, and schedules make others as time goes by
//!     (`live/runner.rs`, `live/follower.rs`, `live/reaction.rs`, `live/webhook.rs`, `live/schedule.rs`). Each keeps its place, as durable
//!     subscriptions do (`store/cursor.rs`); what it cannot do is set aside by an event (`exec/dead_letter.rs`).
//! 12. After a crash, the log gives back what the tables do not have yet (`store/recover.rs`), and that is applied in the same way.
//!     So is what others append to a log that is shared (`store/commit/catch_up.rs`), as one on a stream of NATS is (`store/log/nats.rs`).
//!
//! # The life of a statement
//!
//! 1. A text is cut into tokens (`lang/token.rs`) and parsed to a tree (`lang/parse.rs`, `lang/ast.rs`); what would
//!    have been accepted where it fails is on record (`lang/expectations.rs`), for the message and for completion.
//!    What was parsed lately is remembered (`query/cache.rs`), and so is what is prepared (`query/prepared.rs`).
//! 2. Binding looks up its names, parameters and points in time: a logical plan (`plan/bind.rs`, `plan/logical.rs`); what can be bound once is
//!    given other values alone (`plan/bind/reuse.rs`). As of a snapshot, it is
//!    chosen what answers that (`plan/access_path.rs`).
//! 3. A read runs against a snapshot of the log and cannot write (`exec/scan.rs`, `store/snapshot.rs`). What an entity is comes
//!    from what is kept of it and the events since (`exec/fold.rs`, `exec/find.rs`, `store/snapshot/entity.rs`), and how it came to be so
//!    from the states before and after each event (`exec/diff.rs`, `exec/blame.rs`, `exec/field_history.rs`). Events are read where they are stored (`event/record.rs`), on several threads where there are many (`exec/parallel_scan.rs`), and
//!    become rows of columns, in groups and in order (`plan/shape.rs`, `exec/group.rs`, `exec/sort.rs`), or of the items of lists in them (`exec/unnest.rs`). Groups of many are made of
//!    fields that are kept beside the log, where they are (`plan/access_path/column.rs`, `exec/column.rs`). A write becomes a
//!    group (`exec/write.rs`) and goes the way of every event.
//! 4. Rows are pulled, one by one ([`Rows`]); the shell renders them (`shell/render.rs`).
//!
//! # The life of a request
//!
//! 1. Another process asks a database that this one shares, by a line of JSON (`protocol.rs`, `protocol/request.rs`, `client.rs`).
//! 2. It comes by the socket beside the file, or by a stream (`server/socket.rs`, `server/connection.rs`), and is answered on a thread of its
//!    own (`server/task.rs`), beside others.
//! 3. Its rows go back as lines, as many as there are credits for (`server/credits.rs`, `protocol/answer.rs`), and are rows again there
//!    (`client/answer.rs`, `exec/wire.rs`): whoever asked has them as from a database of its own (`shared_db.rs`).
//!
//! # The life of a verb
//!
//! 1. It is defined in the log (`store/catalog/verb.rs`, `plan/verb.rs`), or added by the program ([`Verb`](append::Verb)).
//! 2. It is asked for by a statement or by [`Db::perform`], and joins a group as events do; what it looks at is folded on the
//!    caller's thread, as far as the log goes by then (`store/append_request.rs`, `store/state/state_cache.rs`).
//! 3. When the turn of its group comes, the leader takes those states along to what is staged, and asks the verb for its events or
//!    why there are none (`store/verb.rs`, `store/admission/commit_context.rs`, `exec/verb.rs`). `EXPLAIN` has it admitted in the same way, into a
//!    batch that nobody appends (`store/admission/dry_run.rs`).
//! 4. Its events say which model made them, as of which of its versions, and go the way of every event.
//!
//! # The life of a command
//!
//! 1. The aggregate is folded, event by event, from the newest snapshot of it that is of use (`aggregate.rs`,
//!    `aggregate/snapshots.rs`).
//! 2. It decides, or refuses (`aggregate/decide.rs`).
//! 3. What it decided goes the way of every event, as one group that is guarded by the version it was decided by: if another event
//!    came between, it is folded in, and the command is decided anew.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aggregate;
mod allowance;
mod appending;
mod cancel;
#[cfg(all(unix, feature = "share"))]
mod client;
mod db;
mod definition;
mod document;
pub mod editor;
mod entity;
pub mod error;
mod event;
mod exec;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hex;
#[cfg(feature = "http")]
mod http;
mod lang;
mod live;
mod pattern;
mod plan;
mod position;
mod projection;
#[cfg(feature = "share")]
mod protocol;
mod query;
#[cfg(feature = "share")]
mod server;
#[cfg(feature = "share")]
mod shared_db;
#[cfg(feature = "signing")]
mod signing;
mod store;
mod telemetry;
pub mod testing;
mod time;
mod transfer;
mod value;
mod verb;

pub use aggregate::{Aggregate, Decide};
pub use cancel::Cancel;
pub use db::Db;
pub use document::Document;
pub use entity::{Entity, EventType, Position, Version};
pub use error::{Error, Result};
pub use event::{Event, Expect, NewEvent};
pub use exec::{Row, Rows};
pub use live::{Delivery, Subscription};
pub use pattern::Pattern;
pub use plan::Parameters;
pub use query::Statement;
pub use store::Options;
pub use time::Timestamp;
pub use value::{Object, Value};

/// Writing: groups of events, commands of aggregates, verbs, and what an event says beside its data.
pub mod append {
    pub use crate::aggregate::{CommandBuilder, CommandError, CommandOutcome};
    pub use crate::appending::AppendBuilder;
    pub use crate::db::Ticket;
    pub use crate::event::{Cause, EventId, ExpectNone, Producer, Tag, VectorClock};
    pub use crate::verb::{PerformBuilder, PerformOutcome, Verb, VerbContext};
}

/// Reading: events, states, points in time, and what statements are answered with.
pub mod read {
    pub use crate::db::{EventIter, ReadBuilder};
    pub use crate::exec::{
        BlameEntry, ChangeKind, EntityState, FieldChange, QueryResult, ReplayStep, StateChange, StatePath,
        TraceEntry,
    };
    pub use crate::plan::PointInTime;
    pub use crate::query::{PreparedStatement, Script};
}

/// Reacting to events: handlers, and subscriptions that keep their place.
pub mod react {
    #[cfg(feature = "async")]
    pub use crate::live::DeliveryStream;
    pub use crate::live::{
        DeadLetter, DurableSubscription, EventContext, Handler, HandlerBuilder, HandlerReport, HandlerResult,
    };
    pub use crate::store::SubscriptionCursor;
}

/// States of a program's own: aggregates that are folded, and projections that are kept.
pub mod project {
    pub use crate::aggregate::{AggregateState, SnapshotPolicy};
    pub use crate::projection::{Projection, ProjectionHandle};
}

/// Running a database: how it is opened, recovered, verified and measured; import and export.
pub mod maintain {
    pub use crate::cancel::WorkProgress;
    pub use crate::db::forget::ListedSubject;
    pub use crate::event::EventFormat;
    pub use crate::exec::schema_check::SchemaCheck;
    #[cfg(feature = "signing")]
    pub use crate::signing::{HeadKey, HeadPublicKey, LogHead};
    #[cfg(feature = "encryption")]
    pub use crate::store::EncryptionKey;
    pub use crate::store::{
        Backup, BackupMode, BackupOptions, ChainHash, Compaction, Durability, Proof, Recovery, Report,
        Rescue, TreeHash, Verification,
    };
    pub use crate::telemetry::metrics::{Metric, MetricKind, MetricSample, MetricValue, Metrics};
    pub use crate::time::Clock;
    pub use crate::transfer::{ExportOptions, ImportOptions, ImportReport};
}

/// One file and many processes: a database that is open in one of them, and asked by others.
#[cfg(feature = "share")]
pub mod share {
    #[cfg(feature = "http")]
    pub use crate::http::{HttpOptions, HttpServer};
    pub use crate::shared_db::{SharedDb, SharedDeliveries, SharedSubscription};
    pub use crate::store::SharedAccess;
}

/// What a database stands on: a disk of the operating system, of memory, or of one's own.
pub mod disk {
    pub use crate::store::disk::memory::MemoryDisk;
    pub use crate::store::disk::real::RealDisk;
    pub use crate::store::disk::simulated;
    pub use crate::store::disk::{Disk, File, Lock, LockError, LockMode};
}

/// The README's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the guide; `tests/documents.rs` holds that no page with examples is left out.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/rust.md")]
struct GuideToRust;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/shapes.md")]
struct GuideToSchemas;

#[cfg(all(doctest, feature = "share"))]
#[doc = include_str!("../docs/guide/sharing.md")]
struct GuideToSharing;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/subscriptions.md")]
struct GuideToSubscriptions;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/verbs.md")]
struct GuideToVerbs;
