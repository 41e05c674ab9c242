//! The queue before the commit: who waits, and who leads.
//!
//! Requests meet here. One of the waiting threads leads at a time: it takes what is queued, commits it, and hands leadership
//! to the next waiter *before* it wakes the others, or the same thread would take it again and again. A ticket that nobody
//! waits on is led by a background thread.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use super::append_request::{AppendOutcome, Prepared};
use super::mutex::{Condvar, Mutex, locked};
use crate::error::{Error, Result};

/// A request in the queue, and then its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: usize,
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug)]
struct Slot {
    request: Option<Prepared>,
    answer: Option<Result<AppendOutcome>>,
    /// A thread sleeps on this request: it can be asked to lead.
    waited_on: bool,
    /// It has been asked.
    lead: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    capacity: usize,
    state: Mutex<QueueState>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Arc<Pending>>,
    bytes: usize,
    /// Somebody leads, or has been asked to.
    led: bool,
    closed: Option<Error>,
}

/// What a waiting thread is to do.
enum Turn {
    Answered(Result<AppendOutcome>),
    Lead,
}

/// Who was asked to lead next.
#[derive(Debug, PartialEq, Eq)]
enum NextLeader {
    /// Nobody waits.
    Nobody,
    /// A thread that waits.
    Waiter,
    /// Requests wait, but no thread does: somebody has to be found.
    Background,
}

impl Pending {
    pub fn new(request: Prepared) -> Arc<Pending> {
        let bytes = request.bytes;
        let slot = Slot { request: Some(request), answer: None, waited_on: false, lead: false, waker: None };
        Arc::new(Pending { bytes, slot: Mutex::new(slot), changed: Condvar::new() })
    }

    /// The request, for the leader who takes it.
    pub fn take(&self) -> Option<Prepared> {
        locked(&self.slot).request.take()
    }

    pub fn answer(&self, answer: Result<AppendOutcome>) {
        let mut slot = locked(&self.slot);
        // The first answer stands: a leader that unwinds answers what it had not answered yet.
        if slot.answer.is_none() {
            slot.answer = Some(answer);
        }
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        drop(slot);
        self.changed.notify_all();
    }

    /// The answer, if it has come; else this waker is called when it does.
    pub fn poll(&self, waker: &Waker) -> Option<Result<AppendOutcome>> {
        let mut slot = locked(&self.slot);
        if slot.answer.is_none() {
            slot.waker = Some(waker.clone());
        }
        slot.answer.clone()
    }

    fn ask_to_lead(&self) -> bool {
        let mut slot = locked(&self.slot);
        if !slot.waited_on {
            return false;
        }
        slot.lead = true;
        drop(slot);
        self.changed.notify_all();
        true
    }
}

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        Queue { capacity, state: Mutex::default(), room: Condvar::new() }
    }

    /// Queues a request, waiting for room. True if nobody leads: then the caller must, or find somebody.
    pub fn push(&self, pending: &Arc<Pending>) -> Result<bool> {
        let mut state = locked(&self.state);
        while state.closed.is_none()
            && !state.waiting.is_empty()
            && state.bytes + pending.bytes > self.capacity
        {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        state.bytes += pending.bytes;
        state.waiting.push_back(pending.clone());
        let alone = !state.led;
        state.led = true;
        Ok(alone)
    }

    /// Queues a request and waits for its answer; calls back to lead, where nobody does and when asked to.
    pub fn commit(&self, pending: &Arc<Pending>, lead: impl Fn()) -> Result<AppendOutcome> {
        if self.push(pending)? {
            lead();
        }
        self.answer(pending, lead)
    }

    /// Waits for the answer to a request; calls back to lead when asked to.
    pub fn answer(&self, pending: &Pending, lead: impl Fn()) -> Result<AppendOutcome> {
        loop {
            match self.wait(pending) {
                Turn::Answered(answer) => return answer,
                Turn::Lead => lead(),
            }
        }
    }

    /// Commits one batch of so many bytes at most, hands leadership on, then answers. Where nobody waits who could lead next, somebody
    /// has to be found.
    pub fn lead(
        &self,
        most: usize,
        commit: impl FnOnce(&[Arc<Pending>]) -> Vec<Result<AppendOutcome>>,
        find: impl FnOnce(),
    ) {
        let mut duty = Duty { queue: self, batch: self.take(most), done: false };
        let answers = commit(&duty.batch);
        duty.done = true;
        if self.hand_over() == NextLeader::Background {
            find();
        }
        for (pending, answer) in duty.batch.iter().zip(answers) {
            pending.answer(answer);
        }
    }

    /// Sleeps until the request is answered or its thread is asked to lead.
    fn wait(&self, pending: &Pending) -> Turn {
        let mut slot = locked(&pending.slot);
        loop {
            if slot.lead {
                // Leading comes before one's own answer: leadership that is dropped is lost for all.
                slot.lead = false;
                slot.waited_on = false;
                return Turn::Lead;
            }
            if let Some(answer) = &slot.answer {
                let answer = answer.clone();
                slot.waited_on = false;
                return Turn::Answered(answer);
            }
            slot.waited_on = true;
            slot = pending.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes requests up to some bytes, and one at least. For the leader.
    fn take(&self, most: usize) -> Vec<Arc<Pending>> {
        let mut state = locked(&self.state);
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            if !batch.is_empty() && bytes + next.bytes > most {
                break;
            }
            bytes += next.bytes;
            batch.extend(state.waiting.pop_front());
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.room.notify_all();
        batch
    }

    /// Ends one's leadership by handing it to the first thread that waits.
    fn hand_over(&self) -> NextLeader {
        let mut state = locked(&self.state);
        if state.waiting.is_empty() {
            state.led = false;
            return NextLeader::Nobody;
        }
        if state.waiting.iter().any(|pending| pending.ask_to_lead()) {
            NextLeader::Waiter
        } else {
            NextLeader::Background
        }
    }

    /// Refuses all further requests with an error, and gives back those that wait.
    pub fn close(&self, error: Error) -> Vec<Arc<Pending>> {
        let mut state = locked(&self.state);
        state.closed.get_or_insert(error);
        state.bytes = 0;
        let rest = std::mem::take(&mut state.waiting).into();
        drop(state);
        self.room.notify_all();
        rest
    }

    /// Refuses further requests, and leaves those that wait to be committed.
    pub fn shut(&self, error: Error) {
        locked(&self.state).closed.get_or_insert(error);
        self.room.notify_all();
    }

    /// Becomes the leader, if nobody is and somebody waits.
    pub fn lead_if_idle(&self) -> bool {
        let mut state = locked(&self.state);
        let lead = !state.led && !state.waiting.is_empty();
        state.led |= lead;
        lead
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        locked(&self.state).bytes
    }

    /// Whether nobody waits and nobody leads.
    pub fn is_idle(&self) -> bool {
        let state = locked(&self.state);
        state.waiting.is_empty() && !state.led
    }
}

/// A leader at work. One that unwinds fails its batch and closes the queue, so that nobody waits for ever.
struct Duty<'q> {
    queue: &'q Queue,
    batch: Vec<Arc<Pending>>,
    done: bool,
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let error =
            Error::stopped("a commit was interrupted by a panic; close and open the database again to go on");
        let rest = self.queue.close(error.clone());
        for pending in self.batch.iter().chain(&rest) {
            pending.answer(Err(error.clone()));
        }
        // Whoever closes the database waits until nobody leads.
        self.queue.hand_over();
    }
}
