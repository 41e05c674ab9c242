//! Where results go: to standard output, there through a pager if somebody reads, or into a file.

use std::fs::File;
use std::io::{self, BufWriter, Read, Stdout, Write};
use std::path::{Path, PathBuf};

use super::failure::CommandFailure;
use super::pager::{Pager, PagerChoice};
use super::signal::Signals;
use super::terminal::{Terminal, screen};

/// How much output is gathered before it goes on its way.
const BUFFER: usize = 64 << 10;

/// Where results go.
pub struct ResultOutput {
    stdout: BufWriter<Stdout>,
    file: Option<OutputFile>,
    paging: Paging,
    /// What is to be said of the pager once the answer is there.
    notice: Option<String>,
}

struct OutputFile {
    name: String,
    writer: BufWriter<File>,
    /// It is for one answer.
    once: bool,
}

/// How an answer comes to the screen.
enum Paging {
    Plain,
    /// It is held back until it is known whether it fits.
    Holding {
        text: Vec<u8>,
        screen: Screen,
        choice: PagerChoice,
        signals: Signals,
    },
    Running(Pager),
}

/// How much of the screen a text takes, about.
struct Screen {
    columns: usize,
    rows: usize,
    column: usize,
    lines: usize,
    /// Within a sequence that sets a style.
    style: bool,
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => (self.lines, self.column) = (self.lines + 1, 0),
                0x1b => self.style = true,
                byte if self.style => self.style = *byte != b'm',
                // What goes on with a character takes no column.
                0x80..=0xbf => {}
                _ if self.column == self.columns => (self.lines, self.column) = (self.lines + 1, 1),
                _ => self.column += 1,
            }
        }
    }

    /// Whether it is full, with a line for the prompt.
    fn is_full(&self) -> bool {
        self.lines >= self.rows
    }
}

impl ResultOutput {
    pub fn new() -> ResultOutput {
        ResultOutput {
            stdout: BufWriter::with_capacity(BUFFER, io::stdout()),
            file: None,
            paging: Paging::Plain,
            notice: None,
        }
    }

    /// From now on results go into a file, which is written anew; all of them, or those of one answer.
    ///
    /// # Errors
    /// Where it cannot be written, or would take the place of the database.
    pub fn redirect(&mut self, name: &str, once: bool, database: &Path) -> Result<(), CommandFailure> {
        if belongs_to(Path::new(name), database) {
            let database = database.display();
            return Err(CommandFailure::Usage(format!(
                "{name} belongs to the database {database}: name another file"
            )));
        }
        if is_database(Path::new(name)) {
            return Err(CommandFailure::Usage(format!("{name} is a database: name another file")));
        }
        self.restore()?;
        let writer = File::create(name).map_err(|source| writing(name, source))?;
        let writer = BufWriter::with_capacity(BUFFER, writer);
        self.file = Some(OutputFile { name: name.to_owned(), writer, once });
        Ok(())
    }

    /// From now on results go to standard output.
    pub fn restore(&mut self) -> Result<(), CommandFailure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let flushed = file.writer.flush();
        // What could not be written is not tried again.
        drop(file.writer.into_parts());
        flushed.map_err(|source| writing(&file.name, source))
    }

    /// The file that results go to, if there is one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.name.as_str())
    }

    /// The terminal as results meet it: a file is none.
    pub fn terminal(&self, terminal: &Terminal) -> Terminal {
        match self.file {
            Some(_) => Terminal { output: false, output_colors: false, ..*terminal },
            None => *terminal,
        }
    }

    /// An answer begins that may go through a pager.
    pub fn begin_paged(&mut self, choice: &PagerChoice, signals: &Signals) {
        if self.file.is_some() || !choice.on {
            return;
        }
        let (columns, rows) = screen();
        let screen = Screen { columns, rows: rows.saturating_sub(1), column: 0, lines: 0, style: false };
        let (choice, signals) = (choice.clone(), signals.clone());
        self.paging = Paging::Holding { text: Vec::new(), screen, choice, signals };
    }

    /// Whether whoever reads has had enough of this answer.
    pub fn is_gone(&self) -> bool {
        matches!(&self.paging, Paging::Running(pager) if pager.is_gone())
    }

    /// The answer is complete: it is shown, and a pager is waited for. True if somebody had enough of it before its end. What there is to
    /// say of the pager is said by the second.
    pub fn end(&mut self) -> Result<(bool, Option<String>), CommandFailure> {
        let mut gone = false;
        match std::mem::replace(&mut self.paging, Paging::Plain) {
            Paging::Plain => {}
            Paging::Holding { text, .. } => {
                self.stdout.write_all(&text).map_err(CommandFailure::output)?;
            }
            Paging::Running(pager) => {
                let end = pager.finish().map_err(|source| writing("the pager", source))?;
                gone = end.gone;
                if end.failed {
                    self.notice = Some("the pager could not be run; .pager off ends this".to_owned());
                }
            }
        }
        if self.file.as_ref().is_some_and(|file| file.once) {
            self.restore()?;
        }
        Ok((gone, self.notice.take()))
    }

    /// Why results could not be written. A file that cannot be is given up.
    pub fn failure(&mut self, source: io::Error) -> CommandFailure {
        match self.file.take() {
            Some(file) => {
                drop(file.writer.into_parts());
                writing(&file.name, source)
            }
            None => CommandFailure::output(source),
        }
    }

    /// What is held back goes on its way: through the pager, or without one.
    fn let_go(&mut self, paged: bool) -> io::Result<()> {
        let Paging::Holding { text, choice, signals, .. } =
            std::mem::replace(&mut self.paging, Paging::Plain)
        else {
            return Ok(());
        };
        if paged {
            self.stdout.flush()?;
            match Pager::start(&choice.command, &signals) {
                Ok(mut pager) => {
                    let given = pager.write(&text);
                    self.paging = Paging::Running(pager);
                    return given;
                }
                Err(_) => self.notice = choice.missing(),
            }
        }
        self.stdout.write_all(&text)
    }
}

