//! A disk that remembers what was synced and what was not.
