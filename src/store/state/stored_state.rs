//! Kept states: what an entity's events have made, as it is stored in a row of `states` or `snapshots`.
//!
//! | part | bytes |
//! |---|---|
//! | version, events, position, late, lateness | a varint each |
//! | lowest | a varint, the sign in its last bit |
//! | latest | 0, or 1 and its seconds (8, big-endian) and nanoseconds (4) |
//! | clock | as `clock.rs` tells it |
//! | fault | 0, or 1 and an array of what it says (position, type, why), in MessagePack, behind its length (varint) |
//! | state | MessagePack |
//!
//! The table adds a checksum. A state is read in place where only a part of it is asked for.

use super::fold::{FoldFault, Folded, Weight, too_large};
use super::vector_clock::NodeClocks;
use crate::allowance::Limits;
use crate::document::Raw;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::index::posting::{put, take};
use crate::time::Timestamp;
use crate::value::Value;

/// What is stored of a fold, without its state decoded.
#[derive(Debug, Clone)]
pub(crate) struct StoredState<'a> {
    pub version: u64,
    pub events: u64,
    pub position: Position,
    pub late: u64,
    pub lateness: u64,
    pub lowest: i64,
    pub latest: Option<Timestamp>,
    pub clock: NodeClocks,
    pub fault: Option<FoldFault>,
    pub state: Raw<'a>,
}

impl Folded {
    /// The bytes of a row.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(64);
        for number in [self.version, self.events, self.position.0, self.late, self.lateness] {
            put(&mut out, number);
        }
        put(&mut out, ((self.lowest << 1) ^ (self.lowest >> 63)) as u64);
        match self.latest {
            None => out.push(0),
            Some(latest) => {
                out.push(1);
                let (seconds, nanos) = latest.parts();
                out.extend_from_slice(&seconds.to_be_bytes());
                out.extend_from_slice(&nanos.to_be_bytes());
            }
        }
        self.clock.encode(&mut out);
        let unfit = |e: rmp_serde::encode::Error| Error::corrupt("a state", e.to_string());
        match &self.fault {
            None => out.push(0),
            Some(fault) => {
                out.push(1);
                let said = rmp_serde::to_vec(fault).map_err(unfit)?;
                put(&mut out, said.len() as u64);
                out.extend_from_slice(&said);
            }
        }
        rmp_serde::encode::write(&mut out, &self.state).map_err(unfit)?;
        Ok(out)
    }
}

impl<'a> StoredState<'a> {
    /// Reads a row.
    pub fn open(bytes: &'a [u8]) -> Result<StoredState<'a>> {
        StoredState::read(bytes)
            .ok_or_else(|| Error::corrupt("a kept state", format!("{} bytes that are none", bytes.len())))
    }

    /// Where the last of its events is, of a row that is not read otherwise.
    pub fn position_of(mut bytes: &[u8]) -> Option<Position> {
        let _ = (take(&mut bytes)?, take(&mut bytes)?);
        take(&mut bytes).map(Position)
    }

    fn read(mut bytes: &'a [u8]) -> Option<StoredState<'a>> {
        let bytes = &mut bytes;
        let (version, events, position) = (take(bytes)?, take(bytes)?, Position(take(bytes)?));
        let (late, lateness) = (take(bytes)?, take(bytes)?);
        let lowest = take(bytes)?;
        let lowest = (lowest >> 1) as i64 ^ -((lowest & 1) as i64);
        let latest = match byte(bytes)? {
            0 => None,
            _ => {
                let (seconds, nanos) = (chunk::<8>(bytes)?, chunk::<4>(bytes)?);
                Some(Timestamp::from_parts(i64::from_be_bytes(*seconds), i32::from_be_bytes(*nanos)).ok()?)
            }
        };
        let clock = NodeClocks::decode(bytes)?;
        let fault = match byte(bytes)? {
            0 => None,
            _ => {
                let length = usize::try_from(take(bytes)?).ok()?;
                let (said, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Some(rmp_serde::from_slice(said).ok()?)
            }
        };
        let state = Raw(bytes);
        Some(StoredState { version, events, position, late, lateness, lowest, latest, clock, fault, state })
    }

    /// Why there is no state: an event could not be folded in, or the state was made where more was allowed.
    pub fn faulty(&self, limits: &Limits) -> Option<FoldFault> {
        let fits = || {
            Weight::stored(self.state.0.len()).fits(limits) || self.state.weight() as u64 <= limits.largest()
        };
        if self.fault.is_some() || fits() {
            return self.fault.clone();
        }
        Some(FoldFault {
            position: self.position,
            kind: "what came before".to_owned(),
            why: too_large("one", self.state.weight() as u64, limits),
        })
    }

    /// All of it, decoded.
    pub fn to_folded(&self, limits: &Limits) -> Result<Folded> {
        let weight = Weight::stored(self.state.0.len());
        let fault = self.faulty(limits);
        let fits = fault == self.fault;
        Ok(Folded {
            state: if fits { self.state.to_value()? } else { Value::Null },
            weight,
            version: self.version,
            events: self.events,
            position: self.position,
            latest: self.latest,
            late: self.late,
            lateness: self.lateness,
            lowest: self.lowest,
            clock: self.clock.clone(),
            fault,
        })
    }
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn chunk<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::state::vector_clock::tests::any_clock;
    use crate::value::tests::any_value;

    proptest! {
        #[test]
        fn what_is_kept_is_read_again(
            state in any_value(),
            numbers in any::<(u64, u64, u64, u64)>(),
            latest in any::<Option<u32>>(),
            clock in any_clock(),
            fault in prop::option::of("[a-z ]*"),
        ) {
            let folded = Folded {
                state,
                version: numbers.0,
                events: numbers.1,
                position: Position(numbers.2),
                late: numbers.3,
                lateness: numbers.3 / 3,
                lowest: numbers.2 as i64,
                latest: latest.map(|at| Timestamp::from_millis(i64::from(at) - 1_000_000_000)),
                clock,
                fault: fault.map(|why| FoldFault { position: Position(numbers.0), kind: "Order.paid".to_owned(), why }),
                weight: Weight::default(),
            };
            prop_assert_eq!(StoredState::open(&folded.encode().unwrap()).unwrap().to_folded(&Limits::default()).unwrap(), folded);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(kept) = StoredState::open(&bytes) {
                let _ = kept.to_folded(&Limits::default());
            }
        }
    }
}
