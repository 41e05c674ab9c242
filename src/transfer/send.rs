//! Sending lines of an import on their way: those that are new, in groups that are all or nothing.

use super::{ImportBatch, ImportRun, ParsedLine, UnderWay, causes, known, prefix, source};
use crate::error::{Conflict, Error, Result};
use crate::store::append_request::{AppendOutcome, AppendRequest, Prepared, content_of};

impl ImportRun<'_> {
    /// Sends lines on their way, those that are new.
    pub(super) fn send(&mut self, mut lines: Vec<ParsedLine>) -> Result<()> {
        self.settle()?;
        source::tell_apart(self.store, &mut lines)?;
        causes::find(self.store, &mut lines)?;
        let skip = self.on_conflict.is_some();
        let sorted = known::sort(self.store, lines, self.restore, skip)?;
        self.done.known += sorted.known.len() as u64;
        if let Err((number, fault)) = self.send_new(sorted.fresh) {
            let Some(number) = number else { return Err(fault) };
            // What is known behind the line does not stand before it.
            self.done.known -= sorted.known.iter().filter(|known| **known > number).count() as u64;
            return Err(self.at_line(number, fault));
        }
        for (number, conflict) in sorted.conflicts {
            match &self.on_conflict {
                Some(told) => {
                    self.done.conflicts += 1;
                    told(&Conflict::Within { place: format!("line {number}"), conflict: Box::new(conflict) });
                }
                None => {
                    self.settle()?;
                    return Err(self.at_line(number, conflict.into()));
                }
            }
        }
        Ok(())
    }

    /// Sends new lines on their way. A fault of one of them names it.
    fn send_new(&mut self, mut lines: Vec<ParsedLine>) -> Result<(), (Option<u64>, Error)> {
        let unplaced = |fault| (None, fault);
        let mut whole = true;
        while !lines.is_empty() {
            self.settle().map_err(unplaced)?;
            // Causes among these lines are told by where they will be, which holds unless somebody else appends meanwhile. Then what they
            // bring about waits for them to be in.
            let head = self.store.shared().applied.head();
            let within = causes::foretell(&mut lines, head);
            let mut sent = if whole { lines.len() } else { within.unwrap_or(lines.len()) };
            let mut submitted = self.store.submit(self.group(&lines[..sent]));
            if submitted.as_ref().is_err_and(is_of_an_event) {
                // A line breaks a rule that parsing does not know of, or needs one before it to be in the log already.
                let number = lines[0].number;
                sent = self.preparable(&lines[..sent]).map_err(|fault| (Some(number), fault))?;
                submitted = self.store.submit(self.group(&lines[..sent]));
            }
            let submitted = submitted.map_err(unplaced)?;
            if within.is_some_and(|first| first < sent) {
                match submitted.wait() {
                    Ok(outcome) => {
                        let rest = lines.split_off(sent);
                        self.arrived(std::mem::replace(&mut lines, rest), &outcome).map_err(unplaced)?;
                    }
                    Err(fault) if is_of_an_event(&fault) && self.store.shared().applied.head() != head => {
                        whole = false;
                        continue;
                    }
                    Err(fault) => return Err((None, self.in_batch(fault))),
                }
                causes::find(self.store, &mut lines).map_err(unplaced)?;
                continue;
            }
            let rest = lines.split_off(sent);
            self.under_way = Some(UnderWay { submitted, lines });
            lines = rest;
            if lines.iter().any(|line| line.cause.is_some()) {
                self.settle().map_err(unplaced)?;
                causes::find(self.store, &mut lines).map_err(unplaced)?;
            }
        }
        Ok(())
    }

    /// How many of these lines, from the first on, can be a group as the log is now. If not even the first, that is an error.
    fn preparable(&self, lines: &[ParsedLine]) -> Result<usize> {
        let prepared = |count: usize| Prepared::new(self.store.shared(), self.group(&lines[..count]));
        prepared(1)?;
        // So many can; so many cannot, if there are as many.
        let (mut good, mut bad) = (1, lines.len() + 1);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match prepared(middle) {
                Ok(_) => good = middle,
                Err(error) if is_of_an_event(&error) => bad = middle,
                Err(error) => return Err(error),
            }
        }
        Ok(good)
    }

    fn group(&self, lines: &[ParsedLine]) -> AppendRequest {
        let first = lines.iter().find(|line| line.hashed);
        let (key, content) = first.map(|line| (prefix::key_of(&line.hash), content_of(&line.hash))).unzip();
        AppendRequest {
            events: lines.iter().map(|line| line.event.clone()).collect(),
            key,
            content,
            import: true,
            restore: self.restore,
            internal: self.restore,
            ..AppendRequest::default()
        }
    }

    /// Waits until what is under way is in.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(UnderWay { submitted, lines }) = self.under_way.take() {
            let outcome = submitted.wait().map_err(|fault| self.in_batch(fault))?;
            self.arrived(lines, &outcome)?;
        }
        Ok(())
    }

    /// Counts lines that were sent. All were new then: whoever made some of them known meanwhile may have said something else.
    fn arrived(&mut self, lines: Vec<ParsedLine>, outcome: &AppendOutcome) -> Result<()> {
        if outcome.repeated {
            // Somebody else imports the same. None of these went in: they are looked at again.
            return self.again(lines);
        }
        if self.count(lines.len(), outcome) > 0
            && let Some((number, conflict)) = known::check(self.store, &lines)?
        {
            return Err(self.at_line(number, conflict.into()));
        }
        Ok(())
    }

    fn again(&mut self, lines: Vec<ParsedLine>) -> Result<()> {
        self.skipping = true;
        self.flush(&mut ImportBatch { lines, bytes: 0 })?;
        self.settle()
    }

    /// Gives how many were known.
    pub(super) fn count(&mut self, sent: usize, outcome: &AppendOutcome) -> u64 {
        let added = if outcome.repeated { 0 } else { outcome.events.len() as u64 };
        let known = sent as u64 - added.min(sent as u64);
        self.done.added += added;
        self.done.known += known;
        known
    }
}

/// Whether an event is to blame, by a rule that parsing does not know of, or by what is not in the log yet.
fn is_of_an_event(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::TooLarge { .. })
}
