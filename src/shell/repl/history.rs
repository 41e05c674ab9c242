//! What was entered before, kept between sessions.

use std::path::PathBuf;

use rustyline::config::Configurer;

use super::LineEditor;

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

/// Whether it says a secret, of a webhook or as a parameter that is called so.
fn has_secret(entry: &str) -> bool {
    entry.to_ascii_lowercase().contains("secret")
}

/// `$XDG_STATE_HOME/bygone`, or `~/.local/state/bygone`.
fn state_folder() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local").join("state")))?;
    Some(state.join("bygone"))
}
