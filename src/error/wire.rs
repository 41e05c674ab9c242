//! Errors on the way to another process and back: the JSON that programs read, with what else it takes to be the same error there.
//!
//! A reader takes from the members what they tell, and from the message what it holds between words that are always the same. The rest is
//! the `detail`.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::json::ErrorMembers;
use super::missing::known_sort;
use super::{Conflict, Error, MemberMismatch, Missing, MissingItem, Refusal, SchemaMismatch, SyntaxFault};
use crate::position::{Position, Version};

/// What the members and the message do not tell.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ErrorDetail<'a> {
    Fault {
        offset: usize,
        length: usize,
        source_line: Cow<'a, str>,
        incomplete: bool,
        /// What is said of what is missing, beside what is said of the place that asks for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<Cow<'a, str>>,
    },
    Conflict(Cow<'a, Conflict>),
    Unfoldable {
        entity: Cow<'a, str>,
        position: u64,
        #[serde(rename = "type")]
        kind: Cow<'a, str>,
        why: Cow<'a, str>,
        advice: Cow<'a, str>,
    },
    Upcast {
        #[serde(rename = "type")]
        event_type: Cow<'a, str>,
        version: u64,
        why: Cow<'a, str>,
    },
    Held {
        path: Cow<'a, str>,
        process: Option<u32>,
        by_name: bool,
    },
    Unopenable {
        path: Cow<'a, str>,
        reason: Cow<'a, str>,
        advice: Cow<'a, str>,
    },
    Corrupt {
        place: Cow<'a, str>,
        found: Cow<'a, str>,
        advice: Cow<'a, str>,
    },
    Io {
        doing: Cow<'a, str>,
        /// The number that the system has for it.
        os: Option<i32>,
    },
}

impl<'a> ErrorDetail<'a> {
    fn of(error: &'a Error) -> Option<ErrorDetail<'a>> {
        Some(match error {
            Error::Syntax(fault) => ErrorDetail::fault(fault, None),
            Error::Missing(missing) => ErrorDetail::fault(missing.fault.as_ref()?, Some(&missing.message)),
            Error::Conflict(conflict) => match **conflict {
                Conflict::Other { .. } => return None,
                _ => ErrorDetail::Conflict(Cow::Borrowed(conflict)),
            },
            Error::Unfoldable { entity, position, kind, why, advice } => ErrorDetail::Unfoldable {
                entity: entity.into(),
                position: *position,
                kind: kind.into(),
                why: why.into(),
                advice: advice.into(),
            },
            Error::Upcast { event_type, version, why, .. } => {
                ErrorDetail::Upcast { event_type: event_type.into(), version: *version, why: why.into() }
            }
            Error::Held { path, process, by_name } => {
                ErrorDetail::Held { path: path.to_string_lossy(), process: *process, by_name: *by_name }
            }
            Error::Unopenable { path, reason, advice } => ErrorDetail::Unopenable {
                path: path.to_string_lossy(),
                reason: reason.into(),
                advice: advice.into(),
            },
            Error::Corrupt { place, found, advice } => {
                ErrorDetail::Corrupt { place: place.into(), found: found.into(), advice: advice.into() }
            }
            Error::Io { doing, source } => ErrorDetail::Io { doing: doing.into(), os: source.raw_os_error() },
            Error::Invalid { .. }
            | Error::TooLarge { .. }
            | Error::Refused(_)
            | Error::Schema(_)
            | Error::Stopped { .. }
            | Error::Busy { .. }
            | Error::Unknown { .. } => return None,
        })
    }

    fn fault(fault: &'a SyntaxFault, missing: Option<&'a str>) -> ErrorDetail<'a> {
        ErrorDetail::Fault {
            offset: fault.offset,
            length: fault.length,
            source_line: (&fault.source_line).into(),
            incomplete: fault.incomplete,
            missing: missing.map(Cow::from),
        }
    }
}

