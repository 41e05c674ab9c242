//! What stands at the other end of the three streams, and what may be sent there.

use std::borrow::Cow;
use std::io::IsTerminal;

use bygone::editor::{escaped, is_unseen};

/// Which streams are terminals, and which of them take colours.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Somebody types: there is a prompt.
    pub input: bool,
    /// Somebody reads the results.
    pub output: bool,
    /// Somebody reads the notices and errors.
    pub errors: bool,
    /// Results have colours.
    pub output_colors: bool,
    /// Notices and errors have colours.
    pub error_colors: bool,
}

impl Terminal {
    /// Looks at the streams and the environment.
    pub fn detect() -> Terminal {
        let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let colors = unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let output = std::io::stdout().is_terminal();
        let errors = std::io::stderr().is_terminal();
        Terminal {
            input: std::io::stdin().is_terminal(),
            output,
            errors,
            output_colors: colors && output,
            error_colors: colors && errors,
        }
    }

    /// How many columns a result has; none where it goes on into a file or a pipe, which have no width.
    pub fn width(&self) -> Option<usize> {
        self.output.then(columns)
    }
}

/// How the terminal on standard input was set up before anybody changed that.
#[derive(Clone)]
pub struct Mode {
    #[cfg(unix)]
    termios: Option<rustix::termios::Termios>,
}

impl Mode {
    /// As it is now; nothing if there is no terminal.
    pub fn now() -> Mode {
        Mode {
            #[cfg(unix)]
            termios: rustix::termios::tcgetattr(rustix::stdio::stdin()).ok(),
        }
    }

    /// Sets it up like that again: a line editor that a signal ended cannot do so itself.
    pub fn restore(&self) {
        #[cfg(unix)]
        if let Some(termios) = &self.termios {
            use rustix::termios::{OptionalActions, tcsetattr};
            // Nobody is left to tell.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, termios);
            // What comes next does not stand behind the prompt.
            super::failure::say("");
        }
    }
}

/// The width of the terminal; a usual one where it says nothing or nonsense (some say 0 while they are being made).
pub fn columns() -> usize {
    const USUAL: usize = 80;
    const LEAST: usize = 20;
    match terminal_size::terminal_size() {
        Some((width, _)) if usize::from(width.0) >= LEAST => width.0.into(),
        _ => USUAL,
    }
}

/// The columns and rows of the terminal; usual ones where it does not say.
pub fn screen() -> (usize, usize) {
    const ROWS: usize = 24;
    let rows = terminal_size::terminal_size().map_or(0, |(_, height)| usize::from(height.0));
    (columns(), if rows < 2 { ROWS } else { rows })
}

/// A way to set text apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Blue,
    Magenta,
    Cyan,
}

impl Style {
    fn code(self) -> u8 {
        match self {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Red => 31,
            Style::Green => 32,
            Style::Blue => 34,
            Style::Magenta => 35,
            Style::Cyan => 36,
        }
    }

    /// The text in this style, where there are colours.
    pub fn paint(self, text: &str, colors: bool) -> Cow<'_, str> {
        if colors { format!("\x1b[{}m{text}\x1b[0m", self.code()).into() } else { text.into() }
    }
}

/// The text without what a terminal would obey, and with all of it seen: data may come from anywhere. What is not shown as it is, is
/// escaped as JSON does, and as texts in double quotes of the language do: so it can be pasted back.
pub fn harmless(text: &str) -> Cow<'_, str> {
    shown(text, is_unseen)
}

/// The same of a text of lines, which stay lines.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    shown(text, |c| c != '\n' && is_unseen(c))
}

/// The same of lines of fields, which tabs separate.
pub fn harmless_fields(text: &str) -> Cow<'_, str> {
    shown(text, |c| c != '\n' && c != '\t' && is_unseen(c))
}

fn shown(text: &str, unseen: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&unseen) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unseen(c) { safe.push_str(&escaped(c)) } else { safe.push(c) }
    }
    safe.into()
}

/// A number with its thousands set apart: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 event`, `1,234 events`.
pub fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_reading() {
        assert_eq!(count(0, "event"), "0 events");
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!(count(1234567, "event"), "1,234,567 events");
        assert_eq!(grouped(100), "100");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(harmless("a\x1b[2Jb\n\tc"), "a\\u001b[2Jb\\n\\tc");
        assert_eq!(
            harmless("\u{9b}\u{202e}\u{200b}\u{feff}\u{e0041}"),
            "\\u009b\\u202e\\u200b\\ufeff\\udb40\\udc41"
        );
        assert_eq!(harmless("naïve 東京"), "naïve 東京");
    }

    #[test]
    fn what_is_not_shown_as_it_is_can_be_pasted_back() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_unseen(*c)) {
            let text = format!("a{c}b");
            let pasted: bygone::Value = format!("\"{}\"", harmless(&text)).parse().unwrap();
            assert_eq!(pasted.as_text(), Some(text.as_str()));
        }
        let db = bygone::Db::in_memory().unwrap();
        let pasted = format!("EMIT A.b 1 {{x: \"{}\"}}", harmless("\u{1b}\u{202e}\u{e0041}"));
        db.query(&pasted).unwrap();
        let event = db.event(bygone::Position(1)).unwrap().unwrap();
        assert_eq!(event.data.get("x"), Some("\u{1b}\u{202e}\u{e0041}".into()));
    }
}
