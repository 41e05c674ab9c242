//! A plan as text: what `EXPLAIN` prints.

use std::fmt::{self, Display, Formatter};

use crate::definition::DefinitionKind;
use crate::entity::{Entity, NameText};
use crate::store::BackupMode;
use crate::store::snapshot::Estimate;

use super::access_path::column::ColumnScanPlan;
use super::{
    Append, AppendAction, BlamePlan, Define, Defined, DirectRead, Drop, DropTarget, EmitPlan, EventOwner,
    EventsPlan, FieldHistoryPlan, LogWindow, OccurredAt, PerformPlan, Plan, PositionSource, ReadKind,
    ReadPlan, ReplayPlan, RowLimit, Shaped, SubscriptionEnd, SubscriptionPlan, TracePlan, WritePlan,
};

/// Up to so many lists of a union are named.
const NAMED: usize = 5;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Read(read) => read.fmt(f),
            Plan::Write(WritePlan::Append(append)) => append.fmt(f),
            Plan::Write(WritePlan::Define(define)) => define.fmt(f),
            Plan::Write(WritePlan::Drop(drop)) => drop.fmt(f),
            Plan::Write(WritePlan::Settle(settle)) => {
                let (kind, name) = (settle.kind.word(), NameText(&settle.name));
                let what = if settle.again { "tries again" } else { "never tries again" };
                write!(f, "append that the {kind} {name} {what} what is set aside")
            }
            Plan::Write(WritePlan::Backup(backup)) => match backup.mode {
                BackupMode::Increment => write!(f, "append to {} what came since", backup.to.display()),
                _ => write!(f, "copy everything into {}", backup.to.display()),
            },
            Plan::Write(WritePlan::Forget(forget)) => {
                write!(f, "append that {} is forgotten, destroy its key,", forget.subject)?;
                f.write_str("\n  make anew what is kept of its private values, and write the file anew")
            }
            Plan::Write(WritePlan::Rekey(key)) => write!(f, "give the file the key of {key}"),
            Plan::Write(WritePlan::Compact) => f.write_str("write the file anew, in the order of keys"),
            Plan::Write(WritePlan::Checkpoint) => f.write_str("move everything into the tables"),
            Plan::Write(WritePlan::Sync) => f.write_str("take in all that the log holds now"),
            Plan::Subscribe(subscription) => subscription.fmt(f),
            Plan::SubscribeView(subscription) => subscription.fmt(f),
            Plan::Explain(explain) => explain.plan.fmt(f),
        }
    }
}

impl Display for Drop {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = NameText(&self.name);
        let DropTarget::Definition(kind) = self.what else {
            return write!(f, "forget the place of the subscription {name}");
        };
        let (what, then) = match kind {
            DefinitionKind::Index => ("index", "and drop its lists in the background"),
            DefinitionKind::Entity => ("definition of", "whose events are merged from then on"),
            DefinitionKind::Event => ("schema of", "whose data may be anything from then on"),
            DefinitionKind::Verb => ("verb", "which nobody performs from then on"),
            DefinitionKind::Column => ("column", "and drop what is kept of it in the background"),
            DefinitionKind::View => ("view", "and drop what is kept of it in the background"),
            DefinitionKind::Private => {
                ("definition of private fields", "which are stored in plain from then on")
            }
            DefinitionKind::Program(program) => (program.word(), "which runs no more from then on"),
        };
        write!(f, "append the end of the {what} {name}\n  {then}")
    }
}

