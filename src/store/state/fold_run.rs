//! A fold under way: events that are only merged are put together as they are stored, and decoded where the state is asked for.
//!
//! What comes of it is what [`Folded::add`] makes of the same events one after another, faults and all; tests compare the two.

use super::fold::{Fold, Folded};
use crate::allowance::Limits;
use crate::document::patch::ComposedPatch;
use crate::error::Result;
use crate::event::record::Record;
use crate::value::Value;

/// Folds one event after another into what was folded before.
#[derive(Debug)]
pub(crate) struct FoldRun<'f> {
    fold: &'f dyn Fold,
    limits: Limits,
    /// All but what is pending.
    folded: Folded,
    /// What is to be merged into the state yet.
    pending: ComposedPatch,
}

impl<'f> FoldRun<'f> {
    pub fn new(folded: Folded, fold: &'f dyn Fold, limits: Limits) -> FoldRun<'f> {
        FoldRun { fold, limits, folded, pending: ComposedPatch::default() }
    }

    /// Folds the next event in; tells whether it is late.
    ///
    /// # Errors
    /// If somebody ends it: then this is of no use any more.
    pub fn add(&mut self, event: &Record, own: bool) -> Result<bool> {
        if self.compose(event, own)? {
            return Ok(self.folded.count(self.fold, event, own));
        }
        self.settle()?;
        self.folded.add(self.fold, event, own, &self.limits)
    }

    /// Puts the data of the event behind what is pending, if to merge it is all that it makes, and nothing can go wrong with that.
    fn compose(&mut self, event: &Record, own: bool) -> Result<bool> {
        let begins = self.pending.is_empty() && matches!(self.folded.state, Value::Null);
        if self.folded.fault.is_some() || !self.fold.merges(event, own, begins) {
            return Ok(false);
        }
        let (data, before) = (event.data(), self.folded.weight);
        if !self.folded.weight.grow_by_stored(data.0.len(), &self.limits) {
            return Ok(false);
        }
        if !self.pending.add(data) {
            self.folded.weight = before;
            return Ok(false);
        }
        if self.pending.is_full() {
            self.settle()?;
        }
        Ok(true)
    }

    /// Merges what is pending.
    fn settle(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            Ok(())
        } else {
            std::mem::take(&mut self.pending).apply_to(&mut self.folded.state)
        }
    }

    /// What was folded so far.
    pub fn folded(&mut self) -> Result<&Folded> {
        self.settle()?;
        Ok(&self.folded)
    }

    /// The same, in the end.
    pub fn finish(mut self) -> Result<Folded> {
        self.settle()?;
        Ok(self.folded)
    }

