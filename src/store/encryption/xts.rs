//! XTS: how the bytes of a file are encrypted, each block of 16 by itself, after the place where it stands.
//!
//! IEEE Std 1619-2018, clause 5, with AES-256: unit *u* has the tweak E₂(*u*), each next block of it that times α in GF(2¹²⁸), and a block
//! is E₁(*p* ⊕ *t*) ⊕ *t*. The cipher is RustCrypto's; its mode is here because files are written in pieces of a unit.

use aes::Aes256;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

/// How many bytes are encrypted by themselves.
pub(super) const BLOCK: usize = 16;

/// How many blocks a unit has: a sector.
const UNIT: u64 = 32;

/// How many bytes of secret a file has: a key for its bytes, and one for tweaks.
pub(super) const SECRET: usize = 64;

/// What encrypts and decrypts the bytes of one file.
pub(super) struct FileCipher {
    bytes: Aes256,
    tweaks: Aes256,
}

impl FileCipher {
    pub fn new(secret: &[u8; SECRET]) -> FileCipher {
        let key = |from: usize| -> [u8; 32] { std::array::from_fn(|at| secret[from + at]) };
        FileCipher { bytes: Aes256::new(&key(0).into()), tweaks: Aes256::new(&key(32).into()) }
    }

    /// Whole blocks, of which the first has this number in the file.
    pub fn encrypt(&self, first: u64, blocks: &mut [u8]) {
        self.each_unit(first, blocks, |blocks, tweaks| {
            combine(blocks, tweaks);
            self.bytes.encrypt_blocks(blocks);
            combine(blocks, tweaks);
        });
    }

    /// The reverse. A block of zeros was never written, and stays: encrypted, one of 2¹²⁸ is.
    pub fn decrypt(&self, first: u64, blocks: &mut [u8]) {
        self.each_unit(first, blocks, |blocks, tweaks| {
            let unwritten =
                blocks.iter().enumerate().filter(|(_, block)| block.iter().all(|&byte| byte == 0));
            let unwritten = unwritten.fold(0u32, |set, (at, _)| set | 1 << at);
            combine(blocks, tweaks);
            self.bytes.decrypt_blocks(blocks);
            combine(blocks, tweaks);
            if unwritten != 0 {
                let of = |at: &usize| unwritten & 1 << at != 0;
                (0..blocks.len()).filter(of).for_each(|at| blocks[at].fill(0));
            }
        });
    }

    /// Goes through the blocks, those of a unit at a time, with their tweaks.
    fn each_unit(&self, mut first: u64, bytes: &mut [u8], with: impl Fn(&mut [Block<Aes256>], &[u128])) {
        debug_assert!(bytes.len().is_multiple_of(BLOCK), "whole blocks");
        let (mut blocks, _) = Block::<Aes256>::slice_as_chunks_mut(bytes);
        let mut tweaks = [0; UNIT as usize];
        while !blocks.is_empty() {
            let (unit, within) = (first / UNIT, first % UNIT);
            let here = blocks.len().min((UNIT - within) as usize); // at most a unit
            let mut tweak: Block<Aes256> = u128::from(unit).to_le_bytes().into();
            self.tweaks.encrypt_block(&mut tweak);
            let mut tweak = u128::from_le_bytes(tweak.into());
            (0..within).for_each(|_| tweak = times_alpha(tweak));
            for place in &mut tweaks[..here] {
                *place = tweak;
                tweak = times_alpha(tweak);
            }
            let (now, later) = blocks.split_at_mut(here);
            with(now, &tweaks[..here]);
            (blocks, first) = (later, first + here as u64);
        }
    }
}

fn times_alpha(tweak: u128) -> u128 {
    (tweak << 1) ^ ((tweak >> 127) * 0x87)
}

fn combine(blocks: &mut [Block<Aes256>], tweaks: &[u128]) {
    for (block, tweak) in blocks.iter_mut().zip(tweaks) {
        let combined = u128::from_le_bytes((*block).into()) ^ tweak;
        *block = combined.to_le_bytes().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// Vector 10 of IEEE Std 1619-2018, annex B: XTS-AES-256, data unit ff, of 512 bytes 00, 01, … twice. Its first and last two blocks.
    #[test]
    fn the_vector_of_the_standard_holds() {
        let secret = bytes(
            "27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592",
        );
        let cipher = FileCipher::new(&secret.try_into().unwrap());
        let said: Vec<u8> = (0..512u32).map(|at| at as u8).collect();
        let mut unit = said.clone();
        cipher.encrypt(0xff * UNIT, &mut unit);
        assert_eq!(unit[..32], bytes("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"));
        assert_eq!(unit[480..], bytes("773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"));
        // In pieces it is the same, over the bounds of units too.
        let mut long = [said.as_slice(), &said, &said].concat();
        let mut pieces = long.clone();
        cipher.encrypt(7, &mut long);
        let mut at = 0;
        for blocks in [1, 30, 2, 33, 1, 29] {
            cipher.encrypt(7 + at as u64, &mut pieces[at * BLOCK..(at + blocks) * BLOCK]);
            at += blocks;
        }
        assert_eq!((at * BLOCK, &pieces), (long.len(), &long));
        cipher.decrypt(7, &mut long);
        assert_eq!(long, [said.as_slice(), &said, &said].concat());
    }

    #[test]
    fn what_was_never_written_are_zeros() {
        let cipher = FileCipher::new(&[3; SECRET]);
        let mut blocks = vec![0; 64 * BLOCK];
        cipher.encrypt(5, &mut blocks[BLOCK..2 * BLOCK]);
        assert!(blocks[BLOCK..2 * BLOCK].iter().any(|&byte| byte != 0));
        cipher.decrypt(4, &mut blocks);
        assert!(blocks.iter().all(|&byte| byte == 0));
    }
}
