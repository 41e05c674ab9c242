//! What is said of a wrong text, and where.

use super::fault;
use crate::lang::report;

/// Each paragraph of the file is a text of one line and the report of its fault: the caret stands where it stands.
#[test]
fn each_error_is_said_at_its_place() {
    let (mut count, mut others) = (0, Vec::new());
    for paragraph in include_str!("errors.txt").split("\n\n").map(|p| p.trim_end_matches('\n')) {
        if paragraph.starts_with('#') {
            continue;
        }
        let text = paragraph.lines().next().unwrap();
        let said = report(&fault(text));
        if said != paragraph {
            others.push(said);
        }
        count += 1;
    }
    assert!(others.is_empty(), "{}", others.join("\n\n"));
    assert!(count > 100);
}

#[test]
fn a_fault_has_all_its_fields() {
    let text = "SHOW HEAD;\n-- é\nHISTORY Order 'é' WHRE x";
    let fault = fault(text);
    assert_eq!((fault.statement, fault.line, fault.column), (2, 3, 19));
    assert_eq!((fault.offset, fault.length), (text.find("WHRE").unwrap(), 4));
    assert_eq!(fault.source_line, "HISTORY Order 'é' WHRE x");
    assert_eq!(fault.found, "WHRE");
    assert_eq!(fault.suggestion.as_deref(), Some("WHERE"));
    assert_eq!(fault.expected[..4], ["OF", "WHERE", "SINCE", "UNTIL"]);
    assert!(fault.message.is_empty() && !fault.incomplete);
    assert!(report(&fault).starts_with("statement 2, line 3:\nHISTORY"));
}

#[test]
fn a_fault_says_where_it_is_in_a_text_of_several_lines_or_statements() {
    let place = |text: &str| report(&fault(text)).lines().next().unwrap().to_owned();
    assert_eq!(place("SHOW HEAD;\nHISTROY Order 42"), "statement 2, line 2:");
    assert_eq!(place("SHOW HEAD; HISTROY Order 42"), "statement 2, line 1:");
    assert_eq!(place("HISTORY Order\n42 WHRE x"), "statement 1, line 2:");
    assert_eq!(place("HISTROY Order 42"), "HISTROY Order 42");
}

#[test]
fn a_line_of_a_hundred_columns_is_shown_whole_and_a_longer_one_is_cut() {
    let shown = |columns: usize| {
        let text = format!("EVENTS WHERE data.name = '{}' WHRE x", "n".repeat(columns - 34));
        assert_eq!(text.chars().count(), columns);
        (report(&fault(&text)).lines().next().unwrap().to_owned(), text)
    };
    let (line, text) = shown(100);
    assert_eq!(line, text);
    let (line, _) = shown(101);
    assert!(line.starts_with('…') && line.ends_with("' WHRE x"), "{line}");
    // Of what stands before the fault, sixty columns are left.
    assert_eq!(line, format!("…{}' WHRE x", "n".repeat(58)));
}

#[test]
fn what_is_expected_is_expected_where_the_fault_is() {
    assert_eq!(fault("EMIT A.b 1 {a: 1, a: 2}").expected, ["a key that is not there yet"]);
    assert_eq!(fault("EMIT A.b 1 {a: 1, 'a': 2}").expected, ["a key that is not there yet"]);
    // What could have stood behind the number before says nothing of this one.
    for text in
        ["EMIT A.b 1 {a: 1, b: 1e-400}", "EVENTS WHERE data.a = 1 AND data.b = 1e999", "EMIT A.b 1 {a: 007}"]
    {
        assert!(fault(text).expected.iter().all(|expected| expected != "an operator"), "{:?}", fault(text));
    }
}

#[test]
fn what_stops_too_early_is_said_behind_its_end() {
    let fault = fault("HISTORY Trip 42 WHERE  -- and then\n");
    assert_eq!((fault.line, fault.column, fault.length), (1, 22, 0));
    assert!(fault.found.is_empty() && fault.incomplete);
    assert_eq!(
        fault.sentence(),
        "expected an expression, NULL, TRUE, FALSE, NOW, NOT, found the end of the statement"
    );
}

#[test]
fn an_unclosed_text_is_said_where_it_opens() {
    for (text, opens) in [
        ("EVENTS\n'a\nb", "'a"),
        ("EVENTS WHERE x = \"a\\\"\n", "\"a"),
        ("EVENTS WHERE `a\n", "`a"),
        ("SHOW HEAD /* a\n *", "/*"),
    ] {
        let fault = fault(text);
        assert_eq!(fault.offset, text.find(opens).unwrap(), "{text}");
        assert!(fault.message.ends_with("not closed") || fault.message.ends_with("*/"), "{}", fault.message);
        assert!(fault.incomplete);
    }
}

#[test]
fn odd_characters_are_named() {
    for (text, message) in [
        ("SHOW \0", "the character U+0000 means nothing outside quotes"),
        ("SHOW \u{feff}", "the character U+FEFF means nothing outside quotes"),
        ("SHOW ^", "^ means nothing outside quotes"),
        ("# all", "a comment begins with --"),
        ("#all", "a comment begins with --"),
        ("EVENTS SINCE #x", "a position is # and digits, like #1207"),
    ] {
        assert_eq!(fault(text).sentence(), message);
    }
    assert!(crate::lang::parse("EVENTS '\0' -- \0").is_ok());
}
