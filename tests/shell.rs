//! The program as a person meets it.
//!
//! Each file in `tests/shell` is a transcript: `$` lines are run by `sh` in an empty folder, `<` lines are its standard
//! input, `!` lines its standard error, `[exit n]` its exit code unless that is 0, and the rest is its standard output.
//! What differs from run to run is replaced in both: ids, times of the clock, process numbers, the folder.
//! `BLESS=1 cargo test --test shell` writes the transcripts anew; read the difference before you commit it.
//!
//! What needs two programs at a time, or a signal, is in Rust below.
#![cfg(all(unix, feature = "shell"))]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bygone");

/// What a program is told when the file was not there.
const CREATED: &str = "{\"notice\":\"created a.bygone\"}\n";

/// A command of a transcript, and what came of it.
#[derive(Default)]
struct Step {
    /// Comments and empty lines before it, as they stand.
    before: String,
    command: String,
    input: String,
    output: String,
    errors: String,
    code: i32,
}

impl Step {
    fn text(&self) -> String {
        let mut text = format!("{}$ {}\n", self.before, self.command);
        for (mark, lines) in [("< ", &self.input), ("", &self.output), ("! ", &self.errors)] {
            for line in lines.lines() {
                text.push_str(format!("{mark}{line}").trim_end());
                text.push('\n');
            }
        }
        if self.code != 0 {
            text.push_str(&format!("[exit {}]\n", self.code));
        }
        text
    }
}

fn steps(transcript: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = String::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let before = std::mem::take(&mut before);
            steps.push(Step { before, command: command.to_owned(), ..Step::default() });
        } else if let Some(input) = line.strip_prefix("< ").or((line == "<").then_some("")) {
            steps.last_mut().expect("a command before its input").input.push_str(&format!("{input}\n"));
        } else if line.starts_with('#') || line.is_empty() {
            before.push_str(&format!("{line}\n"));
        } else {
            // An empty line of the output stood before this one.
            before.clear();
        }
    }
    steps
}

fn perform(step: &mut Step, folder: &Path) {
    let path =
        format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut child = Command::new("sh")
        .args(["-c", &step.command])
        .current_dir(folder)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may have ended before it is written.
    let _ = child.stdin.take().unwrap().write_all(step.input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    step.code = status.code().expect("an exit code");
    step.output = settled(&String::from_utf8_lossy(&stdout), folder);
    step.errors = settled(&String::from_utf8_lossy(&stderr), folder);
}

/// The text without what differs from run to run.
fn settled(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.canonicalize().unwrap().display().to_string(), "<folder>");
    let mut settled = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let found = [
            (id(rest), "<id>"),
            (node(rest), "<node>"),
            (moment(rest), "<now>"),
            (process(rest), "process <n>"),
            (address(rest), "127.0.0.1:<port>/metrics"),
            // Only what takes a while tells it.
            (pace(rest), ""),
        ];
        let (length, mark) = found.into_iter().find(|(length, _)| *length > 0).unwrap_or((0, ""));
        if length > 0 {
            settled.push_str(mark);
            rest = &rest[length..];
        } else {
            settled.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    without_duration(&settled.replace('\r', "\\r"))
}

/// The text without how long something took.
fn without_duration(text: &str) -> String {
    const NAME: &str = "\"milliseconds\":";
    let mut parts = text.split(NAME);
    let mut settled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        settled += NAME;
        settled += "<n>";
        settled += part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    settled
}

/// The length of a UUID that the text begins with.
fn id(text: &str) -> usize {
    matches(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

/// The length of what a database is called in a vector clock, which the text begins with.
fn node(text: &str) -> usize {
    matches(text, "xxxxxxxx:d").saturating_sub(2)
}

/// The length of an instant with a fraction, which only the clock has.
fn moment(text: &str) -> usize {
    let whole = matches(text, "dddd-dd-ddTdd:dd:dd.");
    let fraction = text[whole..].bytes().take_while(u8::is_ascii_digit).count();
    if whole > 0 && text[whole + fraction..].starts_with('Z') { whole + fraction + 1 } else { 0 }
}

fn process(text: &str) -> usize {
    let word = matches(text, "process d");
    if word == 0 { 0 } else { word + text[word..].bytes().take_while(u8::is_ascii_digit).count() }
}

/// The length of an address whose port the system chose.
fn address(text: &str) -> usize {
    let host = matches(text, "127.0.0.1:");
    let port = text[host..].bytes().take_while(u8::is_ascii_digit).count();
    let path = "/metrics";
    if host > 0 && text[host + port..].starts_with(path) { host + port + path.len() } else { 0 }
}

/// The length of how many there were a second.
fn pace(text: &str) -> usize {
    let Some(told) = text.strip_prefix(", ") else { return 0 };
    let digits = told.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b',').count();
    if digits > 0 && told[digits..].starts_with(" a second") { 2 + digits + " a second".len() } else { 0 }
}

fn matches(text: &str, shape: &str) -> usize {
    let fits = |(shape, byte): (u8, u8)| match shape {
        b'x' => byte.is_ascii_hexdigit(),
        b'd' => byte.is_ascii_digit(),
        shape => shape == byte,
    };
    let whole = text.len() >= shape.len() && shape.bytes().zip(text.bytes()).all(fits);
    if whole { shape.len() } else { 0 }
}

#[test]
fn transcripts_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shell");
    let bless = std::env::var_os("BLESS").is_some();
    let mut failed = Vec::new();
    let mut files: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let transcript = fs::read_to_string(&file).unwrap();
        let folder = TempDir::new().unwrap();
        let mut actual = String::new();
        for mut step in steps(&transcript) {
            perform(&mut step, folder.path());
            actual.push_str(&step.text());
        }
        if bless {
            fs::write(&file, &actual).unwrap();
        } else if actual.trim_end() != transcript.trim_end() {
            let differs =
                actual.lines().zip(transcript.lines()).find(|(actual, expected)| actual != expected);
            failed.push(format!("{}: first difference {differs:#?}\n{actual}", file.display()));
        }
    }
    assert!(failed.is_empty(), "(is, was) in\n{}", failed.join("\n"));
}

