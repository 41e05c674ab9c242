//! What somebody wants at each prompt: a file of commands and statements.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use super::failure::CommandFailure;
use super::input::{self, EofPolicy};
use super::session::Session;

/// A folder of the kind that a variable of the environment names, or what is usual below the home folder (XDG Base Directory
/// Specification), for files of this program.
pub fn folder(variable: &str, usual: &[&str]) -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = named(variable).or_else(|| {
        let mut folder = named("HOME")?;
        folder.extend(usual);
        Some(folder)
    })?;
    Some(folder.join("bygone"))
}

/// Runs `$XDG_CONFIG_HOME/bygone/bygonerc`, or `~/.config/bygone/bygonerc`, if it is there. What is wrong in it is told, and the rest is run.
pub fn run(session: &mut Session) -> Result<(), CommandFailure> {
    let Some(path) = folder("XDG_CONFIG_HOME", &[".config"]).map(|folder| folder.join("bygonerc")) else {
        return Ok(());
    };
    let name = path.display().to_string();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CommandFailure::reading(&name, error)),
    };
    session.quietly(|session| input::run_stream(session, BufReader::new(file), &name, EofPolicy::None))
}
