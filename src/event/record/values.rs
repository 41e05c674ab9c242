//! The values of a header, read one after another.

use crate::document::{Raw, RawKind};
use crate::entity::EntityStr;
use crate::time::Timestamp;

#[derive(Debug, Clone, Copy)]
pub(super) enum RecordId<'a> {
    Uuid([u8; 16]),
    Given(&'a str),
}

/// Seconds and nanoseconds, as they are stored.
pub(super) type Instant = (i64, i32);

/// Header values, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a>(pub &'a [u8]);

impl<'a> Values<'a> {
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        self.0 = Raw(self.0).skip()?;
        Some(())
    }

    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        let (n, rest) = Raw(self.0).int()?;
        self.0 = rest;
        Some(n)
    }

    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        match Raw(self.0).int() {
            Some((n, rest)) => {
                self.0 = rest;
                u64::try_from(n).ok()
            }
            None => match Raw(self.0).form()? {
                (RawKind::UInt(n), rest) => {
                    self.0 = rest;
                    Some(n)
                }
                _ => None,
            },
        }
    }

    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The bytes of a text.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let (bytes, rest) = Raw(self.0).text()?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn entity(&mut self) -> Option<EntityStr<'a>> {
        Some(EntityStr { kind: self.text()?, id: self.text()? })
    }

    /// Seconds and nanoseconds.
    #[inline]
    pub fn time(&mut self) -> Option<Instant> {
        Some((self.int()?, i32::try_from(self.int()?).ok()?))
    }

    #[inline]
    pub fn timestamp(&mut self) -> Option<Timestamp> {
        let (seconds, nanos) = self.time()?;
        Timestamp::from_parts(seconds, nanos).ok()
    }

    #[inline]
    pub fn skip_id(&mut self) -> Option<()> {
        if self.0.starts_with(&[0xc4, 16]) {
            self.0 = self.0.get(2 + 16..)?;
            return Some(());
        }
        self.skip()
    }

    /// Sixteen bytes, or text.
    #[inline]
    pub fn id(&mut self) -> Option<RecordId<'a>> {
        if let Some((&[0xc4, 16], rest)) = self.0.split_first_chunk::<2>() {
            let (bytes, rest) = rest.split_first_chunk::<16>()?;
            self.0 = rest;
            return Some(RecordId::Uuid(*bytes));
        }
        self.text().map(RecordId::Given)
    }
}
