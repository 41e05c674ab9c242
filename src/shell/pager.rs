//! The pager: what is longer than the screen goes through another program, which lets one scroll.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::signal::Signals;

/// What is used if nobody names another.
const USUAL: &str = "less -FRX";

/// Which pager there is, and whether it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagerChoice {
    pub on: bool,
    pub command: String,
    /// Somebody named it: that it is missing is told.
    chosen: bool,
}

impl PagerChoice {
    /// As the environment says: `$BYGONE_PAGER`, else `$PAGER`, else the usual one. An empty name, or `cat`, is none.
    pub fn from_environment() -> PagerChoice {
        let said = ["BYGONE_PAGER", "PAGER"].into_iter().find_map(|name| std::env::var(name).ok());
        // Without one that moves its cursor a pager stops where nobody can go on.
        let on = std::env::var("TERM").is_ok_and(|kind| kind != "dumb");
        said.map_or(PagerChoice { on, command: USUAL.to_owned(), chosen: false }, |command| {
            PagerChoice::of(command.trim())
        })
    }

    /// This one.
    pub fn of(command: &str) -> PagerChoice {
        match command {
            "" | "cat" => PagerChoice { on: false, command: USUAL.to_owned(), chosen: false },
            command => PagerChoice { on: true, command: command.to_owned(), chosen: true },
        }
    }

    /// What to say where it cannot be run; nothing where nobody asked for it.
    pub fn missing(&self) -> Option<String> {
        self.chosen.then(|| {
            format!(
                "there is no pager '{}'; .pager COMMAND names another, .pager off ends this",
                self.command
            )
        })
    }
}

/// A pager that runs.
pub struct Pager {
    child: Child,
    /// What it reads; none once it has had enough.
    input: Option<BufWriter<ChildStdin>>,
    signals: Signals,
}

impl Pager {
    /// Starts it. Signals are its own from now on.
    pub fn start(command: &str, signals: &Signals) -> io::Result<Pager> {
        if !is_there(command) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut shell = shell(command);
        // As git does; and what is written is UTF-8, whatever the locale.
        for (name, value) in [("LESS", "FRX"), ("LESSCHARSET", "utf-8"), ("LV", "-c")] {
            if std::env::var_os(name).is_none() {
                shell.env(name, value);
            }
        }
        signals.lend(true);
        let started = shell.stdin(Stdio::piped()).spawn().and_then(|mut child| {
            let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(Pager { child, input: Some(BufWriter::new(input)), signals: signals.clone() })
        });
        if started.is_err() {
            signals.lend(false);
        }
        started
    }

    /// Whether whoever reads has had enough.
    pub fn is_gone(&self) -> bool {
        self.input.is_none()
    }

    /// Gives it more. Where it has had enough that is no error: the rest is not wanted.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.given(|input| input.write_all(bytes))
    }

    /// Gives it all there is so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.given(Write::flush)
    }

    fn given(&mut self, give: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<()>) -> io::Result<()> {
        match self.input.as_mut().map_or(Ok(()), give) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // What it did not take is not written again.
                drop(self.input.take().map(BufWriter::into_parts));
                Ok(())
            }
            given => given,
        }
    }

    /// Waits until it is left. What went wrong is told, and whether it took everything.
    pub fn finish(mut self) -> io::Result<PagerEnd> {
        self.flush()?;
        let gone = self.is_gone();
        drop(self.input.take());
        let status = self.child.wait()?;
        Ok(PagerEnd { gone, failed: failed(status) })
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
        self.signals.lend(false);
    }
}

/// How a pager ended.
pub struct PagerEnd {
    /// It did not take everything.
    pub gone: bool,
    /// It did not run at all.
    pub failed: bool,
}

/// The codes by which a shell tells that it could not run a command.
fn failed(status: ExitStatus) -> bool {
    matches!(status.code(), Some(126 | 127))
}

/// Whether the program that a command names can be found. What only the shell can tell is left to it.
fn is_there(command: &str) -> bool {
    let is_assignment = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let Some(program) = command.split_whitespace().find(|word| !is_assignment(word)) else { return false };
    let plain = program.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    if !plain || cfg!(not(unix)) {
        return true;
    }
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// A command, run by the shell of the system.
#[cfg(unix)]
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

/// A command, run by the shell of the system.
#[cfg(not(unix))]
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_no_pager() {
        assert!(!PagerChoice::of("").on && !PagerChoice::of("cat").on);
        assert!(PagerChoice::of("less -S").on);
    }

    #[test]
    #[cfg(unix)]
    fn a_program_that_is_missing_is_known_before_it_is_run() {
        assert!(is_there("sh") && is_there("LESS=R sh -x") && is_there("/bin/sh"));
        assert!(is_there("$MY_PAGER -x"), "the shell tells");
        assert!(!is_there("no-such-pager -x") && !is_there("/no/such") && !is_there("A=1") && !is_there(""));
    }
}
