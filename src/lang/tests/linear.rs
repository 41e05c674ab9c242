//! A text of twice the length takes twice the work, whatever its shape: to parse, to say what is wrong, to complete, to colour.
//!
//! Work is counted, not timed: the characters and tokens that are looked at, and what is written down of expectations.

use crate::error::Error;
use crate::lang::shapes::SHAPES;
use crate::lang::{complete, highlight, parse, report, work_counter};

/// How much work a text is.
fn work(text: &str, what: fn(&str)) -> u64 {
    let before = work_counter::count();
    what(text);
    work_counter::count() - before
}

fn is_linear(shape: &str, text: impl Fn(usize) -> String, what: fn(&str)) {
    let (small, large) = (work(&text(2000), what), work(&text(4000), what));
    assert!(small > 0, "{shape}: nothing is counted");
    assert!(large as f64 <= 2.2 * small as f64, "{shape}: {small} steps, twice as long {large}");
}

fn parses(text: &str) {
    match parse(text) {
        Ok(script) => drop(script.to_string()),
        Err(Error::Syntax(fault)) => assert!(report(&fault).len() < 2000),
        Err(other) => panic!("{other}"),
    }
}

fn completes(text: &str) {
    complete(text, text.len());
}

fn colours(text: &str) {
    highlight(text);
}

#[test]
fn twice_the_text_is_twice_the_work() {
    for (shape, text) in SHAPES {
        is_linear(shape, text, parses);
        is_linear(shape, text, completes);
        is_linear(shape, text, colours);
        // Wrong at its very end: a fault looks back.
        is_linear(shape, |size| text(size) + " ) whre", parses);
        is_linear(shape, |size| text(size) + "; HISTORY Order 1 whre", parses);
    }
}

/// The test above finds what it looks for.
#[test]
fn work_that_grows_as_the_square_is_found() {
    let square = |text: &str| {
        for end in (0..text.len()).step_by(100) {
            if text.is_char_boundary(end) {
                highlight(&text[..end]);
            }
        }
    };
    let failed = std::panic::catch_unwind(|| is_linear("a square", |n| "a ".repeat(n), square));
    assert!(failed.is_err());
}
