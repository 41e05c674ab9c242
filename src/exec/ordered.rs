//! Work on several threads whose parts are joined in the order in which it was given out: what comes of it, the error too, depends neither on how
//! many threads there are nor on which of them was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::bounded;

use crate::error::{Error, Result};

/// Has parts made by so many threads, while this one says what of and joins them. Of those that are not joined yet there are `2 * threads` at
/// most: who is ahead waits.
pub(super) fn join_in_order<W: Send, P: Send>(
    threads: usize,
    mut next: impl FnMut() -> Result<Option<W>>,
    part: impl Fn(W) -> Result<P> + Sync,
    mut join: impl FnMut(P) -> Result<()>,
) -> Result<()> {
    let ahead = 2 * threads;
    let (ask, asked) = bounded::<(usize, W)>(ahead);
    let (give, given) = bounded::<(usize, Result<P>)>(ahead);
    let part = &part;
    thread::scope(|scope| {
        // Let go of on every way out, so that the threads end.
        let (ask, given) = (ask, given);
        for _ in 0..threads {
            let (asked, give) = (asked.clone(), give.clone());
            // It ends when nobody asks any more, or nobody listens.
            let work = move || asked.iter().try_for_each(|(at, work)| give.send((at, caught(|| part(work)))));
            let thread = thread::Builder::new().name("bygone-query".to_owned()).spawn_scoped(scope, work);
            thread.map_err(|e| Error::io("starting a thread of a query", e))?;
        }
        drop((asked, give));
        let (mut next_asked, mut next_joined, mut waiting) = (0, 0, BTreeMap::new());
        // Why there is no more, once there is no more. An error there comes after all that was before it.
        let mut end = None;
        loop {
            while end.is_none() && next_asked < next_joined + ahead {
                match next() {
                    Ok(Some(work)) => {
                        // There is room for as many as are ahead.
                        ask.send((next_asked, work)).map_err(|_| interrupted())?;
                        next_asked += 1;
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(error) => end = Some(Err(error)),
                }
            }
            if next_joined == next_asked {
                return end.unwrap_or(Ok(()));
            }
            let (at, part) = given.recv().map_err(|_| interrupted())?;
            waiting.insert(at, part);
            while let Some(part) = waiting.remove(&next_joined) {
                join(part?)?;
                next_joined += 1;
            }
        }
    })
}

/// Whoever waits for a part is not to wait for ever.
pub(super) fn caught<P>(part: impl FnOnce() -> Result<P>) -> Result<P> {
    let made = catch_unwind(AssertUnwindSafe(part));
    made.unwrap_or_else(|_| Err(Error::stopped("a query was interrupted by a panic")))
}

/// The threads of a query end only when they are not asked any more.
fn interrupted() -> Error {
    Error::stopped("a thread of the query ended early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_in_order_is_told_whoever_was_faster() {
        for threads in [1, 2, 4] {
            let (mut given, mut joined) = (0..40_u64, Vec::new());
            let next = || match given.next() {
                Some(30) => Err(Error::stopped("no more can be read")),
                next => Ok(next),
            };
            let part = |at: u64| match at {
                // The earlier one takes longer.
                11 => {
                    thread::sleep(std::time::Duration::from_millis(20));
                    Err(Error::stopped("the eleventh"))
                }
                12 => Err(Error::stopped("the twelfth")),
                at => Ok(at),
            };
            let joining = |at| {
                joined.push(at);
                Ok(())
            };
            let error = join_in_order(threads, next, part, joining).unwrap_err().to_string();
            assert!(error.contains("the eleventh"), "{threads}: {error}");
            assert!(joined.iter().copied().eq(0..11), "{joined:?}");
        }
        let mut given = 0..9_u64;
        let next = || given.next().map(Some).ok_or_else(|| Error::stopped("no more can be read"));
        let mut joined = Vec::new();
        let joining = |at| {
            joined.push(at);
            Ok(())
        };
        let error = join_in_order(2, next, Ok, joining).unwrap_err().to_string();
        assert!(error.contains("no more can be read") && joined.len() == 9, "{error} {joined:?}");
    }
}
