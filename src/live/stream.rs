//! Streams: a subscription to be awaited, whatever runs the futures.
//!
//! Reading the log may wait for a disk, and a poll must not. So a thread reads ahead, a little, and wakes whoever waits.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_core::Stream;

use super::subscribe::{Delivery, Subscription};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::store::locked;

/// So many deliveries are read ahead at most.
const AHEAD: usize = 64;

/// A subscription as a `Stream`: [`Subscription::stream`]. Dropping it ends the subscription.
#[must_use = "nothing is delivered before it is polled"]
pub struct DeliveryStream {
    buffer: Arc<Buffer>,
    end: Cancel,
}

#[derive(Default)]
struct Buffer {
    inner: Mutex<StreamInner>,
    room: Condvar,
}

#[derive(Default)]
struct StreamInner {
    deliveries: VecDeque<Result<Delivery>>,
    waker: Option<Waker>,
    /// There will be no more.
    ended: bool,
    /// Nobody wants more.
    dropped: bool,
}

impl Subscription {
    /// Delivers to whoever awaits it, in any runtime: with the feature `async`. A thread reads ahead by 64 deliveries; who is slow holds up
    /// nobody else.
    ///
    /// ```
    /// use bygone::{Db, Delivery, NewEvent};
    /// use std::future::poll_fn;
    /// # use std::{pin::{pin, Pin}, sync::Arc, task::{Context, Poll, Wake, Waker}, thread};
    /// # use futures_core::Stream;
    /// # struct Unpark(thread::Thread);
    /// # impl Wake for Unpark {
    /// #     fn wake(self: Arc<Self>) { self.0.unpark() }
    /// # }
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = pin!(future);
    /// #     let waker = Waker::from(Arc::new(Unpark(thread::current())));
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(value) => return value,
    /// #             Poll::Pending => thread::park(),
    /// #         }
    /// #     }
    /// # }
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut orders = db.subscribe("Order.*").from_start().stream()?;
    /// block_on(async {
    ///     let first = poll_fn(|context| Pin::new(&mut orders).poll_next(context)).await; // orders.next().await
    ///     assert!(matches!(first, Some(Ok(Delivery::Event(event))) if event.kind.as_str() == "Order.paid"));
    /// });
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn stream(self) -> Result<DeliveryStream> {
        let end = Cancel::new();
        let subscription = self.checked()?.cancelled_by(&end);
        let buffer = Arc::new(Buffer::default());
        let pump = Pump(buffer.clone());
        let body = move || pump.run(subscription);
        let thread = thread::Builder::new().name("bygone-subscription".to_owned()).spawn(body);
        thread.map_err(|e| Error::io("starting a subscription", e))?;
        Ok(DeliveryStream { buffer, end })
    }
}

/// What reads ahead. When it goes, by a panic too, whoever waits hears that there will be no more.
struct Pump(Arc<Buffer>);

impl Pump {
    fn run(self, subscription: Subscription) {
        for delivery in subscription {
            if !self.0.put(delivery) {
                return;
            }
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let mut inner = locked(&self.0.inner);
        inner.ended = true;
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Buffer {
    /// Waits for room; whether anybody wants more.
    fn put(&self, delivery: Result<Delivery>) -> bool {
        let mut inner = locked(&self.inner);
        while inner.deliveries.len() >= AHEAD && !inner.dropped {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.dropped {
            return false;
        }
        inner.deliveries.push_back(delivery);
        let waker = inner.waker.take();
        // Whoever is woken may want the lock at once.
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Stream for DeliveryStream {
    type Item = Result<Delivery>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        let mut inner = locked(&self.buffer.inner);
        if let Some(delivery) = inner.deliveries.pop_front() {
            drop(inner);
            self.buffer.room.notify_one();
            return Poll::Ready(Some(delivery));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for DeliveryStream {
    fn drop(&mut self) {
        self.end.cancel();
        let mut inner = locked(&self.buffer.inner);
        inner.dropped = true;
        inner.waker = None;
        drop(inner);
        self.buffer.room.notify_one();
    }
}

impl fmt::Debug for DeliveryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = locked(&self.buffer.inner);
        write!(f, "DeliveryStream({} ahead)", inner.deliveries.len())
    }
}
