//! Trying aggregates without a database: what happened, what is asked for, what happens then.
//!
//! ```
//! use bygone::testing::{given, given_nothing};
//! # use bygone::{Aggregate, Decide, Event, Result};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default)]
//! # struct Account { balance: i64 }
//! # #[derive(Serialize, Deserialize)]
//! # #[serde(tag = "type", content = "data", rename_all = "camelCase")]
//! # enum AccountEvent { Deposited { amount: i64 }, Withdrawn { amount: i64 } }
//! # use AccountEvent::{Deposited, Withdrawn};
//! # struct Withdraw(i64);
//! # #[derive(Debug, PartialEq)]
//! # struct NotEnough(i64);
//! # impl Aggregate for Account {
//! #     const KIND: &'static str = "Account";
//! #     fn apply(&mut self, event: &Event) -> Result<()> {
//! #         match event.parse()? {
//! #             Deposited { amount } => self.balance += amount,
//! #             Withdrawn { amount } => self.balance -= amount,
//! #         }
//! #         Ok(())
//! #     }
//! # }
//! # impl Decide for Account {
//! #     type Command = Withdraw;
//! #     type Event = AccountEvent;
//! #     type Refusal = NotEnough;
//! #     fn decide(&self, &Withdraw(amount): &Withdraw) -> Result<Vec<AccountEvent>, NotEnough> {
//! #         if amount > self.balance { Err(NotEnough(self.balance)) } else { Ok(vec![Withdrawn { amount }]) }
//! #     }
//! # }
//!
//! given::<Account>([Deposited { amount: 50 }])
//!     .when(Withdraw(20))
//!     .then([Withdrawn { amount: 20 }])
//!     .then_state(|account| assert_eq!(account.balance, 30));
//!
//! given_nothing::<Account>().when(Withdraw(20)).then_refused(NotEnough(0));
//! ```
//!
//! What is not as expected panics, and tells the difference:
//!
//! ```text
//! what Account decided is not what was expected
//!     Account.deposited {"amount":50}
//!   - Account.withdrawn {"amount":20}
//!   + Account.withdrawn {"amount":25}
//!   (- expected, + found)
//! ```
//!
//! Events go the way they go in a database: written and read as JSON. They are those of one entity, of the id 1, and each occurs a second
//! after the one before.

use std::fmt::{Debug, Write};

use crate::aggregate::{Aggregate, Decide, unfoldable};
use crate::entity::{Entity, Position, Version};
use crate::error::Result;
use crate::event::{Event, EventId, NewEvent};
use crate::time::Timestamp;

/// An aggregate to which something happened before.
#[derive(Debug)]
pub struct Given<A> {
    state: A,
    /// How many events there are.
    count: u64,
}

/// What a command came to.
#[derive(Debug)]
#[must_use = "nothing is expected yet"]
pub struct When<A: Decide> {
    given: Given<A>,
    outcome: Result<Vec<A::Event>, A::Refusal>,
}

/// An aggregate to which these events happened.
///
/// # Panics
/// If one of them is no event that a database would take, or if it cannot be applied.
#[track_caller]
pub fn given<A: Decide>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut given = given_nothing();
    for event in events {
        given = given.and(NewEvent::typed(entity::<A>(), &event));
    }
    given
}

/// An aggregate to which nothing happened.
pub fn given_nothing<A: Aggregate>() -> Given<A> {
    Given { state: A::default(), count: 0 }
}

