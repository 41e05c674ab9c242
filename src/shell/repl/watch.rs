//! Watching events go by while one types.

use std::collections::BTreeMap;

use bygone::share::SharedDb;
use bygone::{Cancel, Delivery, Event, Pattern};
use rustyline::ExternalPrinter;

use crate::shell::render::shortened;
use crate::shell::terminal::{Style, columns, harmless};

/// The watches of a session, by their patterns.
#[derive(Default)]
pub struct Watches(BTreeMap<String, Cancel>);

impl Watches {
    /// Prints what matches above the prompt, from now on. False if that is watched already.
    pub fn start(
        &mut self,
        db: &SharedDb,
        pattern: Pattern,
        mut printer: impl ExternalPrinter + Send + 'static,
        colors: bool,
    ) -> bygone::Result<bool> {
        let name = pattern.to_string();
        if self.0.contains_key(&name) {
            return Ok(false);
        }
        let cancel = Cancel::new();
        // Ended by the cancel or by the end of the database; there is nothing to wait for then.
        let deliveries = db.cancelled_by(&cancel).subscribe(pattern).open()?;
        std::thread::spawn(move || {
            for delivery in deliveries {
                let text = match delivery {
                    Ok(Delivery::Event(event)) => line(&event),
                    Ok(Delivery::CaughtUp(_)) => continue,
                    Err(error) => format!("the watch ended: {error}"),
                };
                let text = Style::Cyan.paint(&shortened(&text, columns()), colors).into_owned();
                if printer.print(text + "\n").is_err() {
                    return;
                }
            }
        });
        self.0.insert(name, cancel);
        Ok(true)
    }

    /// Ends a watch. False if there is none of this pattern.
    pub fn stop(&mut self, pattern: &Pattern) -> bool {
        self.0.remove(&pattern.to_string()).map(|cancel| cancel.cancel()).is_some()
    }

    /// Ends all, and says how many there were.
    pub fn stop_all(&mut self) -> usize {
        let watches = std::mem::take(&mut self.0);
        watches.values().for_each(Cancel::cancel);
        watches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns that are watched.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// An event in a line.
fn line(event: &Event) -> String {
    let mut line = format!("{} {}", event.position, event.kind.as_str());
    if let Some(target) = &event.target {
        line.push_str(&format!(" {target}"));
    }
    if let Some(actor) = &event.actor {
        line.push_str(&format!(" by {actor}"));
    }
    line.push_str(&format!(" {}", event.data));
    harmless(&line).into_owned()
}
