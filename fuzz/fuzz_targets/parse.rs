//! Any text: parsing it answers, and what parses prints as a text that parses to the same canonical text.
#![no_main]

use bygone::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(script) = Script::parse(text) {
        for statement in script.statements() {
            let canonical = statement.to_string();
            let again = Script::parse(&canonical).expect("canonical text parses");
            assert_eq!(again.statements()[0].to_string(), canonical);
        }
    }
});
