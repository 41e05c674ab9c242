//! The command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bygone::maintain::{ChainHash, EncryptionKey, EventFormat, ExportOptions};
use bygone::{Entity, Error, EventType, Options, Pattern, Position, Timestamp, Value};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use super::csv_import::CsvArgs;
use super::exit;
use super::failure::CommandFailure;
use super::terminal::Terminal;

/// An embedded event database: one file, one small language.
#[derive(Debug, Parser)]
#[command(
    name = "bygone",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = exit::HELP,
    override_usage = "bygone [OPTIONS] FILE [STATEMENT]...\n       bygone run FILE\n       bygone serve FILE --stdio|--http ADDRESS\n       bygone watch FILE [PATTERN]\n       bygone import FILE EVENTS\n       bygone export FILE [PATTERN]\n       bygone backup FILE TO\n       bygone compact FILE\n       bygone verify FILE\n       bygone check FILE --against OTHER\n       bygone rescue FILE TO\n       bygone completions SHELL\n       bygone man [COMMAND]",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub run: Option<RunArgs>,

    #[command(flatten)]
    pub opening: OpenArgs,

    #[command(subcommand)]
    pub command: Option<CliCommand>,
}

/// Running statements: what `bygone FILE` does.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// The database. One that is not there is created, unless each STATEMENT only reads. Statements come from the prompt, or
    /// from standard input
    pub file: PathBuf,

    /// Run these and end
    #[arg(value_name = "STATEMENT", allow_hyphen_values = false)]
    pub texts: Vec<String>,

    /// Run this and end, after those above; may be given several times
    #[arg(short = 'c', long = "command", value_name = "STATEMENT", allow_hyphen_values = true)]
    pub commands: Vec<String>,

    /// Create the database if it is not there, whatever its name; else only a name with an extension, like shop.bygone, is created
    #[arg(long)]
    pub create: bool,

    /// How results are shown: a table on a terminal, JSON lines elsewhere, if not said
    #[arg(long, visible_alias = "mode", value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,

    /// The value of $NAME in statements: JSON, or else text
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameters: Vec<(String, Value)>,

    /// On whose behalf events are appended, like 'User ann'
    #[arg(long, value_name = "ENTITY")]
    pub actor: Option<Entity>,

    /// End a statement with an error once it has taken so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub time_limit: Option<Duration>,

    /// Say of each answer how much of the log it sees
    #[arg(long)]
    pub verbose: bool,

    /// Wrap each line of JSON with the number of its statement, and close each statement
    #[arg(long)]
    pub envelope: bool,

    /// At a prompt, run nothing of bygonerc in the folder of settings (~/.config/bygone)
    #[arg(long)]
    pub no_config: bool,

    /// Put a ' before texts in CSV and TSV that a spreadsheet would take for a formula
    #[arg(long)]
    pub csv_safe: bool,
}

impl RunArgs {
    /// The texts to be run, in their order.
    pub fn statements(&self) -> Vec<String> {
        self.texts.iter().chain(&self.commands).cloned().collect()
    }

    /// Whether there are any.
    pub fn has_statements(&self) -> bool {
        !self.texts.is_empty() || !self.commands.is_empty()
    }

    /// What fits together only in some formats.
    pub fn check(&self, format: Format) -> Result<(), CommandFailure> {
        if self.envelope && format != Format::Json {
            let format = format.name();
            return Err(CommandFailure::Usage(format!("--envelope is for JSON, not for --format {format}")));
        }
        if self.csv_safe && !matches!(format, Format::Csv | Format::Tsv) {
            let format = format.name();
            return Err(CommandFailure::Usage(format!(
                "--csv-safe is for --format csv or tsv, not for {format}"
            )));
        }
        Ok(())
    }
}

