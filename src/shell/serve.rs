//! `bygone serve`: requests of other programs. Those of the one at the other end of the standard streams are answered until it sends no more,
//! those over HTTP until a signal comes.

use std::io;
use std::net::{SocketAddr, TcpListener};

use bygone::share::{HttpOptions, SharedAccess, SharedDb};

use super::cli::{OpenArgs, ServeArgs, TokenOption};
use super::failure::{CommandFailure, Reporter};
use super::open::{self, IfMissing};
use super::signal::Signals;

/// Serves. The file may be open in another process: then that is asked.
pub fn serve(
    arguments: &ServeArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    // What is wrong with it is told before anything is opened.
    let http = arguments.http.map(|address| listen(address, arguments, opening)).transpose()?;
    let missing = match (arguments.create, opening.read_only) {
        (_, true) => IfMissing::Fail,
        (true, false) => IfMissing::Create,
        (false, false) => IfMissing::CreateNamed,
    };
    let db = match arguments.live {
        true => open::open_live(&arguments.file, opening, missing, speech)?.into(),
        false => open::open(&arguments.file, opening, missing, speech)?,
    };
    signals.opened(&db);
    // A signal is how it may be ended, too: what waits for requests cannot be told otherwise.
    signals.end_well();
    match http {
        Some((listener, options)) => serve_http(&db, listener, options, speech, signals),
        None => {
            let access = if opening.read_only { SharedAccess::ReadOnly } else { SharedAccess::Full };
            let served = signals.waiting(|| db.serve(io::stdin(), io::stdout(), access));
            Ok(served.unwrap_or(Ok(()))?)
        }
    }
}

/// Listens at an address, before anybody is answered there.
fn listen(
    address: SocketAddr,
    arguments: &ServeArgs,
    opening: &OpenArgs,
) -> Result<(TcpListener, HttpOptions), CommandFailure> {
    // Those over HTTP are other programs, as those that attach are.
    let access = match opening.read_only || opening.share_read_only {
        true => SharedAccess::ReadOnly,
        false => SharedAccess::Full,
    };
    let mut options = HttpOptions::new(access);
    match &arguments.token {
        Some(TokenOption(Ok(token))) => options = options.token(token)?,
        Some(TokenOption(Err(why))) => return Err(CommandFailure::Usage(format!("--token: {why}"))),
        None if !address.ip().is_loopback() => {
            return Err(CommandFailure::Usage(format!(
                "--http {address}: other machines may reach this address, and whoever does has the database; --token says \
                 what they have to send, or a loopback address, like 127.0.0.1, keeps them away"
            )));
        }
        None => {}
    }
    let failed = |source| CommandFailure::Io { doing: format!("listening for HTTP at {address}"), source };
    Ok((TcpListener::bind(address).map_err(failed)?, options))
}

fn serve_http(
    db: &SharedDb,
    listener: TcpListener,
    options: HttpOptions,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let server = db.serve_http(listener, options)?;
    speech.notice(&format!("serving at http://{}; Ctrl-C ends it", server.address()));
    // The signal itself closes the database and ends the program.
    signals.waiting(|| server.wait());
    Ok(())
}
