//! The paths of an archive as a tree, so that a folder is kept once even if it holds many files.
//!
//! The length of a path as text is counted before the path is added, because all paths are later written into the
//! signature.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;

use super::archive::{ArchiveError, Kind, Limits, Parts, broken};
use crate::error::quoted;

type Id = u32;

const ROOT: Id = 0;
/// The maximum number of links that lead to further links, the same as in Linux.
const LINKS_MAX: usize = 40;
/// The bytes beside a file's path in the signature: quotes, colon, comma, and its hash in hexadecimal digits.
const FILE_BYTES: usize = 3 + 1 + 66;
const FOLDER_BYTES: usize = 3 + 1 + 4;

pub struct Tree {
    limits: Limits,
    nodes: Vec<Node>,
    /// The content of each folder, in the order of names.
    children: BTreeMap<(Id, Box<str>), Id>,
    signature_bytes: usize,
}

struct Node {
    parent: Id,
    is: Is,
    /// The length of the path, as it is written in JSON.
    path_bytes: u32,
}

enum Is {
    /// truss sees only folders that are not empty.
    Folder {
        is_used: bool,
    },
    File([u8; 32]),
    Symlink(Box<str>),
    HardLink(Id),
}

impl Tree {
    pub fn new(limits: Limits) -> Tree {
        let root = Node { parent: ROOT, is: Is::Folder { is_used: false }, path_bytes: 0 };
        Tree { limits, nodes: vec![root], children: BTreeMap::new(), signature_bytes: 0 }
    }

    /// Adds a file, or replaces an earlier file with this path. Returns its number.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Content`] if the path is also a folder, or a limit is reached.
    pub fn add_file(&mut self, parts: &Parts, hash: [u8; 32]) -> Result<Id, ArchiveError> {
        self.add_leaf(parts, Is::File(hash))
    }

    /// Adds a folder or a link. Files are added by [`Tree::add_file`], with their hash.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Content`] if the path is both a file and a folder, a hard link has no earlier file as its
    /// target, or a limit is reached.
    pub fn add(&mut self, parts: &Parts, kind: &Kind) -> Result<(), ArchiveError> {
        match kind {
            Kind::File => Ok(()), // it comes with its hash
            Kind::Folder => self.folder(parts, parts).map(drop),
            Kind::Symlink(target) => self.add_leaf(parts, Is::Symlink(target.as_str().into())).map(drop),
            Kind::HardLink(target) => {
                let Some(file) = self.child_at(target) else {
                    return self.refuse_link(parts, &target.join("/"), "which is not in it before the link");
                };
                if matches!(self.nodes[file as usize].is, Is::Folder { .. }) {
                    return self.refuse_link(parts, &target.join("/"), "a folder");
                }
                self.add_leaf(parts, Is::HardLink(file)).map(drop)
            }
        }
    }

    fn add_leaf(&mut self, parts: &Parts, is: Is) -> Result<Id, ArchiveError> {
        let Some((name, folders)) = parts.split_last() else { return broken("a file in it has no name") };
        let folder = self.folder(folders, parts)?;
        self.mark_used(folder);
        match self.children.get(&(folder, name.as_str().into())) {
            None => self.insert(folder, name, is, FILE_BYTES),
            Some(&there) => {
                let node = &mut self.nodes[there as usize];
                if matches!(node.is, Is::Folder { .. }) {
                    return broken(format!("\"{}\" in it is a file and a folder", quoted(&parts.join("/"))));
                }
                node.is = is;
                Ok(there)
            }
        }
    }

    /// Returns the folder with this path, and makes it if necessary. `whole` is the path of the entry that needs the
    /// folder.
    fn folder(&mut self, folders: &[String], whole: &Parts) -> Result<Id, ArchiveError> {
        let mut at = ROOT;
        for (depth, name) in folders.iter().enumerate() {
            at = match self.children.get(&(at, name.as_str().into())) {
                None => self.insert(at, name, Is::Folder { is_used: false }, FOLDER_BYTES)?,
                Some(&there) if matches!(self.nodes[there as usize].is, Is::Folder { .. }) => there,
                Some(_) => {
                    return broken(format!("\"{}\" in it is a file and a folder", quoted(&whole[..=depth].join("/"))));
                }
            };
        }
        Ok(at)
    }

