//! The clock of an entity: how many events of its history were made on which node.
//!
//! An event that the entity itself made elsewhere carries a vector clock: it is merged in. Any other of its own events was made
//! here. Which node that is, only the database knows, and a fold does not ask it: the plain events are counted apart, and of each node
//! in a vector is kept by how much it was ahead of them. As if every plain event were a node's own, its count is then
//! `max(plain, plain + ahead)`: whatever a vector was ahead at its time, it stays ahead by.

use std::collections::BTreeMap;

use crate::error::shorten;
use crate::event::VectorClock;
use crate::event::record::Record;
use crate::store::index::posting::{put, take};

/// How many events were made on which node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NodeClocks {
    /// Events without a vector of the entity itself.
    plain: u64,
    nodes: BTreeMap<String, NodeClock>,
}

/// What the vectors say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NodeClock {
    /// The largest count.
    count: u64,
    /// By how much a count was more than the plain events by then, at most.
    ahead: i64,
}

impl NodeClocks {
    /// Counts one of the entity's own events.
    pub fn add(&mut self, event: &Record) {
        match own_vector(event) {
            Some(vector) => self.merge(&vector),
            None => self.plain = self.plain.saturating_add(1),
        }
    }

    /// Takes in what a vector clock says: of each node the larger count.
    pub fn merge(&mut self, vector: &VectorClock) {
        for (node, count) in vector.iter() {
            // No count is beyond what an i64 holds, and no log has as many events.
            let ahead = (count as i64).saturating_sub(i64::try_from(self.plain).unwrap_or(i64::MAX));
            match self.nodes.get_mut(node) {
                Some(seen) => {
                    *seen = NodeClock { count: seen.count.max(count), ahead: seen.ahead.max(ahead) }
                }
                None => drop(self.nodes.insert(node.to_owned(), NodeClock { count, ahead })),
            }
        }
    }

    /// How many events a node has made, if it is the one where the plain ones were made.
    pub fn count(&self, node: &str) -> u64 {
        let ahead = self.nodes.get(node).map_or(0, |seen| seen.ahead.max(0));
        self.plain.saturating_add(ahead.unsigned_abs())
    }

    /// The vector clock, as the node tells it where the plain events were made.
    pub fn vector(&self, node: &str) -> VectorClock {
        let mut vector = VectorClock::new();
        for (node, seen) in &self.nodes {
            vector.set(node, seen.count);
        }
        vector.set(node, self.count(node));
        vector
    }

    /// The vector clock of the next event that is made on that node.
    pub fn next(&self, node: &str) -> VectorClock {
        let mut vector = self.vector(node);
        vector.set(node, self.count(node).saturating_add(1));
        vector
    }

    /// Whether the next of the entity's own events can have a vector clock, seen from a node. Made there it is the next one exactly; made
    /// elsewhere it knows of no event of that node that is not here. Else this says what was expected.
    pub fn admits(&self, node: &str, vector: &VectorClock) -> Result<(), String> {
        let (here, said) = (self.count(node), vector.get(node));
        match said.checked_sub(here) {
            None | Some(0) => Ok(()),
            Some(1) => {
                let next = self.next(node);
                if *vector == next {
                    Ok(())
                } else {
                    Err(format!("{}, the next that is made here", shorten(&next.to_string())))
                }
            }
            Some(_) => Err(format!("at most {} for {node}, which is this database", here.saturating_add(1))),
        }
    }

    /// Appends its stored form: the plain events, the number of nodes, and of each the length of its name, its name, its count and by how
    /// much it was ahead, the sign in the last bit.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.plain);
        put(out, self.nodes.len() as u64);
        for (node, seen) in &self.nodes {
            put(out, node.len() as u64);
            out.extend_from_slice(node.as_bytes());
            put(out, seen.count);
            put(out, ((seen.ahead << 1) ^ (seen.ahead >> 63)) as u64);
        }
    }

    /// Reads what was stored, and takes it off the bytes; none where they are no clock.
    pub fn decode(bytes: &mut &[u8]) -> Option<NodeClocks> {
        let plain = take(bytes)?;
        let mut nodes = BTreeMap::new();
        for _ in 0..take(bytes)? {
            let length = usize::try_from(take(bytes)?).ok()?;
            let (node, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            let (count, ahead) = (take(bytes)?, take(bytes)?);
            let ahead = (ahead >> 1) as i64 ^ -((ahead & 1) as i64);
            nodes.insert(std::str::from_utf8(node).ok()?.to_owned(), NodeClock { count, ahead });
        }
        Some(NodeClocks { plain, nodes })
    }
}

