//! Reading the journal of a session that did not end: what is believed, what is cut, what is corruption.
//!
//! 1. Each segment is *walked* from its start, for that is where its last use begins: frames of the session with
//!    right checksums, each numbered one higher than the one before. A lower number is a *ghost* of an earlier
//!    use, an end mark is the end; anything else is a bad place.
//! 2. The two walks are *joined* by number: the session filled one segment, then the other.
//! 3. Where the joined walk ends, at position p, the log ends. What stands there tells what is known:
//!    * The **end mark** of the last frame: nothing was written after it. The journal is whole.
//!    * What no crash leaves: the file is shorter than what was filled before anything was written there; or neither a
//!      mark nor the beginning of a frame stands in a sector that the frame before it was written in. This is
//!      **damage**.
//!    * What a crash can leave: a frame that is not whole, or no mark where a sector begins. It is a **cut**: an append
//!      that was under way, or damage to one that was acknowledged, and nobody can tell which. But if the fill mark at
//!      the end of the file is missing too, it is damage.
//! 4. Both segments are searched for any frame that proves that something stood at p and was durable: one with
//!    `durable_through` ≥ p, or a later one that was written when everything before it was synced. If there is one,
//!    this is damage, too. If later frames prove nothing, it is a cut.
//!
//! Damage is an error, unless the loss was accepted ([`JournalReplay::salvage`]): then all is read up to p.
//!
//! What is in the tables was in the journal. So the last frame is at C or after it; and where it is at C, its segment was frozen, and
//! before that the other one was begun anew: that holds no frame, or newer ones. What is not so is an **older copy**, and damage.
//!
//! Ghosts prove nothing: a segment is used again only after its memtable was committed, so that their positions are at
//! most C, and their numbers are lower.
//!
//! **Limits.** If the very first frame of a segment is bad, that may be a torn write after a switch; so it proves
//! nothing against the other segment, whose frames may continue from C. Events cannot be lost by that, for their
//! positions would be missing. But if a memtable was nothing but cursor moves, and the first of its frames is damaged
//! later, this is taken for a cut: the moves are lost, and their subscribers see some events again. An older copy of
//! the segment that is written, made since C, is not told from it: it says where it ends, and nothing else says that it went on.
//! Segments of version 1 have no marks: their end is always a cut, if it is not damage.

use std::path::Path;

use super::frame::ALIGN;
use super::scan::{FrameSlot, SegmentScan};
use super::segment::START;
use super::{Frame, Salt, Side};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::disk::Disk;

/// The journal of a session that did not end, ready to be read.
#[derive(Debug)]
pub struct JournalReplay {
    scans: [SegmentScan; 2],
    runs: Vec<FrameRun>,
    after: Position,
    ending: Ending,
    /// The segments whose fill mark is missing.
    shortened: Vec<Side>,
}

/// How the log ends, as far as the journal tells.
#[derive(Debug)]
enum Ending {
    /// Nothing was written after it.
    Whole,
    /// Something was, and it may have been acknowledged.
    Cut(Cut),
    /// The journal was damaged there.
    Lost(Cut),
}

/// Where the log ends, though something followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The position that would have come next.
    pub at: Position,
    /// What was found instead of it.
    pub reason: String,
}

/// Frames that follow each other in one segment, from its start.
#[derive(Debug, Clone, Copy)]
struct FrameRun {
    side: Side,
    first_number: u64,
    next_number: u64,
    first_position: Position,
    next_position: Position,
    end: u64,
}

/// A segment as it was walked.
struct JournalWalk {
    run: Option<FrameRun>,
    /// Where the walk stopped.
    end: u64,
    stop: StopReason,
}

