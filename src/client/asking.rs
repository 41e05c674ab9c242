//! A request that was sent.

use std::sync::Arc;

use super::ProtocolClient;
use super::arrived::Arrived;
use super::connection::ClientConnection;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::protocol::RequestId;
use crate::protocol::request::{Ask, ClientRequest};

/// A request that was sent, as long as somebody waits for its answer.
#[derive(Debug)]
pub(crate) struct Asking {
    /// It goes on as long as somebody waits for an answer.
    pub(super) client: Arc<ProtocolClient>,
    pub(super) id: u64,
}

impl Asking {
    /// Says something of it.
    pub fn say(&self, ask: Ask) -> Result<()> {
        self.client.connection.send(&ClientRequest { id: RequestId::Number(self.id), ask }.write()?)
    }

    /// Ends it.
    pub fn cancel(&self) {
        cancel(&self.client.connection, self.id);
    }

    /// What ends it from elsewhere, as long as it waits.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static {
        let (connection, id) = (Arc::downgrade(&self.client.connection), self.id);
        move || {
            if let Some(connection) = connection.upgrade() {
                cancel(&connection, id);
            }
        }
    }

    /// The next of the answer; none where the connection has ended. Who ends it waits no longer than a moment for that to be heard.
    pub fn next(&self, cancel: &Cancel) -> Result<Option<Arrived>> {
        self.client.connection.next(self.id, cancel)
    }

    /// What is known of it where the connection has ended.
    pub fn gone(&self, writes: bool) -> Error {
        match writes {
            false => self.client.connection.gone(),
            true => {
                let path = self.client.connection.path.display();
                Error::unknown(format!("the process that held {path} has gone before it answered"))
            }
        }
    }

    pub fn id(&self) -> RequestId {
        RequestId::Number(self.id)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.client.connection.forget(self.id);
    }
}

fn cancel(connection: &ClientConnection, id: u64) {
    let own = RequestId::Number(connection.next_id());
    // Who has gone has ended it.
    if let Ok(text) = (ClientRequest { id: own, ask: Ask::Cancel(RequestId::Number(id)) }).write() {
        let _ = connection.send(&text);
    }
}
