//! The program at a terminal: what is typed or pasted there, and what is sent there.
#![cfg(all(target_os = "linux", feature = "shell"))]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// A program at a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<u8>,
    shown: Vec<u8>,
}

impl Terminal {
    fn of(folder: &Path, arguments: &[&str]) -> Terminal {
        Terminal::with(folder, arguments, &[])
    }

    /// One of 80 columns and 24 rows, with more of an environment.
    fn with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let end = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_bygone"))
            .args(arguments)
            .current_dir(folder)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("XDG_STATE_HOME", folder)
            .env("XDG_CONFIG_HOME", folder.join("settings"))
            .env_remove("VISUAL")
            .env("BYGONE_PAGER", "no-such-pager")
            .envs(environment.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut from = keyboard.try_clone().unwrap();
        let (tell, screen) = mpsc::channel();
        // It ends when nobody holds the other end any more.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                let _ = bytes[..n].iter().try_for_each(|byte| tell.send(*byte));
            }
        });
        Terminal { child, keyboard, screen, shown: Vec::new() }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a text is on the screen, behind what was waited for before.
    fn shows(&mut self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        while !String::from_utf8_lossy(&self.shown).contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(byte) => self.shown.push(byte),
                Err(_) => panic!("{text:?} is not in {:?}", String::from_utf8_lossy(&self.shown)),
            }
        }
        String::from_utf8(std::mem::take(&mut self.shown)).unwrap()
    }

    /// Waits for its end, and tells all that it has shown since.
    fn ends(mut self) -> String {
        self.child.wait().unwrap();
        while let Ok(byte) = self.screen.recv_timeout(Duration::from_millis(200)) {
            self.shown.push(byte);
        }
        String::from_utf8(self.shown).unwrap()
    }
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn lines_that_are_pasted_at_once_all_run() {
    let folder = TempDir::new().unwrap();
    let mut terminal = Terminal::of(folder.path(), &["a.bygone"]);
    terminal.shows("a> ");
    // As a terminal pastes that does not bracket it.
    terminal.types("EMIT A.x 1;\rEMIT A.x 2;\rEMIT A.x 3;\rEMIT A.x 4;\r");
    terminal.shows("#4");
    terminal
        .types("DEFINE WEBHOOK w ON 'A.*' TO 'https://example.org/' SECRET 'abcdefghijklmnopqrstuvwxyz'\r");
    terminal.types(".quit\r");
    terminal.ends();
    assert!(run(folder.path(), &["a.bygone", "-c", "EVENTS 'A.*' SELECT count()"]).contains(":4}"));
    let history = std::fs::read_to_string(folder.path().join("bygone").join("history")).unwrap();
    assert!(history.contains("EMIT A.x 4") && !history.contains("SECRET"), "{history}");
}

#[test]
fn what_a_terminal_would_obey_is_shown_and_not_sent() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let evil = "x\u{1b}[2J\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}\u{200b}y";
    let id = evil.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007");
    run(folder, &["a.bygone", "-c", &format!("EMIT A.x \"{id}\" {{t: \"{id}\"}} KEY \"{id}\"")]);
    let quiet = |shown: String| {
        assert!(!shown.is_empty());
        for c in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{200b}'] {
            assert!(!shown.contains(c), "{c:?} in {shown:?}");
        }
        shown
    };
    let say = |arguments: &[&str]| quiet(Terminal::of(folder, arguments).ends());
    for format in ["json", "csv", "tsv", "line", "table", "box", "markdown", "html", "chart"] {
        for statement in ["EVENTS 'A.*'", "FIND A", "SHOW KINDS", "EVENTS 'A.*' SELECT data.t"] {
            say(&["--format", format, "a.bygone", "-c", statement]);
        }
        // Errors, that quote what was found.
        for wrong in [
            format!("EMIT A.x \"{id}\" EXPECT NEW"),
            format!("EMIT A.x 1 KEY \"{id}\" EXPECT VERSION 7"),
            format!("AT A 1 '{evil}'"),
            format!("EVENTS WHERE {evil}"),
            format!("DROP VIEW \"{id}\""),
            format!("SUBSCRIBE '*' AS \"{id}\" FROM #99"),
        ] {
            say(&["--format", format, "a.bygone", "-c", &wrong]);
        }
    }
    assert!(say(&["export", "a.bygone"]).contains("\\u009b31m\\u202e\\u200by"));
    assert!(say(&["watch", "a.bygone", "--from", "START", "--until-now"]).contains("\\u202e"));
    say(&["a.bygone", "-c", ".schema", "-c", ".dump"]);
    // A program gets it as it is.
    assert!(run(folder, &["export", "a.bygone"]).contains('\u{202e}'));
}

