//! Each protocol broken on purpose: the eyes that hold it must notice.

use super::images::try_all;
use super::script::Script;
use super::{ghosts, readers};
use crate::store::FaultInjection;

fn is_noticed_in_images(injection: FaultInjection) {
    let run = Script { injection: Some(injection), ..Script::new(1) }.run();
    let (images, broken) = try_all(&run, 0..2, 1);
    let fault = broken.first().unwrap_or_else(|| panic!("{injection:?} broke a protocol: not noticed"));
    super::report(format_args!("control {injection:?}: noticed after {images} images (seed 1): {fault}"));
}

#[test]
fn an_acknowledgement_without_a_sync_is_noticed() {
    is_noticed_in_images(FaultInjection::NoSync);
}

#[test]
fn a_segment_written_again_before_its_memtable_is_in_the_tables_is_noticed() {
    is_noticed_in_images(FaultInjection::EarlyReuse);
}

#[test]
fn a_recovery_that_ignores_the_salt_is_noticed() {
    let fault = ghosts::no_ghost_is_spliced_on(Some(FaultInjection::IgnoreSalt), 0).unwrap_err();
    super::report(format_args!("control IgnoreSalt: noticed: {fault}"));
}

#[test]
fn a_reader_that_takes_the_tables_first_is_noticed() {
    let fault = readers::read_while_written(Some(FaultInjection::TablesFirst)).unwrap_err();
    super::report(format_args!("control TablesFirst: noticed: {fault}"));
}
