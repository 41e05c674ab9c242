//! Whatever is defined, and however what it makes grows: no program aborts that has 64 MiB of memory more than an idle one, and the
//! file opens afterwards, tells its events, and lets go of what was defined.
#![cfg(all(target_os = "linux", feature = "shell"))]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bygone");

/// How much more memory than an idle program one has, in KiB.
const MORE: u64 = 64 << 10;

/// To sort and group, a query may take 256 MiB otherwise, and pages of the file 128 MiB.
const ASKED: &str = "--memory 16MB --cache 4MB a.bygone";

/// A row of numbers that looks like chance, and is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn one_of(&mut self, some: &[&str]) -> String {
        some[self.below(some.len())].to_owned()
    }
}

/// An expression that makes more of what it is given, so many levels deep.
fn growing(chance: &mut Chance, of: &[&str], levels: usize) -> String {
    if levels == 0 {
        return chance.one_of(of);
    }
    let inner = growing(chance, of, levels - 1);
    let other = chance.one_of(of);
    // What says its inner expression twice is twice as long itself.
    let once = if inner.len() > 2000 { 6 } else { 0 };
    match (chance.below(12) + once).min(12) {
        0 => format!("concat({inner}, text({other}), text({inner}))"),
        1 => format!("text([{inner}, {inner}])"),
        2 => format!("append(split(text({inner}), 'a'), {inner})"),
        3 => format!("{{a: {inner}, b: {inner}}}"),
        4 => format!("merge({{a: {inner}}}, {{b: {inner}, c: {other}}})"),
        5 => format!("if(regex(text({inner}), '(a?){{40}}b'), {inner}, text([{inner}]))"),
        6 => format!("union([{inner}], split(text({other}), 'x'), [{other}])"),
        7 => format!("put({{a: {other}}}, 'b', {inner})"),
        8 => format!("trim(concat(text({inner}), ' ', text({other})))"),
        9 => format!("upper(concat(text({inner}), text({other})))"),
        10 => format!("[{inner}, {other}, {other}]"),
        11 => format!("values({{a: {inner}, b: {other}}})"),
        _ => format!("text([{inner}])"),
    }
}

/// Definitions of all kinds, and events that set them off.
fn script(seed: u64) -> String {
    let chance = &mut Chance(seed);
    let of_state = ["state.s", "state", "data.t", "state.l"];
    let of_data = ["data.t", "data", "data.t"];
    let mut levels = || [3, 3, 6, 12, 20, 40][chance.below(6)];
    let (a, b, c, d, e) = (levels(), levels(), levels(), levels(), levels());
    let mut say = |of: &[&str], levels: usize| growing(chance, of, levels);
    let mut lines = vec![
        format!("DEFINE ENTITY Doc INITIAL {{s: 'xa', l: []}} ON made SET s = {}", say(&of_state, a)),
        "DEFINE ENTITY Log INITIAL {s: 'xa', l: ['a']} ON made SET l = append(state.l, state, data)"
            .to_owned(),
        format!("DEFINE VIEW sums AS EVENTS 'Doc.*' GROUP BY {} AS k SELECT count() AS n", say(&of_data, b)),
        format!(
            "DEFINE VERB Ask ON Doc REQUIRE length(text({})) > 0 EMIT asked {{t: {}}}",
            say(&of_state, c),
            say(&of_state, d)
        ),
        format!("DEFINE REACTION again ON 'Doc.made' DO EMIT Mail.sent (1) {{t: {}}}", say(&of_data, e)),
    ];
    for n in 0..40 {
        lines.push(format!("EMIT Doc.made {} {{t: '{}'}}", n % 3, "ax\"".repeat(1 + n)));
        lines.push(format!("EMIT Log.made 1 {{t: '{}'}}", "a".repeat(1 + n * n)));
    }
    lines.push(format!("DEFINE INDEX found ON 'Doc.*' AS {}", say(&of_data, c)));
    lines.push(format!("DEFINE VIEW rows AS EVENTS 'Doc.*' WHERE {} = 'x'", say(&of_data, d)));
    lines.push("PERFORM Ask Doc 1 {t: 'a'}".to_owned());
    lines.push("AT Doc 1".to_owned());
    lines.push("FIND Doc".to_owned());
    lines.push("FIND Log SELECT state.l".to_owned());
    lines.push(format!("EVENTS 'Doc.*' SELECT {}", say(&of_data, a)));
    lines.push(format!("EVENTS 'Doc.*' ORDER BY {}", say(&of_data, b)));
    lines.push(format!("FIND Doc WHERE {} = 'x'", say(&["state.s", "state", "state.l"], e)));
    lines.push("CHECKPOINT".to_owned());
    lines.push("EMIT Doc.made 1 {t: 'a'}".to_owned());
    lines.join(";\n") + ";\n"
}