impl Display for Define {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, text) = (NameText(&self.name), &self.text);
        match &self.what {
            Defined::Index(on) => {
                if text == "NULL" {
                    return write!(
                        f,
                        "append that {name} is a name of index values, which events have by INDEX BY"
                    );
                }
                write!(f, "append the definition of the index {name} on '{on}' as {text}")?;
                f.write_str("\n  and build it from the whole log in the background")
            }
            Defined::Entity => write!(f, "append the definition of {name}, which holds at once\n  {text}"),
            Defined::Event => {
                write!(f, "append the definition of the events {}, which holds at once\n  {text}", self.name)
            }
            Defined::Verb(_) => {
                write!(f, "append the definition of the verb {name}, which holds at once\n  {text}")
            }
            Defined::Program(kind) => {
                let kind = kind.word();
                write!(
                    f,
                    "append the definition of the {kind} {name}, which runs where the database is opened live"
                )?;
                write!(f, "\n  {text}")
            }
            Defined::Private => {
                write!(
                    f,
                    "append the definition of the private fields {name}, which holds at once\n  {text}"
                )?;
                f.write_str("\n  and store them encrypted from then on, under a key of each subject")?;
                // It is of the text that it was made of.
                if super::private_definition(&self.text).is_ok_and(|(_, said)| said.past) {
                    f.write_str("\n  and encrypt what events before it have, which writes the file anew")?;
                }
                Ok(())
            }
            Defined::Column => {
                write!(f, "append the definition of the column {name}\n  {text}")?;
                f.write_str("\n  and build it from the whole log in the background")
            }
            Defined::View => {
                write!(f, "append the definition of the view {name}\n  {text}")?;
                f.write_str("\n  and build it from the whole log in the background")
            }
        }
    }
}

impl Display for ReadPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.raw {
            f.write_str("as they are stored, ")?;
        }
        match &self.kind {
            ReadKind::Events(events) => events.fmt(f),
            ReadKind::Shaped(shaped) => shaped.fmt(f),
            ReadKind::Find(find) => find.fmt(f),
            ReadKind::View(view) => view.fmt(f),
            ReadKind::Direct(read) => read.fmt(f),
        }
    }
}

impl Display for DirectRead {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DirectRead::State(replay) => write!(f, "fold {replay}"),
            DirectRead::Steps(replay) => write!(f, "fold, step by step, {replay}"),
            DirectRead::Blame(BlamePlan { replay, of, .. }) => {
                write!(f, "fold, noting what each event changes, {replay}")?;
                of.iter().try_for_each(|of| write!(f, "\ntell of {of}"))
            }
            DirectRead::FieldHistory(history) => history.fmt(f),
            DirectRead::Diff(from, to) => write!(f, "compare the fold of {from}\nwith the fold of {to}"),
            DirectRead::Trace(trace) => trace.fmt(f),
            DirectRead::Describe(name) => {
                let name = NameText(name);
                write!(f, "read what is defined of {name}, its types and some of their newest events")
            }
            DirectRead::DescribeType(kind) => {
                write!(f, "read what is defined of {kind}, and count its events")
            }
            DirectRead::Definitions(DefinitionKind::Program(kind)) => {
                write!(f, "list each {} with its place in the log", kind.word())
            }
            DirectRead::Definitions(DefinitionKind::Entity) => {
                f.write_str("go from kind to kind, and list the catalog")
            }
            DirectRead::Definitions(_) => f.write_str("list the catalog"),
            DirectRead::Types => f.write_str("count the list of each type"),
            DirectRead::Subscriptions => f.write_str("list the subscriptions that have a name"),
            DirectRead::Functions => f.write_str("list the functions of the language"),
            DirectRead::Stats => f.write_str("count the log, its types and its bytes"),
            DirectRead::Head => f.write_str("read the newest event and the chain of hashes up to it"),
            DirectRead::VerifyAgainst(against) => match against.at {
                Some(at) => write!(f, "hash every event up to {at}, and compare"),
                None => f.write_str("hash every event, until the hash is found"),
            },
            DirectRead::Prove(position, as_of) => {
                write!(f, "hash every event")?;
                as_of.iter().try_for_each(|as_of| write!(f, " up to {as_of}"))?;
                write!(f, ", and keep what stands beside {position}")
            }
            DirectRead::SignedHead(_) => f.write_str("hash every event, and sign what comes of it"),
            DirectRead::Verify => {
                f.write_str("read all of the log and compare with it all that follows from it")
            }
        }
    }
}

impl Display for Shaped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nof ", self.shape)?;
        self.unnest.iter().try_for_each(|unnest| write!(f, "{unnest}\nof "))?;
        self.events.tell(f, self.columns.as_deref())
    }
}

