//! Verbs: what decides, at the moment of commit, which events are appended.
//!
//! A [`PerformRequest`] waits in the queue like the events of any group. When its turn comes, the leader asks its [`VerbHandler`], which sees the log as
//! it is then, what is staged before it included: what it decides by is so when its events join the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::state::fold::Folded;
use crate::allowance::Limits;
use crate::document::Document;
use crate::entity::{Entity, EventType, NameText};
use crate::error::{Error, Refusal, Result};
use crate::event::{Cause, Expect, FORGOTTEN, NewEvent, Producer};
use crate::time::Timestamp;
use crate::value::Value;

thread_local! {
    /// The databases for which rules decide on this thread, one inside of the other.
    static DECIDING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Refuses what would wait for the commit that waits for it.
pub(super) fn check_not_deciding(node: impl FnOnce() -> String) -> Result<()> {
    let decides = |deciding: &Vec<String>| !deciding.is_empty() && deciding.contains(&node());
    if DECIDING.with_borrow(decides) {
        return Err(Error::stopped(
            "a verb decides inside of a commit, and cannot append, checkpoint or close: it gives the events that are to be",
        ));
    }
    Ok(())
}

/// Whether an event says that somebody is forgotten.
pub(super) fn is_forgotten(event: &NewEvent) -> bool {
    event.kind.as_ref().is_some_and(|kind| kind.as_str() == FORGOTTEN)
}

/// A decision under way on this thread.
struct DecidingGuard;

impl DecidingGuard {
    fn begin(node: &str) -> DecidingGuard {
        DECIDING.with_borrow_mut(|deciding| deciding.push(node.to_owned()));
        DecidingGuard
    }
}

impl Drop for DecidingGuard {
    fn drop(&mut self) {
        DECIDING.with_borrow_mut(|deciding| drop(deciding.pop()));
    }
}

/// Verbs that a program added: they are not in the log.
#[derive(Debug, Default)]
pub(crate) struct AddedVerbs(RwLock<HashMap<String, Arc<dyn VerbHandler>>>);

impl AddedVerbs {
    /// The verb of a name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn VerbHandler>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> Vec<(String, Arc<dyn VerbHandler>)> {
        let verbs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut added: Vec<_> = verbs.iter().map(|(name, rule)| (name.clone(), rule.clone())).collect();
        added.sort_by(|(a, _), (b, _)| a.cmp(b));
        added
    }

    /// Adds one under a name that is free. Says whether it was.
    pub fn add(&self, name: &str, rule: Arc<dyn VerbHandler>) -> bool {
        let mut added = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let free = !added.contains_key(name);
        if free {
            added.insert(name.to_owned(), rule);
        }
        free
    }
}

/// What a verb does.
pub(crate) trait VerbHandler: fmt::Debug + Send + Sync {
    /// Of which entities it is.
    fn kind(&self) -> &str;

    /// Whether it looks at what the actor is: that is then folded before the commit.
    fn sees_actor(&self) -> bool;

    /// The types of the events that it may make, where they are known before.
    fn types(&self) -> Vec<EventType> {
        Vec::new()
    }

    /// Whether it may forget somebody: then it may make an event that says so.
    fn forgets(&self) -> bool {
        false
    }

    /// The events that performing it makes: of a type and with data, on whichever entities. What is said beside them (on whose behalf,
    /// caused by what) is added.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not to be.
    fn decide(&self, asked: &PerformRequest, moment: &mut dyn CommitContext) -> Result<Vec<NewEvent>>;
}

/// What a rule sees: the log as of some moment.
pub(crate) trait CommitContext {
    /// When that is: what is decided is recorded at this instant.
    fn now(&self) -> Timestamp;

    /// What the evaluation of a decision may take.
    fn limits(&self) -> Limits;

    /// Whether somebody asks how it is decided.
    fn is_told(&self) -> bool {
        false
    }

    /// Tells how it is decided, in words.
    fn tell(&mut self, _lines: Vec<String>) -> Result<()> {
        Ok(())
    }

    /// What this database is called in vector clocks.
    fn node(&self) -> String;

    /// What an entity is then.
    fn folded(&mut self, entity: &Entity) -> Result<Arc<Folded>>;
}

/// A verb to be performed.
#[derive(Debug, Clone)]
pub(crate) struct PerformRequest {
    pub verb: String,
    pub entity: Entity,
    /// The arguments.
    pub data: Document,
    pub metadata: Document,
    pub actor: Option<Entity>,
    /// When what it makes occurs; none: when it is recorded.
    pub timestamp: Option<Timestamp>,
    pub cause: Option<Cause>,
    pub correlation: Option<String>,
    /// Of the entity, before it.
    pub expect: Vec<Expect>,
    /// What it does, where that is said by the program, and not by the log.
    pub rule: Option<Arc<dyn VerbHandler>>,
    pub may_forget: ForgetPermit,
}

