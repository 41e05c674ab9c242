//! Each protocol broken on purpose: the eyes that hold it must notice.

use super::images::try_all;
use super::script::Script;
use crate::store::Sabotage;

fn is_noticed(sabotage: Sabotage, seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        let run = Script { sabotage: Some(sabotage), ..Script::new(seed) }.run();
        let (images, broken) = try_all(&run, 0..2, 1);
        if let Some(fault) = broken.first() {
            println!("control {sabotage:?}: noticed after {images} images (seed {seed}): {fault}");
            return;
        }
    }
    panic!("{sabotage:?} broke a protocol, and nothing was noticed");
}

#[test]
fn an_acknowledgement_without_a_sync_is_noticed() {
    is_noticed(Sabotage::NoSync, 1..=1);
}
