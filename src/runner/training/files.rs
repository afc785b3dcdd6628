//! Files that jobs wrote: listed and opened without ever following a link out of their folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use serde_json::Value;

use crate::domain::training_jobs::{Checkpoint, CheckpointKind, StoredFile};
use crate::domain::{PATH_BYTES_MAX, PATH_DEPTH_MAX, Time};

/// How many files of the checkpoints of a job, or of a cache, are listed. The rest stay on the disk and are not listed.
const FILES_MAX: usize = 5_000;
/// How many entries of folders are read for a list.
const ENTRIES_MAX: usize = 50_000;
const CHECKPOINTS_MAX: usize = 500;
/// The maximum size of a configuration that a checkpoint is described by.
const CONFIG_BYTES_MAX: u64 = 64 << 10;
const NAME_BYTES_MAX: usize = 255;

/// Opens a file for reading by its path from a folder. No part of the path may be a link.
///
/// # Errors
///
/// The error of the file system; [`io::ErrorKind::NotFound`] for what is no file.
pub fn open_inside(folder: &Path, path: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut at = File::from(open(folder, flags | OFlags::DIRECTORY, Mode::empty())?);
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() || part == "." || part == ".." {
            return Err(missing());
        }
        let is_folder = parts.peek().is_some();
        let flags = if is_folder { flags | OFlags::DIRECTORY } else { flags };
        at = File::from(openat(&at, part, flags, Mode::empty())?);
    }
    if at.metadata()?.is_file() { Ok(at) } else { Err(missing()) }
}

/// The files below a folder, in the order of their paths. Links, devices and names that are not printable UTF-8 are
/// left out.
pub fn list(folder: &Path) -> Vec<StoredFile> {
    let mut found = Vec::new();
    let mut entries = 0;
    let mut waiting = vec![(folder.to_owned(), String::new(), 1)];
    while let Some((folder, path, depth)) = waiting.pop() {
        let Ok(inside) = std::fs::read_dir(&folder) else { continue };
        for entry in inside.flatten() {
            entries += 1;
            if entries > ENTRIES_MAX || found.len() >= FILES_MAX {
                return sorted(found);
            }
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.chars().any(char::is_control)) else { continue };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let Ok(metadata) = entry.metadata() else { continue }; // of the link itself
            if path.len() > PATH_BYTES_MAX {
                continue;
            }
            if metadata.is_dir() && depth < PATH_DEPTH_MAX {
                waiting.push((entry.path(), path, depth + 1));
            } else if metadata.is_file() {
                found.push(StoredFile {
                    path,
                    size_bytes: metadata.len(),
                    modified_at: Time(metadata.mtime().saturating_mul(1000).max(0)),
                    permissions: metadata.mode() & 0o777,
                });
            }
        }
    }
    sorted(found)
}

fn sorted(mut files: Vec<StoredFile>) -> Vec<StoredFile> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The checkpoints among these files: each folder directly in the checkpoint folder that has a file.
pub fn checkpoints(folder: &Path, files: &[StoredFile]) -> Vec<Checkpoint> {
    let mut found: Vec<Checkpoint> = Vec::new();
    for file in files {
        let Some((name, inside)) = file.path.split_once('/').filter(|(name, _)| name.len() <= NAME_BYTES_MAX) else {
            continue;
        };
        if found.last().is_none_or(|last| last.name != name) {
            if found.len() >= CHECKPOINTS_MAX {
                break;
            }
            found.push(Checkpoint {
                name: name.to_owned(),
                kind: CheckpointKind::Full,
                base_model: None,
                lora_adapter_config: None,
                size_bytes: 0,
                created_at: file.modified_at,
            });
        }
        let checkpoint = found.last_mut().expect("one was just added");
        checkpoint.size_bytes = checkpoint.size_bytes.saturating_add(file.size_bytes);
        checkpoint.created_at = checkpoint.created_at.max(file.modified_at);
        if inside == "adapter_config.json" || inside == "config.json" {
            describe(checkpoint, folder, file, inside == "adapter_config.json");
        }
    }
    found
}

fn describe(checkpoint: &mut Checkpoint, folder: &Path, file: &StoredFile, is_adapter: bool) {
    let Some(config) = read_config(folder, file) else { return };
    let text =
        |name: &str| config.get(name).and_then(Value::as_str).map(|text| text.chars().take(NAME_BYTES_MAX).collect());
    if is_adapter {
        checkpoint.kind = CheckpointKind::Lora;
        checkpoint.base_model = text("base_model_name_or_path");
        checkpoint.lora_adapter_config = Some(config.to_string());
    } else if checkpoint.kind != CheckpointKind::Lora {
        checkpoint.base_model = text("_name_or_path");
        if config.get("model_type").and_then(Value::as_str) == Some("whisper") {
            checkpoint.kind = CheckpointKind::Whisper;
        }
    }
}

fn read_config(folder: &Path, file: &StoredFile) -> Option<Value> {
    if file.size_bytes > CONFIG_BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    open_inside(folder, &file.path).ok()?.take(CONFIG_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("step-1/config.json", r#"{"model_type": "whisper", "_name_or_path": "base"}"#),
            ("step-1/model.bin", "12345"),
            ("step-2/adapter_config.json", r#"{"base_model_name_or_path": "llama", "r": 8}"#),
            ("step-2/config.json", "{}"),
            ("step-3/deep/er/file", "x"),
            ("loose", "y"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn folders_with_files_are_checkpoints() {
        let folder = folder();
        let files = list(folder.path());
        let found = checkpoints(folder.path(), &files);
        let shown: Vec<_> = found.iter().map(|c| (c.name.as_str(), c.kind.as_str(), c.base_model.as_deref())).collect();
        assert_eq!(
            shown,
            [("step-1", "whisper", Some("base")), ("step-2", "lora", Some("llama")), ("step-3", "full", None)]
        );
        assert_eq!(found[0].size_bytes, 5 + 51);
        assert!(found[1].lora_adapter_config.as_deref().unwrap().contains("\"r\":8"));
        assert!(files.iter().any(|file| file.path == "loose") && files.len() == 6);
    }

    #[test]
    fn links_are_neither_listed_nor_followed() {
        let (folder, outside) = (folder(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), folder.path().join("step-9")).unwrap();
        symlink(outside.path().join("secret"), folder.path().join("step-1/link")).unwrap();
        assert_eq!(list(folder.path()).len(), 6);
        for path in ["step-9/secret", "step-1/link", "../secret", "step-1/../loose", "/etc/passwd", "step-1", "", "."] {
            assert!(open_inside(folder.path(), path).is_err(), "{path}");
        }
        let mut text = String::new();
        open_inside(folder.path(), "step-3/deep/er/file").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }
}
