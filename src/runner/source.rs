//! The bytes of an archive: a plain tar file, or the tar in a gzip file.
//!
//! A gzip file is unpacked while it is read. Its content is limited in bytes, and in its size relative to the file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::bufread::GzDecoder;

use super::archive::{ArchiveError, Limits};

const BUFFER_BYTES: usize = 256 << 10;
/// A gzip file may have this many members of any size. Further members must have `MEMBER_BYTES_MIN` bytes on average,
/// because an empty member takes twenty bytes to send and as long to read as thousands of bytes.
const MEMBERS_FREE_MAX: u64 = 1_000;
const MEMBER_BYTES_MIN: u64 = 1 << 10;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
}

/// Formats that the refusal names, by their first bytes.
const OTHER_FORMATS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
];

/// A file that is read until `stop` is set.
struct Input<'s> {
    file: File,
    stop: &'s AtomicBool,
    bytes: u64,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the server stops"));
        }
        let read = self.file.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The tar data of an archive file.
pub struct Source<'s> {
    from: From<'s>,
    limits: Limits,
    unpacked_bytes: u64,
    /// The number of gzip members so far.
    members: u64,
}

enum From<'s> {
    Plain(BufReader<Input<'s>>),
    /// `None` only while one member ends and the next begins.
    Gzip(Option<GzDecoder<BufReader<Input<'s>>>>),
}

impl<'s> Source<'s> {
    /// Opens an archive file, plain or packed with gzip.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Content`] if the file has another known format, [`ArchiveError::Ours`] for a fault of this
    /// installation.
    pub fn open(path: &Path, limits: Limits, stop: &'s AtomicBool) -> Result<Source<'s>, ArchiveError> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, Input { file: File::open(path)?, stop, bytes: 0 });
        let head = input.fill_buf()?;
        if let Some((_, name)) = OTHER_FORMATS.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(ArchiveError::Content(format!(
                "it is a {name} file: send a tar archive, plain or packed by gzip"
            )));
        }
        let from =
            if head.starts_with(b"\x1f\x8b") { From::Gzip(Some(GzDecoder::new(input))) } else { From::Plain(input) };
        Ok(Source { from, limits, unpacked_bytes: 0, members: 1 })
    }

    pub fn packing(&self) -> Packing {
        match self.from {
            From::Plain(_) => Packing::Plain,
            From::Gzip(_) => Packing::Gzip,
        }
    }

    /// Reads a gzip file to its end, because its checksum is there. A plain tar has an end marker.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.from {
            From::Plain(_) => Ok(()),
            From::Gzip(_) => io::copy(self, &mut io::sink()).map(drop),
        }
    }

    fn check(&self) -> io::Result<()> {
        let Limits { unpacked_bytes_max, unpacked_ratio_max, .. } = self.limits;
        if self.unpacked_bytes > unpacked_bytes_max {
            return Err(bad(format!("it unpacks to more than {unpacked_bytes_max} bytes")));
        }
        let packed_bytes = match &self.from {
            From::Gzip(Some(decoder)) => decoder.get_ref().get_ref().bytes,
            From::Gzip(None) | From::Plain(_) => return Ok(()),
        };
        // Data that was read ahead also counts, so only the first buffer limits a small file.
        if self.unpacked_bytes > packed_bytes.max(1 << 16).saturating_mul(unpacked_ratio_max) {
            return Err(bad(format!("it unpacks to more than {unpacked_ratio_max} times its size")));
        }
        Ok(())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let slot = match &mut self.from {
            From::Plain(input) => return input.read(buffer),
            From::Gzip(decoder) => decoder,
        };
        let read = loop {
            let Some(decoder) = slot else { return Ok(0) };
            let read = decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                break read;
            }
            let input = slot.take().expect("it was just read").into_inner();
            *slot = next_member(input)?;
            self.members += 1;
            if self.members > MEMBERS_FREE_MAX + self.unpacked_bytes / MEMBER_BYTES_MIN {
                return Err(bad(format!(
                    "its gzip file has {} members with less than {MEMBER_BYTES_MIN} bytes each: pack it anew",
                    self.members
                )));
            }
        };
        self.unpacked_bytes += read as u64;
        self.check()?;
        Ok(read)
    }
}

/// The next gzip member. Members may follow each other, and zeros may follow the last member, as `gzip` accepts it.
fn next_member<'s>(mut input: BufReader<Input<'s>>) -> io::Result<Option<GzDecoder<BufReader<Input<'s>>>>> {
    loop {
        let left = input.fill_buf()?;
        if left.is_empty() {
            return Ok(None);
        }
        let zeros = left.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            if left.starts_with(b"\x1f") {
                return Ok(Some(GzDecoder::new(input)));
            }
            return Err(bad("something that is not gzip follows its end".to_owned()));
        }
        input.consume(zeros);
    }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
