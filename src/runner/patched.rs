//! Writes the archive that comes of another and of changes to its files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::archive::{Broken, Limits, Parts, inspect, parts, walk};
use crate::db::deployments::patches::FileChange;
use crate::model::Archive;

/// Where it is written before it has its name; the next start removes what a crash leaves there.
const UNDER_WAY: &str = "uploads/patched";

/// A patched archive that stands under the hash of its content. A sweep may take it until its row is committed, so a
/// second name keeps it till then.
pub struct Patched {
    pub archive: Archive,
    temp: PathBuf,
    path: PathBuf,
}

impl Patched {
    /// Its row is committed, or never will be.
    pub fn settle(self) -> io::Result<()> {
        match std::fs::hard_link(&self.temp, &self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
            _ => {}
        }
        std::fs::remove_file(self.temp)
    }
}

pub fn write(data: &Path, archive: &Archive, changes: &[FileChange]) -> Result<Patched, Broken> {
    let temp = data.join(UNDER_WAY);
    std::fs::create_dir_all(temp.parent().expect("it stands in a folder"))?;
    let written = assemble(&temp, &archive.path(data), changes).and_then(|archive| {
        inspect(File::open(&temp)?, Limits::default())?; // what a push may not hold, a patch may not make
        Ok(place(data, temp.clone(), archive)?)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temp); // the next patch writes over it otherwise
    }
    written
}

fn assemble(temp: &Path, before: &Path, changes: &[FileChange]) -> Result<Archive, Broken> {
    let mut changed = decode(changes)?;
    let hashed = Hashed { to: BufWriter::new(File::create(temp)?), hash: blake3::Hasher::new(), bytes: 0 };
    let mut builder = tar::Builder::new(hashed);
    walk(File::open(before)?, Limits::default(), |parts, header, content| {
        if !changed.contains_key(&parts) {
            builder.append_data(header, parts.join("/"), content)?;
        }
        Ok(())
    })?;
    changed.retain(|_, content| content.is_some());
    for (parts, content) in &changed {
        let content = content.as_deref().unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, parts.join("/"), content)?;
    }
    let Hashed { to, hash, bytes } = builder.into_inner()?;
    to.into_inner().map_err(|cause| cause.into_error())?.sync_all()?;
    Ok(Archive { hash: hash.finalize().into(), bytes })
}

/// The last change of a file counts.
fn decode(changes: &[FileChange]) -> Result<BTreeMap<Parts, Option<Vec<u8>>>, Broken> {
    let decoded = changes.iter().map(|change| {
        let content = change.content.as_deref().map(|text| BASE64_STANDARD.decode(text)).transpose();
        let content =
            content.map_err(|_| Broken::Content(format!("the content of {:?} is not base 64", change.path)))?;
        Ok((parts(&change.path)?, content))
    });
    decoded.collect()
}

fn place(data: &Path, temp: PathBuf, archive: Archive) -> io::Result<Patched> {
    let path = archive.path(data);
    let folder = path.parent().expect("it stands in a folder");
    std::fs::create_dir_all(folder)?;
    match std::fs::hard_link(&temp, &path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
        _ => {}
    }
    File::open(folder)?.sync_all()?;
    File::open(data.join("archives"))?.sync_all()?;
    Ok(Patched { archive, temp, path })
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