/// How the file is opened.
#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// Write nothing; other readers may have the file open too
    #[arg(long, global = true)]
    pub read_only: bool,

    /// Ask the process that has the file open, and open it in no case
    #[arg(long, global = true, conflicts_with = "private")]
    pub attach: bool,

    /// Let no other process ask this one while it has the file open
    #[arg(long, global = true)]
    pub private: bool,

    /// Let other processes ask this one to read alone while it has the file open
    #[arg(long, global = true, conflicts_with = "private")]
    pub share_read_only: bool,

    /// Open a file whose journal is gone or damaged, or holds what the file does not, without those events; what is left of the journal is kept
    #[arg(long, global = true)]
    pub accept_lost_journal: bool,

    /// Evaluate nothing that is defined in the file, as the last resort: it can be read, exported, and mended by DROP
    #[arg(long, global = true)]
    pub without_followers: bool,

    /// The key that the database is encrypted with, 64 hexadecimal digits (openssl rand -hex 32): env:NAME, or file:PATH. A new one is encrypted
    #[arg(long, global = true, value_name = "KEY", value_parser = key)]
    pub key: Option<KeyOption>,

    /// The log that the file shares with others, a stream of NATS: nats://HOST:PORT,HOST:PORT/STREAM?sync=trusted. A file that has followed one
    /// is opened with it from then on
    #[cfg(feature = "nats")]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub log: Option<String>,

    /// How much memory one query may take to sort and to group, like 64MB or 1GB; 256MB if not said
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub memory: Option<usize>,

    /// How much memory pages of the file may take, like 16MB; 128MB if not said
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub cache: Option<usize>,

    /// How much memory one evaluation may make, and a state may take; 16MB if not said
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub largest_value: Option<usize>,

    /// How long a statement may be, like 64MB; 16MB if not said
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub max_statement: Option<usize>,

    /// How many events reactions may make of one that none of them made; 10000 if not said
    #[arg(long, global = true, value_name = "COUNT")]
    pub max_brought_about: Option<u64>,

    /// How many definitions may hold at a time; 20000 if not said
    #[arg(long, global = true, value_name = "COUNT")]
    pub max_definitions: Option<usize>,

    /// How many subscriptions may have a name at a time; 10000 if not said
    #[arg(long, global = true, value_name = "COUNT")]
    pub max_subscriptions: Option<usize>,
}

impl OpenArgs {
    /// Whether events come from a log that others append to, too: then a new file has them all.
    pub fn follows_log(&self) -> bool {
        #[cfg(feature = "nats")]
        return self.log.is_some();
        #[cfg(not(feature = "nats"))]
        false
    }

    /// Options that open as is said here.
    pub fn options(&self, options: Options) -> Options {
        let mut options =
            options.accept_lost_journal(self.accept_lost_journal).without_followers(self.without_followers);
        #[cfg(feature = "nats")]
        if let Some(address) = &self.log {
            options = options.log(address);
        }
        if let Some(bytes) = self.memory {
            options = options.query_memory(bytes);
        }
        if let Some(bytes) = self.cache {
            options = options.cache(bytes);
        }
        if let Some(bytes) = self.max_statement {
            options = options.max_statement(bytes);
        }
        if let Some(events) = self.max_brought_about {
            options = options.max_brought_about(events);
        }
        if let Some(definitions) = self.max_definitions {
            options = options.max_definitions(definitions);
        }
        if let Some(subscriptions) = self.max_subscriptions {
            options = options.max_subscriptions(subscriptions);
        }
        if let Some(bytes) = self.largest_value {
            options = options.largest_value(bytes);
        }
        match &self.key {
            Some(Ok(key)) => options.key(key.clone()),
            // Refused before anything is opened.
            Some(Err(_)) | None => options,
        }
    }

    /// How long a statement may be, in bytes.
    pub fn longest_statement(&self) -> usize {
        self.max_statement.unwrap_or(16 << 20)
    }
}

