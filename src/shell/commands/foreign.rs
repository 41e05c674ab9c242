//! Commands that there are not: slips, and the words of other shells.

use super::{COMMANDS, usage};

/// Commands of other shells, and what to write instead.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["tables", "dt", "dn"], "SHOW TYPES lists the types of events, SHOW KINDS the kinds of entities"),
    (
        &["d", "d+", "describe"],
        "DESCRIBE Order shows a kind, SHOW KINDS lists them, .schema shows what is defined",
    ),
    (&["fullschema", "sf", "sv"], ".schema shows what is defined"),
    (&["indexes", "indices", "di"], "SHOW INDEXES lists the indexes"),
    (&["dv", "views"], "SHOW VIEWS lists the views"),
    (&["df"], "SHOW VERBS lists what can be performed"),
    (&["du", "dp"], "there are no users and no rights: whoever can open the file can use it"),
    (
        &["a", "pset", "H", "f"],
        ".mode says how results are shown: table, box, markdown, json, csv, tsv, line or html",
    ),
    (&["x", "G"], ".mode line shows one value a line"),
    (&["headers", "header", "t"], "tables, CSV and TSV always have a header line; .mode json has none"),
    (&["timing"], ".timer on says how long statements took"),
    (&["copy"], ".import FILE reads events from JSON, .export FILE writes them"),
    (&["i", "ir", "source"], ".read FILE runs the statements of a file"),
    (&["save", "clone"], ".backup FILE copies the database, while it is used"),
    (&["o", "g", "log", "w"], ".output FILE writes results into a file, .once FILE the next ones"),
    (&["e", "ef"], ".edit opens the last statement in an editor"),
    (&["s"], "the arrow keys go through what was entered before, and Ctrl-R searches it"),
    (&["P", "less", "more"], ".pager says how results are scrolled"),
    (&["explain", "eqp"], "EXPLAIN before a statement tells how it is run"),
    (&["echo", "print", "qecho", "warn"], "echo is of the system's shell"),
    (
        &["changes", "scanstats", "stat", "statistics"],
        ".stats tells how big everything is, .timer how long statements took",
    ),
    (&["integrity_check", "lint", "selftest", "check"], "VERIFY compares all that is stored with the log"),
    (&["recover"], "bygone rescue FILE TO reads what a damaged file still has"),
    (&["vacuum"], "COMPACT writes the file anew, and smaller"),
    (
        &["nullvalue", "separator", "width", "colseparator", "rowseparator"],
        ".mode says how results are shown; null is empty in CSV and TSV",
    ),
    (&["cd", "getenv", "setenv"], "the folder and the environment are those of the system's shell"),
    (&["timeout"], "bygone --time-limit SECONDS ends a statement that takes longer"),
    (&["bind"], ".param NAME=VALUE gives $NAME a value"),
    (&["conninfo", "dbinfo"], "SHOW HEAD and SHOW STATS tell of the database"),
    (&["restore"], ".import FILE --restore rebuilds a log from its export"),
    (
        &["open", "databases", "l", "c", "connect", "attach"],
        "a session has one database; bygone FILE opens another",
    ),
    (&["parameter", "set"], ".param NAME=VALUE gives $NAME a value"),
    (&["clear", "cls"], "Ctrl-L clears the screen"),
    (&["shell", "system", "!"], "commands of the system run outside of bygone"),
    (&["h"], ".help lists the commands, and statements to begin with"),
    (&["version"], "bygone --version prints the version"),
];

/// What to say of a command that is wrong, or none; it began with a sign.
pub fn misuse(name: &str, sign: char) -> String {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return format!("it is used like this: {}", usage(command));
    }
    let instead = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead);
    if let Some(instead) = instead {
        return format!("there is no command {sign}{name}; {instead}");
    }
    let near = COMMANDS.iter().map(|command| (strsim::damerau_levenshtein(name, command.name), command.name));
    match near.min().filter(|(distance, near)| *distance <= 2 && *distance < near.len()) {
        Some((_, near)) => format!("there is no command {sign}{name}; did you mean .{near}?"),
        None => format!("there is no command {sign}{name}; .help lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_command() {
        assert_eq!(misuse("typs", '.'), "there is no command .typs; did you mean .types?");
        assert_eq!(misuse("zzzz", '.'), "there is no command .zzzz; .help lists them");
        assert_eq!(misuse("read", '.'), "it is used like this: .read FILE");
        assert_eq!(
            misuse("d", '\\'),
            "there is no command \\d; DESCRIBE Order shows a kind, SHOW KINDS lists them, .schema shows what is defined"
        );
    }
}
