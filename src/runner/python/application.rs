//! Unpacks a model's archive into the folder that it runs in.
//!
//! The paths and links of the archive are checked by [`Tree`] as they are where an archive is only read: nothing leads outside.
//! Links are made when all files are written, so that no file is written through one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::disk;
use crate::error::quoted;
use crate::runner::archive::{ArchiveError, Kind, Limits, Parts, broken, walk};
use crate::runner::source::Source;
use crate::runner::tree::Tree;

const EXECUTABLE: u32 = 0o100;

/// Unpacks an archive into an empty folder. All of it belongs to this user alone.
///
/// # Errors
/// [`ArchiveError::Content`] says what of the archive is refused: a device, a link to the outside, more than the limits.
pub fn unpack(archive: &Path, folder: &Path, limits: Limits, stop: &AtomicBool) -> Result<(), ArchiveError> {
    let mut source = Source::open(archive, limits, stop)?;
    let mut unpacked = Unpacked { folder, limits, tree: Tree::new(limits), links: BTreeMap::new(), bytes: 0 };
    walk(&mut source, limits, |entry, content| match entry.kind {
        Kind::File => unpacked.file(&entry.parts, entry.header.mode().unwrap_or(0), content),
        Kind::Folder => unpacked.folder(&entry.parts),
        Kind::Symlink(target) => unpacked.symlink(entry.parts, target),
        Kind::HardLink(target) => unpacked.hard_link(entry.parts, target),
    })?;
    source.finish()?;
    unpacked.finish()
}

struct Unpacked<'a> {
    folder: &'a Path,
    limits: Limits,
    tree: Tree,
    /// Symbolic links, with their targets.
    links: BTreeMap<Parts, String>,
    bytes: u64,
}

