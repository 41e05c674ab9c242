//! Reading the journal of a session that did not end: what is believed, what is cut, what is corruption.
//!
//! 1. Each segment is *walked* from its start, for that is where its last use begins: frames of the session with
//!    right checksums, each numbered one higher than the one before. A lower number is a *ghost* of an earlier
//!    use, an end mark is the end; anything else is a bad place.
//! 2. The two walks are *joined* by number: the session filled one segment, then the other.
//! 3. Where the joined walk ends, at position p, both segments are searched for any frame that proves that
//!    something stood there and was durable: one with `durable_through` ≥ p, or a later one that was written when
//!    everything before it was synced. If there is one, this is *corruption*. If not, the log ends here; and if
//!    the place is bad or later frames are seen, the log was *cut* here.
//!
//! Ghosts prove nothing: a segment is used again only after its tail was committed, so that their positions are at
//! most C, and their numbers are lower.
//!
//! **Limits.** If the very first frame of a segment is bad, that may be a torn write after a switch; so it proves
//! nothing against the other segment, whose frames may continue from C. Events cannot be lost by that, for their
//! positions would be missing. But if a tail was nothing but cursor moves, and the first of its frames is damaged
//! later, this is taken for a cut: the moves are lost, and their subscribers see some events again.

use std::path::Path;

use super::scan::{Place, Scan};
use super::segment::{self, Remnant, START};
use super::{Frame, Salt, Side};
use crate::error::{Error, Result};
use crate::store::disk::Disk;

/// The journal of a session that did not end, ready to be read.
#[derive(Debug)]
pub struct Replay {
    scans: [Scan; 2],
    runs: Vec<Run>,
    after: u64,
    cut: Option<Cut>,
}

/// Where the log was cut: what stands there and behind was never acknowledged as durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The position that would have come next.
    pub at: u64,
    /// What was found instead of it.
    pub reason: String,
}

/// Frames that follow each other in one segment, from its start.
#[derive(Debug, Clone, Copy)]
struct Run {
    side: Side,
    first_number: u64,
    next_number: u64,
    first_position: u64,
    next_position: u64,
    end: u64,
}

/// A segment as it was walked.
struct Walk {
    run: Option<Run>,
    /// Where the walk stopped.
    end: u64,
    /// Why it stopped, if that was not an end mark or a ghost.
    bad: Option<&'static str>,
}

/// Where the log ends, as far as the walks tell.
struct End {
    number: u64,
    position: u64,
    place: String,
    bad: Option<&'static str>,
}

/// What the rest of the segments says about the end of the log.
enum Proof {
    /// Something durable stood there, says the frame at this place.
    Durable(String),
    /// Later frames were written, but nothing says that they were durable.
    Later,
    None,
}

impl Replay {
    /// Reads both segments, which must be the ones of the session with this salt, and decides where the log ends.
    /// Frames up to the position `after` (what the database holds already) are skipped. Nothing is written.
    ///
    /// # Errors
    /// The error is one of corruption if something is missing or damaged that was durable, and says where.
    pub fn open(disk: &dyn Disk, database: &Path, salt: Salt, after: u64) -> Result<Replay> {
        expect_both(disk, database, salt)?;
        let scans = [Scan::open(disk, database, Side::A)?, Scan::open(disk, database, Side::B)?];
        let walks = [walk(&scans, Side::A, salt, after)?, walk(&scans, Side::B, salt, after)?];
        let (runs, end) = join(&scans, &walks, after);

        let cut = match proof(&scans, &runs, salt, &end)? {
            Proof::Durable(witness) => {
                let found = format!(
                    "position {} was durable, says the frame in {witness}, but {}",
                    end.position,
                    end.bad.unwrap_or("the log ends before it"),
                );
                return Err(Error::corrupt(end.place, found));
            }
            Proof::Later => Some(end.bad.unwrap_or("a frame is missing, though later ones were written")),
            Proof::None => end.bad,
        };
        let cut = cut.map(|reason| Cut { at: end.position, reason: format!("{}: {reason}", end.place) });
        Ok(Replay { scans, runs, after, cut })
    }

    /// The frames behind `after`, in order, one in memory at a time.
    ///
    /// Cursor moves that were made when `after` was the last position come again even if the database has them:
    /// all of them and in order, so that they end as they did.
    pub fn frames(&self) -> Frames<'_> {
        Frames { replay: self, run: 0, at: START }
    }

    /// The last position of the log: of the last frame, or `after`.
    #[cfg(test)]
    pub fn last_position(&self) -> u64 {
        self.runs.last().map_or(self.after, |run| self.after.max(run.next_position - 1)) // positions begin at 1
    }

    /// Where the log was cut, if it did not end cleanly.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }
}

/// Both segments are made before the salt is written down, and removed after it is struck out.
fn expect_both(disk: &dyn Disk, database: &Path, salt: Salt) -> Result<()> {
    let found = segment::find(disk, database)?;
    for side in Side::BOTH {
        let reason = match found.iter().find(|found| found.side == side).map(|found| &found.remnant) {
            Some(Remnant::Segment(header)) if salt.accepts(header.salt) => continue,
            Some(Remnant::Segment(_)) => "it belongs to another session".to_owned(),
            Some(Remnant::Foreign(reason)) => reason.clone(),
            Some(Remnant::Blank) => "its header is missing".to_owned(),
            None => "this half of the journal is missing".to_owned(),
        };
        let advice = "bring back both segments of the journal, or a copy of the database with its journal";
        return Err(Error::unopenable(&side.path(database), reason, advice));
    }
    Ok(())
}