/// A line of the system's shell that runs, with memory that goes back to the system as soon as it is let go of.
fn begun(folder: &Path, line: &str) -> Child {
    Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The most memory, in KiB, that a program has used that does next to nothing.
fn idle(folder: &Path) -> u64 {
    let mut child = begun(folder, &format!("exec {PROGRAM} idle.bygone 2>/dev/null"));
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"DEFINE ENTITY A ON x MERGE; EMIT A.x 1 {n: 1}; CHECKPOINT; FIND A; SHOW HEAD;\n")
        .unwrap();
    input.flush().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("head") && !line.contains("position\":2") {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    let peak = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    drop(input);
    child.wait().unwrap();
    peak
}

/// Runs a program that has so much memory, in KiB. After ten seconds it is interrupted, and then it is to end soon.
fn run(folder: &Path, memory: u64, arguments: &str, input: &str) -> Output {
    let line = format!("ulimit -v {memory}; exec timeout -s INT -k 20 10 {PROGRAM} {arguments}");
    let mut child = begun(folder, &line);
    let mut stdin = child.stdin.take().unwrap();
    let asked: String = input.chars().take(100).collect();
    let input = input.to_owned();
    // A program that ends early does not read it all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let ended = output.status.code().is_some_and(|code| ![101, 134, 137].contains(&code));
    assert!(
        ended,
        "{arguments} {asked}: {:?}: {}",
        output.status,
        errors.chars().take(2000).collect::<String>()
    );
    assert!(!errors.contains("panicked") && !errors.contains("memory allocation"), "{errors}");
    output
}

#[test]
fn no_definition_takes_the_memory_of_a_program_or_the_events_of_a_file() {
    let seeds = match std::env::var("BYGONE_SEEDS") {
        Ok(seeds) => seeds.parse().unwrap(),
        Err(_) => 2,
    };
    let mut limited = 0;
    for seed in 0..seeds {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        let memory = idle(folder) + MORE;
        let script = script(seed);
        // Those that append go in together; each other is run by itself, whatever became of those before it.
        let mut appending = String::new();
        for statement in script.split_inclusive(";\n") {
            if statement.starts_with("EMIT") {
                appending.push_str(statement);
                continue;
            }
            if !appending.is_empty() {
                let appended = run(folder, memory, ASKED, &std::mem::take(&mut appending));
                assert!(appended.status.success(), "{}", String::from_utf8_lossy(&appended.stderr));
            }
            let ended = run(folder, memory, ASKED, statement);
            let errors = String::from_utf8_lossy(&ended.stderr);
            // What takes too much is refused, and the query ended.
            let refused = errors.contains("largest-value") || errors.contains("(--memory)");
            limited += u32::from(refused);
            let interrupted = ended.status.code() == Some(124);
            assert!(
                ended.status.success() || refused || interrupted || statement.starts_with("PERFORM"),
                "{statement}: {errors}"
            );
        }
        run(folder, memory, &format!("run {ASKED} --until-idle"), "");
        let head = run(folder, memory, &format!("{ASKED} -c 'SHOW HEAD'"), "");
        assert!(head.status.success(), "seed {seed}: {head:?}");
        let events = run(folder, memory, &format!("export {ASKED}"), "");
        assert!(events.status.success() && !events.stdout.is_empty(), "seed {seed}");
        for dropped in [
            "VIEW sums",
            "VERB Ask",
            "REACTION again",
            "ENTITY Doc",
            "ENTITY Log",
            "INDEX found",
            "VIEW rows",
        ] {
            // What was refused is not there to be dropped.
            run(folder, memory, &format!("{ASKED} -c 'DROP {dropped}'"), "");
        }
        let mended = run(folder, memory, &format!("{ASKED} -c 'EMIT Doc.made 1 {{t: 1}}; AT Doc 1'"), "");
        assert!(mended.status.success(), "seed {seed}: {mended:?}");
    }
    println!("{limited} times a value was too large");
    assert!(limited > 0, "nothing grew to a limit");
}