#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run what is defined to run: reactions, webhooks and schedules, until a signal comes
    Run(Live),
    /// Answer requests of other programs, in the words of docs/PROTOCOL.md, or over HTTP
    Serve(ServeArgs),
    /// Give each event to a command, or print it, as it comes
    Watch(WatchArgs),
    /// Append events from JSON: lines or arrays, CloudEvents too; or from CSV
    Import(ImportArgs),
    /// Write events as JSON: lines, or CloudEvents
    Export(ExportArgs),
    /// Copy the database as it is now into another file, while others may read it
    Backup(BackupArgs),
    /// Write the file anew, in the order of keys, and give back what was freed
    Compact(CompactArgs),
    /// Compare everything that follows from the log with the log, or the log with a hash that was noted
    Verify(VerifyArgs),
    /// Tell which events do not fit schemas that are not defined here yet
    Check(CheckArgs),
    /// Put every event that can still be read from a damaged file, and from its journals, into a new one
    Rescue(RescueArgs),
    /// Forget whoever a list names, in a backup from before they were forgotten
    Forget(ForgetArgs),
    /// Print what makes Tab complete this command line in a shell of the system
    Completions(CompletionsArgs),
    /// Print a page of the manual, for man -l
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct CompletionsArgs {
    /// Which shell: its folder of completions takes what is printed
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct ManArgs {
    /// The command that the page is of, like import; if not said, the page is of bygone
    pub command: Option<String>,
}

#[derive(Debug, Parser)]
#[command(after_help = exit::HELP)]
pub struct BackupArgs {
    /// The database
    pub file: PathBuf,

    /// The file that the backup is: a database as of one position
    pub to: PathBuf,

    /// Append what came since to an earlier backup of this database; where there is none, one is made
    #[arg(long, conflicts_with = "replace")]
    pub increment: bool,

    /// Put it in the place of a file that is there, once it is whole
    #[arg(long)]
    pub replace: bool,

    /// Leave out the keys of private values, which then read as if all were forgotten
    #[arg(long, conflicts_with = "increment")]
    pub without_keys: bool,

    /// The key that the backup is encrypted with, where that is not the database's: env:NAME, or file:PATH
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub backup_key: Option<KeyOption>,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct CompactArgs {
    /// The database
    pub file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct VerifyArgs {
    /// The database
    pub file: PathBuf,

    /// Prove that the log is the one that had this chain hash, as SHOW HEAD gave it
    #[arg(long, value_name = "HASH")]
    pub against: Option<ChainHash>,

    /// The position that the hash was noted at, like #42; anywhere, if not said
    #[arg(long, value_name = "POSITION", requires = "against", value_parser = position)]
    pub at: Option<Position>,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct CheckArgs {
    /// The database whose events are held to the schemas
    pub file: PathBuf,

    /// What they are held to: a database that defines events, or a file of JSON Schema, whose name ends with .json
    #[arg(long, value_name = "OTHER")]
    pub against: PathBuf,

    /// The type of events that the JSON Schema is of, like Order.placed; its title, if not said
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<EventType>,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct RescueArgs {
    /// The damaged database: nothing is written to it
    pub file: PathBuf,

    /// The new database; its name must be free
    pub to: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct ForgetArgs {
    /// The backup, or a database that was restored from one
    pub file: PathBuf,

    /// Who was forgotten elsewhere: what `bygone export FILE '$subject.*'` writes there; `-` is standard input
    pub list: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct Live {
    #[command(flatten)]
    pub run: RunArgs,

    /// End once nothing is left to do: what is delayed, or scheduled for later, is not waited for
    #[arg(long)]
    pub until_idle: bool,

    /// Tell at http://ADDRESS/metrics what the database has done and how it is, for Prometheus; like 127.0.0.1:9184, with port 0 for any
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub metrics: Option<SocketAddr>,
}

/// Reads where to listen. It is said in full: who may read it is not for a default to say.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, like 127.0.0.1:9184".to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP, group(ArgGroup::new("how").required(true)))]
pub struct ServeArgs {
    /// The database; it is created if it is not there, and its name has an extension
    pub file: PathBuf,

    /// Read requests from standard input and answer them on standard output, until standard input ends
    #[arg(long, group = "how")]
    pub stdio: bool,

    /// Answer over HTTP at this address until a signal comes: statements at /query, events as they come at /events; like
    /// 127.0.0.1:8080, with port 0 for any. One that other machines reach needs --token
    #[arg(long, value_name = "ADDRESS", group = "how", value_parser = address)]
    pub http: Option<SocketAddr>,

    /// What each request over HTTP has to send, as Authorization: Bearer TOKEN, 16 characters or more (openssl rand -hex 32):
    /// env:NAME, or file:PATH
    #[arg(long, value_name = "TOKEN", conflicts_with = "stdio", value_parser = token)]
    pub token: Option<TokenOption>,

    /// Create the database whatever its name
    #[arg(long)]
    pub create: bool,

    /// Run what is defined to run meanwhile: reactions, webhooks and schedules
    #[arg(long)]
    pub live: bool,
}

#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct WatchArgs {
    /// The database
    pub file: PathBuf,

    /// Which event types, like 'Order.*'; all if not said
    pub pattern: Option<Pattern>,

    /// Run this for each event, by the shell: the event is a line of JSON on its standard input, and BYGONE_TYPE, BYGONE_POSITION,
    /// BYGONE_ID and BYGONE_TARGET tell of it (a byte 0 in them is \u0000). Without this the lines are printed
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    /// Only events for which this holds, like 'data.total > 100'
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,

    /// Where it begins: START, after a position like #42, or at a time; with what comes from now on if not said
    #[arg(long, value_name = "POINT", value_parser = point)]
    pub from: Option<StartArg>,

    /// End with what is there now
    #[arg(long)]
    pub until_now: bool,

    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,

    /// Keep the place under this name, and go on there the next time; then --from is where a new one begins. An event counts once
    /// its command succeeded, or its line was taken by whoever reads it (or its command failed, with --keep-going)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// How often a command that fails is run again for the same event, ever later
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "exec")]
    pub retries: u32,

    /// Go on with the next event after a command that failed, instead of ending: the place moves on too, and the exit code in the end is 1
    #[arg(long, requires = "exec")]
    pub keep_going: bool,

    /// Run what is defined to run meanwhile: reactions, webhooks and schedules
    #[arg(long)]
    pub live: bool,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartArg {
    After(Position),
    Since(Timestamp),
}

/// Reads where a watch begins.
fn point(text: &str) -> Result<StartArg, String> {
    if text.eq_ignore_ascii_case("start") {
        return Ok(StartArg::After(Position::START));
    }
    if let Some(position) = text.strip_prefix('#') {
        let position = position.parse().map_err(|_| format!("'{text}' is no position, like #42"))?;
        return Ok(StartArg::After(Position(position)));
    }
    let expected = "expected START, a position like #42, or a time like 2024-01-01T12:00:00Z";
    text.parse().map(StartArg::Since).map_err(|_| expected.to_owned())
}

#[derive(Debug, Parser)]
#[command(after_help = exit::HELP)]
pub struct ImportArgs {
    /// The database; it is created if it is not there, and its name has an extension
    pub file: PathBuf,

    /// A file of events, each a JSON object: lines, arrays, or objects one after another; - for standard input. Which form
    /// they have is told by their members. With --csv, it has rows. A file that gzip packed is unpacked
    pub events: PathBuf,

    /// Create the database whatever its name
    #[arg(long)]
    pub create: bool,

    /// Rebuild a log from its export: positions, ids and times are kept, and the database must be empty
    #[arg(long)]
    pub restore: bool,

    /// What becomes of an event with the id or key of another event: it ends the import, or it is told and passed over
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = ConflictPolicy::Stop, conflicts_with = "restore")]
    pub on_conflict: ConflictPolicy,

    /// The prefix of types of CloudEvents that have none: that of their subject, or CloudEvent, if not said
    #[arg(long, value_name = "NAME")]
    pub kind: Option<String>,

    #[command(flatten)]
    pub table: CsvArgs,
}

/// What becomes of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConflictPolicy {
    /// It ends the import
    Stop,
    /// It is told, and the event is passed over
    Skip,
}

#[derive(Debug, Parser)]
#[command(after_help = exit::HELP)]
pub struct ExportArgs {
    /// The database
    pub file: PathBuf,

    /// Which event types, like 'Order.*'; all if not said
    pub pattern: Option<Pattern>,

    /// How they are written
    #[arg(long, value_name = "FORM", value_enum, default_value_t = EventForm::Events)]
    pub format: EventForm,

    /// The source of CloudEvents, a URI; urn:uuid: and the id of the database, if not said
    #[arg(long, value_name = "URI")]
    pub source: Option<String>,

    /// Write private values in plain, too: nothing forgets them there. Without it they are null
    #[arg(long)]
    pub with_private: bool,
}

impl ExportArgs {
    pub fn options(&self) -> ExportOptions {
        let options = ExportOptions::from(self.pattern.as_ref()).form(self.format.form());
        let options = options.with_private(self.with_private);
        match &self.source {
            Some(source) => options.source(source),
            None => options,
        }
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventForm {
    /// What the shell prints, one a line
    Events,
    /// The form of actor-model systems, one a line
    Underscore,
    /// CloudEvents 1.0, one a line
    #[value(name = "cloudevents")]
    CloudEvents,
    /// CloudEvents 1.0, a JSON array
    #[value(name = "cloudevents-batch")]
    CloudEventsBatch,
}

impl EventForm {
    fn form(self) -> EventFormat {
        match self {
            EventForm::Events => EventFormat::Event,
            EventForm::Underscore => EventFormat::Underscore,
            EventForm::CloudEvents => EventFormat::CloudEvents,
            EventForm::CloudEventsBatch => EventFormat::CloudEventsBatch,
        }
    }
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for reading
    #[value(aliases = ["column", "columns"])]
    Table,
    /// Columns with lines around them
    Box,
    /// A table for documents in Markdown
    #[value(alias = "md")]
    Markdown,
    /// One JSON object a line, for programs
    #[value(aliases = ["jsonl", "ndjson"])]
    Json,
    /// Comma-separated values (RFC 4180), for spreadsheets
    Csv,
    /// Values separated by tabs, in which tabs, ends of lines and backslashes are escaped
    #[value(alias = "tabs")]
    Tsv,
    /// One `name = value` a line, for wide rows
    Line,
    /// A table for documents in HTML
    Html,
    /// Bars for the numbers of groups, for comparing
    #[value(alias = "bars")]
    Chart,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::Box => "box",
            Format::Markdown => "markdown",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Line => "line",
            Format::Html => "html",
            Format::Chart => "chart",
        }
    }

    /// All names, as they are offered.
    pub fn names() -> Vec<&'static str> {
        Format::value_variants().iter().map(|format| format.name()).collect()
    }
}

impl Cli {
    /// How statements are run, if any are.
    fn running(&self) -> Option<&RunArgs> {
        match &self.command {
            Some(CliCommand::Run(live)) => Some(&live.run),
            _ => self.run.as_ref(),
        }
    }

    /// Whether somebody chose the format.
    pub fn chose_format(&self) -> bool {
        self.running().is_some_and(|run| run.format.is_some())
    }

    /// The format of the results: what was asked for, or what suits the reader.
    pub fn format(&self, terminal: &Terminal) -> Format {
        let run = self.running();
        let enveloped = run.is_some_and(|run| run.envelope);
        match run.and_then(|run| run.format) {
            Some(format) => format,
            None if terminal.output && !enveloped => Format::Table,
            None => Format::Json,
        }
    }
}

/// Reads a number of seconds.
fn position(text: &str) -> Result<Position, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits.parse().map(Position).map_err(|_| format!("expected a position, like #42, found '{text}'"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("'{text}' is no number of seconds, like 5 or 0.5"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text} seconds are no length of time"))
}

/// Reads a size in bytes: `1000`, `64KB`, `512MB`, `2GB`, in steps of 1024.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err("expected a number and KB, MB or GB, like 512MB".to_owned()),
    };
    let number: usize =
        digits.trim().parse().map_err(|_| "expected a number and KB, MB or GB, like 512MB")?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than any memory".to_owned())
}

