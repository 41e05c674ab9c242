//! Export: events as JSON, in one of the forms.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use crate::db::Db;
use crate::entity::PositionRange;
use crate::error::{Error, Result, shorten};
use crate::event::{Cause, Event, EventFormat, codec, is_uri_reference, write_form};
use crate::pattern::Pattern;
use crate::store::snapshot::{ScanDirection, Snapshot};

/// How an export is done.
///
/// ```
/// use bygone::maintain::{EventFormat, ExportOptions, ImportOptions};
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)).member("amount", 10))?;
/// let options = ExportOptions::new().form(EventFormat::CloudEventsBatch).pattern("Order.*".parse()?);
/// let mut batch = Vec::new();
/// db.export(options, &mut batch, &mut |_| {})?;
/// // The form is known again by what is read.
/// let other = Db::in_memory()?;
/// assert_eq!(other.import(&batch[..], &ImportOptions::new(), &mut |_| {})?.added, 1);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    pub(crate) form: EventFormat,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) source: Option<String>,
    pub(crate) with_private: bool,
    on_left_out: Option<LeftOut>,
}

/// Who is told that private values were left out.
#[derive(Clone)]
struct LeftOut(Arc<dyn Fn(u64) + Send + Sync>);

impl fmt::Debug for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeftOut")
    }
}

impl ExportOptions {
    /// All events, the database's own too, as lines in the event form.
    pub fn new() -> ExportOptions {
        ExportOptions::default()
    }

    /// How events are written.
    pub fn form(mut self, form: EventFormat) -> ExportOptions {
        self.form = form;
        self
    }

    /// Only events with these types.
    pub fn pattern(mut self, pattern: Pattern) -> ExportOptions {
        self.pattern = Some(pattern);
        self
    }

    /// Writes values that are [private](crate::maintain), too, in plain: whoever has the export has them, and nothing forgets them there.
    /// Without it they are null.
    pub fn with_private(mut self, with_private: bool) -> ExportOptions {
        self.with_private = with_private;
        self
    }

    /// Tells, at the end, of how many events private values were left out, if of any.
    ///
    /// ```
    /// use bygone::maintain::ExportOptions;
    /// use bygone::Db;
    /// # #[cfg(feature = "encryption")] {
    /// let db = Db::in_memory()?;
    /// db.query("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.email")?;
    /// db.query("EMIT User.named 7 {email: 'ann@example.org'}")?;
    /// let options = ExportOptions::new().on_left_out(|events| assert_eq!(events, 1));
    /// db.export(options, &mut Vec::new(), &mut |_| {})?;
    /// # }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn on_left_out(mut self, told: impl Fn(u64) + Send + Sync + 'static) -> ExportOptions {
        self.on_left_out = Some(LeftOut(Arc::new(told)));
        self
    }

    /// Tells that private values of so many events were left out.
    #[cfg(feature = "share")]
    pub(crate) fn tell_left_out(&self, events: u64) {
        if let Some(LeftOut(told)) = self.on_left_out.as_ref().filter(|_| events > 0) {
            told(events);
        }
    }

    /// The `source` of CloudEvents: a URI reference. Without it, it is `urn:uuid:` and the id of this database, which one that is
    /// restored has anew. An event that came from elsewhere, with a `source` in its metadata, keeps that.
    pub fn source(mut self, source: &str) -> ExportOptions {
        self.source = Some(source.to_owned());
        self
    }
}

impl From<Option<&Pattern>> for ExportOptions {
    /// The events of a pattern, or all.
    fn from(pattern: Option<&Pattern>) -> ExportOptions {
        ExportOptions { pattern: pattern.cloned(), ..ExportOptions::default() }
    }
}

impl From<&ExportOptions> for ExportOptions {
    fn from(options: &ExportOptions) -> ExportOptions {
        options.clone()
    }
}

impl Db {
    /// Writes events as JSON, in log order: those of a pattern, or all, the database's own too. Gives their number.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut lines = Vec::new();
    /// assert_eq!(db.export(None, &mut lines, &mut |_| {})?, 1);
    /// assert!(lines.starts_with(br#"{"position":1,"version":1,"#));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// A source that is no URI reference, and what reading and writing may meet.
    pub fn export(
        &self,
        options: impl Into<ExportOptions>,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let options: ExportOptions = options.into();
        let snapshot = self.store().snapshot();
        let source = match options.source {
            Some(source) if is_uri_reference(&source) => source,
            Some(other) => {
                let expected = "a URI, like https://shop.example/orders";
                return Err(Error::invalid("the source", expected, format!("'{}'", shorten(&other))));
            }
            None => self.store().shared().id.urn(),
        };
        let mut writer = ExportWriter { snapshot: &snapshot, form: options.form, source, written: 0, output };
        let mut left_out = 0;
        // What is stored encrypted has null in its place there.
        for row in snapshot.stored().log(PositionRange::ALL, ScanDirection::Ascending) {
            let (position, mut bytes) = row?;
            let is_private = codec::is_encrypted(&bytes);
            if options.with_private && is_private {
                bytes = snapshot.decrypted(position, &bytes)?;
            }
            let event = codec::decode(position, bytes)?;
            if options.pattern.as_ref().is_some_and(|pattern| !pattern.matches(&event.kind)) {
                continue;
            }
            writer.write(&event)?;
            left_out += u64::from(is_private && !options.with_private);
            if writer.written.is_multiple_of(10_000) {
                progress(writer.written);
            }
        }
        writer.end()?;
        if let Some(LeftOut(told)) = options.on_left_out.filter(|_| left_out > 0) {
            told(left_out);
        }
        Ok(writer.written)
    }
}

/// An export under way.
struct ExportWriter<'o> {
    snapshot: &'o Snapshot,
    form: EventFormat,
    source: String,
    written: u64,
    output: &'o mut dyn Write,
}

impl ExportWriter<'_> {
    fn write(&mut self, event: &Event) -> Result<()> {
        if self.form == EventFormat::CloudEventsBatch {
            self.text(if self.written == 0 { "[\n" } else { ",\n" })?;
        }
        let cause = self.cause(event)?;
        match (self.form, &cause) {
            // As it serializes, without a detour.
            (EventFormat::Event, None) => serde_json::to_writer(&mut *self.output, event),
            (form, cause) => {
                let cause = cause.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str()));
                serde_json::to_writer(&mut *self.output, &write_form(event, form, &self.source, cause)?)
            }
        }
        .map_err(|e| failed(e.into()))?;
        if self.form != EventFormat::CloudEventsBatch {
            self.text("\n")?;
        }
        self.written += 1;
        Ok(())
    }

    /// The type and the id of the event of this log that brought it about.
    fn cause(&self, event: &Event) -> Result<Option<(String, String)>> {
        let Some(Cause::Event(position)) = event.cause else { return Ok(None) };
        let cause = self.snapshot.event(position)?;
        Ok(cause.map(|cause| (cause.kind.as_str().to_owned(), cause.id.to_string())))
    }

    fn end(&mut self) -> Result<()> {
        if self.form == EventFormat::CloudEventsBatch {
            self.text(if self.written == 0 { "[]\n" } else { "\n]\n" })?;
        }
        self.output.flush().map_err(failed)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.output.write_all(text.as_bytes()).map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("writing the export", error)
}
