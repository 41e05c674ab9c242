//! The link to the servers: a client whose runtime is on a thread of its own, for threads that wait.
//!
//! Whoever asks waits on a channel, never on the runtime: it may be asked from a thread that has one of its own. Nothing waits without a limit.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use crossbeam_channel::bounded;
use futures_core::Stream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::address::{LogAddress, Login};
use crate::error::{Error, Result};

/// How long connecting may take, all servers together and each.
const CONNECT: Duration = Duration::from_secs(15);
const CONNECT_ONE: Duration = Duration::from_secs(2);

/// How often a server is asked whether it is still there: after two times without an answer another one is taken.
const PING: Duration = Duration::from_secs(1);

/// How long until a server that was lost is tried again, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a channel may be late by.
const SLACK: Duration = Duration::from_secs(1);

/// How many messages wait for whoever reads them.
const WAITING: usize = 1024;

/// A connection, and the thread that it is on.
#[derive(Debug)]
pub(super) struct NatsLink {
    client: Client,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum NoAnswer {
    /// Nobody is there who would answer: the stream has no leader, or does not exist.
    Nobody,
    /// It took too long, or the connection was lost.
    Lost(String),
}

impl NoAnswer {
    /// The same as an error.
    pub fn error(&self, doing: &str) -> Error {
        let why = match self {
            NoAnswer::Nobody => "nobody there answers: the stream has no leader now".to_owned(),
            NoAnswer::Lost(why) => why.clone(),
        };
        Error::io(doing, io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

impl NatsLink {
    /// Connects to one of the servers.
    pub fn open(address: &LogAddress) -> Result<NatsLink> {
        let connecting = format!("connecting to {address}");
        let starting = |e| Error::io("starting the thread of the log", e);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(starting)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("bygone-nats".to_owned())
            .spawn(move || {
                // Also when whoever would stop it is gone.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(starting)?;
        let (servers, options) = (address.servers.clone(), connect_options(address));
        let schema = if address.tls { "tls" } else { "nats" };
        let servers: Vec<String> = servers.iter().map(|server| format!("{schema}://{server}")).collect();
        let connected = run(&handle, CONNECT, async move { options.connect(servers).await });
        let lost = |why: String| NoAnswer::Lost(why).error(&connecting);
        match connected {
            Ok(Ok(client)) => Ok(NatsLink { client, handle, stop: Some(stop), thread: Some(thread) }),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(none) => Err(none.error(&connecting)),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks, and waits for the answer.
    pub fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Message, NoAnswer> {
        let client = self.client.clone();
        let mut request = Request::new().payload(payload.into()).timeout(Some(limit));
        request.headers = headers;
        let answer = run(&self.handle, limit, async move { client.send_request(subject, request).await })?;
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => NoAnswer::Nobody,
            _ => NoAnswer::Lost(error.to_string()),
        })
    }

    /// Asks for what comes as several messages, and takes them until `take` says that it was the last.
    pub fn request_many<T: Send + 'static>(
        &self,
        subject: String,
        payload: impl Into<Bytes>,
        limit: Duration,
        mut take: impl FnMut(Message, &mut T) -> bool + Send + 'static,
        mut taken: T,
    ) -> Result<T, NoAnswer> {
        let (client, payload) = (self.client.clone(), payload.into());
        run(&self.handle, limit, async move {
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.map_err(lost)?;
            client.publish_with_reply(subject, inbox, payload).await.map_err(lost)?;
            while let Some(message) = next(&mut answers).await {
                if !take(message, &mut taken) {
                    return Ok(taken);
                }
            }
            Err(NoAnswer::Lost("the connection was closed".to_owned()))
        })?
    }

    /// Tells whoever listens; nobody waits for it.
    pub fn tell(&self, subject: String, payload: impl Into<Bytes>) {
        let (client, payload) = (self.client.clone(), payload.into());
        drop(self.handle.spawn(async move { client.publish(subject, payload).await }));
    }

    /// Calls back with each message of a subject, until it says that it wants no more.
    pub fn listen(
        &self,
        subject: String,
        mut heard: impl FnMut(&Message) -> bool + Send + 'static,
    ) -> Result<(), NoAnswer> {
        let client = self.client.clone();
        let mut messages =
            run(&self.handle, CONNECT, async move { client.subscribe(subject).await })?.map_err(lost)?;
        drop(self.handle.spawn(async move {
            while let Some(message) = next(&mut messages).await {
                if !heard(&message) {
                    return;
                }
            }
        }));
        Ok(())
    }
}

impl Drop for NatsLink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nothing, and a panic there was answered for.
            let _ = thread.join();
        }
    }
}

fn lost(error: impl std::fmt::Display) -> NoAnswer {
    NoAnswer::Lost(error.to_string())
}

fn connect_options(address: &LogAddress) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .name("bygone")
        .connection_timeout(CONNECT_ONE)
        .ping_interval(PING)
        .subscription_capacity(WAITING)
        .require_tls(address.tls)
        .no_echo()
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50)
                .saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX))
                .min(LONGEST_PAUSE)
        });
    if let Some(path) = &address.authorities {
        options = options.add_root_certificates(path.clone());
    }
    match &address.login {
        Some(Login::Password { user, password }) => options.user_and_password(user.clone(), password.clone()),
        Some(Login::Token(token)) => options.token(token.clone()),
        None => options,
    }
}

/// Runs something on the thread of a runtime, and waits for so long at most.
fn run<T: Send + 'static>(
    handle: &Handle,
    limit: Duration,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, NoAnswer> {
    let (tell, told) = bounded(1);
    let late = || NoAnswer::Lost(format!("no answer within {} s", limit.as_secs_f32()));
    drop(handle.spawn(async move {
        // Whoever waited may have gone.
        let _ = tell.send(tokio::time::timeout(limit, future).await);
    }));
    match told.recv_timeout(limit + SLACK) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(late()),
    }
}

async fn next(messages: &mut Subscriber) -> Option<Message> {
    poll_fn(|context| Pin::new(&mut *messages).poll_next(context)).await
}
