//! Commands that there are not: slips, and the words of other shells.

use super::{COMMANDS, usage};

/// Commands of other shells, and what to write instead.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["dRp", "dRs"], "SHOW SUBSCRIPTIONS lists who reads the log, SHOW WEBHOOKS where it is sent"),
    (&["dy"], "SHOW REACTIONS lists what runs when an event comes"),
    (&["tables", "dt", "dn", "dE"], "SHOW TYPES lists the types of events, SHOW KINDS the kinds of entities"),
    (
        &["d", "d+", "describe"],
        "DESCRIBE Order shows a kind, SHOW KINDS lists them, .schema shows what is defined",
    ),
    (&["fullschema", "sf", "sv", "imposter"], ".schema shows what is defined"),
    (&["indexes", "indices", "di"], "SHOW INDEXES lists the indexes"),
    (&["dv", "views"], "SHOW VIEWS lists the views"),
    (&["df"], "SHOW VERBS lists what can be performed"),
    (
        &["du", "dg", "dp", "ddp", "drg", "z", "auth", "password"],
        "there are no users and no rights: whoever can open the file can use it",
    ),
    (
        &["a", "pset", "H", "html", "f", "C", "T", "excel", "www", "crosstabview"],
        ".mode says how results are shown: table, box, markdown, json, csv, tsv, line, html or chart",
    ),
    (&["x", "G", "gx"], ".mode line shows one value a line"),
    (&["headers", "header", "t"], "tables, CSV and TSV always have a header line; .mode json has none"),
    (&["timing"], ".timer on says how long statements took"),
    (
        &["copy", "lo_import", "lo_export", "archive"],
        ".import FILE reads events from JSON, .export FILE writes them",
    ),
    (&["i", "ir", "source"], ".read FILE runs the statements of a file"),
    (&["save", "clone"], ".backup FILE copies the database, while it is used"),
    (&["o", "g", "log", "w"], ".output FILE writes results into a file, .once FILE the next ones"),
    (&["e", "ef", "ev"], ".edit opens the last statement in an editor"),
    (&["s"], "the arrow keys go through what was entered before, and Ctrl-R searches it"),
    (&["P", "less", "more"], ".pager says how results are scrolled"),
    (&["explain", "eqp", "expert", "gdesc"], "EXPLAIN before a statement tells how it is run"),
    (&["echo", "print", "qecho", "warn"], "echo is of the system's shell"),
    (
        &["changes", "scanstats", "stat", "statistics", "trace", "progress"],
        ".stats tells how big everything is, .timer how long statements took",
    ),
    (
        &["integrity_check", "intck", "lint", "selftest", "check"],
        "VERIFY compares all that is stored with the log",
    ),
    (&["recover"], "bygone rescue FILE TO reads what a damaged file still has"),
    (&["vacuum"], "COMPACT writes the file anew, and smaller"),
    (
        &["nullvalue", "separator", "width", "colseparator", "rowseparator", "crnl", "crlf"],
        ".mode says how results are shown; null is empty in CSV and TSV",
    ),
    (&["cd", "getenv", "setenv"], "the folder and the environment are those of the system's shell"),
    (&["timeout"], "bygone --time-limit SECONDS ends a statement that takes longer"),
    (&["bind"], ".param NAME=VALUE gives $NAME a value"),
    (&["conninfo", "dbinfo"], "SHOW HEAD and SHOW STATS tell of the database"),
    (&["restore"], ".import FILE --restore rebuilds a log from its export"),
    (
        &["open", "databases", "connection", "l", "c", "connect", "attach"],
        "a session has one database; bygone FILE opens another",
    ),
    (&["parameter", "set", "unset", "prompt"], ".param NAME=VALUE gives $NAME a value"),
    (&["clear", "cls"], "Ctrl-L clears the screen"),
    (&["shell", "system", "!"], "commands of the system run outside of bygone"),
    (&["h"], ".help lists the commands, and statements to begin with"),
    (&["bail"], "a script ends with the first statement that fails, the prompt goes on"),
    (&["limit", "dbconfig"], "bygone --help lists the limits that may be set"),
    (&["load"], "there are no extensions to load"),
    (&["encoding"], "all text is UTF-8"),
    (&["sha3sum"], "SHOW HEAD has a hash of all events"),
    (&["session"], "bygone export writes events, and bygone watch gives them as they come"),
    (&["errverbose"], "an error says all there is at once"),
    (
        &["if", "elif", "else", "endif", "gexec", "gset"],
        "scripts are those of the system's shell: statements print JSON",
    ),
    (&["p", "r"], "no statement waits: Ctrl-C leaves the one that is typed, .edit opens the last"),
    (&["copyright"], "bygone is under MIT or Apache-2.0"),
    (&["version"], "bygone --version prints the version"),
];

/// What to say of a command that is wrong, or none; it began with a sign.
pub fn misuse(name: &str, sign: char) -> String {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return format!("it is used like this: {}", usage(command));
    }
    // psql's say with these letters that more is wanted.
    let plain = name.trim_end_matches(['+', 'S']);
    let instead = ELSEWHERE.iter().find(|(names, _)| names.contains(&name) || names.contains(&plain));
    let instead = instead.map(|(_, instead)| *instead);
    if let Some(instead) = instead {
        return format!("there is no command {sign}{name}; {instead}");
    }
    if sign == '\\' && name.starts_with('d') {
        return misuse("d", sign).replacen("\\d;", &format!("\\{name};"), 1);
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

    /// What `.help` of sqlite3 3.50 lists, without what is for its own developers.
    const SQLITE: &str = "archive auth backup bail cd changes check clone connection crlf databases dbconfig dbinfo dump echo \
        eqp excel exit expert explain fullschema headers help import imposter indexes intck limit lint load log mode nullvalue \
        once open output parameter print progress prompt quit read recover restore save scanstats schema separator session \
        sha3sum shell show stats system tables timeout timer trace version width www";

    /// What `\?` of psql 17 lists, without what is of its protocol alone.
    const PSQL: &str = "a C c cd conninfo copy copyright crosstabview d da dA dAc dAf dAo dAp db dc dC dd dD ddp dE de des det deu \
        dew df dF dFd dFp dFt dg di dl dL dm dn do dO dp dP drds drg dRp dRs ds dS dt dT du dv dx dX dy e echo ef elif else \
        encoding endif errverbose ev f g gdesc getenv gexec gset gx h H html i if ir l lo_export lo_import o p password prompt \
        pset q qecho r s set setenv sf sv t T timing unset w warn watch x z ! ?";

    #[test]
    fn each_command_of_another_shell_has_an_answer() {
        for (sign, names) in [('.', SQLITE), ('\\', PSQL)] {
            for name in names.split_whitespace() {
                let ours = COMMANDS.iter().any(|command| command.name == name);
                if ours
                    || super::super::of(&format!("{sign}{name}"))
                        .is_some_and(|of| of == ".quit" || of == ".help")
                {
                    continue;
                }
                let answer = misuse(name, sign);
                assert!(
                    !answer.contains("did you mean") && !answer.ends_with("; .help lists them"),
                    "{answer}"
                );
                assert!(answer.starts_with(&format!("there is no command {sign}{name}; ")), "{answer}");
            }
        }
        assert_eq!(misuse("dt+", '\\'), misuse("dt", '\\').replace("dt;", "dt+;"));
    }

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
