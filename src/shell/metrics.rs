//! `--metrics`: what the database tells of itself, over HTTP, for Prometheus and whatever else reads that.

use std::net::{SocketAddr, TcpListener};

use bygone::Db;
use bygone::share::HttpServer;

use super::failure::CommandFailure;

/// Listens at an address, as long as what is given back lives.
pub fn serve(address: SocketAddr, db: &Db) -> Result<HttpServer, CommandFailure> {
    let failed = |source| CommandFailure::Io { doing: format!("listening for metrics at {address}"), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    Ok(db.serve_metrics(listener)?)
}
