//! The files of the store that are taken in here use the mutexes of the scheduler.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bygone_schedules)");
    println!("cargo::rustc-cfg=bygone_schedules");
}
