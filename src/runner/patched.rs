//! Writes a new archive from an existing archive and changes to its files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive::{ArchiveError, Entry, Kind, Limits, Parts, broken, parts, walk};
use super::inspect::{Inspected, inspect};
use super::source::{Packing, Source};
use crate::db::archives::{Archives, Placed};
use crate::db::deployments::patches::FileChange;
use crate::domain::Archive;
use crate::error::quoted;

/// How often an archive may be read again for files that a patch changes and that a link refers to.
const READ_AGAIN_MAX: usize = 16;

/// The changes of patches. They are read one patch at a time, because all of them together may be large.
pub trait Changes {
    fn numbers(&self) -> &[i64];
    fn of(&self, number: i64) -> Result<Vec<FileChange>, ArchiveError>;
}

/// A patched archive at its final path, with the result of its inspection.
pub struct Patched {
    pub placed: Placed,
    pub inspected: Inspected,
}

/// Writes the patched archive to `temp`, inspects it, and then moves it to its final path. The limits of a push apply.
///
/// # Errors
///
/// [`ArchiveError::Content`] if a push of the patched archive would be refused or a patch cannot be read,
/// [`ArchiveError::Ours`] for a fault of this installation.
pub fn write(
    archives: &Archives,
    temp: &Path,
    before: &Archive,
    changes: &impl Changes,
    stop: &AtomicBool,
) -> Result<Patched, ArchiveError> {
    let written = assemble(temp, &before.path(archives.data()), changes, stop).and_then(|archive| {
        let inspected = inspect(temp, Limits::default(), stop)?;
        Ok(Patched { placed: archives.place(temp, archive)?, inspected })
    });
    if written.is_err() {
        let _ = std::fs::remove_file(temp); // the next start removes it otherwise
    }
    written
}

fn assemble(temp: &Path, before: &Path, changes: &impl Changes, stop: &AtomicBool) -> Result<Archive, ArchiveError> {
    let limits = Limits::default();
    let last = last_changes(changes, limits)?;
    let source = Source::open(before, limits, stop)?;
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(temp)?;
    let hashed = Hashed { to: BufWriter::new(file), hash: blake3::Hasher::new(), bytes: 0 };
    let out = match source.packing() {
        Packing::Plain => Out::Plain(hashed),
        Packing::Gzip => Out::Gzip(GzEncoder::new(hashed, Compression::fast())),
    };
    let mut assembly =
        Assembly { builder: tar::Builder::new(out), last: &last, moved: BTreeMap::new(), before, limits, stop };
    walk(source, limits, |entry, content| assembly.keep(entry, content))?;
    for number in changes.numbers() {
        assembly.add(*number, changes.of(*number)?)?;
    }
    let Hashed { to, hash, bytes } = assembly.builder.into_inner()?.finish()?;
    to.into_inner().map_err(|cause| cause.into_error())?.sync_all()?;
    Ok(Archive { hash: hash.finalize().into(), bytes })
}

/// The last patch that changes each path.
fn last_changes(changes: &impl Changes, limits: Limits) -> Result<BTreeMap<Parts, i64>, ArchiveError> {
    let mut last = BTreeMap::new();
    for number in changes.numbers() {
        for change in changes.of(*number)? {
            last.insert(parts(&change.path)?, *number);
        }
        if last.len() > limits.entries_max {
            return broken(format!("more than {} files are changed", limits.entries_max));
        }
    }
    Ok(last)
}

struct Assembly<'a> {
    builder: tar::Builder<Out>,
    last: &'a BTreeMap<Parts, i64>,
    /// Where the old content of a changed file is kept, because a link refers to it.
    moved: BTreeMap<Parts, Parts>,
    before: &'a Path,
    limits: Limits,
    stop: &'a AtomicBool,
}

impl Assembly<'_> {
    /// Copies an entry that no patch changes.
    fn keep(&mut self, entry: Entry, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let Entry { parts, kind, mut header } = entry;
        if self.last.contains_key(&parts) {
            return Ok(());
        }
        let path = parts.join("/");
        match kind {
            Kind::Folder => Ok(()),
            Kind::File => Ok(self.builder.append_data(&mut header, path, content)?),
            Kind::Symlink(target) => Ok(self.builder.append_link(&mut header, path, target)?),
            Kind::HardLink(target) if !self.last.contains_key(&target) => {
                Ok(self.builder.append_link(&mut header, path, target.join("/"))?)
            }
            Kind::HardLink(target) => match self.moved.get(&target) {
                Some(moved) => Ok(self.builder.append_link(&mut header, path, moved.join("/"))?),
                None => self.keep_as_it_was(target, parts),
            },
        }
    }

    /// Handles a link that no patch changes, to a file that a patch changes. The path of the link gets the old content
    /// of the file; later links refer to that path.
    fn keep_as_it_was(&mut self, target: Parts, parts: Parts) -> Result<(), ArchiveError> {
        if self.moved.len() >= READ_AGAIN_MAX {
            return broken("it has many links to files that the patches change: push it again");
        }
        let source = Source::open(self.before, self.limits, self.stop)?;
        walk(source, self.limits, |Entry { parts: found, kind, mut header }, content| {
            if found != target {
                return Ok(());
            }
            match kind {
                Kind::File => Ok(self.builder.append_data(&mut header, parts.join("/"), content)?),
                Kind::Folder | Kind::Symlink(_) | Kind::HardLink(_) => {
                    broken(format!("\"{}\" in it is linked to and changed: push it again", quoted(&target.join("/"))))
                }
            }
        })?;
        self.moved.insert(target, parts);
        Ok(())
    }

    /// Adds the files whose last change is in this patch.
    fn add(&mut self, number: i64, changes: Vec<FileChange>) -> Result<(), ArchiveError> {
        let mut last_of_patch = BTreeMap::new();
        for change in changes {
            let parts = parts(&change.path)?;
            if self.last.get(&parts) == Some(&number) {
                last_of_patch.insert(parts, change.content);
            }
        }
        for (parts, content) in last_of_patch {
            let Some(content) = content else { continue };
            let path = parts.join("/");
            let content = BASE64_STANDARD.decode(content);
            let content = content
                .map_err(|_| ArchiveError::Content(format!("the content of {} is not base 64", quoted(&path))))?;
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            self.builder.append_data(&mut header, path, &content[..])?;
        }
        Ok(())
    }
}

/// A patched archive is packed in the same way as the original, because it could be much larger without compression.
enum Out {
    Plain(Hashed<BufWriter<File>>),
    Gzip(GzEncoder<Hashed<BufWriter<File>>>),
}

impl Out {
    fn finish(self) -> io::Result<Hashed<BufWriter<File>>> {
        match self {
            Out::Plain(hashed) => Ok(hashed),
            Out::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(hashed) => hashed.write(bytes),
            Out::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Plain(hashed) => hashed.flush(),
            Out::Gzip(encoder) => encoder.flush(),
        }
    }
}

struct Hashed<W> {
    to: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
