//! What is said of a wrong text, and where.

use super::fault;
use crate::lang::parse_one;

/// The text that the fault covers, and its sentence.
fn said(text: &str) -> (String, String) {
    let fault = fault(text);
    (text[fault.offset..fault.offset + fault.length].to_owned(), fault.sentence())
}

#[test]
fn errors() {
    for (text, covered, sentence) in [("HISTORY Order 42 )", ")", "WHERE, SINCE")] {
        let (at, said) = said(text);
        assert_eq!(at, covered, "{text}");
        assert!(said.contains(sentence), "{text}: {said}");
    }
    assert!(parse_one("").is_err());
}
