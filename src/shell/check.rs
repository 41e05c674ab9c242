//! `bygone check`: whether events fit schemas that are not defined yet.

use std::fs;
use std::io;
use std::path::Path;

use bygone::maintain::SchemaCheck;
use bygone::share::SharedDb;
use bygone::{EventType, Object, Parameters, Row, Value};

use super::cli::{CheckArgs, Format, OpenArgs};
use super::exit::Exit;
use super::failure::{CommandFailure, Reporter};
use super::signal::Signals;
use super::terminal::Terminal;
use super::{open, render};

/// A definition to try.
struct Tried {
    statement: String,
    parameters: Parameters,
}

/// `bygone check FILE --against OTHER`: a row of each type, with how many of its events do not fit; before it the first of those. It
/// ends like a refusal where one does not fit.
pub fn check_file(
    arguments: &CheckArgs,
    opening: &OpenArgs,
    format: Format,
    terminal: &Terminal,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let tried = definitions(arguments, opening, speech)?;
    let db = open::open_to_read(&arguments.file, opening, speech)?;
    signals.opened(&db);
    let db = open::opened(&db, "bygone check")?;
    let (mut out, mut fits) = (io::stdout().lock(), true);
    let mut renderer = render::new(format, false, false, terminal);
    renderer.begin(1, &mut out).map_err(CommandFailure::output)?;
    for Tried { statement, parameters } in &tried {
        let check = db.check_schema(statement, parameters)?;
        fits &= check.unfit == 0;
        for row in rows(&check) {
            renderer.row(&row, &mut out).map_err(CommandFailure::output)?;
        }
    }
    renderer.end(&mut out).map_err(CommandFailure::output)?;
    db.close()?;
    if fits { Ok(()) } else { Err(CommandFailure::Told(Exit::Refused)) }
}

/// What does not fit, and how many events there are.
fn rows(check: &SchemaCheck) -> Vec<Row> {
    let row = |members: Vec<(&str, Value)>| {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        Row::from(members.collect::<Object>())
    };
    let event_type = || Value::from(check.event_type.as_str());
    let mut rows = Vec::new();
    for (position, mismatch) in &check.mismatches {
        for member in &mismatch.members {
            rows.push(row(vec![
                ("type", event_type()),
                ("position", position.0.into()),
                ("path", member.path.as_str().into()),
                ("expected", member.expected.as_str().into()),
                ("found", member.found.as_str().into()),
            ]));
        }
    }
    rows.push(row(vec![
        ("type", event_type()),
        ("events", check.events.into()),
        ("unfit", check.unfit.into()),
    ]));
    rows
}

/// What is tried: the schemas of another database, or one of JSON Schema.
fn definitions(
    arguments: &CheckArgs,
    opening: &OpenArgs,
    speech: Reporter,
) -> Result<Vec<Tried>, CommandFailure> {
    let against = &arguments.against;
    if against.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return Ok(vec![of_json(against, arguments.event_type.as_ref())?]);
    }
    if arguments.event_type.is_some() {
        return Err(CommandFailure::Usage("--type is for --against a file of JSON Schema".to_owned()));
    }
    let opening = OpenArgs { read_only: true, ..opening.clone() };
    let other: SharedDb = open::open_to_read(against, &opening, speech)?;
    let mut tried = Vec::new();
    for row in other.query("SHOW SCHEMAS")?.rows {
        tried.push(Tried { statement: row?.get("as")?, parameters: Parameters::new() });
    }
    other.close()?;
    match tried.is_empty() {
        true => Err(CommandFailure::Usage(format!("{} defines no events (DEFINE EVENT)", against.display()))),
        false => Ok(tried),
    }
}

/// A schema in a file. Which type it is of it may say as its title.
fn of_json(path: &Path, event_type: Option<&EventType>) -> Result<Tried, CommandFailure> {
    let text = fs::read_to_string(path)
        .map_err(|source| CommandFailure::reading(&path.display().to_string(), source))?;
    let title = || {
        let schema: Value = text.parse().ok()?;
        schema.get("title")?.as_text()?.parse::<EventType>().ok()
    };
    let event_type = event_type.cloned().or_else(title).ok_or_else(|| {
        let path = path.display();
        CommandFailure::Usage(format!("{path} has no type as its title: --type says of which events it is"))
    })?;
    let name: Vec<String> = event_type.as_str().split('.').map(bygone::editor::name).collect();
    let statement = format!("DEFINE EVENT {} FROM SCHEMA $schema", name.join("."));
    Ok(Tried { statement, parameters: Parameters::new().set("schema", text) })
}