/// Why a walk stopped. What is worse comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StopReason {
    /// An end mark stands there.
    Marked,
    /// A crash can leave this.
    Cut(&'static str),
    /// No crash leaves this.
    Damage(&'static str),
}

/// Where the log ends, as far as the walks tell.
struct End {
    number: u64,
    position: Position,
    side: Side,
    at: u64,
    stop: StopReason,
}

/// What the rest of the segments says about the end of the log.
enum Proof {
    /// Something durable stood there, says the frame at this place.
    Durable(String),
    /// Later frames were written, but nothing says that they were durable.
    Later,
    None,
}

impl JournalReplay {
    /// Reads both segments of the session with this salt, and decides where the log ends. Frames up to the position
    /// `after` (what the database holds already) are skipped. Nothing is written.
    ///
    /// # Errors
    /// The error is one of corruption if something is missing or damaged that was durable, and says where.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn open(disk: &dyn Disk, database: &Path, salt: Salt, after: Position) -> Result<JournalReplay> {
        let replay = JournalReplay::salvage(disk, database, salt, after)?;
        match replay.lost() {
            Some(lost) => Err(Error::corrupt("the journal", &lost.reason)),
            None => Ok(replay),
        }
    }

    /// The same of a journal that may be damaged, or of what is left of one: [`JournalReplay::lost`] tells.
    pub fn salvage(disk: &dyn Disk, database: &Path, salt: Salt, after: Position) -> Result<JournalReplay> {
        let scan = |side| SegmentScan::open(disk, database, side, Some(salt));
        let scans = [scan(Side::A)?, scan(Side::B)?];
        let walks = [walk(&scans, Side::A, salt, after)?, walk(&scans, Side::B, salt, after)?];
        let (runs, end) = join(&walks, after);

        let scan = &scans[end.side.index()];
        let proof = proof(&scans, &runs, salt, &end)?;
        let found = match end.stop {
            StopReason::Marked => "a frame is missing, though later ones were written",
            StopReason::Cut(reason) | StopReason::Damage(reason) => reason,
        };
        let reason = format!("{}: {found}", scan.name(end.at));
        let cut = |reason| Cut { at: end.position, reason };
        let ending = match (proof, end.stop) {
            (Proof::Durable(witness), _) => {
                let position = end.position;
                Ending::Lost(cut(format!(
                    "{reason}, but position {position} was durable, says the frame in {witness}"
                )))
            }
            (_, StopReason::Damage(_)) => Ending::Lost(cut(reason)),
            (_, StopReason::Cut(_)) if scan.is_marked() && !scan.is_whole(end.at)? => {
                Ending::Lost(cut(format!("{reason}, and the end of the file was cut off or overwritten")))
            }
            (_, StopReason::Cut(_)) | (Proof::Later, _) => Ending::Cut(cut(reason)),
            (Proof::None, StopReason::Marked) => Ending::Whole,
        };
        let mut shortened = Vec::new();
        for side in Side::BOTH {
            let scan = &scans[side.index()];
            if scan.is_marked() && !scan.is_whole(START)? {
                shortened.push(side);
            }
        }
        Ok(JournalReplay { scans, runs, after, ending, shortened })
    }

    /// The frames behind `after`, in order, one in memory at a time.
    ///
    /// Cursor moves that were made when `after` was the last position come again even if the database has them:
    /// all of them and in order, so that they end as they did.
    pub fn frames(&self) -> Frames<'_> {
        Frames { replay: self, run: 0, at: START }
    }

    /// The last position of the log: of the last frame, or `after`.
    pub fn last_position(&self) -> Position {
        self.runs.last().map_or(self.after, |run| self.after.max(run.next_position.previous()))
    }

    /// Where the log was cut, if something followed that may have been acknowledged.
    pub fn cut(&self) -> Option<&Cut> {
        match &self.ending {
            Ending::Cut(cut) => Some(cut),
            _ => None,
        }
    }

    /// The segments that are seen to be shorter than they were made, or overwritten at their ends. (The fill mark of an
    /// earlier step, if no frame came so far, looks like the last one.)
    pub fn shortened(&self) -> &[Side] {
        &self.shortened
    }

    /// Where the journal was damaged, if it was: what followed there may have been acknowledged, or surely was.
    pub fn lost(&self) -> Option<&Cut> {
        match &self.ending {
            Ending::Lost(lost) => Some(lost),
            _ => None,
        }
    }
}

/// Whether a segment, of whatever session, ends as one does that was never damaged and holds no frame that is not whole.
pub fn is_whole(disk: &dyn Disk, database: &Path, side: Side) -> Result<bool> {
    let scan = SegmentScan::open(disk, database, side, None)?;
    let (salt, unmarked) = (scan.salt(), !scan.is_marked());
    let at = walk_of(&scan, side, salt, Position::START)?;
    Ok(at.stop == StopReason::Marked || (unmarked && matches!(scan.look(at.end)?, FrameSlot::Blank)))
}

/// What is written in one piece: a part of a sector never survives without the rest.
const SECTOR: u64 = 512;

/// Whether what stands here was written in one piece with the end of the frame before: then it is a mark, or the
/// beginning of the next frame. (In the last 32 bytes of a frame there is more than padding.)
fn is_one_with_the_frame_before(at: u64) -> bool {
    at % SECTOR >= 2 * ALIGN as u64
}

/// Follows the frames of a segment from its start.
fn walk(scans: &[SegmentScan; 2], side: Side, salt: Salt, after: Position) -> Result<JournalWalk> {
    walk_of(&scans[side.index()], side, salt, after)
}