/// A key, or why there is none: clap would repeat what is wrong, and that may be the key.
pub type KeyOption = Result<EncryptionKey, String>;

/// Reads a key that a variable of the environment has, or a file.
#[allow(clippy::unnecessary_wraps)] // as clap wants it
fn key(text: &str) -> Result<KeyOption, String> {
    Ok(secret(text, "key").and_then(|said| said.parse().map_err(|error: Error| error.to_string())))
}

/// Reads a secret that a variable of the environment has, or a file.
fn secret(text: &str, what: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("env", name)) if name.len() < 64 => {
            std::env::var(name).map_err(|_| format!("there is no variable {name}"))
        }
        Some(("file", path)) => std::fs::read_to_string(path).map_err(|e| format!("reading {path}: {e}")),
        _ => Err(format!(
            "env:NAME or file:PATH says where the {what} is; anybody may see one that is said here"
        )),
    }
}

/// A token, or why there is none, as for a key.
#[derive(Clone)]
pub struct TokenOption(pub Result<String, String>);

impl fmt::Debug for TokenOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenOption")
    }
}

/// Reads a token that a variable of the environment has, or a file, whose last line has an end.
#[allow(clippy::unnecessary_wraps)] // as clap wants it
fn token(text: &str) -> Result<TokenOption, String> {
    Ok(TokenOption(secret(text, "token").map(|said| said.trim_end_matches(['\r', '\n']).to_owned())))
}

