//! Proofs: that an event is in a log, for whoever has the root of the log's Merkle tree and nothing else of it.
//!
//! The tree is that of [RFC 6962, section 2.1], with BLAKE3: the hash of a leaf is BLAKE3(0x00 ‖ header ‖ BLAKE3(data ‖ metadata)), over stored
//! bytes, and that of a node BLAKE3(0x01 ‖ left ‖ right). The events up to a position have one root, wherever checkpoints end and
//! whichever database holds them.
//!
//! Nothing of it is stored: whoever asks for a proof, or for a root, has each event up to there hashed anew. So what appends pays nothing for
//! it, and files of any age have proofs. Memory holds a node for each level.
//!
//! [RFC 6962, section 2.1]: https://www.rfc-editor.org/rfc/rfc6962#section-2.1

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "signing")]
use super::chain::{ChainHash, link};
use super::private_values::OriginalPayload;
use super::snapshot::{ScanDirection, Snapshot};
#[cfg(feature = "signing")]
use super::verify;
use crate::document::Raw;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Missing, MissingItem, Result, shorten};
use crate::event::codec;
use crate::event::record::Record;
use crate::event::rewritten::payload_hash;
use crate::hex::{from_hex, hex};

type Hash = [u8; 32];

/// A hash of the Merkle tree of a log: of all of it, its root, or of a part.
///
/// ```
/// use bygone::maintain::TreeHash;
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// let empty = db.root(None)?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 1)))?;
/// assert_ne!(db.root(None)?, empty);
/// assert_eq!(empty.to_string().parse::<TreeHash>()?, empty);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash(pub [u8; 32]);

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for TreeHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<TreeHash> {
        let wrong =
            || Error::invalid("a hash of the tree", "64 hexadecimal digits", format!("'{}'", shorten(text)));
        from_hex(text).map(TreeHash).ok_or_else(wrong)
    }
}

/// The proof that an event is in a log.
///
/// ```
/// use bygone::{Db, NewEvent, Position};
/// let db = Db::in_memory()?;
/// for order in 1..=5 {
///     db.append(NewEvent::new("Order.paid").on(("Order", order)))?;
/// }
/// let proof = db.prove(Position(2), None)?;
/// assert_eq!((proof.size, proof.path.len()), (Position(5), 3));
/// assert!(proof.holds_in(db.root(None)?, Position(5)));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// Of which event.
    pub position: Position,
    /// The log went up to here.
    pub size: Position,
    /// The root of the tree of the events up to there.
    pub root: TreeHash,
    /// The stored bytes of the event: its header, all but `data` and `metadata`, as MessagePack values (docs/FORMAT.md).
    pub header: Vec<u8>,
    /// `data`, as MessagePack.
    pub data: Vec<u8>,
    /// `metadata`, as MessagePack; no bytes where it has no members.
    pub metadata: Vec<u8>,
    /// The private values that are stored encrypted (docs/FORMAT.md); no bytes of nearly all events.
    pub encrypted: Vec<u8>,
    /// The hashes beside the way from the event to the root.
    pub path: Vec<TreeHash>,
}

impl Proof {
    /// Whether it proves that the event is in the log of a size that has a root. Whoever trusts these two, because they were noted or signed
    /// ([`LogHead`](crate::maintain::LogHead)), knows then that the event stands at its position. What the proof itself says of them is no reason to.
    ///
    /// The steps are those of [RFC 9162, section 2.1.3.2](https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2).
    pub fn holds_in(&self, root: TreeHash, size: Position) -> bool {
        let (Some(mut index), Some(mut last)) = (self.position.0.checked_sub(1), size.0.checked_sub(1))
        else {
            return false;
        };
        if index > last || !self.is_in_form() {
            return false;
        }
        let mut hash = leaf(&self.header, &payload_hash(&self.data, &self.metadata, &self.encrypted));
        for TreeHash(other) in &self.path {
            if last == 0 {
                return false;
            }
            if index & 1 == 1 || index == last {
                hash = node(other, &hash);
                while index & 1 == 0 && index != 0 {
                    (index, last) = (index >> 1, last >> 1);
                }
            } else {
                hash = node(&hash, other);
            }
            (index, last) = (index >> 1, last >> 1);
        }
        last == 0 && hash == root.0
    }