fn walk_of(scan: &SegmentScan, side: Side, salt: Salt, after: Position) -> Result<JournalWalk> {
    let mut run: Option<FrameRun> = None;
    let mut at = START;
    let stop = loop {
        // What a segment is created or switched to with is synced before a frame is.
        let synced = scan.is_marked() && (run.is_none() || is_one_with_the_frame_before(at));
        let unless_synced =
            |reason| if synced { StopReason::Damage(reason) } else { StopReason::Cut(reason) };
        let found = match scan.look(at)? {
            FrameSlot::Mark(number) if run.is_none_or(|run| number == run.next_number - 1) => {
                break StopReason::Marked;
            }
            FrameSlot::Mark(_) => break StopReason::Cut("the end mark of another frame stands there"),
            FrameSlot::Beyond(reason) => break StopReason::Damage(reason),
            FrameSlot::Blank if !scan.is_marked() => {
                break StopReason::Cut("an earlier version wrote the journal, and did not mark its end");
            }
            FrameSlot::Blank => break unless_synced("nothing but zeros, where its end is not marked"),
            FrameSlot::Torn(reason) => break StopReason::Cut(reason),
            FrameSlot::Other(reason) => break unless_synced(reason),
            FrameSlot::Frame(found) => found,
        };
        let header = found.header;
        if !salt.accepts(header.salt) {
            break unless_synced("the frame belongs to another session");
        }
        if let Some(run) = &run {
            if header.number < run.next_number {
                break StopReason::Cut("a frame of an earlier use of the file stands there");
            }
            if (header.number, header.first) != (run.next_number, run.next_position) {
                break StopReason::Cut("the frame does not follow the one before it");
            }
        }
        if let Err(reason) = scan.check(&found)? {
            break StopReason::Cut(reason);
        }
        if header.first <= after && header.next().previous() > after {
            break StopReason::Damage("a frame of which the file holds only the first events");
        }
        at = found.end();
        let run = run.get_or_insert(FrameRun {
            side,
            first_number: header.number,
            next_number: 0,
            first_position: header.first,
            next_position: Position::START,
            end: 0,
        });
        run.next_number = header.number + 1; // a decoded header's number is less than the highest
        run.next_position = header.next();
        run.end = at;
    };
    Ok(JournalWalk { run, end: at, stop })
}

/// Puts the runs in order, and says where they end.
fn join(walks: &[JournalWalk; 2], after: Position) -> (Vec<FrameRun>, End) {
    let next = after.next();
    let mut runs: Vec<FrameRun> = walks.iter().filter_map(|walk| walk.run).collect();
    runs.sort_by_key(|run| run.first_number);
    let walk = |side: Side| &walks[side.index()];
    let end = |number, position, side: Side| {
        let JournalWalk { end, stop, .. } = *walk(side);
        End { number, position, side, at: end, stop }
    };

    if let Some(first) = runs.first()
        && first.first_position > next
    {
        let number = first.first_number.saturating_sub(1);
        // They were in the other segment, which may tell why it holds none of them.
        let other = first.side.other();
        let found = match (walk(other).run, walk(other).stop) {
            (None, StopReason::Cut(reason) | StopReason::Damage(reason)) => {
                End { stop: StopReason::Damage(reason), ..end(number, next, other) }
            }
            _ => {
                let stop = StopReason::Damage("the frames before this one are missing");
                End { at: START, stop, ..end(number, next, first.side) }
            }
        };
        return (Vec::new(), found);
    }
    if let [low, high] = runs[..] {
        let follows = (low.next_number, low.next_position) == (high.first_number, high.first_position);
        if !follows && low.next_position <= after && high.first_position <= next {
            // The lower one is damaged, but all of its memtable is in the database already.
            runs.remove(0);
        } else if !follows {
            // A switch syncs what it leaves: something is missing between the two.
            runs.truncate(1);
            let missing = StopReason::Damage("the frames of the other segment do not follow");
            let found = end(low.next_number, low.next_position.max(next), low.side);
            let stop = if found.stop == StopReason::Marked { missing } else { found.stop };
            return (runs, End { stop, ..found });
        }
    }
    let Some(last) = runs.last().copied() else {
        // Nothing at all: the session's first frame is what is missing, or bad.
        let side = if walk(Side::B).stop > walk(Side::A).stop { Side::B } else { Side::A };
        return (runs, end(1, next, side));
    };
    // The frame that follows belongs behind the last one, or, after a switch, to the start of the other segment.
    let other = last.side.other();
    let switched = runs.len() == 1 && walk(other).run.is_none();
    let side = if switched && walk(other).stop > walk(last.side).stop { other } else { last.side };
    let position = last.next_position.max(next);
    let number = last.next_number;
    let found = end(number, position, side);
    // Moves of cursors alone may stand in a segment that is begun at C.
    let ends_at_c = last.next_position == next && last.first_position < next;
    let is_older = last.next_position < next || (ends_at_c && walk(other).run.is_some());
    if found.stop == StopReason::Marked && is_older {
        let stop = StopReason::Damage(
            "its end, though the file holds what was written after it: this is an older copy",
        );
        return (runs, End { stop, ..found });
    }
    (runs, found)
}

/// Searches both segments for what says that something followed at the end of the log.
fn proof(scans: &[SegmentScan; 2], runs: &[FrameRun], salt: Salt, end: &End) -> Result<Proof> {
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

/// The frames of a journal, in order. See [`JournalReplay::frames`].
#[derive(Debug)]
pub struct Frames<'a> {
    replay: &'a JournalReplay,
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
                FrameSlot::Frame(found) => {
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
