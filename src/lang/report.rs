//! A fault for reading: the line, a caret below the place, what was expected, what was probably meant.
//!
//! ```text
//! HISTORY Order 42 WHRE data.total > 1
//!                  ^^^^ expected OF, WHERE, SINCE, UNTIL, …
//! did you mean WHERE?
//! ```

use crate::error::SyntaxFault;

/// How many columns of a line are shown at most.
const WIDEST: usize = 100;
/// How many columns are kept before the fault in a line that is cut.
const BEFORE: usize = 60;
/// So many expectations are all named; of more, only the first few.
const ALL_NAMED: usize = 6;
const FEW_NAMED: usize = 4;

/// The report, in several lines, without a line break at the end.
pub(super) fn report(fault: &SyntaxFault) -> String {
    let mut report = String::new();
    if fault.line > 1 || fault.statement > 1 {
        report.push_str(&format!("statement {}, line {}:\n", fault.statement.max(1), fault.line));
    }
    let SourceLine { line, indent, carets } = show(fault);
    report.push_str(&line);
    report.push('\n');
    report.push_str(&" ".repeat(indent));
    report.push_str(&"^".repeat(carets));
    report.push(' ');
    report.push_str(&said(fault));
    if let Some(meant) = &fault.suggestion {
        report.push_str(&format!("\ndid you mean {meant}?"));
    }
    report
}

fn said(fault: &SyntaxFault) -> String {
    if !fault.message.is_empty() {
        return fault.message.clone();
    }
    if fault.expected.len() <= ALL_NAMED {
        return format!("expected {}", fault.expected.join(", "));
    }
    let few: Vec<_> = fault.expected.iter().take(FEW_NAMED).map(String::as_str).collect();
    format!("expected {}, …", few.join(", "))
}

/// The line as it is shown, and where its carets are, in columns of a terminal.
struct SourceLine {
    line: String,
    indent: usize,
    carets: usize,
}

fn show(fault: &SyntaxFault) -> SourceLine {
    let line: Vec<char> = fault.source_line.chars().map(plain).collect();
    let start = fault.column.saturating_sub(1).min(line.len());
    let covered = byte_length(&line[start..], fault.length);
    let columns = |chars: &[char]| chars.iter().map(|c| width(*c)).sum::<usize>();

    // The columns before the fault, from the right, until they are enough.
    let mut from = 0;
    if columns(&line) > WIDEST && columns(&line[..start]) > BEFORE {
        let mut kept = 0;
        from = start;
        while from > 0 && kept + width(line[from - 1]) <= BEFORE {
            from -= 1;
            kept += width(line[from]);
        }
    }
    let mut shown = String::new();
    let mut used = 0;
    if from > 0 {
        shown.push('…');
        used = 1;
    }
    let indent = used + columns(&line[from..start]);
    let mut until = from;
    while until < line.len() && used + width(line[until]) <= WIDEST {
        used += width(line[until]);
        shown.push(line[until]);
        until += 1;
    }
    if until < line.len() {
        shown.push('…');
    }
    let end = (start + covered).min(until.max(start));
    SourceLine { line: shown, indent, carets: columns(&line[start..end]).max(1) }
}

/// What a terminal would act on is shown as a mark that it does not.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// How many characters so many bytes are.
fn byte_length(chars: &[char], bytes: usize) -> usize {
    let mut left = bytes;
    chars
        .iter()
        .take_while(|c| {
            let more = left > 0;
            left = left.saturating_sub(c.len_utf8());
            more
        })
        .count()
}

/// How many columns of a terminal a character takes: good enough to put a caret under it.
fn width(c: char) -> usize {
    match u32::from(c) {
        // Combining marks, joiners and variation selectors.
        0x0300..=0x036f | 0x0483..=0x0489 | 0x0591..=0x05bd | 0x064b..=0x065f | 0x200b..=0x200f => 0,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        // The wide ones of East Asia, and pictures.
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97f | 0xac00..=0xd7a3 => 2,
        0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x1fa70..=0x1faff => 2,
        0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn reported(text: &str) -> String {
        match crate::lang::parse(text) {
            Err(Error::Syntax(fault)) => report(&fault),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_caret_is_below_the_fault() {
        assert_eq!(
            reported("HISTORY Order 42 WHRE data.total > 1"),
            "HISTORY Order 42 WHRE data.total > 1\n\
             \x20                ^^^^ expected OF, WHERE, SINCE, UNTIL, …\n\
             did you mean WHERE?"
        );
        assert_eq!(
            reported("SHOW HEAD;\nSHOW HEAD;\nAT Order"),
            "statement 3, line 3:\nAT Order\n        ^ AT is of one entity, as in AT Order 42"
        );
    }

    #[test]
    fn wide_characters_move_the_caret() {
        let report = reported("HISTORY Order '東京' x");
        assert_eq!(report.lines().nth(1).unwrap().find('^'), Some(21));
        let report = reported("HISTORY Order 'é\u{301}\t' x");
        assert_eq!(report.lines().nth(1).unwrap().find('^'), Some(19));
        let report = reported("HISTORY Order 'a\u{20d0}' x");
        assert_eq!(report.lines().nth(1).unwrap().find('^'), Some(18));
    }

    #[test]
    fn what_a_terminal_would_act_on_is_not_shown_as_it_is() {
        let report = reported("HISTORY Order\t'\u{1b}' x");
        assert_eq!(report.lines().next(), Some("HISTORY Order '\u{fffd}' x"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("HISTORY Order 42 WHERE a = '{}' x y {}", "b".repeat(500), "z".repeat(500));
        let report = reported(&text);
        let mut lines = report.lines();
        let (line, carets) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(line.starts_with('…') && line.ends_with('…') && line.chars().count() <= WIDEST + 1, "{line}");
        let column = carets.find('^').unwrap();
        assert_eq!(line.chars().nth(column), Some('x'));
    }
}