/// What there is to show of an error that is not understood.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorSummary {
    kind: String,
    message: String,
}

impl Error {
    /// The JSON object that goes over the wire: what it serializes as, and the detail.
    pub(crate) fn to_wire(&self) -> impl Serialize {
        ErrorMembers { detail: ErrorDetail::of(self), ..ErrorMembers::of(self) }
    }

    /// The error that such an object is. One that is not understood, since a newer program wrote it, is an error all the same, and shows
    /// the message.
    pub(crate) fn from_wire(json: &str) -> Error {
        let read = serde_json::from_str::<ErrorMembers>(json).ok().and_then(ErrorMembers::into_error);
        read.unwrap_or_else(|| {
            let ErrorSummary { kind, message } = serde_json::from_str(json).unwrap_or_default();
            let doing = match kind.as_str() {
                "" => "an error that nobody can read".to_owned(),
                kind => format!("an error that is new to this program, {}", super::shorten(kind)),
            };
            Error::io(doing, io::Error::other(message))
        })
    }
}

impl ErrorMembers<'_> {
    /// None where something is missing.
    fn into_error(mut self) -> Option<Error> {
        let message = std::mem::take(&mut self.message).into_owned();
        Some(match (&*self.kind, self.detail.take()) {
            ("syntax", Some(detail)) => Error::Syntax(Box::new(self.fault(message, detail)?.0)),
            ("beyondHead" | "beyondVersion" | "unknownEvent" | "unknownName" | "building", detail) => {
                let item = self.item()?;
                let (message, fault) = match detail {
                    None => (message, None),
                    Some(detail) => {
                        let (fault, missing) = self.fault(message, detail)?;
                        (missing?, Some(Box::new(fault)))
                    }
                };
                Missing { item, message, fault }.into()
            }
            ("invalid", _) => {
                let (what, expected, found) = self.contrast(&message)?;
                Error::Invalid { what, expected, found }
            }
            ("tooLarge", _) => {
                let (size, limit) = (self.size?, self.limit?);
                let what =
                    message.strip_suffix(&format!(": expected at most {limit} bytes, found {size}"))?;
                Error::TooLarge { what: what.to_owned(), size, limit }
            }
            ("conflict", Some(ErrorDetail::Conflict(conflict))) => conflict.into_owned().into(),
            ("conflict", None) => {
                let (what, expected, found) = self.contrast(message.strip_prefix("conflict: ")?)?;
                Error::from(Conflict::other(what, expected, found))
            }
            ("refused", _) => Error::Refused(Box::new(Refusal {
                verb: self.verb?.into_owned(),
                entity: self.entity?.into_owned(),
                why: self.why?.into_owned(),
                condition: self.condition.map(Cow::into_owned),
                values: self.values.into_iter().flatten().collect(),
            })),
            ("schema", _) => self.mismatch()?.into(),
            ("stopped", _) => Error::Stopped { reason: message.strip_prefix("stopped: ")?.to_owned() },
            ("busy", _) => {
                let reason = message.strip_prefix("busy: ")?.strip_suffix("; try again")?;
                Error::Busy { reason: reason.to_owned() }
            }
            ("unknown", _) => {
                // What surrounds it is what an error of nothing says.
                let frame = Error::Unknown { what: String::new() }.to_string();
                let (before, after) = frame.split_at("unknown: ".len());
                Error::Unknown { what: message.strip_prefix(before)?.strip_suffix(after)?.to_owned() }
            }
            (kind, Some(detail)) => return detail.into_error(kind, self.position, &message),
            _ => return None,
        })
    }

    /// What it is about, what was expected of that, and what was found, of `what: expected …, found …`.
    fn contrast(&self, message: &str) -> Option<(String, String, String)> {
        let ([expected], Some(found)) = (self.expected.as_slice(), &self.found) else { return None };
        let what = message.strip_suffix(&format!(": expected {expected}, found {found}"))?;
        Some((what.to_owned(), expected.to_string(), found.to_string()))
    }

    /// A place in a text, and what is said of what is missing.
    fn fault(&self, message: String, detail: ErrorDetail) -> Option<(SyntaxFault, Option<String>)> {
        let ErrorDetail::Fault { offset, length, source_line, incomplete, missing } = detail else {
            return None;
        };
        let mut fault = SyntaxFault {
            message: String::new(),
            offset,
            length,
            line: self.line?,
            column: self.column?,
            source_line: source_line.into_owned(),
            expected: self.expected.iter().map(|one| one.clone().into_owned()).collect(),
            found: self.found.clone()?.into_owned(),
            suggestion: self.suggestion.clone().map(Cow::into_owned),
            incomplete,
            statement: self.statement?,
        };
        if fault.sentence() != message {
            fault.message = message;
        }
        Some((fault, missing.map(Cow::into_owned)))
    }

    fn item(&mut self) -> Option<MissingItem> {
        let text = |member: &mut Option<Cow<str>>| member.take().map(Cow::into_owned);
        Some(match &*self.kind {
            "beyondHead" => {
                MissingItem::Position { asked: Position(self.asked?), head: Position(self.head?) }
            }
            "beyondVersion" => MissingItem::Version {
                entity: text(&mut self.entity)?,
                asked: Version(self.asked?),
                newest: Version(self.newest?),
            },
            "unknownEvent" => MissingItem::Event { id: text(&mut self.id)? },
            "unknownName" => {
                MissingItem::Name { sort: known_sort(self.of.as_deref()?), name: text(&mut self.name)? }
            }
            "building" => MissingItem::Index { name: text(&mut self.name)?, percent: self.percent? },
            _ => return None,
        })
    }

    fn mismatch(self) -> Option<SchemaMismatch> {
        let members = self.members?.into_iter().map(|member| MemberMismatch {
            path: member.path.into_owned(),
            expected: member.expected.into_owned(),
            found: member.found.into_owned(),
        });
        Some(SchemaMismatch {
            event_type: self.event_type?.into_owned(),
            version: self.version?,
            definition: self.position,
            members: members.collect(),
            more: self.more.unwrap_or(0),
        })
    }
}

