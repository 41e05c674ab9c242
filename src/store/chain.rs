//! The chain of hashes, which tells whether two logs are the same up to a position: hₙ = BLAKE3(hₙ₋₁ ‖ header ‖ BLAKE3(payload)), over
//! stored bytes: what is encrypted is hashed so, and stays when its key is gone. What was rewritten since it was appended keeps the hash of the
//! payload that it had ([`crate::event::rewritten`]). Each zone of the tables keeps the hash at its end.

use std::fmt;
use std::str::FromStr;

use super::tables::Zone;
use crate::entity::Position;
use crate::error::{Error, Result, shorten};
use crate::event::record::Record;
use crate::hex::{from_hex, hex};
use crate::time::Timestamp;

/// The hash of a log up to a position: whoever has noted it can tell later whether the log is still the same up to there.
///
/// ```
/// use bygone::maintain::ChainHash;
/// let hash: ChainHash = "0000000000000000000000000000000000000000000000000000000000000000".parse()?;
/// assert_eq!(hash, ChainHash::default()); // of a log without events
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash(pub [u8; 32]);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for ChainHash {
    type Err = Error;

    /// Reads 64 hexadecimal digits: a part of them would be easy to match.
    fn from_str(text: &str) -> Result<ChainHash> {
        from_hex(text).map(ChainHash).ok_or_else(|| {
            let expected = "the 64 hexadecimal digits that SHOW HEAD gave as `chain`";
            Error::invalid("a chain hash", expected, format!("'{}'", shorten(text)))
        })
    }
}

/// What a run of events spans, and the chain at its end.
pub(crate) fn zone(first: Position, run: &[&[u8]], mut chain: [u8; 32]) -> Result<Zone> {
    let mut span = None;
    for (position, bytes) in first.onwards().zip(run) {
        let event = Record::open(position, bytes)?;
        let (occurred, recorded) = (event.timestamp(), event.recorded());
        chain = link_record(chain, &event);
        let ((low, high), (begin, _)) = span.unwrap_or(((occurred, occurred), (recorded, recorded)));
        span = Some(((low.min(occurred), high.max(occurred)), (begin, recorded)));
    }
    // A run comes from `chunks`, which gives none that is empty.
    let (occurred, recorded) =
        span.unwrap_or(((Timestamp::MIN, Timestamp::MAX), (Timestamp::MIN, Timestamp::MAX)));
    Ok(Zone { last: first.plus(run.len() as u64).previous(), occurred, recorded, chain })
}

/// hₙ = BLAKE3(hₙ₋₁ ‖ header ‖ BLAKE3(payload)), over stored bytes.
pub(crate) fn link(chain: [u8; 32], position: Position, bytes: &[u8]) -> Result<[u8; 32]> {
    Ok(link_record(chain, &Record::open(position, bytes)?))
}

fn link_record(chain: [u8; 32], event: &Record) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chain);
    hasher.update(event.header());
    hasher.update(&event.original().hash);
    *hasher.finalize().as_bytes()
}