impl<A: Aggregate> Given<A> {
    /// Another event happened, of any type, and at any time.
    ///
    /// ```
    /// # use bygone::{Aggregate, Event, Result};
    /// # #[derive(Default)]
    /// # struct Account { opened: Option<bygone::Timestamp> }
    /// # impl Aggregate for Account {
    /// #     const KIND: &'static str = "Account";
    /// #     fn apply(&mut self, event: &Event) -> Result<()> {
    /// #         self.opened.get_or_insert(event.timestamp);
    /// #         Ok(())
    /// #     }
    /// # }
    /// use bygone::{NewEvent, testing::given_nothing};
    /// let day = "2024-01-01".parse()?;
    /// given_nothing::<Account>()
    ///     .and(NewEvent::new("Account.opened").at(day))
    ///     .then_state(|account| assert_eq!(account.opened, Some(day)));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Panics
    /// If it is no event that a database would take, or if it cannot be applied.
    #[track_caller]
    pub fn and(mut self, event: NewEvent) -> Given<A> {
        let entity = entity::<A>();
        let applied = happened(event, &entity, self.count + 1)
            .and_then(|event| self.state.apply(&event).map_err(|why| unfoldable(&entity, &event, &why)));
        if let Err(error) = applied {
            panic!("{error}");
        }
        self.count += 1;
        self
    }

    /// Looks at what the events made.
    pub fn then_state(self, look: impl FnOnce(&A)) -> Given<A> {
        look(&self.state);
        self
    }
}

impl<A: Decide> Given<A> {
    /// This is asked for.
    pub fn when(self, command: A::Command) -> When<A> {
        let outcome = self.state.decide(&command);
        When { given: self, outcome }
    }
}

impl<A: Decide<Refusal: Debug>> When<A> {
    /// These events happen then, and no others. Afterwards they have happened: something else can be asked for.
    ///
    /// # Panics
    /// If others do, or if it is refused; also if what happened cannot be applied.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let expected: Vec<NewEvent> = events.into_iter().map(typed::<A>).collect();
        let found: Vec<NewEvent> = match self.outcome {
            Ok(events) => events.into_iter().map(typed::<A>).collect(),
            Err(refusal) => {
                let told = difference(&lines(&expected), &[format!("refused: {refusal:?}")]);
                panic!("{} refused what was expected to happen{told}", A::KIND);
            }
        };
        let same = |(expected, found): (&NewEvent, &NewEvent)| {
            (&expected.kind, &expected.data) == (&found.kind, &found.data)
        };
        if expected.len() != found.len() || !expected.iter().zip(&found).all(same) {
            let told = difference(&lines(&expected), &lines(&found));
            panic!("what {} decided is not what was expected{told}", A::KIND);
        }
        let mut given = self.given;
        for event in found {
            given = given.and(event);
        }
        given
    }

    /// It is refused, for this reason. Nothing has happened then: something else can be asked for.
    ///
    /// # Panics
    /// If it is not, or for another reason.
    #[track_caller]
    pub fn then_refused(self, expected: A::Refusal) -> Given<A>
    where
        A::Refusal: PartialEq,
    {
        let reason = format!("refused: {expected:?}");
        self.refused(&reason, |refusal| *refusal == expected)
    }

    /// It is refused, for a reason that is recognized so, where reasons cannot be compared, or not wholly.
    ///
    /// ```
    /// # use bygone::{Aggregate, Decide, Event, Result};
    /// # #[derive(Default)]
    /// # struct Door;
    /// # impl Aggregate for Door {
    /// #     const KIND: &'static str = "Door";
    /// #     fn apply(&mut self, _: &Event) -> Result<()> { Ok(()) }
    /// # }
    /// # impl Decide for Door {
    /// #     type Command = ();
    /// #     type Event = ();
    /// #     type Refusal = String;
    /// #     fn decide(&self, _: &()) -> Result<Vec<()>, String> { Err("it is locked".to_owned()) }
    /// # }
    /// use bygone::testing::given_nothing;
    /// given_nothing::<Door>().when(()).then_refused_if(|reason| reason.contains("locked"));
    /// ```
    ///
    /// # Panics
    /// If it is not, or for another reason.
    #[track_caller]
    pub fn then_refused_if(self, is_expected: impl FnOnce(&A::Refusal) -> bool) -> Given<A> {
        self.refused("refused, as was said", is_expected)
    }

    #[track_caller]
    fn refused(self, reason: &str, is_expected: impl FnOnce(&A::Refusal) -> bool) -> Given<A> {
        match self.outcome {
            Err(refusal) if is_expected(&refusal) => self.given,
            Err(refusal) => {
                let told = difference(&[reason.to_owned()], &[format!("refused: {refusal:?}")]);
                panic!("{} refused, but not as expected{told}", A::KIND);
            }
            Ok(events) => {
                let found: Vec<NewEvent> = events.into_iter().map(typed::<A>).collect();
                let told = difference(&[reason.to_owned()], &lines(&found));
                panic!("{} did not refuse what was expected to be refused{told}", A::KIND);
            }
        }
    }
}