impl ErrorDetail<'_> {
    /// The error of this kind that it tells all of.
    fn into_error(self, kind: &str, position: Option<u64>, message: &str) -> Option<Error> {
        Some(match (kind, self) {
            ("unfoldable", ErrorDetail::Unfoldable { entity, position, kind, why, advice }) => {
                Error::Unfoldable {
                    entity: entity.into_owned(),
                    position,
                    kind: kind.into_owned(),
                    why: why.into_owned(),
                    advice: advice.into_owned(),
                }
            }
            ("upcast", ErrorDetail::Upcast { event_type, version, why }) => Error::Upcast {
                event_type: event_type.into_owned(),
                position: position?,
                version,
                why: why.into_owned(),
            },
            ("held", ErrorDetail::Held { path, process, by_name }) => {
                Error::Held { path: PathBuf::from(&*path), process, by_name }
            }
            ("unopenable", ErrorDetail::Unopenable { path, reason, advice }) => Error::Unopenable {
                path: PathBuf::from(&*path),
                reason: reason.into_owned(),
                advice: advice.into_owned(),
            },
            ("corrupt", ErrorDetail::Corrupt { place, found, advice }) => Error::Corrupt {
                place: place.into_owned(),
                found: found.into_owned(),
                advice: advice.into_owned(),
            },
            ("io", ErrorDetail::Io { doing, os }) => {
                let text = message.strip_prefix(&*doing)?.strip_prefix(": ")?;
                // Another system may have another meaning for the number.
                let known = os.map(io::Error::from_raw_os_error).filter(|known| known.to_string() == text);
                let source = known.unwrap_or_else(|| io::Error::other(text.to_owned()));
                Error::Io { doing: doing.into_owned(), source: Arc::new(source) }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