/// A file with so many events, each of which takes a line.
fn many(folder: &Path, events: usize) {
    let lines: String =
        (1..=events).map(|n| format!("{{\"type\":\"A.x\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    std::fs::write(folder.join("lines"), lines).unwrap();
    run(folder, &["import", "a.bygone", "lines"]);
}

#[test]
fn what_is_longer_than_the_screen_goes_through_the_pager() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    many(folder, 100);
    let paged = || std::fs::read_to_string(folder.join("paged")).ok();
    let mut terminal = Terminal::with(folder, &["a.bygone"], &[("BYGONE_PAGER", "cat > paged")]);
    terminal.shows("a> ");
    terminal.types("EVENTS LAST 3\r");
    terminal.shows("3 rows");
    assert_eq!(paged(), None, "it fits");
    // What comes as it happens is not held back.
    terminal.types("SUBSCRIBE 'A.x' FROM START UNTIL #50\r");
    terminal.shows("#50");
    terminal.shows("a> ");
    assert_eq!(paged(), None);
    terminal.types("EVENTS SELECT position\r");
    let shown = terminal.shows("100 rows");
    assert!(!shown.contains("#99"), "{shown}");
    assert_eq!(paged().unwrap().lines().count(), 102);
    std::fs::remove_file(folder.join("paged")).unwrap();
    terminal.types(".pager off\r");
    terminal.types("EVENTS SELECT data\r");
    terminal.shows("{\"n\":99}");
    assert_eq!(paged(), None);
    // A line that is wider than the screen takes several of its rows.
    terminal.types(".pager on\r.mode json\r");
    terminal.types("EVENTS LAST 12\r");
    terminal.shows("12 rows");
    assert_eq!(paged().unwrap().lines().count(), 12);
    terminal.types(".pager\r");
    terminal.shows("on: cat > paged");
    terminal.types(".quit\r");
    terminal.ends();
}

#[test]
fn a_pager_that_has_enough_ends_the_answer_quietly() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    many(folder, 20_000);
    let mut terminal =
        Terminal::with(folder, &["a.bygone"], &[("PAGER", "ignored"), ("BYGONE_PAGER", "sed -n 3q")]);
    terminal.shows("a> ");
    terminal.types("EVENTS\r");
    terminal.types(".pager head -n 3\r");
    terminal.types("EVENTS SELECT position\r");
    terminal.shows("       1\r\n");
    terminal.types("EVENTS LAST 2 SELECT data\r");
    let shown = terminal.shows("2 rows");
    assert!(shown.contains("{\"n\":20000}") && !shown.contains("error") && !shown.contains("#9"), "{shown}");
    terminal.types(".quit\r");
    assert!(!terminal.ends().contains("error"));
}

#[test]
fn where_there_is_no_pager_the_answer_is_shown_plainly() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    many(folder, 60);
    let mut terminal = Terminal::of(folder, &["a.bygone"]);
    terminal.shows("a> ");
    terminal.types("EVENTS SELECT data\r");
    let shown = terminal.shows("60 rows");
    assert!(shown.contains("{\"n\":1}") && shown.contains("{\"n\":60}"), "{shown}");
    assert!(shown.contains("there is no pager 'no-such-pager'"), "{shown}");
    // It is told once.
    terminal.types("EVENTS SELECT data\r");
    let shown = terminal.shows("60 rows");
    assert!(shown.contains("{\"n\":60}") && !shown.contains("there is no pager"), "{shown}");
    terminal.types(".quit\r");
    terminal.ends();
}