/// The vector clock of an event that its target itself has made.
pub(crate) fn own_vector(event: &Record) -> Option<VectorClock> {
    let producer = event.producer()?;
    // A text that is none is damage, which whoever reads the event whole is told of.
    producer.vector.filter(|_| event.target() == Some(producer.model))?.parse().ok()
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entity::{Entity, Position, Version};
    use crate::event::codec::{self, Assigned};
    use crate::event::{EventId, NewEvent, Producer};
    use crate::time::Timestamp;

    /// An event of an order: who made it, and with which vector.
    fn stored(producer: Option<(Entity, VectorClock)>) -> Vec<u8> {
        let mut new = NewEvent::new("Order.paid").on(("Order", 1));
        if let Some((model, vector)) = producer {
            new = new.produced_by(Producer { model, version: None, vector: Some(vector) });
        }
        let id = EventId::from_uuid([1; 16]);
        let assigned = Assigned {
            position: Position(1),
            version: Version(1),
            id: &id,
            own_id: true,
            recorded: Timestamp::MIN,
            seal: None,
        };
        let mut out = Vec::new();
        codec::encode(&mut out, &new, new.checked().unwrap(), new.owner(), &assigned);
        out
    }

    fn any_vector() -> impl Strategy<Value = VectorClock> {
        prop::collection::btree_map("[abc]", prop_oneof![1u64..6, 1..=VectorClock::MOST / 3], 1..4).prop_map(
            |counts| {
                counts
                    .into_iter()
                    .fold(VectorClock::new(), |vector, (node, count)| vector.with(&node, count).unwrap())
            },
        )
    }

    pub fn any_clock() -> impl Strategy<Value = NodeClocks> {
        let seen = (any::<u64>(), any::<i64>()).prop_map(|(count, ahead)| NodeClock { count, ahead });
        (any::<u64>(), prop::collection::btree_map(".{0,4}", seen, 0..4))
            .prop_map(|(plain, nodes)| NodeClocks { plain, nodes })
    }

    proptest! {
        #[test]
        fn it_is_what_a_map_is_that_is_walked_over_the_events_by_one_who_knows_the_node(
            events in prop::collection::vec(
                (prop_oneof![3 => Just(None), 2 => any_vector().prop_map(Some)], prop::bool::weighted(0.8)),
                0..20,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            for here in ["a", "b", "z"] {
                let (mut model, mut clock) = (std::collections::BTreeMap::new(), NodeClocks::default());
                for (at, (vector, own)) in events.iter().enumerate() {
                    let maker: Entity = if *own { ("Order", 1).into() } else { ("Till", 1).into() };
                    let next: std::collections::BTreeMap<_, _> = {
                        let mut next = model.clone();
                        *next.entry(here.to_owned()).or_insert(0) += 1;
                        next
                    };
                    let told: std::collections::BTreeMap<_, _> =
                        clock.next(here).iter().map(|(node, count)| (node.to_owned(), count)).collect();
                    prop_assert_eq!(told, next);
                    match vector {
                        Some(vector) if *own => {
                            for (node, count) in vector.iter() {
                                let known = model.entry(node.to_owned()).or_insert(0);
                                *known = count.max(*known);
                            }
                        }
                        _ => *model.entry(here.to_owned()).or_insert(0) += 1,
                    }
                    let bytes = stored(vector.clone().map(|vector| (maker, vector)));
                    clock.add(&Record::open(Position(1), &bytes).unwrap());
                    if cut.index(events.len()) == at {
                        // Kept, and gone on from there.
                        let mut kept = Vec::new();
                        clock.encode(&mut kept);
                        clock = NodeClocks::decode(&mut kept.as_slice()).unwrap();
                    }
                    let told: std::collections::BTreeMap<_, _> =
                        clock.vector(here).iter().map(|(node, count)| (node.to_owned(), count)).collect();
                    prop_assert_eq!(&told, &model);
                }
            }
        }

        #[test]
        fn what_is_stored_is_read_again(clock in any_clock(), rest in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            clock.encode(&mut bytes);
            bytes.extend_from_slice(&rest);
            let mut left = bytes.as_slice();
            prop_assert_eq!(NodeClocks::decode(&mut left), Some(clock));
            prop_assert_eq!(left, rest);
        }

        #[test]
        fn any_clock_has_a_vector(clock in any_clock()) {
            let _ = (clock.vector("a"), clock.next("b"), clock.count("c"));
        }
    }
}