impl Write for ResultOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.writer.write(bytes);
        }
        match &mut self.paging {
            Paging::Plain => return self.stdout.write(bytes),
            Paging::Running(pager) => pager.write(bytes)?,
            Paging::Holding { text, screen, .. } => {
                text.extend_from_slice(bytes);
                screen.take(bytes);
                if screen.is_full() {
                    self.let_go(true)?;
                }
            }
        }
        Ok(bytes.len())
    }

    /// A line of JSON is many small pieces: each takes the short way.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match (&mut self.file, &self.paging) {
            (Some(file), _) => file.writer.write_all(bytes),
            (None, Paging::Plain) => self.stdout.write_all(bytes),
            // What is held back, and what a pager is given, is taken whole.
            _ => self.write(bytes).map(|_| ()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            return file.writer.flush();
        }
        match &mut self.paging {
            Paging::Running(pager) => return pager.flush(),
            // Something is to be seen before it is known how much comes.
            Paging::Holding { text, .. } if !text.is_empty() => self.let_go(false)?,
            _ => {}
        }
        self.stdout.flush()
    }
}

fn writing(name: &str, source: io::Error) -> CommandFailure {
    CommandFailure::Io { doing: format!("writing {name}"), source }
}

/// Whether a file is a database: what results would take the place of is more than they are.
fn is_database(path: &Path) -> bool {
    /// As the file of a database begins: redb's, or one that is encrypted.
    const BEGINNINGS: [&[u8]; 2] = [b"redb\x1A\n\xA9\r\n", b"bygone encrypted"];
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut bytes));
    read.is_ok() && BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning))
}

/// Whether a file is the database, or belongs to it: its journals, its socket. One that is not there may be one of them later.
fn belongs_to(path: &Path, database: &Path) -> bool {
    let place = |path: &Path| -> io::Result<PathBuf> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().or_else(|_| Ok(folder.canonicalize()?.join(path.file_name().unwrap_or_default())))
    };
    let (Ok(path), Ok(database)) = (place(path), place(database)) else { return false };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.parent() == database.parent() && name(&path).starts_with(&(name(&database) + "-"));
    beside || path == database || is_one_file(&path, &database)
}

#[cfg(unix)]
fn is_one_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    place(one).is_some_and(|one| Some(one) == place(other))
}

#[cfg(not(unix))]
fn is_one_file(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_knows_when_it_is_full() {
        let full = |text: &str| {
            let mut screen = Screen { columns: 4, rows: 3, column: 0, lines: 0, style: false };
            screen.take(text.as_bytes());
            screen.is_full()
        };
        assert!(!full("a\nb\n") && full("a\nb\nc\n"));
        assert!(!full("abcdabcd") && !full("abcd\nabcd\n") && full("abcdabcdabcde"));
        assert!(!full("\u{1b}[31mabcd\u{1b}[0m\néééé\n"), "styles and the rest of characters take nothing");
    }

    #[test]
    fn what_is_of_the_database_is_known_by_any_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.bygone", "a.bygone-journal-a", "a.txt"] {
            std::fs::write(at(name), "").unwrap();
        }
        let of = |name: &str| belongs_to(&at(name), &at("a.bygone"));
        assert!(of("a.bygone") && of("./a.bygone") && of("a.bygone-journal-a"));
        assert!(of("a.bygone-journal-b") && of("a.bygone-socket"), "what is not there yet");
        assert!(!of("a.txt") && !of("b.txt") && !of("none/a.bygone-socket"));
        std::fs::hard_link(at("a.bygone"), at("hard")).unwrap();
        assert_eq!(of("hard"), cfg!(unix));
        bygone::Db::create(at("other")).unwrap().close().unwrap();
        assert!(is_database(&at("other")) && !is_database(&at("a.txt")) && !is_database(&at("none")));
    }
}
