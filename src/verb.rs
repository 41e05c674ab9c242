//! Verbs of a program: what is decided at the moment of commit by code, where the language does not say enough.
//!
//! A verb that [`DEFINE VERB`](Db::query) defines is in the log, and holds for whoever opens the file. One that is [added](Db::add_verb) is
//! the program's: it holds for its handles of the database, until they are closed. Both are performed in the same way, by [`Db::perform`]
//! or by the statement `PERFORM`.

mod perform;

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use perform::{PerformBuilder, PerformOutcome};
use serde::de::DeserializeOwned;

use crate::db::Db;
use crate::document::Document;
use crate::entity::{Entity, NameText, Version};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::store::state::fold::Folded;
use crate::store::verb::{CommitContext, PerformRequest, VerbHandler};
use crate::time::Timestamp;
use crate::value::Value;

type DecideFn = dyn Fn(&VerbContext) -> Result<Vec<NewEvent>> + Send + Sync;

/// A verb of a program: which entities it is of, who may perform it, and what it does.
///
/// ```
/// use bygone::append::Verb;
/// use bygone::Db;
/// # use bygone::NewEvent;
/// let db = Db::in_memory()?;
/// db.add_verb(Verb::new("Withdraw", "Account", |asked| {
///     let there_are = asked.state().get("balance").and_then(|balance| balance.as_i64()).unwrap_or(0);
///     let wanted: i64 = asked.data().parse::<Withdrawal>()?.amount;
///     if wanted > there_are {
///         return Err(asked.refusal(format!("there are only {there_are}")));
///     }
///     Ok(vec![asked.event("withdrawn").data(asked.data()).member("balance", there_are - wanted)])
/// }))?;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Withdrawal {
///     amount: i64,
/// }
///
/// db.append(NewEvent::new("Account.opened").on(("Account", 7)).member("balance", 100))?;
/// let done = db.perform("Withdraw", ("Account", 7)).data(&Withdrawal { amount: 30 }).run()?;
/// assert_eq!(done.events[0].kind.as_str(), "Account.withdrawn");
/// let error = db.perform("Withdraw", ("Account", 7)).data(&Withdrawal { amount: 80 }).run().unwrap_err();
/// assert!(error.is_refused());
/// assert_eq!(error.to_string(), "refused: Withdraw Account 7: there are only 70");
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone)]
pub struct Verb {
    name: String,
    kind: String,
    actors: Vec<String>,
    decide: Arc<DecideFn>,
}

impl Verb {
    /// A verb of the entities of a kind. What `decide` gives is appended, all or nothing.
    ///
    /// It is asked inside of a commit, while others wait: it should be quick, and it cannot append anything itself. It may be asked more
    /// than once for one answer. A panic in it is an error of whoever performs the verb. Other entities it sees by
    /// [`VerbContext::state_of`]; a handle of the database that it holds would keep the database open for ever.
    ///
    /// Of its events it says the type, the owner, data, metadata, index values, and guards on the owner. On whose behalf they are, when
    /// they occurred, their cause and their key are said by whoever performs it.
    pub fn new(
        name: &str,
        kind: &str,
        decide: impl Fn(&VerbContext) -> Result<Vec<NewEvent>> + Send + Sync + 'static,
    ) -> Verb {
        Verb { name: name.to_owned(), kind: kind.to_owned(), actors: Vec::new(), decide: Arc::new(decide) }
    }

    /// Lets only actors of this kind perform it, and of others that are said so. Without this anybody may.
    pub fn by(mut self, kind: &str) -> Verb {
        self.actors.push(kind.to_owned());
        self
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verb({} on {})", self.name, self.kind)
    }
}

/// What a verb is asked to do, and what is so at the moment of commit.
pub struct VerbContext<'a> {
    perform: &'a PerformRequest,
    folded: Arc<Folded>,
    moment: RefCell<&'a mut dyn CommitContext>,
}

impl VerbContext<'_> {
    /// What it is performed on.
    pub fn target(&self) -> &Entity {
        &self.perform.entity
    }

    /// What that is: null before its first event, and after a deletion.
    pub fn state(&self) -> &Value {
        &self.folded.state
    }

    /// How many events that has.
    pub fn version(&self) -> Version {
        Version(self.folded.version)
    }

    /// The arguments.
    pub fn data(&self) -> &Document {
        &self.perform.data
    }

    /// What is to be known of how it came here.
    pub fn metadata(&self) -> &Document {
        &self.perform.metadata
    }

    /// On whose behalf.
    pub fn actor(&self) -> Option<&Entity> {
        self.perform.actor.as_ref()
    }

    /// When that is: its events are recorded at this instant.
    pub fn now(&self) -> Timestamp {
        self.moment.borrow().now()
    }

    /// What any entity is at this moment: the actor, or another that the decision depends on.
    pub fn state_of(&self, entity: impl Into<Entity>) -> Result<Value> {
        Ok(self.moment.borrow_mut().folded(&entity.into())?.state.clone())
    }

    /// The state of the target as a type of Rust.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.folded.state.parse()
    }

    /// An event of the target, without data: `paid` of an order is `Order.paid`.
    pub fn event(&self, name: &str) -> NewEvent {
        let kind = self.perform.entity.kind();
        let whole = if name.contains('.') { name.to_owned() } else { format!("{kind}.{name}") };
        NewEvent::new(&whole).on(self.target())
    }

    /// Why it is not done.
    pub fn refusal(&self, why: impl Into<String>) -> Error {
        self.perform.refused(why.into(), None, Vec::new())
    }
}

impl fmt::Debug for VerbContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.perform.verb, self.perform.entity, self.perform.data)
    }
}

impl VerbHandler for Verb {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn sees_actor(&self) -> bool {
        false
    }

    fn decide(&self, perform: &PerformRequest, moment: &mut dyn CommitContext) -> Result<Vec<NewEvent>> {
        let folded = moment.folded(&perform.entity)?;
        let asked = VerbContext { perform, folded, moment: RefCell::new(moment) };
        perform.check_actor(&self.actors).map_err(|why| asked.refusal(why))?;
        // What it looked at is thrown away with it: nothing of ours is left half-done.
        let decided = catch_unwind(AssertUnwindSafe(|| (self.decide)(&asked)));
        decided.unwrap_or_else(|_| {
            let name = NameText(&self.name);
            Err(Error::stopped(format!("the verb {name} panicked as it decided; nothing was written")))
        })
    }
}

impl Db {
    /// Adds a verb of the program's own. It holds for all handles of this database, until it is closed.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is a verb of that name, added or defined.
    pub fn add_verb(&self, verb: Verb) -> Result<()> {
        let name = verb.name.clone();
        // A kind that no entity can be of would never be performed on.
        Entity::new(&verb.kind, "x")?;
        if name.is_empty() {
            return Err(Error::invalid("the name of a verb", "a name that is not empty", "''"));
        }
        self.store().add_verb(&name, Arc::new(verb))
    }
}