    /// Whether `data` is one map, and `metadata` nothing or one that has members. What is hashed are both, one behind the other: so they are parted in
    /// one place only.
    fn is_in_form(&self) -> bool {
        let is_map = |bytes: &[u8]| {
            bytes.first().is_some_and(|first| codec::is_map(*first))
                && Raw(bytes).skip().is_some_and(<[u8]>::is_empty)
        };
        is_map(&self.data)
            && (self.metadata.is_empty() || (is_map(&self.metadata) && self.metadata[0] != 0x80))
            // It begins with the number of a key, which begins with 0, as no map does.
            && self.encrypted.first().is_none_or(|first| *first == 0)
    }
}

/// The root of the tree of the events that a snapshot shows, of none the hash of nothing.
pub(crate) fn root(snapshot: &Snapshot) -> Result<TreeHash> {
    let mut tree = TreeBuilder::default();
    leaves(snapshot, |_, _, record| {
        tree.push(leaf(record.header(), &record.original().hash), false);
        Ok(())
    })?;
    Ok(tree.root())
}

/// The same, and the chain hash of the same events.
///
/// # Errors
/// [`Error::Corrupt`] where the chain is not the one that was noted as they were written.
#[cfg(feature = "signing")]
pub(crate) fn root_and_chain(snapshot: &Snapshot) -> Result<(TreeHash, ChainHash)> {
    let (mut tree, mut chain) = (TreeBuilder::default(), [0; 32]);
    leaves(snapshot, |position, bytes, record| {
        chain = link(chain, position, bytes)?;
        tree.push(leaf(record.header(), &record.original().hash), false);
        Ok(())
    })?;
    if chain != verify::chain(snapshot)? {
        return Err(Error::corrupt("the log", "events that are not those of its chain"));
    }
    Ok((tree.root(), ChainHash(chain)))
}

/// Proves that an event is in the log that a snapshot shows.
///
/// # Errors
/// [`Error::Missing`] where it is not.
pub(crate) fn prove(snapshot: &Snapshot, position: Position) -> Result<Proof> {
    let size = snapshot.head();
    if position == Position::START || position > size {
        let item = MissingItem::Position { asked: position, head: size };
        let message = format!("{position} is not among the events up to {size}");
        return Err(Error::Missing(Box::new(Missing { item, message, fault: None })));
    }
    let mut tree = TreeBuilder::default();
    let mut proved = Vec::new();
    leaves(snapshot, |at, bytes, record| {
        if at == position {
            proved = bytes.to_vec();
        }
        tree.push(leaf(record.header(), &record.original().hash), at == position);
        Ok(())
    })?;
    let root = tree.root();
    let record = Record::open(position, &proved)?;
    let header = record.header().to_vec();
    let OriginalPayload { data, metadata, encrypted } = match record.is_rewritten() {
        false => OriginalPayload {
            data: record.data().0.to_vec(),
            metadata: record.metadata().0.to_vec(),
            encrypted: record.encrypted().to_vec(),
        },
        true => snapshot.original(position, &proved)?.ok_or_else(|| {
            let expected = "an event of which nothing is forgotten that it was appended with";
            Error::invalid(
                format!("the event at {position}"),
                expected,
                "one that was rewritten, and then forgotten",
            )
        })?,
    };
    Ok(Proof { position, size, root, header, data, metadata, encrypted, path: tree.path })
}

/// Hands over each event, in order and without a gap.
fn leaves(snapshot: &Snapshot, mut each: impl FnMut(Position, &[u8], &Record) -> Result<()>) -> Result<()> {
    let mut next = Position::FIRST;
    for row in snapshot.stored().log(PositionRange::through(snapshot.head()), ScanDirection::Ascending) {
        let (position, bytes) = row?;
        if position != next {
            return Err(Error::corrupt("the log", format!("no event at {next}")));
        }
        each(position, &bytes, &Record::open(position, &bytes)?)?;
        next = next.next();
    }
    Ok(())
}

fn leaf(header: &[u8], payload: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]).update(header).update(payload);
    *hasher.finalize().as_bytes()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]).update(left).update(right);
    *hasher.finalize().as_bytes()
}

/// A tree that grows by one leaf at a time. The trees whose leaves are a power of two are done, and each is larger than those behind it.
#[derive(Default)]
struct TreeBuilder {
    done: Vec<Subtree>,
    /// What stands beside the way from the leaf that is proved.
    path: Vec<TreeHash>,
}

struct Subtree {
    hash: Hash,
    leaves: u64,
    /// It has the leaf that is proved.
    proved: bool,
}

