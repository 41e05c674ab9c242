//! Gathering over states: one thread reads them, in the order of their ids, and others evaluate what was read; the parts are joined in that
//! order, so that what comes of it depends neither on how many threads there are nor on which of them was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::{bounded, unbounded};

use crate::error::{Error, Result};
use crate::store::snapshot::{StateBatch, StateLender, States};
use crate::store::state::stored_state::StoredState;

/// How many pages are evaluated together, and how many bytes of them about.
const PAGES: usize = if cfg!(test) { 1 } else { 16 };
const BYTES: usize = 4 << 20;

/// More threads than these would wait for the one who reads.
const MOST: usize = 4;

/// What a result is gathered with: how a part of it is begun, how a state is added, how a later part is.
pub(super) struct Gathering<B, T, J> {
    pub begin: B,
    pub take: T,
    pub join: J,
}

/// Gathers some states, on so many threads where there are many.
pub(super) fn gather<P, B, T, J>(mut states: States, threads: usize, with: &Gathering<B, T, J>) -> Result<P>
where
    P: Send,
    B: Fn() -> P + Sync,
    T: Fn(&mut P, &str, &StoredState) -> Result<()> + Sync,
    J: Fn(&mut P, P) -> Result<()> + Sync,
{
    let mut whole = (with.begin)();
    let lender = states.lender().clone();
    let take = |part: &mut P, pages: Vec<StateBatch>| {
        evaluate(&lender, pages, |id, kept| (with.take)(part, id, kept))
    };
    let first = read(&mut states)?;
    let second = read(&mut states)?;
    if threads <= 1 || second.is_empty() {
        let mut pages: Vec<StateBatch> = first.into_iter().chain(second).collect();
        while !pages.is_empty() {
            take(&mut whole, std::mem::take(&mut pages))?;
            pages = read(&mut states)?;
        }
        return Ok(whole);
    }
    let threads = threads.min(MOST);
    let (ask, asked) = bounded::<(u64, Vec<StateBatch>)>(2 * threads + 2);
    let (give, given) = unbounded::<(u64, Result<P>)>();
    let (begin, take) = (&with.begin, &take);
    thread::scope(|scope| {
        // Let go of on every way out, so that the threads end.
        let (ask, given) = (ask, given);
        for _ in 0..threads {
            let (asked, give) = (asked.clone(), give.clone());
            let part = move |pages| {
                let made = catch_unwind(AssertUnwindSafe(|| {
                    let mut part = begin();
                    take(&mut part, pages).map(|()| part)
                }));
                made.unwrap_or_else(|_| Err(Error::stopped("a query was interrupted by a panic")))
            };
            // It ends when nobody asks any more, or nobody listens.
            let work = move || asked.iter().try_for_each(|(at, pages)| give.send((at, part(pages))));
            let thread = thread::Builder::new().name("bygone-query".to_owned()).spawn_scoped(scope, work);
            thread.map_err(|e| Error::io("starting a thread of a query", e))?;
        }
        drop((asked, give));
        let interrupted = || Error::stopped("a thread of the query ended early");
        let (mut next, mut joined, mut waiting) = (0, 0, BTreeMap::new());
        let (mut ready, mut failed) = (vec![second, first], Ok(()));
        loop {
            // What cannot be read comes after all that was: an error before it is told first.
            let pages = ready.pop().map_or_else(|| read(&mut states), Ok).unwrap_or_else(|error| {
                failed = Err(error);
                Vec::new()
            });
            let is_end = pages.is_empty();
            if !is_end {
                ask.send((next, pages)).map_err(|_| interrupted())?;
                next += 1;
            }
            // Who is ahead waits: of what was read and not joined yet there is so much at most.
            while next - joined > if is_end { 0 } else { 2 * threads as u64 } {
                let (at, part) = given.recv().map_err(|_| interrupted())?;
                waiting.insert(at, part);
                while let Some(part) = waiting.remove(&joined) {
                    (with.join)(&mut whole, part?)?;
                    joined += 1;
                }
            }
            if is_end {
                return failed.map(|()| whole);
            }
        }
    })
}

/// The next pages; none at the end.
fn read(states: &mut States) -> Result<Vec<StateBatch>> {
    let (mut pages, mut held) = (Vec::new(), 0);
    while pages.len() < PAGES && held < BYTES {
        let Some(page) = states.page()? else { break };
        held += page.held();
        pages.push(page);
    }
    Ok(pages)
}

fn evaluate(
    lender: &StateLender,
    pages: Vec<StateBatch>,
    mut take: impl FnMut(&str, &StoredState) -> Result<()>,
) -> Result<()> {
    for mut page in pages {
        lender.lend_page(&mut page, &mut |id: &str, kept: &StoredState| take(id, kept).map(|()| true))?;
    }
    Ok(())
}