#[test]
fn an_interrupt_in_the_pager_does_not_end_the_shell() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    many(folder, 60);
    let pager = "cat > /dev/null; printf 'WAI%s' TS; until [ -e go ]; do sleep 0.05; done";
    let mut terminal = Terminal::with(folder, &["a.bygone"], &[("BYGONE_PAGER", pager)]);
    terminal.shows("a> ");
    terminal.types("EVENTS SELECT data\r");
    terminal.shows("WAITS");
    for _ in 0..2 {
        let sent = Command::new("kill").args(["-INT", &terminal.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(folder.join("go"), "").unwrap();
    terminal.shows("a> ");
    terminal.types("EVENTS LAST 2 SELECT data\r");
    terminal.shows("{\"n\":60}");
    terminal.types(".quit\r");
    terminal.ends();
}

#[test]
fn what_somebody_wants_at_each_prompt_is_in_a_file() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::create_dir_all(folder.join("settings/bygone")).unwrap();
    let settings = ".mode tsv\n.frob\n-- a comment\nEMIT A.x\n 1;\n.param n=7\n";
    std::fs::write(folder.join("settings/bygone/bygonerc"), settings).unwrap();
    let mut terminal = Terminal::of(folder, &["a.bygone"]);
    // What is wrong is told, and the rest is run.
    terminal.shows("there is no command .frob");
    terminal.shows("a> ");
    terminal.types("EVENTS SELECT position, $n AS seven\r");
    terminal.shows("position\tseven\r\n1\t7\r\n");
    terminal.types(".quit\r");
    terminal.ends();
    // Not where nobody sits, and not where somebody says so.
    assert!(run(folder, &["a.bygone", "-c", "EVENTS SELECT position"]).contains("{\"position\":1}"));
    let mut terminal = Terminal::of(folder, &["--no-config", "a.bygone"]);
    terminal.shows("a> ");
    terminal.types("EVENTS SELECT count() AS many\r");
    let shown = terminal.shows("1\r\n");
    assert!(!shown.contains("frob"), "{shown}");
    terminal.types(".quit\r");
    terminal.ends();
}

#[test]
fn a_statement_is_written_in_an_editor_and_offered() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    run(folder, &["a.bygone", "-c", "EMIT A.x 1"]);
    let editor = "#!/bin/sh\n[ \"$1\" = -w ] && cp \"$2\" seen && echo \"EVENTS\n  SELECT count() + 41 AS n\" > \"$2\"\n";
    std::fs::write(folder.join("editor"), editor).unwrap();
    std::fs::set_permissions(folder.join("editor"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let environment = [("EDITOR", "./editor -w"), ("TMPDIR", folder.to_str().unwrap())];
    let mut terminal = Terminal::with(folder, &["a.bygone"], &environment);
    terminal.shows("a> ");
    terminal.types("SHOW HEAD\r");
    terminal.shows("a> ");
    terminal.types(".edit\r");
    // It is seen before it is run.
    terminal.shows("AS n");
    assert_eq!(std::fs::read_to_string(folder.join("seen")).unwrap(), "SHOW HEAD\n");
    terminal.types("\r");
    terminal.shows("42");
    terminal.types(".edit EVENTS 'A.*'\r");
    terminal.shows("AS n");
    assert_eq!(std::fs::read_to_string(folder.join("seen")).unwrap(), "EVENTS 'A.*'\n");
    terminal.types("\r");
    terminal.shows("42");
    terminal.types(".quit\r");
    terminal.ends();
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("bygone-")), "{left:?}");
    // One that is missing, or fails, is told.
    for (editor, why) in [("no-such-editor", "could not be run"), ("false", "nothing is taken of it")] {
        let mut terminal = Terminal::with(folder, &["a.bygone"], &[("VISUAL", editor)]);
        terminal.shows("a> ");
        terminal.types(".edit\r");
        terminal.shows(why);
        terminal.types(".quit\r");
        terminal.ends();
    }
}

#[test]
fn the_line_is_edited_as_vi_does() {
    let folder = TempDir::new().unwrap();
    let mut terminal = Terminal::of(folder.path(), &["a.bygone"]);
    terminal.shows("a> ");
    terminal.types(".keys vi\r");
    terminal.types("EMIT A.xyz 1");
    terminal.shows("A.xyz 1");
    // Out of inserting; back to the word before the last, and two letters less of it.
    terminal.types("\u{1b}");
    thread::sleep(Duration::from_millis(1000));
    terminal.types("bxx\r");
    terminal.shows("#1");
    terminal.types(".keys\r");
    terminal.shows("vi\r\n");
    terminal.types(".keys emacs\r.quit\r");
    terminal.ends();
    assert!(run(folder.path(), &["a.bygone", "-c", "SHOW TYPES"]).contains("A.z"));
}

/// Waits for its end, and gives what it has shown of progress before the line was cleared, and the rest.
fn progress(folder: &Path, arguments: &[&str]) -> (Vec<String>, String) {
    let shown = Terminal::of(folder, arguments).ends();
    let (told, rest): (Vec<&str>, Vec<&str>) =
        shown.split("\r\u{1b}[K").partition(|part| part.contains('%') && !part.contains('\n'));
    (told.into_iter().map(str::to_owned).collect(), rest.concat())
}

#[test]
fn what_takes_long_tells_how_far_it_is() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    many(folder, 20_000);
    // Nothing here asserts that it takes so long that there is progress: how it is told is held to where there is.
    let begins = |(told, rest): (Vec<String>, String), done: &str, ends: &str| {
        for line in &told {
            assert!(line.starts_with(done) && line.chars().count() < 80, "{line:?}");
        }
        assert!(rest.contains(ends) && !rest.contains('\u{1b}') && !rest.contains('%'), "{rest:?}");
        told.len()
    };
    begins(progress(folder, &["import", "b.bygone", "lines"]), "imported ", "imported 20,000 events");
    begins(progress(folder, &["verify", "a.bygone"]), "verified ", "true");
    begins(progress(folder, &["compact", "a.bygone"]), "compacted ", "bytesBefore");
    begins(progress(folder, &["backup", "a.bygone", "c.bygone"]), "backed up ", "backed up 20,000 events");
    let index = "DEFINE INDEX n ON 'A.*' AS data.n";
    begins(progress(folder, &["a.bygone", "-c", index]), "built ", "defined");
    // Where nobody looks there is none, and JSON was asked for as lines.
    let quiet = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && !told.contains(['\r', '\u{1b}', '%']), "{told:?}");
    };
    quiet(&["verify", "a.bygone"]);
    quiet(&["import", "d.bygone", "lines"]);
    let (told, _) = progress(folder, &["--format", "json", "verify", "a.bygone"]);
    assert!(told.is_empty(), "{told:?}");
}
