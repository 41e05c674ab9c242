//! Group commit by hand: a thread takes what has come in, writes it in one transaction, and answers all. It is what
//! one would put before a store that has one writer.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::{Open, Store, Writer};
use crate::Result;
use crate::event::Sample;

/// How many events go into one transaction at most.
const MOST: usize = 2048;

struct Request {
    events: Vec<Sample>,
    done: Sender<bool>,
}

pub struct Grouped {
    requests: SyncSender<Request>,
    thread: JoinHandle<Result<()>>,
}

impl Grouped {
    pub fn open(open: Open, folder: &Path) -> Result<Box<dyn Store>> {
        let store = open(folder)?;
        let (requests, received) = sync_channel(1024);
        let thread = std::thread::spawn(move || {
            write_all(&*store, &received)?;
            store.close()
        });
        Ok(Box::new(Grouped { requests, thread }))
    }
}

fn write_all(store: &dyn Store, requests: &Receiver<Request>) -> Result<()> {
    let mut writer = store.writer()?;
    while let Ok(first) = requests.recv() {
        let (mut events, mut waiting) = (first.events, vec![first.done]);
        while events.len() < MOST
            && let Ok(next) = requests.try_recv()
        {
            events.extend(next.events);
            waiting.push(next.done);
        }
        let written = writer.append(&events);
        for done in waiting {
            // Whoever does not wait for the answer any more does not want it.
            let _ = done.send(written.is_ok());
        }
        written?;
    }
    Ok(())
}

impl Store for Grouped {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        let (done, answer) = channel();
        Ok(Box::new(Caller { requests: &self.requests, done, answer }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.requests);
        self.thread.join().map_err(|_| "the writer panicked")?
    }
}

struct Caller<'s> {
    requests: &'s SyncSender<Request>,
    done: Sender<bool>,
    answer: Receiver<bool>,
}

impl Writer for Caller<'_> {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        let request = Request { events: events.to_vec(), done: self.done.clone() };
        self.requests.send(request).map_err(|_| "the writer is gone")?;
        if self.answer.recv()? { Ok(()) } else { Err("the writer failed".into()) }
    }
}