/// Follows the frames of a segment from its start.
fn walk(scans: &[Scan; 2], side: Side, salt: Salt, after: u64) -> Result<Walk> {
    let scan = &scans[side.index()];
    let mut run: Option<Run> = None;
    let mut at = START;
    let bad = loop {
        let found = match scan.look(at)? {
            Place::End => break None,
            Place::Bad(reason) => break Some(reason),
            Place::Frame(found) => found,
        };
        let header = found.header;
        if !salt.accepts(header.salt) {
            break Some("the frame belongs to another session");
        }
        if let Some(run) = &run {
            if header.number < run.next_number {
                break None;
            }
            if (header.number, header.first) != (run.next_number, run.next_position) {
                break Some("the frame does not follow the one before it");
            }
        }
        if let Err(reason) = scan.check(&found)? {
            break Some(reason);
        }
        if header.first <= after && header.next() - 1 > after {
            let found = format!("a frame of the positions {} to {}", header.first, header.next() - 1);
            return Err(Error::corrupt(
                scan.name(at),
                format!("{found}, of which only those up to {after} were stored"),
            ));
        }
        at = found.end();
        let run = run.get_or_insert(Run {
            side,
            first_number: header.number,
            next_number: 0,
            first_position: header.first,
            next_position: 0,
            end: 0,
        });
        run.next_number = header.number + 1; // a decoded header's number is less than the highest
        run.next_position = header.next();
        run.end = at;
    };
    Ok(Walk { run, end: at, bad })
}

/// Puts the runs in order, and says where they end.
fn join(scans: &[Scan; 2], walks: &[Walk; 2], after: u64) -> (Vec<Run>, End) {
    let next = after.saturating_add(1);
    let mut runs: Vec<Run> = walks.iter().filter_map(|walk| walk.run).collect();
    runs.sort_by_key(|run| run.first_number);
    let place = |side: Side| scans[side.index()].name(walks[side.index()].end);
    let bad = |side: Side| walks[side.index()].bad;

    if let Some(first) = runs.first()
        && first.first_position > next
    {
        let bad = Some("the frames before this one are missing");
        let place = scans[first.side.index()].name(START);
        return (
            Vec::new(),
            End { number: first.first_number.saturating_sub(1), position: next, place, bad },
        );
    }
    if let [low, high] = runs[..] {
        let follows = (low.next_number, low.next_position) == (high.first_number, high.first_position);
        if !follows && low.next_position <= after && high.first_position <= next {
            // The lower one is damaged, but all of its tail is in the database already.
            runs.remove(0);
        } else if !follows {
            // A switch syncs what it leaves: the higher run will prove that this is corruption.
            runs.truncate(1);
            let (number, position) = (low.next_number, low.next_position.max(next));
            let bad = bad(low.side).or(Some("the frames of the other segment do not follow"));
            return (runs, End { number, position, place: place(low.side), bad });
        }
    }
    let Some(last) = runs.last().copied() else {
        // Nothing at all: the session's first frame is what is missing, or bad.
        let side = if bad(Side::A).is_none() && bad(Side::B).is_some() { Side::B } else { Side::A };
        return (runs, End { number: 1, position: next, place: place(side), bad: bad(side) });
    };
    // The frame that follows belongs behind the last one, or, after a switch, to the start of the other segment.
    let other = last.side.other();
    let side = if bad(last.side).is_none()
        && runs.len() == 1
        && walks[other.index()].run.is_none()
        && bad(other).is_some()
    {
        other
    } else {
        last.side
    };
    let position = last.next_position.max(next);
    (runs, End { number: last.next_number, position, place: place(side), bad: bad(side) })
}

/// Searches both segments for what says that something followed at the end of the log.
fn proof(scans: &[Scan; 2], runs: &[Run], salt: Salt, end: &End) -> Result<Proof> {
    let mut proof = Proof::None;
    for side in Side::BOTH {
        // The frames that will be served lie before the end: they prove nothing.
        let from = runs.iter().find(|run| run.side == side).map_or(START, |run| run.end);
        let scan = &scans[side.index()];
        scan.frames(from, |found| {
            let header = found.header;
            if salt.accepts(header.salt) {
                let later = header.number > end.number && header.first >= end.position;
                if header.durable_through >= end.position || (later && header.settled) {
                    proof = Proof::Durable(scan.name(found.at));
                } else if later && matches!(proof, Proof::None) {
                    proof = Proof::Later;
                }
            }
            // Step by step, not frame by frame: only the header of this one is known to be right.
            Ok(found.at)
        })?;
    }
    Ok(proof)
}

/// The frames of a journal, in order. See [`Replay::frames`].
#[derive(Debug)]
pub struct Frames<'a> {
    replay: &'a Replay,
    run: usize,
    at: u64,
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        loop {
            let run = self.replay.runs.get(self.run)?;
            if self.at >= run.end {
                self.run += 1;
                self.at = START;
                continue;
            }
            let scan = &self.replay.scans[run.side.index()];
            let frame = scan.look(self.at).and_then(|place| match place {
                Place::Frame(found) => {
                    self.at = found.end();
                    // Whole frames are in the database or not, which the walk has seen to.
                    let known = found.header.first <= self.replay.after;
                    (!known).then(|| scan.frame(&found)).transpose()
                }
                _ => Err(Error::corrupt(scan.name(self.at), "the file changed while it was read")),
            });
            match frame {
                Ok(None) => {}
                Ok(Some(frame)) => return Some(Ok(frame)),
                Err(error) => {
                    self.run = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
    }
}