impl Unpacked<'_> {
    fn path(&self, parts: &[String]) -> PathBuf {
        parts.iter().fold(self.folder.to_owned(), |path, part| path.join(part))
    }

    fn folder(&mut self, parts: &Parts) -> Result<(), ArchiveError> {
        self.tree.add(parts, &Kind::Folder)?;
        self.make_folders(parts)
    }

    fn make_folders(&self, parts: &[String]) -> Result<(), ArchiveError> {
        for depth in 1..=parts.len() {
            disk::make_folder(&self.path(&parts[..depth]))?;
        }
        Ok(())
    }

    fn file(&mut self, parts: &Parts, mode: u32, content: &mut dyn Read) -> Result<(), ArchiveError> {
        self.tree.add_file(parts, [0; 32])?;
        let path = self.clear(parts)?;
        let mode = 0o600 | mode & EXECUTABLE;
        let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        let left = self.limits.unpacked_bytes_max - self.bytes;
        let written = io::copy(&mut content.take(left + 1), &mut file)?;
        self.bytes += written;
        if written > left {
            return broken(format!("it unpacks to more than {} bytes", self.limits.unpacked_bytes_max));
        }
        Ok(())
    }

    fn symlink(&mut self, parts: Parts, target: String) -> Result<(), ArchiveError> {
        self.tree.add(&parts, &Kind::Symlink(target.clone()))?;
        self.clear(&parts)?;
        self.links.insert(parts, target);
        Ok(())
    }

    fn hard_link(&mut self, parts: Parts, target: Parts) -> Result<(), ArchiveError> {
        self.tree.add(&parts, &Kind::HardLink(target.clone()))?;
        if parts == target {
            return broken(format!("\"{}\" in it is a link to itself", quoted(&parts.join("/"))));
        }
        let path = self.clear(&parts)?;
        match self.links.get(&target).cloned() {
            Some(symlink) => drop(self.links.insert(parts, symlink)),
            None => std::fs::hard_link(self.path(&target), path)?,
        }
        Ok(())
    }

    /// Makes way for what has this path now: the last of a name counts.
    fn clear(&mut self, parts: &Parts) -> Result<PathBuf, ArchiveError> {
        let (_, folders) = parts.split_last().expect("the tree refuses a file without a name");
        self.make_folders(folders)?;
        self.links.remove(parts);
        let path = self.path(parts);
        disk::remove(&path)?;
        Ok(path)
    }

    fn finish(self) -> Result<(), ArchiveError> {
        self.tree.write(&mut Vec::with_capacity(self.tree.signature_bytes() + 2))?; // follows every link
        for (parts, target) in &self.links {
            symlink(target, self.path(parts))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tar::{EntryType, Header};

    use super::*;

    enum Part<'a> {
        File(&'a str, &'a [u8], u32),
        Link(EntryType, &'a str, &'a str),
    }
    use Part::{File as F, Link as L};

    fn archive(parts: &[Part]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut builder = tar::Builder::new(file.as_file());
        for part in parts {
            let mut header = Header::new_gnu();
            match part {
                F(path, content, mode) => {
                    header.set_size(content.len() as u64);
                    header.set_mode(*mode);
                    builder.append_data(&mut header, path, *content).unwrap();
                }
                L(kind, path, target) => {
                    header.set_entry_type(*kind);
                    header.set_size(0);
                    if target.is_empty() {
                        header.set_path(path).unwrap();
                        header.set_cksum();
                        builder.append(&header, io::empty()).unwrap();
                    } else {
                        builder.append_link(&mut header, path, target).unwrap();
                    }
                }
            }
        }
        builder.into_inner().unwrap();
        file
    }

    fn unpacked(parts: &[Part], limits: Limits) -> Result<tempfile::TempDir, String> {
        let (archive, folder) = (archive(parts), tempfile::tempdir().unwrap());
        match unpack(archive.path(), folder.path(), limits, &AtomicBool::new(false)) {
            Ok(()) => Ok(folder),
            Err(ArchiveError::Content(why)) => Err(why),
            Err(ArchiveError::Ours(cause)) => panic!("{cause}"),
        }
    }

    #[test]
    fn files_folders_and_links_are_there_as_they_were() {
        let parts = [
            F("config.yaml", b"a: 1\n", 0o4777),
            F("deep/er/file", b"deep", 0o644),
            L(EntryType::Directory, "empty", ""),
            L(EntryType::Symlink, "deep/link", "../config.yaml"),
            L(EntryType::Link, "hard", "deep/er/file"),
            F("twice", b"first", 0o644),
            F("twice", b"second", 0o644),
            L(EntryType::Symlink, "turned", "twice"),
            F("turned", b"now a file", 0o644),
        ];
        let folder = unpacked(&parts, Limits::default()).unwrap();
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
        let expected = [("deep/link", "a: 1\n"), ("hard", "deep"), ("twice", "second"), ("turned", "now a file")];
        for (path, content) in expected {
            assert_eq!(read(path), content, "{path}");
        }
        assert!(folder.path().join("empty").is_dir());
        let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("config.yaml"), mode("deep/er/file"), mode("deep")), (0o700, 0o600, 0o700));
    }

    #[test]
    fn nothing_leads_outside() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        for parts in [
            vec![L(EntryType::Symlink, "a", target), F("a/file", b"x", 0o644)],
            vec![L(EntryType::Symlink, "a", "../.."), F("a/file", b"x", 0o644)],
            vec![L(EntryType::Symlink, "a", target)],
            vec![L(EntryType::Symlink, "a", "b/../../.."), L(EntryType::Directory, "b", "")],
            vec![L(EntryType::Link, "a", "../../etc/passwd")],
            vec![L(EntryType::Link, "a", "missing")],
            vec![F("a", b"x", 0o644), L(EntryType::Link, "a", "a")],
            vec![F("a", b"x", 0o644), F("a/b", b"x", 0o644)],
            vec![L(EntryType::Fifo, "pipe", "")],
            vec![L(EntryType::Char, "device", "")],
            vec![L(EntryType::Block, "device", "")],
        ] {
            assert!(unpacked(&parts, Limits::default()).is_err());
            assert_eq!(disk::entries(outside.path()), Vec::<PathBuf>::new());
        }
    }

    #[test]
    fn it_is_bounded() {
        let parts = [F("a", &[1; 1000], 0o644), F("b", &[1; 1000], 0o644)];
        let limits = Limits { unpacked_bytes_max: 2000, ..Limits::default() };
        unpacked(&parts, limits).unwrap();
        let why = unpacked(&parts, Limits { unpacked_bytes_max: 1999, ..limits }).unwrap_err();
        assert_eq!(why, "it unpacks to more than 1999 bytes");
        assert!(unpacked(&parts, Limits { entries_max: 1, ..limits }).unwrap_err().contains("entries"));
    }
}
