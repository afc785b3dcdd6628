//! Facts about bytes: the hash that names an archive, checksums and length.
//!
//! The hash is BLAKE3, a tree hash with a subtree per MiB. If all parts of a multipart upload begin at a subtree, the
//! hash of the archive follows from the subtrees of the parts, and nothing is read twice.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::{Digest as _, Sha256};

/// The bytes of a subtree: a power of two of BLAKE3's chunks.
const SUBTREE_BYTES: u64 = 1 << 20;

/// Hashes bytes as they arrive.
#[derive(Default)]
pub struct Tally {
    /// The offset of these bytes in the archive.
    begins: u64,
    /// Complete subtrees. The incomplete one at the end is `last`.
    subtrees: Vec<ChainingValue>,
    last: blake3::Hasher,
    /// SHA-256, if the request claims one.
    sha256: Option<Sha256>,
    crc32: crc32fast::Hasher,
    bytes: u64,
}

pub struct Content {
    begins: u64,
    subtrees: Vec<ChainingValue>,
    crc32: crc32fast::Hasher,
    /// BLAKE3 of bytes at offset 0. For a part at another offset, a hash of its bytes and its offset.
    pub hash: [u8; 32],
    pub sha256: Option<[u8; 32]>,
    pub bytes: u64,
}

impl Tally {
    pub fn new(sha256: Option<Sha256>) -> Tally {
        Tally { sha256, ..Tally::default() }
    }

    /// Hashes a part at this offset of its archive.
    pub fn at(self, place: u64) -> Tally {
        let begins = if place.is_multiple_of(SUBTREE_BYTES) { place } else { 0 };
        Tally { begins, last: hasher(begins), ..self }
    }

    pub fn note(&mut self, mut bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.crc32.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.last.count() == SUBTREE_BYTES {
                self.subtrees.push(self.last.finalize_non_root());
                self.last = hasher(self.begins + self.subtrees.len() as u64 * SUBTREE_BYTES);
            }
            let room = (SUBTREE_BYTES - self.last.count()) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.last.update(now);
            bytes = later;
        }
    }

    /// The number of bytes hashed so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn end(mut self) -> Content {
        let is_one_tree = self.begins == 0 && self.subtrees.is_empty();
        let single = is_one_tree.then(|| self.last.finalize());
        if self.last.count() > 0 {
            self.subtrees.push(self.last.finalize_non_root());
        }
        let hash = single.unwrap_or_else(|| root(&self.subtrees));
        let Tally { begins, subtrees, sha256, crc32, bytes, .. } = self;
        let sha256 = sha256.map(|sha256| sha256.finalize().into());
        Content { begins, subtrees, crc32, hash: hash.into(), sha256, bytes }
    }

    /// The facts about the parts together, if they follow from those of each part.
    pub fn of_parts<'c>(&self, parts: impl Iterator<Item = &'c Content>) -> Option<Content> {
        let (mut subtrees, mut crc32, mut bytes) = (Vec::new(), crc32fast::Hasher::new(), 0);
        for part in parts {
            if part.begins != bytes {
                return None;
            }
            subtrees.extend_from_slice(&part.subtrees);
            crc32.combine(&part.crc32);
            bytes += part.bytes;
        }
        // A single subtree is the root, which is finalized differently.
        if subtrees.len() < 2 || self.sha256.is_some() {
            return None;
        }
        let hash = root(&subtrees).into();
        Some(Content { begins: 0, subtrees, crc32, hash, sha256: None, bytes })
    }
}

impl Content {
    pub fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }
}

fn hasher(begins: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(begins);
    hasher
}

fn root(subtrees: &[ChainingValue]) -> blake3::Hash {
    match subtrees {
        [] => blake3::hash(b""),
        [only] => (*only).into(),
        _ => {
            let (left, right) = halves(subtrees);
            merge_subtrees_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

fn merged(subtrees: &[ChainingValue]) -> ChainingValue {
    match subtrees {
        [only] => *only,
        _ => {
            let (left, right) = halves(subtrees);
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// The size of the left half of a BLAKE3 tree: the largest full tree.
fn halves(subtrees: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    subtrees.split_at(subtrees.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = SUBTREE_BYTES as usize;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut content);
        content
    }

    fn noted(place: usize, bytes: &[u8]) -> Content {
        let mut tally = Tally::default().at(place as u64);
        bytes.chunks(77_777).for_each(|piece| tally.note(piece));
        tally.end()
    }

    #[test]
    fn the_hash_is_blake3_whatever_the_length() {
        let content = noise(6 * MIB);
        for around in [0, 1024, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB] {
            for bytes in [around.saturating_sub(1), around, around + 1] {
                let noted = noted(0, &content[..bytes]);
                assert_eq!(noted.hash, *blake3::hash(&content[..bytes]).as_bytes(), "{bytes} bytes");
                assert_eq!((noted.bytes, noted.crc32()), (bytes as u64, crc32fast::hash(&content[..bytes])));
            }
        }
    }

    #[test]
    fn parts_that_begin_with_a_subtree_give_the_hash_of_the_whole() {
        let content = noise(17 * MIB);
        for part_bytes in [MIB, 2 * MIB, 3 * MIB, 5 * MIB, 8 * MIB] {
            for bytes in [MIB + 1, 5 * MIB, 7 * MIB + 3, 8 * MIB, 16 * MIB + 1, 17 * MIB] {
                let whole = &content[..bytes];
                let parts: Vec<_> =
                    whole.chunks(part_bytes).enumerate().map(|(at, part)| noted(at * part_bytes, part)).collect();
                let joined = Tally::default().of_parts(parts.iter()).unwrap();
                assert_eq!(joined.hash, *blake3::hash(whole).as_bytes(), "{bytes} in parts of {part_bytes}");
                assert_eq!((joined.bytes, joined.crc32()), (bytes as u64, crc32fast::hash(whole)));
            }
        }
    }

    #[test]
    fn what_does_not_follow_from_the_parts_is_not_told() {
        let content = noise(4 * MIB);
        let (one, other) = content.split_at(2 * MIB);
        let [begin, end] = [noted(0, one), noted(2 * MIB, other)];
        assert!(Tally::default().of_parts([&begin, &end].into_iter()).is_some());
        assert!(Tally::default().of_parts([&end, &begin].into_iter()).is_none());
        assert!(Tally::default().of_parts([&begin, &begin].into_iter()).is_none());
        assert!(Tally::new(Some(Sha256::new())).of_parts([&begin, &end].into_iter()).is_none());
        let (one, other) = content.split_at(MIB + 1);
        assert!(Tally::default().of_parts([&noted(0, one), &noted(MIB + 1, other)].into_iter()).is_none());
        assert!(Tally::default().of_parts([&noted(0, b"short")].into_iter()).is_none());
    }

    #[test]
    fn a_part_of_other_bytes_or_of_another_place_has_another_hash() {
        let hashes = [noted(0, b"one"), noted(MIB, b"one"), noted(MIB, b"two"), noted(2 * MIB, b"two")];
        for (at, content) in hashes.iter().enumerate() {
            assert!(hashes[..at].iter().all(|other| other.hash != content.hash));
        }
    }
}
