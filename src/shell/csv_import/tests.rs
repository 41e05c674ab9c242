use std::io::{self, BufRead, Read};

use bygone::maintain::ImportOptions;
use bygone::{Db, Error};
use clap::Parser;

use super::columns::typed;
use super::*;
use crate::shell::cli::ImportArgs;
use crate::shell::failure::CommandFailure;

/// The arguments after `--csv`, divided by blanks.
fn arguments(said: &str) -> CsvArgs {
    let said = ["import", "f", "e", "--csv"].into_iter().chain(said.split_whitespace());
    ImportArgs::try_parse_from(said).unwrap().table
}

fn told(failure: CommandFailure) -> String {
    match failure {
        CommandFailure::Error { error: error @ Error::Invalid { .. }, .. } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn lines(text: &[u8], said: &str) -> Result<Vec<String>, String> {
    let events = CsvEvents::new(text, &arguments(said), "it").map_err(told)?;
    events.lines().collect::<io::Result<_>>().map_err(|error| error.to_string())
}

/// What an import of a table ends with.
fn import(db: &Db, input: impl BufRead, said: &str) -> Result<u64, String> {
    let events = CsvEvents::new(input, &arguments(said), "it").map_err(told)?;
    match db.import(events, &ImportOptions::new(), &mut |_| {}) {
        Ok(report) => Ok(report.added),
        Err(error) => Err(format!("{}: {error}", error.kind())),
    }
}

#[test]
fn a_row_is_an_event_in_the_line_where_it_begins() {
    let said = "--type Order.placed --target no --actor Clerk=by --time at --text zip --text price";
    let text = "no,by,at,total,zip,price,note\n1,ann,2024-01-01,10.50,123,10.50,\"two\nlines\"\n\n2,,2024-01-02,true,,,007\n";
    let first = concat!(
        r#"{"timestamp":"2024-01-01","type":"Order.placed","target":{"type":"Order","id":"1"},"#,
        r#""actor":{"type":"Clerk","id":"ann"},"data":{"total":10.5,"zip":"123","price":"10.50","note":"two\nlines"}}"#
    );
    let second = concat!(
        r#"{"timestamp":"2024-01-02","type":"Order.placed","target":{"type":"Order","id":"2"},"#,
        r#""data":{"total":true,"note":"007"}}"#
    );
    assert_eq!(lines(text.as_bytes(), said).unwrap(), ["", first, "", "", second]);
    let said = "--type-column what --target Customer=who --id n --delimiter tab";
    let event = r#"{"id":"7","type":"Order.paid","target":{"type":"Customer","id":"c"},"data":{}}"#;
    assert_eq!(lines(b"what\twho\tn\r\nOrder.paid\tc\t7\r\n", said).unwrap(), ["", event]);
}

#[test]
fn a_cell_is_a_number_where_its_digits_are_kept() {
    for (cell, expected) in [
        ("0", "0"),
        ("-12", "-12"),
        ("10.50", "10.5"),
        ("0.5", "0.5"),
        ("123456789012345", "123456789012345"),
        ("-1234567890123.45", "-1234567890123.45"),
        ("1234567890123456", "\"1234567890123456\""),
        ("0.123456789012345", "\"0.123456789012345\""),
        ("007", "\"007\""),
        ("-0", "\"-0\""),
        ("-0.00", "\"-0.00\""),
        ("1e5", "\"1e5\""),
        ("+1", "\"+1\""),
        (".5", "\".5\""),
        ("5.", "\"5.\""),
        ("-", "\"-\""),
        ("1,5", "\"1,5\""),
        (" 1", "\" 1\""),
        ("true", "true"),
        ("TRUE", "\"TRUE\""),
    ] {
        assert_eq!(typed(cell).to_string(), expected, "{cell}");
    }
}

#[test]
fn what_is_wrong_with_the_first_row_is_told() {
    let many: String = (0..30).map(|n| format!("c{n},")).collect();
    for (text, said, message) in [
        ("a,b\n", "--type A.b --target c", "--target: expected one of the columns a, b, found 'c'"),
        (
            "a,b\n",
            "--type A.b --actor a",
            "--actor: expected the kind of the actor, and the column with its id, as in User=clerk, found 'a'",
        ),
        (
            "a,b\n",
            "--type A.b --target a --id a",
            "--id: expected a column that no other option names, found 'a'",
        ),
        (
            "a,b\n",
            "--type A.b --text a --text a",
            "--text: expected a column that no other option names, found 'a'",
        ),
        (
            "a,b\n",
            "",
            "--csv: expected the type of the events: --type Order.placed, or --type-column COLUMN, found neither",
        ),
        (
            "\n\na,b,a\n",
            "--type A.b",
            "it, line 3: the names of the columns: expected each name once, found 'a' as columns 1 and 3",
        ),
        (
            "a,\n",
            "--type A.b",
            "it, line 1: the names of the columns: expected a name for each column, found none for column 2",
        ),
        (
            "a;b\n",
            "--type A.b",
            "it, line 1: the names of the columns: expected columns with ',' between them, found one column 'a;b'; --delimiter ';' divides it",
        ),
        (
            "a\tb\n",
            "--type A.b --delimiter ;",
            "it, line 1: the names of the columns: expected columns with ';' between them, found one column 'a\tb'; --delimiter tab divides it",
        ),
        (
            "a,\"b\n",
            "--type A.b",
            "it, line 1: a row of CSV: expected the quote that closes column 2, which opens in line 1 (a quote within a cell is written twice, like \"\"), found the end of the input",
        ),
        (
            "\0a,b\n",
            "--type A.b",
            "it, line 1: the names of the columns: expected CSV in UTF-8, found a control character, as UTF-16 and spreadsheets have; save it as 'CSV UTF-8'",
        ),
        ("\n", "--type A.b", "it: expected a first row with the names of the columns, found nothing"),
        (
            &format!("{many}z\n"),
            "--type A.b --id x",
            "--id: expected one of the columns c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, … (31 in all), found 'x'",
        ),
    ] {
        assert_eq!(lines(text.as_bytes(), said).unwrap_err(), message, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_row_is_told_of_its_line_after_what_is_safely_in() {
    let within = "(1 event before it is safely in): a row of CSV: expected";
    for (rows, message) in [
        ("\r\n\r\n3\r\n", format!("invalid: line 5 {within} 2 cells, as many as there are columns, found 1")),
        ("3,4,5\n", format!("invalid: line 3 {within} 2 cells, as many as there are columns, found 3")),
        (
            "\n,4\n",
            format!(
                "invalid: line 4 {within} a cell in column 'a', which --target names, found an empty one"
            ),
        ),
        (
            "\n\n3,\"4\n5,6\n",
            format!(
                "invalid: line 5 {within} the quote that closes column 2, which opens in line 5 (a quote within a cell is written twice, like \"\"), found the end of the input"
            ),
        ),
        (
            "3,\"4\n\" 5\n",
            format!(
                "invalid: line 3 {within} ',' or the end of the line after the quote that closes column 2 (a quote within a cell is written twice, like \"\"), found ' ' in line 4"
            ),
        ),
    ] {
        let db = Db::in_memory().unwrap();
        let text = format!("a,b\n1,2\n{rows}");
        assert_eq!(import(&db, text.as_bytes(), "--type A.b --target a").unwrap_err(), message);
        assert_eq!(db.head().0, 1);
    }
    let db = Db::in_memory().unwrap();
    let found = import(&db, &b"a,b\n1,2\n3,\xff\n"[..], "--type A.b").unwrap_err();
    let expected = "UTF-8 in column 'b', found other bytes; save it as 'CSV UTF-8', or convert it, like iconv -f WINDOWS-1252 -t UTF-8";
    assert_eq!(found, format!("invalid: line 3 {within} {expected}"));
    let found = import(&db, &b"a,b\n1,2\n\n,\n"[..], "--type A.b").unwrap_err();
    assert_eq!(
        found,
        format!("invalid: line 4 {within} a cell that is not empty, found none; take the row out")
    );
    // What the import finds wrong is told of the same line.
    let found = import(&db, &b"a,b\n1,\"2\n\"\n\n3,x\n"[..], "--type A.b --time b --id a").unwrap_err();
    assert!(found.starts_with("invalid: line 2 "), "{found}");
}

#[test]
fn lines_are_right_after_many_blank_ones() {
    let db = Db::in_memory().unwrap();
    let text = format!("a,b\n1,2\n{}3\n", "\n".repeat(10_000));
    let found = import(&db, text.as_bytes(), "--type A.b").unwrap_err();
    assert!(found.starts_with("invalid: line 10003 (1 event before it is safely in): "), "{found}");
}

#[test]
fn a_row_has_the_limit_of_a_line_of_json() {
    let db = Db::in_memory().unwrap();
    let endless =
        |start: &'static str| io::BufReader::with_capacity(1 << 16, start.as_bytes().chain(io::repeat(b'x')));
    let row = import(&db, endless("a,b\n\""), "--type A.b").unwrap_err();
    let json = db.import(endless("\n{\""), &ImportOptions::new(), &mut |_| {}).unwrap_err().to_string();
    let limit = |said: &str| said.split(", found").next().unwrap().replace("invalid: ", "");
    assert_eq!(limit(&row), "line 2 (0 events before it are safely in): an event: expected at most 32 MiB");
    assert_eq!(limit(&row), limit(&json));
}

#[test]
fn what_cannot_be_read_is_no_fault_of_a_row() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let db = Db::in_memory().unwrap();
    let input = io::BufReader::new((&b"a,b\n1,2\n3,"[..]).chain(Broken));
    let found = import(&db, input, "--type A.b").unwrap_err();
    assert_eq!(found, "io: reading the input (1 event is safely in): the disk is gone");
}

#[test]
fn a_table_that_is_imported_again_adds_nothing() {
    let db = Db::in_memory().unwrap();
    let text = &b"a,b\n1,2\n3,4\n"[..];
    let more = &b"a,b\n1,2\n3,4\n5,6\n"[..];
    let imports = [(text, 2), (text, 0), (more, 1), (more, 0)];
    for (text, added) in imports {
        assert_eq!(import(&db, text, "--type A.b").unwrap(), added);
    }
    // The options are part of what an event is.
    assert_eq!(import(&db, more, "--type A.b --text b").unwrap(), 3);
    for (text, added) in imports {
        assert_eq!(import(&db, text, "--type A.b --id a").unwrap(), added);
    }
}

#[test]
fn a_delimiter_is_one_character() {
    for (said, expected) in
        [(",", b','), (";", b';'), ("|", b'|'), ("tab", b'\t'), ("\\t", b'\t'), ("\t", b'\t')]
    {
        assert_eq!(delimiter(said), Ok(expected));
    }
    for said in ["", "\"", "\n", "\r", ";;", "a", "1", "é"] {
        assert!(delimiter(said).is_err(), "{said:?}");
    }
}