/// Whether a verb may forget somebody as it is performed.
#[derive(Debug, Clone, Default)]
pub(crate) enum ForgetPermit {
    /// Not what runs by itself: what is to be done then takes as long as the file is large.
    #[default]
    Refused,
    /// Not before whoever asks holds the lock for it: that is told whether somebody is to be forgotten.
    Asked(ForgetWish),
    /// Whoever asks holds the lock for it, and does the rest.
    Given,
}

/// Whether what was decided would have forgotten somebody.
#[derive(Debug, Clone, Default)]
pub(crate) struct ForgetWish(Arc<AtomicBool>);

impl ForgetWish {
    fn say(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it would have.
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl PerformRequest {
    /// A verb without arguments.
    pub fn new(verb: &str, entity: Entity) -> PerformRequest {
        PerformRequest {
            verb: verb.to_owned(),
            entity,
            data: Document::empty(),
            metadata: Document::empty(),
            actor: None,
            timestamp: None,
            cause: None,
            correlation: None,
            expect: Vec::new(),
            rule: None,
            may_forget: ForgetPermit::default(),
        }
    }

    /// Refuses to forget where that is not to be done.
    pub fn check_may_forget(&self) -> Result<()> {
        let verb = NameText(&self.verb);
        match &self.may_forget {
            ForgetPermit::Given => Ok(()),
            ForgetPermit::Asked(wish) => {
                wish.say();
                let verb = format!("the verb {verb}");
                let found = "one that forgets somebody; perform it again";
                Err(Error::conflict(verb, "what it was a moment ago", found))
            }
            ForgetPermit::Refused => {
                let why = "what runs by itself forgets nobody: somebody has to perform it, since it takes long and is for good";
                Err(self.refused(why.to_owned(), None, Vec::new()))
            }
        }
    }

    /// Why whoever asks may not, where only actors of some kinds may.
    ///
    /// # Errors
    /// What was expected, and found.
    pub fn check_actor(&self, kinds: &[String]) -> Result<(), String> {
        let is_one = |actor: &Entity| kinds.iter().any(|kind| kind == actor.kind());
        if kinds.is_empty() || self.actor.as_ref().is_some_and(is_one) {
            return Ok(());
        }
        let expected: Vec<String> = kinds.iter().map(|kind| NameText(kind).to_string()).collect();
        let found = self.actor.as_ref().map_or_else(|| "nobody".to_owned(), Entity::to_string);
        Err(format!("expected an actor of kind {}, found {found}", expected.join(" or ")))
    }

    /// Why it is not done.
    pub fn refused(&self, why: String, condition: Option<String>, values: Vec<(String, Value)>) -> Error {
        let (verb, entity) = (self.verb.clone(), self.entity.to_string());
        Error::Refused(Box::new(Refusal { verb, entity, why, condition, values }))
    }

    /// The events that a rule makes of it as of a moment, with all that is known of them.
    pub fn decide(&self, rule: &dyn VerbHandler, moment: &mut dyn CommitContext) -> Result<Vec<NewEvent>> {
        let node = moment.node();
        let deciding = DecidingGuard::begin(&node);
        let mut events = rule.decide(self, moment)?;
        drop(deciding);
        let mut vector = moment.folded(&self.entity)?.clock.vector(&node);
        for event in &mut events {
            self.check_made(event)?;
            event.actor.clone_from(&self.actor);
            // What belongs to another was still made by this one, as it was then.
            if event.owner() == Some(&self.entity) {
                let count = vector.get(&node).saturating_add(1);
                vector = vector.with(&node, count)?;
            }
            event.producer = Some(Producer {
                model: self.entity.clone(),
                version: Some(vector.sum()?),
                vector: Some(vector.clone()).filter(|vector| !vector.is_empty()),
            });
            event.timestamp = self.timestamp;
            event.cause.clone_from(&self.cause);
            event.correlation.clone_from(&self.correlation);
            // What says that somebody is forgotten has nothing that could be private.
            if event.metadata.is_empty() && !is_forgotten(event) {
                event.metadata = self.metadata.clone();
            }
        }
        Ok(events)
    }

    /// Refuses what a verb cannot say of an event: that is for whoever performs it to say of all of them, or for the database.
    fn check_made(&self, event: &NewEvent) -> Result<()> {
        let said = [
            ("a key", event.key.is_some()),
            ("an id", event.id.is_some()),
            ("an actor", event.actor.is_some()),
            ("a time", event.timestamp.is_some()),
            ("a cause", event.cause.is_some()),
            ("a correlation", event.correlation.is_some()),
            ("a producer", event.producer.is_some()),
            ("EXPECT NONE", !event.expect.iter().all(Expect::is_of_target)),
        ];
        let Some((what, _)) = said.into_iter().find(|(_, said)| *said) else { return Ok(()) };
        let expected = "its type, its owner, its data, what it is found by and what is expected of its owner; whoever performs the \
                        verb says the rest";
        Err(Error::invalid(format!("an event that the verb {} makes", NameText(&self.verb)), expected, what))
    }
}
