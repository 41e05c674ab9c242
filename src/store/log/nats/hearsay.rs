//! What nodes tell each other beside the log: how far it goes, and who waits for a turn. Nothing depends on it but how soon it is looked, and
//! that nobody is always second.
//!
//! One lock, held for a moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::message::Writer;
use crate::store::mutex::{Condvar, Mutex, locked};

/// For how long somebody is given way who was second, after he said so.
const WAITING: Duration = Duration::from_millis(500);

/// How long whoever waits is given way, at most.
const TURN: Duration = Duration::from_millis(4);

/// How many are given way.
const MOST: usize = 16;

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub writer: Writer,
    /// The stream goes so far, by what he appended; 0 of who was second, and waits for a turn.
    pub sequence: u64,
}

impl Word {
    pub fn encode(self) -> Vec<u8> {
        [self.sequence.to_be_bytes().as_slice(), &self.writer.0].concat()
    }

    pub fn decode(bytes: &[u8]) -> Option<Word> {
        let (sequence, writer) = bytes.split_first_chunk::<8>()?;
        Some(Word { writer: Writer(writer.try_into().ok()?), sequence: u64::from_be_bytes(*sequence) })
    }
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    newest: u64,
    waiting: HashMap<Writer, Instant>,
}

impl Hearsay {
    pub fn hear(&self, word: Word) {
        let mut heard = locked(&self.heard);
        if word.sequence > 0 {
            heard.newest = heard.newest.max(word.sequence);
            heard.waiting.remove(&word.writer);
        } else if heard.waiting.len() < MOST {
            heard.waiting.insert(word.writer, Instant::now());
        }
        self.changed.notify_all();
    }

    pub fn newest(&self) -> u64 {
        locked(&self.heard).newest
    }

    /// Nothing is behind a sequence, whatever was heard.
    pub fn look(&self, sequence: u64) {
        let mut heard = locked(&self.heard);
        heard.newest = heard.newest.min(sequence);
    }

    /// Waits until somebody says that there is more than that; whether somebody did.
    pub fn wait_past(&self, sequence: u64, until: Instant) -> bool {
        let mut heard = locked(&self.heard);
        while heard.newest <= sequence {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            heard =
                self.changed.wait_timeout(heard, left).map_or_else(|e| e.into_inner().0, |(heard, _)| heard);
        }
        true
    }

    /// Gives way to those who wait for a turn, for a moment each.
    pub fn give_way(&self) {
        let mut heard = locked(&self.heard);
        heard.waiting.retain(|_, since| since.elapsed() < WAITING);
        let turns = u32::try_from(heard.waiting.len()).unwrap_or_default();
        let until = Instant::now() + TURN * turns;
        while !heard.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // They had their turns. Whoever still waits says so again.
                heard.waiting.clear();
                return;
            }
            heard =
                self.changed.wait_timeout(heard, left).map_or_else(|e| e.into_inner().0, |(heard, _)| heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Writer = Writer([1; 16]);
    const BOB: Writer = Writer([2; 16]);

    #[test]
    fn words_are_read() {
        let word = Word { writer: ANN, sequence: 7 };
        assert_eq!(Word::decode(&word.encode()), Some(word));
        assert_eq!(Word::decode(&word.encode()[1..]), None);
        assert_eq!(Word::decode(b""), None);
    }

    #[test]
    fn whoever_waits_is_told_or_gives_up() {
        let hearsay = Hearsay::default();
        assert!(!hearsay.wait_past(0, Instant::now()));
        hearsay.hear(Word { writer: ANN, sequence: 3 });
        hearsay.hear(Word { writer: ANN, sequence: 2 });
        assert!(hearsay.wait_past(2, Instant::now()) && !hearsay.wait_past(3, Instant::now()));
        hearsay.look(1);
        assert_eq!(hearsay.newest(), 1);
    }

    #[test]
    fn who_was_second_is_given_way_once() {
        let hearsay = Hearsay::default();
        let waited = || {
            let began = Instant::now();
            hearsay.give_way();
            began.elapsed() >= TURN
        };
        hearsay.hear(Word { writer: ANN, sequence: 0 });
        hearsay.hear(Word { writer: BOB, sequence: 0 });
        hearsay.hear(Word { writer: ANN, sequence: 9 });
        assert!(waited());
        hearsay.hear(Word { writer: BOB, sequence: 0 });
        hearsay.hear(Word { writer: BOB, sequence: 10 });
        assert!(locked(&hearsay.heard).waiting.is_empty());
        (0..100).for_each(|n| hearsay.hear(Word { writer: Writer([n; 16]), sequence: 0 }));
        assert_eq!(locked(&hearsay.heard).waiting.len(), MOST);
    }
}
