//! Forgetting again whom a list names: a backup from before still has them.

use std::collections::HashSet;
use std::str::FromStr;

use super::Db;
use crate::entity::{Entity, PositionRange};
use crate::error::{Error, Result, shorten};
use crate::event::{EventId, FORGOTTEN, NewEvent};
use crate::exec;
use crate::store::append_request::AppendRequest;
use crate::store::index::term::Term;
use crate::store::snapshot::ScanDirection;
use crate::value::Value;

/// So many are forgotten in one group.
const GROUP: usize = 500;

/// A subject that was forgotten, as the events of `$subject.forgotten` tell of it: it is read of one in JSON, as `EVENTS` and `bygone export` write
/// it.
///
/// ```
/// use bygone::maintain::ListedSubject;
/// let line = r#"{"id":"e-1","type":"$subject.forgotten","data":{"subject":{"type":"User","id":"7"},"because":"a letter"}}"#;
/// let forgotten: ListedSubject = line.parse()?;
/// assert_eq!(forgotten.subject().to_string(), "User 7");
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSubject {
    subject: Entity,
    /// Of the event that says so: where it is in the log, it is done.
    id: EventId,
    because: Option<String>,
}

impl ListedSubject {
    /// Who it was.
    pub fn subject(&self) -> &Entity {
        &self.subject
    }

    fn of(event: &Value) -> Option<ListedSubject> {
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_text()?.to_owned());
        if text(event, "type")? != FORGOTTEN {
            return None;
        }
        let data = event.get("data")?;
        let subject = data.get("subject")?;
        Some(ListedSubject {
            subject: Entity::new(&text(subject, "type")?, &text(subject, "id")?).ok()?,
            id: EventId::new(&text(event, "id")?).ok()?,
            because: text(data, "because"),
        })
    }
}

impl FromStr for ListedSubject {
    type Err = Error;

    fn from_str(text: &str) -> Result<ListedSubject> {
        let event: Option<Value> = text.parse().ok();
        let wrong = || {
            let expected = "an event of the type $subject.forgotten, in JSON, as bygone export writes it";
            Error::invalid("a list of who is forgotten", expected, format!("'{}'", shorten(text)))
        };
        event.as_ref().and_then(ListedSubject::of).ok_or_else(wrong)
    }
}

impl Db {
    /// Forgets here whoever was forgotten elsewhere: in the database that this is an older backup of. Each is forgotten as `FORGET` does it, by an event
    /// of the same id; who is forgotten here by that event is passed over. Says how many were not.
    ///
    /// ```
    /// # #[cfg(feature = "encryption")] {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("backup.bygone");
    /// use bygone::{Db, Options};
    /// use bygone::maintain::ListedSubject;
    /// let db = Db::in_memory()?;
    /// db.query("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name")?;
    /// db.query("EMIT User.named 7 {name: 'Ann'}")?;
    /// db.backup(&path)?;
    /// let mut list: Vec<ListedSubject> = Vec::new();
    /// for row in db.query("FORGET User 7")?.rows {
    ///     list.push(serde_json::to_string(&row?)?.parse()?);
    /// }
    /// let older = Options::new().open(&path)?;
    /// assert_eq!(older.forget_listed(list.clone())?, 1);
    /// assert_eq!(older.forget_listed(list)?, 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `FORGET`. Some may be forgotten then, and others not yet: say it again, which does what is left.
    pub fn forget_listed(&self, listed: impl IntoIterator<Item = ListedSubject>) -> Result<u64> {
        self.store.check_forgettable()?;
        let cancel = self.cancel();
        let _alone = self.store.forgetting_until(&cancel)?;
        let (mut forgotten, mut group, mut ids) = (0, Vec::new(), HashSet::new());
        let mut append = |group: &mut Vec<NewEvent>| {
            forgotten += group.len() as u64;
            let request = AppendRequest {
                events: std::mem::take(group),
                internal: true,
                cancel: cancel.clone(),
                ..AppendRequest::default()
            };
            self.store.append(request).map(drop)
        };
        for ListedSubject { subject, id, because } in listed {
            cancel.check()?;
            let id = id.to_string();
            // A list may be put together of several.
            if !self.is_forgotten_by(&subject, &id)? && ids.insert(id.clone()) {
                group.push(exec::forgotten_event(&subject, because.as_deref())?.id(&id));
            }
            if group.len() == GROUP {
                append(&mut group)?;
            }
        }
        if !group.is_empty() {
            append(&mut group)?;
        }
        // What an earlier try left, too.
        self.store.forget_rest(&cancel)?;
        Ok(forgotten)
    }

    /// Whether the very event is in this log.
    fn is_forgotten_by(&self, subject: &Entity, id: &str) -> Result<bool> {
        let snapshot = self.store.snapshot();
        let event = exec::forgotten_event(subject, None)?;
        let Some(target) = event.owner() else { return Ok(false) };
        let said = snapshot.list(Term::entity(target)?, PositionRange::ALL, ScanDirection::Ascending);
        for position in said {
            if snapshot.event(position?)?.is_some_and(|event| event.id.to_string() == id) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