/// The entity that it is all about.
fn entity<A: Aggregate>() -> Entity {
    (A::KIND, 1).into()
}

#[track_caller]
fn typed<A: Decide>(event: A::Event) -> NewEvent {
    let event = NewEvent::typed(entity::<A>(), &event);
    if let Err(error) = event.checked() {
        panic!("{error}");
    }
    event
}

/// The nth event of an entity, as if it were in a log.
fn happened(event: NewEvent, entity: &Entity, nth: u64) -> Result<Event> {
    let kind = event.checked()?.clone();
    let recorded = Timestamp::from_millis(nth as i64 * 1000);
    let id = match event.id {
        Some(id) => id,
        None => EventId::new(&format!("{entity} {nth}"))?,
    };
    Ok(Event {
        position: Position(nth),
        version: Some(Version(nth)),
        id,
        kind,
        timestamp: event.timestamp.unwrap_or(recorded),
        recorded,
        target: Some(entity.clone()),
        actor: event.actor,
        producer: event.producer,
        cause: event.cause,
        correlation: event.correlation,
        namespace: event.namespace,
        tags: event.tags,
        key: event.key,
        own_id: false,
        seal: None,
        data: event.data,
        metadata: event.metadata,
        forgotten: None,
    })
}

/// Events, one a line.
fn lines(events: &[NewEvent]) -> Vec<String> {
    let kind = |event: &NewEvent| event.kind.as_ref().map(ToString::to_string).unwrap_or_default();
    events.iter().map(|event| format!("{} {}", kind(event), event.data)).collect()
}