fn bygone(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder.path()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program with an input. Gives its exit code and what it wrote.
fn run(folder: &TempDir, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = bygone(folder, arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may end before it has read everything.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The files of a folder: a socket that a program was killed beside is none, and is taken by the next.
fn files(folder: &TempDir) -> usize {
    let is_socket = |file: &fs::DirEntry| file.file_name().to_string_lossy().ends_with("-socket");
    fs::read_dir(folder.path()).unwrap().filter(|file| !is_socket(file.as_ref().unwrap())).count()
}

/// The program, at work on `a.bygone`, after it answered one statement from a pipe that stays open.
fn at_work(folder: &TempDir) -> Child {
    at_work_from(folder, 1)
}

/// The same, on a file whose next event gets this position.
fn at_work_from(folder: &TempDir, position: u64) -> Child {
    let mut child = bygone(folder, &["a.bygone"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"EMIT Order.created 1;\n").unwrap();
    assert!(first_line(&mut child).starts_with(&format!(r#"{{"position":{position},"#)));
    child
}

#[test]
fn answers_come_while_the_pipe_is_open_and_the_file_is_held_meanwhile() {
    let folder = TempDir::new().unwrap();
    let mut child = bygone(&folder, &["a.bygone", "--private"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"EMIT Order.created 1;\n").unwrap();
    assert!(first_line(&mut child).starts_with(r#"{"position":1,"#));
    let (code, output, errors) = run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"");
    assert_eq!((code, output.as_str()), (4, ""));
    assert!(errors.starts_with(r#"{"error":{"kind":"held","#), "{errors}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(run(&folder, &["a.bygone", "-c", "HISTORY Order 1"], b"").0, 0);
}

#[test]
fn commands_ask_the_process_that_has_the_file_open() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"DEFINE VIEW v AS EVENTS GROUP BY type AS t SELECT count() AS n;\n")
        .unwrap();
    let define = "DEFINE VERB Pay ON Order EMIT paid";
    assert_eq!(run(&folder, &["a.bygone", "-c", define], b"").0, 0);
    let commands =
        [".schema Pay", ".once types.csv", ".mode csv", ".types", ".backup copy.bygone", ".export events"];
    let arguments: Vec<&str> =
        ["a.bygone"].into_iter().chain(commands.iter().flat_map(|command| ["-c", command])).collect();
    let (code, output, errors) = run(&folder, &arguments, b"");
    assert_eq!((code, output.as_str()), (0, "DEFINE VERB Pay ON Order\n  EMIT paid;\n"), "{errors}");
    assert!(
        errors.contains("attached to process") && errors.contains("copy.bygone holds everything"),
        "{errors}"
    );
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("types.csv").contains("Order.created,1,"), "{}", read("types.csv"));
    assert!(read("events").lines().count() >= 2);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(run(&folder, &["copy.bygone", "-c", ".schema"], b"").1.contains("VERB Pay"));
}

#[test]
fn what_only_reads_shares_the_file_and_what_writes_does_not() {
    let folder = TempDir::new().unwrap();
    assert_eq!(run(&folder, &["a.bygone", "-c", "EMIT Order.created 1"], b"").0, 0);
    let mut reader = bygone(&folder, &["a.bygone", "--read-only"]).spawn().unwrap();
    reader.stdin.as_mut().unwrap().write_all(b"SHOW HEAD;\n").unwrap();
    assert!(first_line(&mut reader).contains("\"position\":1"));
    for reads in [
        &["a.bygone", "-c", "HISTORY Order 1", "-c", ".types"][..],
        &["a.bygone", "EXPLAIN EMIT Order.paid 1"],
        &["a.bygone", "VERIFY"],
        &["export", "a.bygone"],
    ] {
        let (code, output, errors) = run(&folder, reads, b"");
        assert_eq!(code, 0, "{reads:?}: {errors}");
        assert!(!output.is_empty(), "{reads:?}");
    }
    for writes in
        [&["a.bygone", "-c", "SHOW HEAD", "-c", "EMIT Order.paid 1"][..], &["a.bygone", "CHECKPOINT"]]
    {
        assert_eq!(run(&folder, writes, b"").0, 4, "{writes:?}");
    }
    drop(reader.stdin.take());
    assert_eq!(reader.wait().unwrap().code(), Some(0));
    // What a killed program left is recovered for good by the first who reads.
    let mut child = at_work_from(&folder, 2);
    signal(&child, "-KILL");
    child.wait().unwrap();
    let (code, _, errors) = run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"");
    assert!(code == 0 && errors.contains("recovered 1 event"), "{errors}");
    assert_eq!(run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"").2, "");
}

#[test]
fn a_file_that_may_not_be_written_is_read() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = TempDir::new().unwrap();
    run(&folder, &["a.bygone", "-c", "EMIT Order.created 1"], b"");
    let path = folder.path().join("a.bygone");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |statement: &str| {
        let mut command = bygone(&folder, &["a.bygone", "-c", statement]);
        // Nothing is forbidden to root.
        if fs::metadata(&path).unwrap().uid() == 0 {
            command.uid(65534);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, output, errors) = run("HISTORY Order 1");
    assert_eq!((code, output.lines().count()), (Some(0), 1), "{errors}");
    assert!(errors.contains("a.bygone may not be written: it is opened for reading"), "{errors}");
    let (code, output, errors) = run("EMIT Order.paid 1");
    assert!(code != Some(0) && output.is_empty() && errors.contains("for reading only"), "{errors}");
}

#[test]
fn an_interrupt_while_it_waits_closes_the_database() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    assert!(files(&folder) > 1, "a journal stands beside it");
    // Waiting for a child closes its input, which would end it, too.
    let input = child.stdin.take();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(files(&folder), 1);
    drop(input);
}

#[test]
fn an_interrupt_ends_an_import_that_waits_and_keeps_what_it_read() {
    let folder = TempDir::new().unwrap();
    let mut child = bygone(&folder, &["import", "a.bygone", "-"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"type\":\"Order.paid\",\"target\":{\"type\":\"Order\",\"id\":\"1\"}}\n").unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(errors.next().unwrap().unwrap(), r#"{"notice":"created a.bygone"}"#);
    // Nothing says that the line was read: it has time enough.
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let errors: Vec<String> = errors.map(Result::unwrap).collect();
    assert_eq!(errors[0], r#"{"notice":"imported 1 event before that"}"#);
    assert!(errors[1].starts_with(r#"{"error":{"kind":"interrupted""#), "{errors:?}");
    assert_eq!(files(&folder), 1, "it was closed");
    let (code, output, errors) = run(&folder, &["a.bygone", "-c", "HISTORY Order 1"], b"");
    assert_eq!((code, output.lines().count()), (0, 1), "{errors}");
    drop(input);
}

#[test]
fn an_interrupt_ends_a_subscription_in_good_order() {
    let folder = TempDir::new().unwrap();
    run(&folder, &["a.bygone", "-c", "EMIT Order.created 1"], b"");
    let mut child = bygone(&folder, &["a.bygone", "-c", "SUBSCRIBE '*' FROM START"]).spawn().unwrap();
    assert!(first_line(&mut child).starts_with(r#"{"position":1,"#), "what is there is shown at once");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(files(&folder), 1);
}

#[test]
fn a_run_ends_well_with_a_signal_whether_its_input_has_ended_or_not() {
    for (name, ended) in [("-INT", false), ("-TERM", false), ("-INT", true), ("-TERM", true)] {
        let folder = TempDir::new().unwrap();
        run(&folder, &["a.bygone", "-c", "DEFINE REACTION note ON 'Order.*' DO EMIT Note.made"], b"");
        let mut child = bygone(&folder, &["run", "a.bygone"]).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"EMIT Order.created 1;\nSUBSCRIBE 'Note.*' FROM START LIMIT 1;\n").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("Order.created"));
        // Unless it was there already, it comes after the mark that says so.
        assert!(lines.any(|line| line.unwrap().contains("Note.made")), "it came because of the first");
        let input = Some(input).filter(|_| !ended);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}, {ended}");
        assert_eq!(files(&folder), 1, "it was closed");
        drop(input);
    }
}

#[test]
fn a_killed_program_leaves_what_it_acknowledged() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, output, errors) = run(&folder, &["a.bygone", "-c", "HISTORY Order 1"], b"");
    assert_eq!((code, output.lines().count()), (0, 1));
    assert!(errors.contains("recovered 1 event from its journal"), "{errors}");
    assert_eq!(files(&folder), 1);
}

#[test]
fn a_journal_that_was_cut_after_a_kill_is_told_and_never_deleted() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let segment = folder.path().join("a.bygone-journal-a");
    std::fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(4096).unwrap();
    for arguments in [&["a.bygone", "-c", "SHOW HEAD"][..], &["a.bygone", "--read-only", "-c", "SHOW HEAD"]] {
        let (code, output, errors) = run(&folder, arguments, b"");
        assert_eq!((code, output.as_str()), (4, ""), "{errors}");
        assert!(errors.contains("was cut off there") && errors.contains("every event up to #0"), "{errors}");
        assert!(errors.contains("--accept-lost-journal"), "{errors}");
        assert_eq!(files(&folder), 3);
    }
    let (code, _, errors) = run(&folder, &["a.bygone", "--accept-lost-journal", "-c", "SHOW HEAD"], b"");
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("a.bygone-journal-a.aside-1"), "{errors}");
    assert_eq!(files(&folder), 3);
    let (code, _, errors) = run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"");
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn a_file_that_was_removed_while_it_was_open_is_told_at_the_end() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    std::fs::remove_file(folder.path().join("a.bygone")).unwrap();
    drop(child.stdin.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{errors}");
    assert!(errors.contains("is not the file that was opened by that name"), "{errors}");
}

#[test]
fn a_file_that_was_replaced_while_it_is_open_takes_no_more_and_opens_when_that_has_closed() {
    let folder = TempDir::new().unwrap();
    run(&folder, &["b.bygone", "-c", "EMIT Door.opened 7"], b"");
    let mut child = at_work(&folder);
    std::fs::rename(folder.path().join("b.bygone"), folder.path().join("a.bygone")).unwrap();
    for arguments in [&["a.bygone", "-c", "SHOW HEAD"][..], &["a.bygone", "--read-only", "-c", "SHOW HEAD"]] {
        let (code, output, errors) = run(&folder, arguments, b"");
        assert_eq!((code, output.as_str()), (4, ""), "{errors}");
        assert!(errors.contains("is held by another process"), "{errors}");
        assert!(errors.contains("the file open that had this name before"), "{errors}");
        assert_eq!(files(&folder), 4);
    }
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"EVENTS LAST 1;\nEMIT Order.paid 1;\n").unwrap();
    assert!(first_line(&mut child).contains(r#""position":1"#));
    drop(input);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{errors}");
    assert!(errors.contains("nothing more is recorded"), "{errors}");
    assert!(errors.contains("its journal is kept as") && errors.contains("-journal-a.aside-1"), "{errors}");
    let (code, output, errors) = run(&folder, &["a.bygone", "-c", "SHOW TYPES"], b"");
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(output.lines().count() == 1 && output.contains("Door.opened"), "{output}");
    assert_eq!(files(&folder), 3);
}

#[test]
fn an_interrupt_while_it_waits_tells_that_the_file_is_gone() {
    let folder = TempDir::new().unwrap();
    let mut child = at_work(&folder);
    std::fs::remove_file(folder.path().join("a.bygone")).unwrap();
    signal(&child, "-INT");
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{errors}");
    assert!(errors.contains("is not the file that was opened by that name"), "{errors}");
    assert!(errors.contains("-journal-a.aside-1"), "{errors}");
}

/// The first lets the delivery that is under way come to its end, which this server does not let it.
#[test]
fn a_second_interrupt_does_not_wait_for_what_the_first_waits_for() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let define = format!("DEFINE WEBHOOK told ON 'Order.*' TO '{url}'; EMIT Order.paid 1");
    let (code, _, errors) = run(&folder, &["a.bygone", "-c", &define], b"");
    assert_eq!(code, 0, "{errors}");
    let mut child = bygone(&folder, &["run", "a.bygone"]).spawn().unwrap();
    let _held = server.accept().unwrap();
    signal(&child, "-INT");
    // Two that come at once are one to the system.
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&child, "-INT");
    // The first alone ends it well, once it has given the delivery up.
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let (code, output, errors) = run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"");
    assert!(code == 0 && output.contains(r#""position":2"#), "{output} {errors}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let folder = TempDir::new().unwrap();
    let input: String =
        (0..2000).map(|n| format!("EMIT Order.created {n} {{note: '{}'}};", "x".repeat(200))).collect();
    assert_eq!(run(&folder, &["a.bygone"], input.as_bytes()).0, 0);
    for arguments in [&["a.bygone", "-c", "EVENTS"] as &[&str], &["export", "a.bygone"]] {
        let mut child = bygone(&folder, arguments).spawn().unwrap();
        first_line(&mut child);
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!errors.contains("error") && !errors.contains("panic"), "{errors}");
    }
}

#[test]
fn a_statement_of_five_megabytes_works() {
    let folder = TempDir::new().unwrap();
    let statement = format!("EMIT Note.written 1 {{text: '{}'}};\n", "long ".repeat(1 << 20));
    let (code, output, errors) = run(&folder, &["a.bygone"], statement.as_bytes());
    assert_eq!((code, errors.as_str()), (0, CREATED));
    assert!(output.len() > 5 << 20);
    let (code, output, _) = run(&folder, &["a.bygone", "--format", "table", "-c", "SHOW TYPES"], b"");
    assert_eq!(code, 0);
    assert!(output.contains("Note.written"));
}

#[test]
fn nesting_has_a_limit_that_is_an_answer() {
    let folder = TempDir::new().unwrap();
    let statement = format!("EMIT Note.written 1 {{a: {}1{}}};\n", "[".repeat(10_000), "]".repeat(10_000));
    let (code, output, errors) = run(&folder, &["a.bygone"], statement.as_bytes());
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(errors.contains("nest"), "{errors}");
    assert!(errors.len() < 1000, "a message is for reading: {errors}");
}

#[test]
fn many_lines_before_the_semicolon_take_no_longer_than_they_are_long() {
    let folder = TempDir::new().unwrap();
    let mut block = String::from("ATOMIC (\n");
    for n in 0..20_000 {
        block.push_str(&format!("EMIT Order.created {n} {{n: {n}}};\n"));
    }
    block.push_str(");\n");
    let (code, output, errors) = run(&folder, &["a.bygone"], block.as_bytes());
    assert_eq!((code, output.lines().count(), errors.as_str()), (0, 20_000, CREATED));
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    run(&folder, &["a.bygone", "-c", "EMIT Order.created 1"], b"");
    let path = folder.path().join("a.bygone");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        return; // Root may read anything.
    }
    let (code, _, errors) = run(&folder, &["a.bygone", "-c", "SHOW HEAD"], b"");
    assert_eq!(code, 4);
    assert!(errors.contains("Permission denied"), "{errors}");
}

/// The README and each page of the guide, with how many answered commands it shows.
const SHOWN: &[(&str, usize)] = &[
    ("README.md", 4),
    ("docs/guide/backups.md", 0),
    ("docs/guide/causes.md", 1),
    ("docs/guide/clocks.md", 3),
    ("docs/guide/cluster.md", 0),
    ("docs/guide/conditions.md", 2),
    ("docs/guide/durability.md", 0),
    ("docs/guide/http.md", 0),
    ("docs/guide/import-export.md", 4),
    ("docs/guide/limits.md", 0),
    ("docs/guide/measuring.md", 0),
    ("docs/guide/metrics.md", 0),
    ("docs/guide/private.md", 0),
    ("docs/guide/python.md", 0),
    ("docs/guide/reactions.md", 0),
    ("docs/guide/rust.md", 0),
    ("docs/guide/shapes.md", 0),
    ("docs/guide/sharing.md", 0),
    ("docs/guide/shell.md", 0),
    ("docs/guide/states.md", 3),
    ("docs/guide/subscriptions.md", 0),
    ("docs/guide/verbs.md", 2),
    ("docs/guide/views.md", 0),
    ("docs/guide/webhooks.md", 0),
];

/// What a person reads first is what comes.
#[test]
fn readme_and_guide_show_what_comes() {
    let is_error = |line: &&str| line.starts_with("error: ");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let transcript = fs::read_to_string(root.join("tests/shell/readme.txt")).unwrap();
    // A person's terminal gives tables, and what is told beside them is left out, errors excepted.
    let lines = transcript.lines().map(|line| line.strip_prefix("! ").filter(is_error).unwrap_or(line));
    let told = |line: &&str| !line.starts_with("! ") && !line.is_empty();
    let transcript: Vec<String> =
        lines.filter(told).map(|line| line.replace(" --format table", "")).collect();
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root.join("docs/guide")).unwrap() {
        pages.push(format!("docs/guide/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    pages.sort();
    assert_eq!(pages, SHOWN.iter().map(|(page, _)| *page).collect::<Vec<_>>(), "a page is missing, or new");
    for (page, expected) in SHOWN {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let mut shown = 0;
        for block in text.split("```console\n").skip(1) {
            let block = block.split("```").next().unwrap();
            for command in block.split("$ ").skip(1) {
                let text = format!("$ {command}");
                let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                // A prompt shows what may be asked, without an answer.
                if lines.len() > 1 && !text.contains("bygone> ") {
                    let comes = transcript.windows(lines.len()).any(|window| window == lines);
                    assert!(comes, "{page} shows what does not come:\n{text}");
                    shown += 1;
                }
            }
        }
        assert_eq!(shown, *expected, "answered commands in {page}");
    }
}

#[test]
fn a_signal_ends_an_import_of_rows_that_waits() {
    let folder = TempDir::new().unwrap();
    let mut child = bygone(&folder, &["import", "a.bygone", "-", "--csv", "--type", "A.b"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a,b\n1,2\n3,").unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut created = String::new();
    errors.read_line(&mut created).unwrap();
    assert_eq!(created, CREATED);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(input);
    // Whether the first row was in or not, the whole brings in what is left.
    let arguments = ["import", "a.bygone", "-", "--csv", "--type", "A.b"];
    assert_eq!(run(&folder, &arguments, b"a,b\n1,2\n3,4\n").0, 0);
    let (_, output, errors) = run(&folder, &["a.bygone", "-c", "EVENTS"], b"");
    assert_eq!(output.lines().count(), 2, "{errors}");
}

/// A stream of one line that has no end to it, or not soon.
fn long_line(mut to: impl Write, bytes: usize) -> std::io::Result<()> {
    to.write_all(b"EMIT A.b 1 {t: '")?;
    let piece = [b'x'; 1 << 16];
    for _ in 0..bytes / piece.len() {
        to.write_all(&piece)?;
    }
    to.write_all(b"'};\n")
}

/// How much memory a program held at most, in KiB, where the system tells.
fn most_held(program: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_statement_that_is_too_long_is_not_collected() {
    let folder = TempDir::new().unwrap();
    let long = 300 << 20;
    let program = |arguments: &[&str]| {
        let mut program = Command::new(PROGRAM);
        program.args(arguments).current_dir(folder.path());
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program.spawn().unwrap()
    };
    // A script ends there, as behind any error.
    let mut child = program(&["a.bygone"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"EMIT A.b 1;\n").unwrap();
    // It may have ended before it was given all.
    let _ = long_line(&mut input, long).and_then(|()| input.write_all(b"EMIT A.b 2;\n"));
    drop(input);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("line 2 of standard input") && errors.contains("at most 16 MiB"), "{errors}");
    assert!(errors.len() < 2000 && !output.status.success(), "{errors}");

    // What goes on goes on behind it.
    let mut child = program(&["run", "a.bygone", "--until-idle"]);
    let mut input = child.stdin.take().unwrap();
    long_line(&mut input, long).unwrap();
    input.write_all(b"EMIT A.b 3;\n").unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert!(first.contains(r#""id":"3""#), "{first}");
    if let Some(held) = most_held(&child) {
        assert!(held < 150 << 10, "{held} KiB");
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 16 MiB"));

    // Somebody may want it.
    let mut child = program(&["a.bygone", "--max-statement", "100B"]);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("EMIT A.b 4 {{t: '{}'}};\n", "x".repeat(100)).as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 100 bytes"));
}
