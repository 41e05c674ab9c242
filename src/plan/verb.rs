//! What is defined of a verb, with its names looked up.

use indexmap::IndexSet;

use super::expr::BoundExpr;
use super::field::Field;
use crate::entity::EventType;
use crate::error::shorten;
use crate::event::Expect;

/// What has to be so, and what then happens.
#[derive(Debug, Clone)]
pub(crate) struct VerbPlan {
    pub name: String,
    /// Of which entities.
    pub kind: String,
    /// The kinds of those who may; empty means anyone, and nobody too.
    pub actors: Vec<String>,
    /// What has to hold in any case.
    pub requires: Vec<Requirement>,
    /// The first that holds wins; never empty.
    pub cases: Vec<VerbCase>,
}

/// `WHEN condition REQUIRE … EMIT …`.
#[derive(Debug, Clone)]
pub(crate) struct VerbCase {
    /// None where there is no `WHEN`: it always holds, and is the only one.
    pub when: Option<BoundCondition>,
    pub requires: Vec<Requirement>,
    /// Never empty.
    pub emits: Vec<Emission>,
    pub forgets: Option<Oblivion>,
}

/// `FORGET subject BECAUSE text`, within a verb.
#[derive(Debug, Clone)]
pub(crate) struct Oblivion {
    /// The type of the event that says so.
    pub kind: EventType,
    pub subject: ForgottenSubject,
    pub because: Option<BoundExpr>,
    /// As it is written.
    pub text: String,
}

impl Oblivion {
    /// What to know of a reason that is read from a state: that may have private values.
    pub fn notice(&self) -> Option<String> {
        let mut of_state =
            |part: &BoundExpr| matches!(part, BoundExpr::Field(Field::State(_) | Field::ActorState(_)));
        self.because.as_ref().filter(|because| because.any(&mut of_state))?;
        Some(format!(
            "{}: what it reads of the state stays in the log in plain, private or not; a text, or data of PERFORM, says no more than it is \
             to",
            shorten(&self.text)
        ))
    }
}

/// Who is forgotten.
#[derive(Debug, Clone)]
pub(crate) enum ForgottenSubject {
    Target,
    Actor,
    Entity(Owned),
}

/// `REQUIRE condition ELSE text`.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    pub condition: BoundCondition,
    pub otherwise: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct BoundCondition {
    pub node: BoundExpr,
    /// As it is written.
    pub text: String,
    /// The names in it, each once: a field, or `NOW`.
    pub names: Vec<BoundExpr>,
}

/// `EMIT`, within a verb.
#[derive(Debug, Clone)]
pub(crate) struct Emission {
    pub kind: EventType,
    /// None: what the verb is performed on.
    pub owner: Option<Owned>,
    /// None: the arguments.
    pub data: Option<BoundExpr>,
    pub metadata: Option<BoundExpr>,
    /// Names with values; without one it is the member of `data`.
    pub index: Vec<(String, Option<BoundExpr>)>,
    pub expect: Vec<Expect>,
    /// As it is written.
    pub text: String,
}

/// An entity whose id is worked out.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub kind: String,
    pub id: BoundExpr,
    /// As it is written.
    pub text: String,
}

impl VerbPlan {
    /// Whether it looks at what the actor is.
    pub fn sees_actor(&self) -> bool {
        let requires =
            |requires: &[Requirement]| requires.iter().any(|require| require.condition.sees_actor());
        requires(&self.requires)
            || self.cases.iter().any(|case| {
                case.when.as_ref().is_some_and(BoundCondition::sees_actor)
                    || requires(&case.requires)
                    || case.emits.iter().any(Emission::sees_actor)
                    || case.forgets.as_ref().is_some_and(Oblivion::sees_actor)
            })
    }

    /// Whether it may forget somebody.
    pub fn forgets(&self) -> bool {
        self.cases.iter().any(|case| case.forgets.is_some())
    }

    /// The types of the events that it makes, each once.
    pub fn types(&self) -> Vec<&EventType> {
        let emitted = self.cases.iter().flat_map(|case| &case.emits).map(|emission| &emission.kind);
        let forgets = self.cases.iter().filter_map(|case| case.forgets.as_ref());
        let forgotten = forgets.map(|oblivion| &oblivion.kind);
        emitted.chain(forgotten).collect::<IndexSet<_>>().into_iter().collect()
    }
}

impl BoundCondition {
    pub fn new(node: BoundExpr, text: String) -> BoundCondition {
        let mut names: Vec<BoundExpr> = Vec::new();
        node.any(&mut |part| {
            if matches!(part, BoundExpr::Field(_) | BoundExpr::Now) && !names.contains(part) {
                names.push(part.clone());
            }
            false
        });
        BoundCondition { node, text, names }
    }

    /// Whether it always holds.
    pub fn is_true(&self) -> bool {
        self.node == BoundExpr::value(true)
    }

    fn sees_actor(&self) -> bool {
        sees_actor(&self.node)
    }
}

impl Oblivion {
    fn sees_actor(&self) -> bool {
        let id = match &self.subject {
            ForgottenSubject::Entity(owned) => Some(&owned.id),
            ForgottenSubject::Target | ForgottenSubject::Actor => None,
        };
        id.into_iter().chain(&self.because).any(sees_actor)
    }
}

impl Emission {
    fn sees_actor(&self) -> bool {
        let index = self.index.iter().filter_map(|(_, value)| value.as_ref());
        let owner = self.owner.iter().map(|owner| &owner.id);
        self.data.iter().chain(&self.metadata).chain(index).chain(owner).any(sees_actor)
    }
}

fn sees_actor(node: &BoundExpr) -> bool {
    node.any(&mut |part| matches!(part, BoundExpr::Field(Field::ActorState(_))))
}