/// What was expected, against what was found, line by line.
fn difference(expected: &[String], found: &[String]) -> String {
    let same = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let mut told = String::new();
    let signs = [(' ', &expected[..same]), ('-', &expected[same..]), ('+', &found[same..])];
    for (sign, line) in signs.into_iter().flat_map(|(sign, lines)| lines.iter().map(move |line| (sign, line)))
    {
        // A text takes all that is written to it.
        let _ = write!(told, "\n  {sign} {line}");
    }
    let nothing = |lines: &[String]| if lines.is_empty() { " nothing" } else { "" };
    let _ = write!(told, "\n  (- expected{}, + found{})", nothing(expected), nothing(found));
    told
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default)]
    struct Lamp {
        on: bool,
        switched: u32,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    enum LampEvent {
        SwitchedOn {
            by: String,
        },
        SwitchedOff,
        /// One that it says happens, and cannot apply.
        Burst,
    }
    use LampEvent::{Burst, SwitchedOff, SwitchedOn};

    enum Switch {
        On,
        Off,
        Twice,
        Burst,
    }

    #[derive(Debug, PartialEq)]
    enum No {
        IsOn,
        IsOff { switched: u32 },
    }

    fn on(by: &str) -> LampEvent {
        SwitchedOn { by: by.to_owned() }
    }

    impl Aggregate for Lamp {
        const KIND: &'static str = "Lamp";

        fn apply(&mut self, event: &Event) -> Result<()> {
            self.on = match event.parse()? {
                SwitchedOn { .. } => true,
                SwitchedOff => false,
                Burst => return Err(crate::Error::invalid("a lamp", "one that is whole", "none")),
            };
            self.switched += 1;
            Ok(())
        }
    }

    impl Decide for Lamp {
        type Command = Switch;
        type Event = LampEvent;
        type Refusal = No;

        fn decide(&self, command: &Switch) -> Result<Vec<LampEvent>, No> {
            match command {
                Switch::On if self.on => Err(No::IsOn),
                Switch::On => Ok(vec![on("ann")]),
                Switch::Off if !self.on => Err(No::IsOff { switched: self.switched }),
                Switch::Off => Ok(vec![SwitchedOff]),
                Switch::Twice => Ok(vec![on("ann"), SwitchedOff]),
                Switch::Burst => Ok(vec![Burst]),
            }
        }
    }

    /// What a test that fails says.
    fn failure<T>(test: impl FnOnce() -> T) -> String {
        let panic = catch_unwind(AssertUnwindSafe(test)).err().expect("a panic");
        panic.downcast_ref::<String>().expect("a message").clone()
    }

    #[test]
    fn what_is_as_expected_goes_on() {
        given([on("ben")])
            .when(Switch::On)
            .then_refused(No::IsOn)
            .when(Switch::Off)
            .then([SwitchedOff])
            .when(Switch::Off)
            .then_refused_if(|no| matches!(no, No::IsOff { .. }))
            .when(Switch::Twice)
            .then([on("ann"), SwitchedOff])
            .then_state(|lamp: &Lamp| assert_eq!((lamp.on, lamp.switched), (false, 4)));
    }

    #[test]
    fn what_is_not_as_expected_tells_the_difference() {
        let other = failure(|| given_nothing::<Lamp>().when(Switch::Twice).then([on("ann"), on("ben")]));
        assert_eq!(
            other,
            "what Lamp decided is not what was expected\n    Lamp.switchedOn {\"by\":\"ann\"}\n  \
             - Lamp.switchedOn {\"by\":\"ben\"}\n  + Lamp.switchedOff {}\n  (- expected, + found)"
        );
        let fewer = failure(|| given_nothing::<Lamp>().when(Switch::Twice).then([]));
        assert!(fewer.ends_with("+ Lamp.switchedOff {}\n  (- expected nothing, + found)"), "{fewer}");
        let more = failure(|| given_nothing::<Lamp>().when(Switch::On).then([on("ann"), SwitchedOff]));
        assert!(more.ends_with("- Lamp.switchedOff {}\n  (- expected, + found)"), "{more}");
        let refused = failure(|| given_nothing::<Lamp>().when(Switch::Off).then([SwitchedOff]));
        assert!(refused.contains("+ refused: IsOff { switched: 0 }"), "{refused}");
        let taken = failure(|| given_nothing::<Lamp>().when(Switch::On).then_refused(No::IsOn));
        assert!(taken.contains("- refused: IsOn\n  + Lamp.switchedOn"), "{taken}");
        let otherwise =
            failure(|| given_nothing::<Lamp>().when(Switch::Off).then_refused(No::IsOff { switched: 1 }));
        assert!(otherwise.contains("+ refused: IsOff { switched: 0 }"), "{otherwise}");
        let unlike =
            failure(|| given_nothing::<Lamp>().when(Switch::Off).then_refused_if(|no| *no == No::IsOn));
        assert!(unlike.contains("not as expected"), "{unlike}");
    }

    #[test]
    fn what_cannot_be_applied_is_told() {
        let decided = failure(|| given_nothing::<Lamp>().when(Switch::Burst).then([Burst]));
        assert!(
            decided.contains("Lamp 1 has no state: Lamp.burst at #1 could not be folded in"),
            "{decided}"
        );
        let unknown = failure(|| given_nothing::<Lamp>().and(NewEvent::new("Lamp.sold")));
        assert!(unknown.contains("unknown variant `sold`"), "{unknown}");
        let nameless = failure(|| given_nothing::<Lamp>().and(NewEvent::new("sold")));
        assert!(nameless.contains("a prefix, a dot and a name"), "{nameless}");
    }
}
