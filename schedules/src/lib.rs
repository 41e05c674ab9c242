//! The orders in which the threads of a commit may come.
//!
//! Who commits for whom is decided in `store/queue.rs`, who is woken when in it, in `store/log_progress.rs` and in `store/background.rs`. These
//! files are compiled here as they are, with the mutexes of [shuttle](https://docs.rs/shuttle), which runs one thread at a time and
//! chooses at each lock, wait and atomic which goes on. A thread that is never woken is a deadlock, and is told with the order that
//! led to it. What the files need of the rest of the store is the little that stands below.
//!
//! `cargo test --manifest-path schedules/Cargo.toml` tries them; `BYGONE_SCHEDULES` says how many orders of each.

// What is taken in is used in part.
#![allow(dead_code, unreachable_pub)]

mod error {
    //! An error that says why.

    pub type Result<T, E = Error> = std::result::Result<T, E>;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Error(pub String);

    impl Error {
        pub fn stopped(reason: impl Into<String>) -> Error {
            Error(reason.into())
        }
    }
}

mod entity {
    //! Positions, which several threads read and move on.

    use shuttle::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
    pub struct Position(pub u64);

    #[derive(Debug, Default)]
    pub struct AtomicPosition(AtomicU64);

    impl AtomicPosition {
        pub fn load(&self, ordering: Ordering) -> Position {
            Position(self.0.load(ordering))
        }

        pub fn advance(&self, position: Position, ordering: Ordering) {
            self.0.fetch_max(position.0, ordering);
        }
    }
}

#[path = "../../src/store"]
mod store {
    pub mod background;
    pub mod log_progress;
    pub mod mutex;
    pub mod queue;

    /// Sleeps until a thread in the background is asked for something, and takes that.
    pub fn next_request<T>(
        background: &background::Background,
        take: impl Fn(&mut background::WorkRequests) -> Option<T>,
    ) -> T {
        let mut asked = mutex::locked(&background.asked);
        loop {
            if let Some(taken) = take(&mut asked) {
                return taken;
            }
            asked = background.changed.wait(asked).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    pub mod append_request {
        //! Requests that are numbers.

        #[derive(Debug, Clone)]
        pub struct Prepared {
            pub bytes: usize,
            pub number: u64,
        }

        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct AppendOutcome {
            /// Where it is in the log.
            pub position: u64,
        }
    }
}

#[cfg(test)]
mod tests;
