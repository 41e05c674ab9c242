//! Events that were rewritten: what they have in plain when they are appended, and is private since, is stored encrypted like what was private
//! from the first.
//!
//! The chain of hashes has the payload as it was appended, and stays. So the trailer of such an event ends with the hash of that, and with what is to
//! know to make the payload again, by whoever has the keys:
//!
//! | behind the parts of the trailer | bytes |
//! |---|---|
//! | how many bytes of the parts it was appended with | 4, big-endian |
//! | the hash of its payload, as it was appended | 32 |
//!
//! An event can be rewritten several times: then this stays, and parts are added.

/// How many bytes this has.
const LENGTH: usize = 4 + 32;

/// What is known of a payload that was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OriginalHash {
    /// How many bytes of the parts the event was appended with.
    pub parts: usize,
    /// The hash of the payload, as it was appended.
    pub hash: [u8; 32],
}

impl OriginalHash {
    /// The parts of a trailer, and this behind them. A trailer that is too short has neither: its hash is none that a chain has.
    pub fn split(trailer: &[u8]) -> (&[u8], OriginalHash) {
        let found = trailer.split_last_chunk::<LENGTH>().and_then(|(parts, bytes)| {
            let (length, hash) = bytes.split_first_chunk::<4>()?;
            let original =
                OriginalHash { parts: u32::from_be_bytes(*length) as usize, hash: hash.try_into().ok()? };
            Some((parts, original))
        });
        found.unwrap_or((&[], OriginalHash { parts: 0, hash: [0; 32] }))
    }

    pub fn write(self, trailer: &mut Vec<u8>) {
        // No event is as long.
        trailer.extend_from_slice(&(self.parts as u32).to_be_bytes());
        trailer.extend_from_slice(&self.hash);
    }
}

/// BLAKE3 of the parts of a payload, one behind the other.
pub(crate) fn payload_hash(data: &[u8], metadata: &[u8], encrypted: &[u8]) -> [u8; 32] {
    let mut payload = blake3::Hasher::new();
    payload.update(data).update(metadata).update(encrypted);
    *payload.finalize().as_bytes()
}
