//! The crash sweep: each point of a run of everything, each fate of what was not synced, and again within the recovery from that.
//!
//! [`run`] has a [`load`](super::load) on a disk that records all. [`images`] walks the record and takes what a crash would leave; what is
//! byte for byte as it was before is not looked at twice. [`held`] holds the rest to what was promised by then, and [`controls`] takes
//! single syncs away, to see that each is needed.

mod controls;
mod held;
mod images;
mod run;

pub(super) use held::place_is_right;
