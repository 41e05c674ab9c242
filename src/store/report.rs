//! Reports: what happens to those who follow the log, told to whoever runs the database.

use std::fmt;
use std::sync::Arc;

use crate::entity::{NameText, Position};

/// Something that a reaction, a webhook or a schedule met, and that a person may want to know.
///
/// ```
/// use std::sync::mpsc;
/// use bygone::{NewEvent, Options};
/// let (sender, reports) = mpsc::channel();
/// let options = Options::new().live(true).reports(move |report| drop(sender.send(report.to_string())));
/// let db = options.in_memory()?;
/// db.query("DEFINE VERB Ship ON Order REQUIRE state.stock > 0")?;
/// db.query("DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)")?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// assert!(reports.recv().expect("a report").starts_with("reaction ship: refused at #3: "));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What it is: `reaction`, `webhook` or `schedule`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The event that it was at.
    pub position: Option<Position>,
    /// What happened, in words.
    pub text: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.what, NameText(&self.name), self.text)
    }
}

/// Who is told.
pub(crate) type Listener = Arc<dyn Fn(&Report) + Send + Sync>;
