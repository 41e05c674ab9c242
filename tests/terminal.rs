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
    for format in ["json", "csv", "line", "table"] {
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
    // A program gets it as it is.
    assert!(run(folder, &["export", "a.bygone"]).contains('\u{202e}'));
}
