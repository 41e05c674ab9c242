//! See `bygone::fuzzing::protocol`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bygone::fuzzing::protocol(bytes);
});
