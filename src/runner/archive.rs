//! Walks archives. Content of an archive is never written to a path that the archive names.
//!
//! An archive is a tar of files, folders and links. Devices and sparse files are refused. Entries are counted and the
//! length of names is limited before anything is kept in memory. Names that are longer than the hundred bytes of a
//! header have their own entries. This module reads these entries, because the tar crate reads them whole, whatever
//! their size.

use std::fmt;
use std::io::{self, Read};

use tar::EntryType;

use crate::domain::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::error::quoted;

/// The limits for reading one archive.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries_max: usize,
    /// The maximum length of a name, and of the target of a link.
    pub name_bytes_max: u64,
    /// The maximum depth of a path, counted in folders and its name.
    pub depth_max: usize,
    /// The maximum number of files, links and folders, including folders that exist only because something is in them.
    pub paths_max: usize,
    /// The maximum length of all paths in the signature, where each path includes its folders.
    pub signature_bytes_max: usize,
    /// The maximum number of steps from folder to folder while following all links.
    pub link_steps_max: usize,
    /// The maximum size of `config.yaml` and of the requirements file.
    pub text_bytes_max: u64,
    /// The maximum size of the content of a gzip file.
    pub unpacked_bytes_max: u64,
    pub unpacked_ratio_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries_max: 100_000,
            name_bytes_max: PATH_BYTES_MAX as u64,
            depth_max: PATH_DEPTH_MAX,
            paths_max: 200_000,
            signature_bytes_max: 8 << 20,
            link_steps_max: 2_000_000,
            text_bytes_max: 1 << 20,
            unpacked_bytes_max: 5 << 30,
            unpacked_ratio_max: 100,
        }
    }
}

/// Why an archive could not be read.
#[derive(Debug)]
pub enum ArchiveError {
    /// An error in the content, which the sender can fix.
    Content(String),
    /// A fault of this installation, which may be temporary: a full or failing disk, a missing file descriptor or
    /// permission.
    Ours(io::Error),
}

/// Errors of the operating system are faults of this installation. All other errors come from the readers of the
/// archive and are about its content.
impl From<io::Error> for ArchiveError {
    fn from(cause: io::Error) -> ArchiveError {
        let is_ours = cause.raw_os_error().is_some()
            || matches!(cause.kind(), io::ErrorKind::WriteZero | io::ErrorKind::OutOfMemory);
        if is_ours {
            ArchiveError::Ours(cause)
        } else {
            ArchiveError::Content(format!("it is no readable tar archive ({cause})"))
        }
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::Content(why) => f.write_str(why),
            ArchiveError::Ours(cause) => write!(f, "{cause}"),
        }
    }
}

/// Refuses the archive with this message.
pub fn broken<T>(why: impl Into<String>) -> Result<T, ArchiveError> {
    Err(ArchiveError::Content(why.into()))
}

/// A path as its folders and its name.
pub type Parts = Vec<String>;

/// An entry of an archive. Only files have content.
pub struct Entry {
    pub parts: Parts,
    pub kind: Kind,
    pub header: tar::Header,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A link whose target is relative to the folder that contains the link.
    Symlink(String),
    /// A link whose target is another file of the archive.
    HardLink(Parts),
}

/// Calls `each` for every entry, in the order of the archive.
///
/// # Errors
///
/// [`ArchiveError::Content`] if the archive is broken, holds something unsupported or exceeds `limits`,
/// [`ArchiveError::Ours`] for a fault of this installation, and the errors of `each`.
pub fn walk(
    from: impl Read,
    limits: Limits,
    mut each: impl FnMut(Entry, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(from);
    let mut long = Long::default();
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        if count >= limits.entries_max {
            return broken(format!("it has more than {} entries", limits.entries_max));
        }
        let mut entry = entry?;
        let header = entry.header().clone();
        match header.entry_type() {
            EntryType::XHeader => long.read_pax(&mut entry, limits)?,
            EntryType::GNULongName => long.name = Some(read_long(&mut entry, limits)?),
            EntryType::GNULongLink => long.link = Some(read_long(&mut entry, limits)?),
            EntryType::XGlobalHeader => {}
            kind => {
                let long = std::mem::take(&mut long);
                let name = text(long.name.unwrap_or_else(|| header.path_bytes().into_owned()), limits)?;
                let link = long.link.or_else(|| header.link_name_bytes().map(|bytes| bytes.into_owned()));
                let kind = classify(kind, &name, link, limits)?;
                let parts = checked_parts(&name, limits)?;
                each(Entry { parts, kind, header }, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn classify(kind: EntryType, name: &str, link: Option<Vec<u8>>, limits: Limits) -> Result<Kind, ArchiveError> {
    match kind {
        EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
        EntryType::Directory => Ok(Kind::Folder),
        EntryType::Symlink => Ok(Kind::Symlink(text(link.unwrap_or_default(), limits)?)),
        EntryType::Link => {
            let target = text(link.unwrap_or_default(), limits)?;
            match parts(&target) {
                Ok(parts) => Ok(Kind::HardLink(parts)),
                Err(_) => {
                    broken(format!("\"{}\" in it is a link to \"{}\", outside of it", quoted(name), quoted(&target)))
                }
            }
        }
        other => broken(format!(
            "\"{}\" in it is neither a file, a folder nor a link ({other:?}): leave it out",
            quoted(name)
        )),
    }
}

/// The headers that extend the header of the next entry.
#[derive(Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Long {
    /// A size in a PAX header is refused, because it could differ from the size that the tar crate uses.
    fn read_pax(&mut self, entry: &mut impl Read, limits: Limits) -> Result<(), ArchiveError> {
        let bytes = bounded(entry, "an extended header in it", 8 * limits.name_bytes_max)?;
        for extension in tar::PaxExtensions::new(&bytes) {
            let extension = extension?;
            match extension.key_bytes() {
                b"path" => self.name = Some(extension.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                b"size" => return broken("a file of more than 8 GiB is in it"),
                key if key.starts_with(b"GNU.sparse") => return broken("a sparse file is in it"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_long(entry: &mut impl Read, limits: Limits) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = bounded(entry, "a long name in it", limits.name_bytes_max)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// Reads at most `bytes_max` bytes.
///
/// # Errors
///
/// [`ArchiveError::Content`] if there are more bytes; `what` is their name in the message.
pub fn bounded(from: &mut (impl Read + ?Sized), what: &str, bytes_max: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return broken(format!("{what} has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>, limits: Limits) -> Result<String, ArchiveError> {
    match String::from_utf8(bytes) {
        Ok(text) if text.len() as u64 <= limits.name_bytes_max => Ok(text),
        Ok(_) => broken(format!("a name in it has more than {} bytes", limits.name_bytes_max)),
        Err(_) => broken("a name in it is not UTF-8"),
    }
}

fn checked_parts(name: &str, limits: Limits) -> Result<Parts, ArchiveError> {
    let parts = parts(name)?;
    if parts.len() > limits.depth_max {
        return broken(format!("\"{}\" in it is more than {} levels deep", quoted(name), limits.depth_max));
    }
    Ok(parts)
}

/// The folders and the name of a path that does not leave the archive.
///
/// # Errors
///
/// [`ArchiveError::Content`] if the path contains a NUL or leads outside.
pub fn parts(path: &str) -> Result<Parts, ArchiveError> {
    if path.contains('\0') {
        return broken(format!("the name \"{}\" in it holds a NUL", quoted(path)));
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return broken(format!("the name \"{}\" in it leads outside", quoted(path)));
    }
    Ok(path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect())
}
