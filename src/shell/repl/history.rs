//! What was entered before, kept between sessions.

use std::path::PathBuf;

use rustyline::config::Configurer;

use super::LineEditor;
use crate::shell::config::folder;

/// Longer entries are not kept: nobody looks for a record of megabytes among what was typed.
const LONGEST: usize = 16 << 10;
const ENTRIES: usize = 5000;

/// Where entries are kept; nowhere if there is no such place, or it cannot be written. That is no reason to trouble
/// anybody.
pub struct History(Option<PathBuf>);

impl History {
    /// Gives the editor what was entered before.
    pub fn load(editor: &mut LineEditor) -> History {
        let _ = editor.set_max_history_size(ENTRIES);
        editor.set_history_ignore_space(true);
        let file = state_folder().and_then(|folder| {
            std::fs::create_dir_all(&folder).ok()?;
            Some(folder.join("history"))
        });
        if let Some(file) = &file {
            let _ = editor.load_history(file);
        }
        History(file)
    }

    /// Keeps an entry, at once: a session may end without notice. One with a secret is not kept anywhere.
    pub fn add(&self, editor: &mut LineEditor, entry: &str) {
        if entry.len() > LONGEST || has_secret(entry) || !editor.add_history_entry(entry).unwrap_or(false) {
            return;
        }
        if let Some(file) = &self.0 {
            let _ = editor.append_history(file);
        }
    }
}

/// What a secret is called, in a statement, an object, a parameter or a URL.
const SECRETS: [&str; 9] =
    ["sign head", "secret", "passw", "token", "api_key", "apikey", "api-key", "credential", "authorization"];

/// Whether it says a secret: something that is called so, or the user of a URL. One too many is typed again, one too few is told.
fn has_secret(entry: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    let mut authorities =
        entry.split("://").skip(1).map(|rest| rest.split(['/', '?', '#', '\'', '"', ' ']).next());
    SECRETS.iter().any(|name| entry.contains(name))
        || authorities.any(|authority| authority.is_some_and(|authority| authority.contains('@')))
}

/// `$XDG_STATE_HOME/bygone`, or `~/.local/state/bygone`.
fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", &[".local", "state"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_a_secret_is_known_by_its_name_or_its_place() {
        for secret in [
            "DEFINE WEBHOOK h ON '*' TO 'https://e.com/h' SECRET 'x'",
            "DEFINE WEBHOOK h ON '*.x' TO 'https://ann:hunter5@e.com/h'",
            "DEFINE WEBHOOK h ON '*.x' TO 'https://e.com/h?token=tok6'",
            "EMIT User.made 1 {password: 'hunter2'}",
            "EMIT User.made 1 {apiKey: 'k'}",
        ] {
            assert!(has_secret(secret), "{secret}");
        }
        for plain in [
            "EMIT User.made 'ann@e.com' {at: 'https://e.com/x?to=ann@e.com'}",
            "DEFINE WEBHOOK h ON '*' TO 'https://e.com/h'",
            "HISTORY Order 42",
        ] {
            assert!(!has_secret(plain), "{plain}");
        }
    }
}
