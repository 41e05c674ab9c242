//! Names that were read last.

use smol_str::SmolStr;

use crate::entity;

/// Names of types and kinds that were met last, and of actors: of many events few have another. One that is met again is neither looked
/// at nor made again, and a longer one is shared.
#[derive(Debug, Default)]
pub(crate) struct NameCache {
    /// Each where its bytes lead to. Empty at first: for a few events it is not worth it.
    met: Vec<SmolStr>,
    unmet: u32,
}

impl NameCache {
    const PLACES: usize = 64;
    const FEW: u32 = 8;

    /// None where the bytes are no text.
    #[inline]
    pub(super) fn shared(&mut self, name: &[u8]) -> Option<SmolStr> {
        match self.met.get(NameCache::place(name)) {
            Some(met) if entity::same(met.as_bytes(), name) => Some(met.clone()),
            _ => self.meet(name),
        }
    }

    #[inline(never)]
    fn meet(&mut self, name: &[u8]) -> Option<SmolStr> {
        let new = SmolStr::new(std::str::from_utf8(name).ok()?);
        self.unmet = self.unmet.saturating_add(1);
        if self.met.is_empty() && self.unmet > NameCache::FEW {
            self.met = vec![SmolStr::default(); NameCache::PLACES];
        }
        if let Some(place) = self.met.get_mut(NameCache::place(name)) {
            place.clone_from(&new);
        }
        Some(new)
    }

    #[inline]
    fn place(name: &[u8]) -> usize {
        let byte = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
        let mixed = byte(name.first()) | byte(name.last()) << 8 | byte(name.get(name.len() / 2)) << 16;
        let spread = (mixed | (name.len() as u32) << 24).wrapping_mul(0x9e37_79b1);
        // The upper bits have something of all.
        (spread >> 26) as usize % NameCache::PLACES
    }
}
