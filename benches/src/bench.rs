//! Bygone beside what else one would use, measured in one run.
//!
//! Absolute times of a disk drift by the hour. So the contestants take turns in short slices, each round in another order,
//! and what counts is the ratio of two contestants within a round; of these the median is shown.

mod arguments;
mod conditions;
mod contestant;
mod event;
mod follow;
mod import;
mod parse;
mod private;
mod query;
mod read;
#[cfg(unix)]
mod share;
mod states;
mod table;
mod views;
mod write;

use std::error::Error;
use std::process::ExitCode;

use arguments::Arguments;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1).peekable();
    if given.next_if(|first| first == import::CHILD).is_some() {
        return ended(import::child(given));
    }
    if given.next_if(|first| first == states::CHILD).is_some() {
        return ended(states::child(given));
    }
    let arguments = match Arguments::read(given) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    ended(run(&arguments))
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.wants("write") {
        write::run(arguments)?;
    }
    if arguments.wants("read") {
        read::run(arguments)?;
    }
    if arguments.wants("query") {
        query::run(arguments)?;
    }
    if arguments.wants("parse") {
        parse::run(arguments)?;
    }
    if arguments.wants("write") && arguments.wants_scenario(10) {
        conditions::run(arguments)?;
    }
    if arguments.wants("states") {
        states::run(arguments)?;
    }
    if arguments.wants("follow") {
        follow::run(arguments)?;
    }
    if arguments.wants("views") {
        views::run(arguments)?;
    }
    if arguments.wants("private") {
        private::run(arguments)?;
    }
    #[cfg(unix)]
    if arguments.wants("share") {
        share::run(arguments)?;
    }
    if arguments.wants("import") {
        import::run(arguments)?;
    }
    Ok(())
}