/// The key of an option, if there is one.
///
/// # Errors
/// Why it is none.
pub fn given<'k>(
    option: &str,
    key: Option<&'k KeyOption>,
) -> Result<Option<&'k EncryptionKey>, CommandFailure> {
    match key {
        Some(Err(why)) => Err(CommandFailure::Usage(format!("{option}: {why}"))),
        Some(Ok(key)) => Ok(Some(key)),
        None => Ok(None),
    }
}

/// Reads `name=value`.
pub fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it needs a name and a value, like total=10")?;
    let name = name.trim();
    let name = name.strip_prefix('$').unwrap_or(name);
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(format!("'{name}' is not the name of a parameter: letters, digits and _ make one"));
    }
    // Text needs no quotes here: the shell around this one already took one pair.
    match value.parse() {
        Ok(value) => Ok((name.to_owned(), value)),
        // It is JSON, and yet no value: a number that does not fit, a key that comes twice.
        Err(error) if serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok() => {
            let error = error.to_string();
            let why = error.strip_prefix("JSON: ").unwrap_or(&error);
            Err(format!("${name}: {why}; a text is written in quotes, like '{name}=\"12345\"'"))
        }
        Err(_) => Ok((name.to_owned(), Value::from(value))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_parameter_is_json_or_else_text() {
        let value = |text: &str| parameter(text).unwrap().1;
        assert_eq!(value("n=42"), Value::from(42));
        assert_eq!(value("n=007"), Value::from("007"));
        assert_eq!(value("$n=\"42\""), Value::from("42"));
        assert_eq!(value("n=a=b"), Value::from("a=b"));
        assert_eq!(value("n={\"a\":[1]}").to_string(), r#"{"a":[1]}"#);
        assert_eq!(value("n=null"), Value::Null);
        assert_eq!(value("n="), Value::from(""));
        for text in ["{a", "1 2", "1.", "+1", "[1,]", "0x10"] {
            assert_eq!(value(&format!("n={text}")), Value::from(text));
        }
        for wrong in ["n", "=1", "a b=1", "$=1"] {
            assert!(parameter(wrong).is_err(), "{wrong}");
        }
        // What is JSON is never taken for text.
        for wrong in ["123456789012345678901", "-1e999", "1e-400", "[1e999]", r#"{"a":1,"a":2}"#] {
            let error = parameter(&format!("n={wrong}")).unwrap_err();
            assert!(error.starts_with("$n: expected") && error.contains("in quotes"), "{error}");
        }
    }

    #[test]
    fn a_time_limit_is_in_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["x", "-1", "NaN", "1e99"].iter().all(|wrong| seconds(wrong).is_err()));
    }

    #[test]
    fn a_watch_begins_at_the_start_a_position_or_a_time() {
        assert_eq!(point("start"), Ok(StartArg::After(Position::START)));
        assert_eq!(point("#42"), Ok(StartArg::After(Position(42))));
        assert_eq!(point("2024-01-01"), Ok(StartArg::Since("2024-01-01".parse().unwrap())));
        assert!(["", "#", "#x", "42", "soon"].iter().all(|wrong| point(wrong).is_err()));
    }

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("64kb"), Ok(64 << 10));
        assert_eq!(size("2GB"), Ok(2 << 30));
        for wrong in ["", "MB", "1.5MB", "-1", "5 parsecs", "99999999999GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_stand_apart_from_statements() {
        assert!(Cli::try_parse_from(["bygone"]).is_err());
        assert!(Cli::try_parse_from(["bygone", "import", "x"]).is_err());
        // What stands after the file is a statement, or refused.
        let run = Cli::try_parse_from(["bygone", "x", "import"]).unwrap().run.unwrap();
        assert!(crate::shell::open::check_is_file(&run).is_err());
        let cli = Cli::try_parse_from(["bygone", "x", "-c", "SHOW HEAD", "-c", "SHOW TYPES"]).unwrap();
        assert_eq!(cli.run.unwrap().statements(), ["SHOW HEAD", "SHOW TYPES"]);
        let cli = Cli::try_parse_from(["bygone", "x", "SHOW HEAD", "-c", "-- no more"]).unwrap();
        assert_eq!(cli.run.unwrap().statements(), ["SHOW HEAD", "-- no more"]);
        let cli = Cli::try_parse_from(["bygone", "run", "--format", "csv", "x"]).unwrap();
        assert!(cli.chose_format());
        let cli = Cli::try_parse_from(["bygone", "export", "x", "--read-only", "Order.*"]).unwrap();
        assert!(cli.opening.read_only && cli.run.is_none());
    }
}
