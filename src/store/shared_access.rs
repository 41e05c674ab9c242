//! What others may ask of a database that is shared.

/// What may be asked of a database that is [shared](crate::Db::share).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SharedAccess {
    /// All that the program that holds it may do.
    #[default]
    Full,
    /// To read: whatever writes is refused.
    ReadOnly,
}