    /// Checks the limits first, so that nothing beyond them is kept.
    fn insert(&mut self, parent: Id, name: &str, is: Is, more_bytes: usize) -> Result<Id, ArchiveError> {
        let before = self.nodes[parent as usize].path_bytes as usize;
        let path_bytes = before + usize::from(before > 0) + escaped_bytes(name);
        self.count(path_bytes + more_bytes)?;
        if self.nodes.len() > self.limits.paths_max {
            return broken(format!("it has more than {} files and folders", self.limits.paths_max));
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(Node { parent, is, path_bytes: path_bytes as u32 });
        self.children.insert((parent, name.into()), id);
        Ok(id)
    }

    /// Counts bytes that will be in the signature.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Content`] if the signature becomes longer than its limit.
    pub fn count(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        self.signature_bytes += bytes;
        if self.signature_bytes > self.limits.signature_bytes_max {
            return broken(format!(
                "its paths, each with the folders that it is in, and its configuration take more than {} bytes",
                self.limits.signature_bytes_max
            ));
        }
        Ok(())
    }

    fn mark_used(&mut self, mut folder: Id) {
        while let Node { is: Is::Folder { is_used }, parent, .. } = &mut self.nodes[folder as usize]
            && !*is_used
        {
            *is_used = true;
            folder = *parent;
        }
    }

    /// Whether this path is the path of the file. Links are not followed.
    pub fn is_at(&self, parts: &[String], file: Id) -> bool {
        self.child_at(parts) == Some(file)
    }

    fn child_at(&self, parts: &[String]) -> Option<Id> {
        parts.iter().try_fold(ROOT, |at, name| self.children.get(&(at, name.as_str().into())).copied())
    }

    fn refuse_link<T>(&self, parts: &Parts, target: &str, why: &str) -> Result<T, ArchiveError> {
        broken(format!("\"{}\" in it is a link to \"{}\", {why}", quoted(&parts.join("/")), quoted(target)))
    }

    // ---- following links ----

    /// The file that a path leads to, with links followed.
    pub fn file(&self, parts: &[String]) -> Option<Id> {
        let mut steps = self.limits.link_steps_max;
        let found = self.follow(ROOT, parts.iter().map(String::as_str).collect(), &mut steps).ok()?;
        matches!(self.nodes[found as usize].is, Is::File(_)).then_some(found)
    }

    /// Follows these names from this folder as the operating system would. An error says why they lead nowhere. `steps`
    /// is the number of steps that are still allowed.
    fn follow(&self, from: Id, names: VecDeque<&str>, steps: &mut usize) -> Result<Id, &'static str> {
        let (mut at, mut names, mut links) = (from, names, 0);
        while let Some(name) = names.pop_front() {
            *steps = steps.checked_sub(1).ok_or("which takes too long to follow")?;
            match name {
                "" | "." => continue,
                ".." if at == ROOT => return Err("which leads outside"),
                ".." => {
                    at = self.nodes[at as usize].parent;
                    continue;
                }
                _ => {}
            }
            let mut next = *self.children.get(&(at, name.into())).ok_or("which is not in it")?;
            while let Is::HardLink(file) = self.nodes[next as usize].is {
                links += 1;
                next = file;
                if links > LINKS_MAX {
                    return Err("which leads in a circle");
                }
            }
            match &self.nodes[next as usize].is {
                Is::Folder { .. } => at = next,
                Is::Symlink(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err("which leads in a circle, or over too many links");
                    }
                    if target.starts_with('/') {
                        return Err("which is absolute: make it relative to the folder that it is in");
                    }
                    target.split('/').rev().for_each(|name| names.push_front(name));
                }
                Is::File(_) | Is::HardLink(_) if names.is_empty() => return Ok(next),
                Is::File(_) | Is::HardLink(_) => return Err("which is not in it"),
            }
        }
        Ok(at)
    }

    // ---- writing it out ----

    /// Writes every path with its hash as members of a JSON object, and returns the hash of the whole. Folders have
    /// `null` as their hash. The whole is hashed in the order of the paths: each path, and the hash of its content if
    /// it is a file. A link has the hash of its target.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] if a link leads to nothing in the archive.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<String, ArchiveError> {
        let mut writer = Writer { tree: self, out, path: String::new(), hasher: blake3::Hasher::new() };
        let mut steps = self.limits.link_steps_max;
        writer.folder(ROOT, &mut steps)?;
        Ok(writer.hasher.finalize().to_hex().to_string())
    }

    /// The maximum length of the output of [`Tree::write`].
    pub fn signature_bytes(&self) -> usize {
        self.signature_bytes
    }
}

struct Writer<'t> {
    tree: &'t Tree,
    out: &'t mut Vec<u8>,
    path: String,
    hasher: blake3::Hasher,
}

impl Writer<'_> {
    /// Writes a folder. The recursion is limited because the depth of folders is limited.
    fn folder(&mut self, folder: Id, steps: &mut usize) -> Result<(), ArchiveError> {
        let tree = self.tree;
        let length = self.path.len();
        for ((_, name), &id) in tree.children.range((folder, "".into())..(folder + 1, "".into())) {
            if length > 0 {
                self.path.push('/');
            }
            self.path.push_str(name);
            match &tree.nodes[id as usize].is {
                Is::Folder { is_used: false } => {}
                Is::Folder { is_used: true } => {
                    self.entry(None);
                    self.folder(id, steps)?;
                }
                Is::File(hash) => self.entry(Some(*hash)),
                Is::Symlink(_) | Is::HardLink(_) => {
                    let hash = self.linked(folder, name, id, steps)?;
                    self.entry(hash);
                }
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    fn linked(&self, folder: Id, name: &str, id: Id, steps: &mut usize) -> Result<Option<[u8; 32]>, ArchiveError> {
        let target = match &self.tree.nodes[id as usize].is {
            Is::Symlink(target) => target,
            Is::Folder { .. } | Is::File(_) | Is::HardLink(_) => "itself",
        };
        let refuse =
            |why: &str| broken(format!("\"{}\" in it is a link to \"{}\", {why}", quoted(&self.path), quoted(target)));
        match self.tree.follow(folder, VecDeque::from([name]), steps) {
            Err(why) => refuse(why),
            Ok(found) => match self.tree.nodes[found as usize].is {
                Is::File(hash) => Ok(Some(hash)),
                Is::Folder { .. } => Ok(None),
                Is::Symlink(_) | Is::HardLink(_) => refuse("which is not in it"),
            },
        }
    }

    fn entry(&mut self, hash: Option<[u8; 32]>) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        write_json(&self.path, self.out);
        self.hasher.update(blake3::hash(self.path.as_bytes()).as_bytes());
        match hash {
            None => self.out.extend_from_slice(b":null"),
            Some(hash) => {
                let _ = write!(self.out, ":\"{}\"", blake3::Hash::from(hash).to_hex()); // memory takes all
                self.hasher.update(&hash);
            }
        }
    }
}

pub fn write_json(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("memory takes all");
}

/// The length of a text in JSON, without its quotes.
pub fn escaped_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}