    /// The version by now.
    pub fn version(&self) -> u64 {
        self.folded.version
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fold::{Effect, Include, Plain, merged};
    use super::*;
    use crate::allowance::Unmade;
    use crate::entity::{Position, Version};
    use crate::event::codec::{self, Assigned};
    use crate::event::{EventId, NewEvent};
    use crate::time::Timestamp;
    use crate::value::Object;
    use crate::value::tests::any_value;

    /// What a definition may say: merging into something to begin with, adding to what there is, ignoring, deleting, failing.
    #[derive(Debug)]
    struct Rules;

    impl Fold for Rules {
        fn apply(
            &self,
            state: &mut Value,
            event: &Record,
            own: bool,
            limits: &Limits,
        ) -> Result<u64, Unmade> {
            match event.kind() {
                "T.ignored" => {}
                "T.failed" => return Err(Unmade::Fault("it failed".to_owned())),
                "T.copied" => {
                    let copy = state.clone();
                    let growth = copy.weight() as u64 + 100;
                    state.merge(Value::Object(Object::from_iter([("copy".to_owned(), copy)])));
                    return Ok(growth);
                }
                kind if self.effect(kind, own) == Effect::Deletes => *state = Value::Null,
                _ => {
                    let (data, mut growth) = merged(event, limits)?;
                    if *state == Value::Null {
                        *state = Value::Object(Object::from_iter([("initial".to_owned(), Value::from(1))]));
                        growth += state.weight() as u64;
                    }
                    state.merge(data);
                    return Ok(growth);
                }
            }
            Ok(0)
        }

        fn merges(&self, event: &Record, _: bool, begins: bool) -> bool {
            !begins && event.kind() == "T.merged"
        }

        fn effect(&self, kind: &str, _: bool) -> Effect {
            match kind {
                "T.ignored" => Effect::Nothing,
                "T.deleted" => Effect::Deletes,
                _ => Effect::Makes,
            }
        }

        fn includes(&self) -> &[Include] {
            &[]
        }

        fn every(&self) -> u64 {
            3
        }

        fn namespace(&self) -> Option<&str> {
            None
        }
    }

    fn any_data() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![Just(Value::Null), (0i64..3).prop_map(Value::from), any_value()];
        let object = |leaf: BoxedStrategy<Value>| {
            prop::collection::vec(("[a-c]", leaf), 0..4).prop_map(|members| members.into_iter().collect())
        };
        let inner = prop_oneof![leaf.clone(), object(leaf.boxed()).prop_map(Value::Object)];
        let data = prop::collection::vec(("[a-d]|initial|copy", inner), 0..5)
            .prop_map(|members| rmp_serde::to_vec(&members.into_iter().collect::<Object>()).unwrap());
        let wide = (20usize..50).prop_map(|count| {
            let members: Object = (0..count).map(|n| (format!("m{n}"), Value::from(n as u64))).collect();
            rmp_serde::to_vec(&members).unwrap()
        });
        prop_oneof![
            20 => data,
            1 => wide,
            // A key that is there twice, a number that is none, text that is none, no object.
            1 => Just(vec![0x82, 0xa1, b'a', 1, 0xa1, b'a', 2]),
            1 => Just([&[0x81, 0xa1, b'a', 0xcb][..], &f64::NAN.to_be_bytes()].concat()),
            1 => Just(vec![0x81, 0xa1, b'a', 0xa1, 0xff]),
            1 => Just(vec![0x92, 1, 2]),
            1 => Just(vec![0x81]),
        ]
    }

    fn stored(kind: &str, data: &[u8], position: u64, minute: i64) -> Vec<u8> {
        let new = NewEvent::new(kind).on(("T", 1)).at(Timestamp::from_millis(minute * 60_000));
        let assigned = Assigned {
            position: Position(position),
            version: Version(position),
            id: &EventId::new("018f2f6e-7a30-7000-8000-000000000001").unwrap(),
            own_id: true,
            recorded: Timestamp::from_millis(1_700_000_000_123),
            seal: None,
        };
        let mut out = Vec::new();
        codec::encode(&mut out, &new, new.kind.as_ref().unwrap(), new.owner(), &assigned);
        Record::open(Position(position), &out).unwrap().with_data(data)
    }

    proptest! {
        #[test]
        fn a_run_makes_what_folding_one_by_one_makes(
            events in prop::collection::vec(
                (
                    prop_oneof![
                        12 => Just("T.merged"), 1 => Just("T.ignored"), 1 => Just("T.copied"), 1 => Just("T.failed"),
                        1 => Just("T.deleted"),
                    ],
                    any_data(),
                    0i64..50,
                    prop::bool::weighted(0.8),
                ),
                0..30,
            ),
            plain: bool,
            looked_at in prop::collection::vec(0usize..30, 0..4),
            largest in prop_oneof![3 => Just(16usize << 20), 2 => 200usize..3000],
        ) {
            let fold: &dyn Fold = if plain { &Plain } else { &Rules };
            let limits = Limits::new(largest, &crate::cancel::Cancel::new());
            let mut expected = Folded::default();
            let mut run = FoldRun::new(Folded::default(), fold, limits.clone());
            for (at, (kind, data, minute, own)) in events.iter().enumerate() {
                let position = at as u64 + 1;
                let bytes = stored(kind, data, position, *minute);
                let event = Record::open(Position(position), &bytes).unwrap();
                let late = expected.add(fold, &event, *own, &limits).unwrap();
                prop_assert_eq!(run.add(&event, *own).unwrap(), late);
                prop_assert_eq!(run.version(), expected.version);
                if looked_at.contains(&at) {
                    let folded = run.folded().unwrap();
                    prop_assert_eq!(folded, &expected);
                    prop_assert_eq!(folded.encode().unwrap(), expected.encode().unwrap());
                }
            }
            let folded = run.finish().unwrap();
            prop_assert_eq!(&folded, &expected);
            // The order of members, too.
            prop_assert_eq!(folded.encode().unwrap(), expected.encode().unwrap());
        }
    }
}