impl TreeBuilder {
    fn push(&mut self, hash: Hash, proved: bool) {
        let mut tree = Subtree { hash, leaves: 1, proved };
        while let Some(left) = self.done.pop_if(|left| left.leaves == tree.leaves) {
            tree = self.joined(&left, &tree);
        }
        self.done.push(tree);
    }

    fn joined(&mut self, left: &Subtree, right: &Subtree) -> Subtree {
        if left.proved {
            self.path.push(TreeHash(right.hash));
        } else if right.proved {
            self.path.push(TreeHash(left.hash));
        }
        Subtree {
            hash: node(&left.hash, &right.hash),
            leaves: left.leaves + right.leaves,
            proved: left.proved || right.proved,
        }
    }

    /// Joins all that is done: no leaf comes after it.
    fn root(&mut self) -> TreeHash {
        let Some(mut tree) = self.done.pop() else { return TreeHash(*blake3::hash(&[]).as_bytes()) };
        while let Some(left) = self.done.pop() {
            tree = self.joined(&left, &tree);
        }
        TreeHash(tree.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as RFC 6962 defines it.
    fn root_of(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => *blake3::hash(&[]).as_bytes(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                node(&root_of(left), &root_of(right))
            }
        }
    }

    fn path_of(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut path, other) = match index < left.len() {
            true => (path_of(index, left), root_of(right)),
            false => (path_of(index - left.len(), right), root_of(left)),
        };
        path.push(other);
        path
    }

    /// The largest power of two that is smaller.
    fn split(leaves: usize) -> usize {
        leaves.next_power_of_two() / 2
    }

    fn proof(index: usize, size: usize) -> (Proof, Vec<Hash>) {
        let parts =
            |at: usize| (vec![at as u8, 1], vec![0x81, 0xa1, b'n', at as u8], vec![0x81, 0xa1, b'm', 3]);
        let leaves: Vec<Hash> =
            (0..size).map(parts).map(|(a, b, c)| leaf(&a, &payload_hash(&b, &c, &[]))).collect();
        let mut tree = TreeBuilder::default();
        leaves.iter().enumerate().for_each(|(at, hash)| tree.push(*hash, at == index));
        let (root, (header, data, metadata)) = (tree.root(), parts(index));
        let (position, size) = (Position(index as u64 + 1), Position(size as u64));
        (
            Proof { position, size, root, header, data, metadata, encrypted: Vec::new(), path: tree.path },
            leaves,
        )
    }

    #[test]
    fn roots_and_paths_are_those_of_the_rfc_and_nothing_else_holds() {
        for size in 1..=70 {
            for index in 0..size {
                let (proof, leaves) = proof(index, size);
                assert_eq!(proof.root.0, root_of(&leaves));
                let path: Vec<Hash> = proof.path.iter().map(|hash| hash.0).collect();
                assert_eq!(path, path_of(index, &leaves), "{index} of {size}");
                let whole = Position(size as u64);
                let holds = |proof: &Proof| proof.holds_in(TreeHash(root_of(&leaves)), whole);
                assert!(holds(&proof), "{index} of {size}");
                // Another place, another event, another way.
                for position in (0..=size as u64 + 1).map(Position).filter(|other| *other != proof.position) {
                    assert!(!holds(&Proof { position, ..proof.clone() }), "{position} for {index} of {size}");
                }
                let longer = [proof.path.as_slice(), &[TreeHash([7; 32])]].concat();
                let shorter = proof.path[..proof.path.len().saturating_sub(1)].to_vec();
                for path in [longer, shorter].into_iter().filter(|path| *path != proof.path) {
                    assert!(!holds(&Proof { path, ..proof.clone() }));
                }
                assert!(!holds(&Proof { data: vec![0x80], ..proof.clone() }));
                assert!(!proof.holds_in(TreeHash([0; 32]), whole));
                // The same bytes, parted elsewhere.
                let payload = [proof.data.as_slice(), &proof.metadata].concat();
                for at in (0..=payload.len()).filter(|at| *at != proof.data.len()) {
                    let (data, metadata) = payload.split_at(at);
                    let (data, metadata) = (data.to_vec(), metadata.to_vec());
                    assert!(!holds(&Proof { data, metadata, ..proof.clone() }), "{at} of {index} of {size}");
                }
            }
        }
        assert_eq!(TreeBuilder::default().root().0, root_of(&[]));
    }
}
