//! `.edit`: a statement is written in an editor, and comes back to the prompt.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::failure::CommandFailure;
use super::super::pager;
use super::super::session::Session;

/// What is used if nobody names another.
const USUAL: &str = if cfg!(windows) { "notepad" } else { "vi" };

/// Lets somebody write a statement: this one, or the last that was entered. What is written is offered at the prompt: nothing runs that
/// nobody has seen.
pub fn edit(statement: &str, session: &Session) -> Result<String, CommandFailure> {
    let text = match (statement, &session.last) {
        ("", Some(last)) => last.as_str(),
        (statement, _) => statement,
    };
    let file = TextFile::of(text)?;
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|command| !command.trim().is_empty())
        .unwrap_or_else(|| USUAL.to_owned());
    session.signals.lend(true);
    let ran = command(&editor, &file.0).status();
    session.signals.lend(false);
    let failed = |why: String| CommandFailure::Command(format!("the editor '{editor}' failed: {why}"));
    match ran {
        Err(error) => return Err(failed(error.to_string())),
        Ok(status) if matches!(status.code(), Some(126 | 127)) => {
            return Err(failed("it could not be run; $VISUAL or $EDITOR names another".to_owned()));
        }
        Ok(status) if !status.success() => return Err(failed(format!("{status}; nothing is taken of it"))),
        Ok(_) => {}
    }
    let name = file.0.display().to_string();
    let written = std::fs::read(&file.0).map_err(|error| CommandFailure::reading(&name, error))?;
    let text = String::from_utf8(written);
    let text = text.map_err(|_| CommandFailure::Usage("what was written is not UTF-8".to_owned()))?;
    Ok(text.trim_end().to_owned())
}

/// The editor, by the shell of the system: it may have arguments.
fn command(editor: &str, file: &Path) -> std::process::Command {
    let mut shell = match cfg!(unix) {
        true => pager::shell(&format!("{editor} \"$@\"")),
        false => pager::shell(editor),
    };
    if cfg!(unix) {
        shell.arg(editor);
    }
    shell.arg(file);
    shell
}

/// A file that is there as long as it is edited, and that nobody else may read.
struct TextFile(PathBuf);

impl TextFile {
    fn of(text: &str) -> Result<TextFile, CommandFailure> {
        let folder = std::env::temp_dir();
        let mut options = OpenOptions::new();
        // Never one that is there, or that a link leads to.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let process = std::process::id();
        let mut number = 0;
        loop {
            let path = folder.join(format!("bygone-{process}-{number}.txt"));
            let failed = |error| CommandFailure::writing(&path.display().to_string(), error);
            match options.open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => {
                    number += 1
                }
                Err(error) => return Err(failed(error)),
                Ok(mut file) => {
                    let written = writeln!(file, "{text}").map_err(failed);
                    let file = TextFile(path);
                    return written.map(|()| file);
                }
            }
        }
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
