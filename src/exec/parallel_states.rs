//! Gathering over states: one thread reads them, in the order of their ids, and others evaluate what was read; the parts are joined in that
//! order, so that what comes of it depends neither on how many threads there are nor on which of them was faster.

use super::ordered::join_in_order;
use crate::error::Result;
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
    let mut ready = vec![second, first];
    let next = || {
        let pages = ready.pop().map_or_else(|| read(&mut states), Ok)?;
        Ok((!pages.is_empty()).then_some(pages))
    };
    let part = |pages| {
        let mut part = (with.begin)();
        take(&mut part, pages).map(|()| part)
    };
    join_in_order(threads.min(MOST), next, part, |part| (with.join)(&mut whole, part))?;
    Ok(whole)
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
