//! See `bygone::fuzzing::parse`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| bygone::fuzzing::parse(text));