impl Display for EventsPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.tell(f, None)
    }
}

impl EventsPlan {
    /// Tells of them, read of the log or of columns.
    fn tell(&self, f: &mut Formatter<'_>, columns: Option<&ColumnScanPlan>) -> fmt::Result {
        match self.take {
            RowLimit::All => f.write_str("events")?,
            RowLimit::First(n) => write!(f, "the first {n} events")?,
            RowLimit::Last(n) => write!(f, "the last {n} events, read backwards")?,
            RowLimit::Newest(u64::MAX) => f.write_str("events, newest first")?,
            RowLimit::Newest(n) => write!(f, "the newest {n} events, newest first")?,
        }
        let line = |f: &mut Formatter<'_>| f.write_str("\n  ");
        if let Some(predicate) = &self.predicate {
            line(f)?;
            write!(f, "where {}", predicate.text)?;
        }
        let access = &self.access;
        if let Some(pattern) = access.pattern.as_ref().filter(|pattern| pattern.to_string() != "*") {
            line(f)?;
            write!(f, "of a type like '{pattern}'")?;
        }
        for check in &access.checks {
            line(f)?;
            write!(f, "by {check}")?;
        }
        line(f)?;
        self.window.fmt(f)?;
        if let Some(columns) = columns {
            return write!(f, "\n  from {columns}");
        }
        match access.runs {
            Some((kept, all)) => {
                line(f)?;
                write!(f, "in {kept} of {all} runs of the log, by their times")?;
            }
            None if !access.times.is_open() => {
                line(f)?;
                f.write_str("passing over runs of other times")?;
            }
            None => {}
        }
        line(f)?;
        f.write_str("from ")?;
        match &access.source {
            PositionSource::Log => write!(f, "the whole log: {}", Counted(access.estimate)),
            PositionSource::Intersection(sources) => {
                write!(f, "what is in all of, {}", Counted(access.estimate))?;
                tell_each(sources, f, "\n    ")
            }
            source => source.tell(f, "\n    "),
        }
    }
}

/// So many events.
struct Counted(Estimate);

impl Display for Counted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} event{}", self.0, if self.0.entries == 1 { "" } else { "s" })
    }
}

impl Display for LogWindow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "after {} through {}", self.after, self.through)?;
        if let Some(since) = self.since {
            write!(f, ", occurred since {since}")?;
        }
        if let Some(before) = self.before {
            write!(f, ", occurred before {before}")?;
        }
        if let Some(by) = self.by {
            write!(f, ", occurred by {by}")?;
        }
        Ok(())
    }
}

impl PositionSource {
    /// What it is and how much of it there is; its parts on lines of their own.
    fn tell(&self, f: &mut Formatter<'_>, line: &str) -> fmt::Result {
        match self {
            PositionSource::Log => f.write_str("the whole log"),
            PositionSource::List(list) => write!(f, "the list of {}: {}", list.name, Counted(list.estimate)),
            PositionSource::Positions(positions) => match positions.as_slice() {
                [] => f.write_str("nothing: no such id"),
                [one] => write!(f, "the one event {one}"),
                some => write!(f, "{} events", some.len()),
            },
            PositionSource::Ranges { name, estimate, .. } => {
                write!(f, "the lists of {name}, gathered: {}", Counted(*estimate))
            }
            PositionSource::Union { lists, name, .. } if lists.is_empty() => {
                write!(f, "nothing: no event of {name}")
            }
            PositionSource::Union { lists, name, estimate } => {
                write!(f, "the lists of {name}, merged: {}", Counted(*estimate))?;
                let named = lists.iter().filter(|list| list.name != *name);
                for list in named.clone().take(NAMED) {
                    write!(f, "{line}the list of {}: {}", list.name, Counted(list.estimate))?;
                }
                if named.count() == lists.len() && lists.len() <= NAMED {
                    return Ok(());
                }
                write!(f, "{line}{} lists in all", lists.len())
            }
            PositionSource::Intersection(sources) => {
                f.write_str("what is in all of")?;
                tell_each(sources, f, line)
            }
            PositionSource::Any(sources) => {
                write!(f, "what is in one of, merged: {}", Counted(self.estimate()))?;
                tell_each(sources, f, line)
            }
        }
    }
}

/// Each on a line of its own; its parts on lines behind.
fn tell_each(sources: &[PositionSource], f: &mut Formatter<'_>, line: &str) -> fmt::Result {
    let within = format!("{line}  ");
    sources.iter().try_for_each(|source| {
        f.write_str(line)?;
        source.tell(f, &within)
    })
}

impl Display for ReplayPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the events of {}\n  {}", self.entity, self.window)
    }
}

impl Display for FieldHistoryPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let FieldHistoryPlan { replay, of, window, predicate, take } = self;
        let take = match take {
            RowLimit::All => "each".to_owned(),
            RowLimit::First(most) => format!("the first {most}"),
            RowLimit::Last(most) | RowLimit::Newest(most) => format!("the last {most}"),
        };
        write!(f, "fold, step by step, {replay}\ntell what changed {of}: {take}\n  {window}")?;
        predicate.iter().try_for_each(|predicate| write!(f, "\n  where {}", predicate.text))
    }
}

impl Display for TracePlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "trace the event {}", self.event)?;
        if self.causes {
            f.write_str("\n  up, from cause to cause")?;
        }
        if self.effects {
            f.write_str("\n  down, from the list of what it caused to the lists of what those caused")?;
        }
        Ok(())
    }
}

impl Display for SubscriptionPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "deliver events like '{}'", self.pattern)?;
        self.tags.iter().try_for_each(|by| write!(f, "\n  of {by}"))?;
        if let Some(predicate) = &self.predicate {
            write!(f, "\n  where {}", predicate.text)?;
        }
        match (self.from, &self.name) {
            (Some(from), _) => write!(f, "\n  after {from}")?,
            (None, None) => f.write_str("\n  after the head")?,
            (None, Some(_)) => f.write_str("\n  after the head, or where it left off")?,
        }
        if let Some(name) = &self.name {
            write!(f, "\n  whose place is kept as {}", NameText(name))?;
        }
        match self.until {
            Some(SubscriptionEnd::Position(position)) => write!(f, "\n  through {position}"),
            Some(SubscriptionEnd::Recorded(time)) => write!(f, "\n  recorded before {time}"),
            None => Ok(()),
        }
    }
}

impl Display for Append {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verbs = self.acts.iter().filter(|act| matches!(act, AppendAction::Perform(_))).count();
        match self.acts.as_slice() {
            [one] => write!(f, "append {one}")?,
            some => {
                match verbs {
                    0 => write!(f, "append all of {} events or none", some.len())?,
                    _ => f.write_str("append all of it or nothing")?,
                }
                some.iter().try_for_each(|act| write!(f, "\n  {act}"))?;
            }
        }
        self.key.iter().try_for_each(|key| write!(f, "\n  once for the key '{key}'"))
    }
}

impl Display for AppendAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            AppendAction::Emit(emit) => emit.fmt(f),
            AppendAction::Perform(perform) => perform.fmt(f),
        }
    }
}

impl Display for PerformPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "what {} of {} makes at the commit", NameText(&self.verb), self.entity)?;
        by_and_at(f, self.actor.as_ref(), self.at)
    }
}

impl Display for EmitPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match &self.owner {
            EventOwner::Unsaid => {}
            EventOwner::New => write!(f, " on a new {}", self.kind.prefix())?,
            EventOwner::Entity(entity) => write!(f, " on {entity}")?,
        }
        by_and_at(f, self.actor.as_ref(), self.at)
    }
}

/// On whose behalf, and when.
fn by_and_at(f: &mut Formatter<'_>, actor: Option<&Entity>, at: Option<OccurredAt>) -> fmt::Result {
    actor.iter().try_for_each(|actor| write!(f, " by {actor}"))?;
    match at {
        Some(OccurredAt::Time(time)) => write!(f, " at {time}"),
        Some(OccurredAt::Ago(ago)) => write!(f, " {} ago", crate::time::display_duration(ago)),
        None => Ok(()),
    }
}
