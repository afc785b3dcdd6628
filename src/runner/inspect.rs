//! Reads an archive once, and finds out whether it can be deployed and what it holds, in the form that `truss watch`
//! compares.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use super::archive::{ArchiveError, Kind, Limits, Parts, bounded, broken, parts, walk};
use super::source::Source;
use super::tree::{Tree, escaped_bytes, write_json};
use crate::domain::deployments::Content;
use crate::error::quoted;
use crate::wire::yaml;

/// The version of the rules in this module. Results that were stored under another version are not used.
pub const RULES: i64 = 1;

/// How many bytes of text files are kept in memory while the rest of the archive is read, because they may be needed
/// later.
const TEXTS_BYTES_MAX: usize = 4 << 20;

/// The result for an archive that can be deployed.
pub struct Inspected {
    pub content: Content,
    pub config: Map<String, Value>,
    /// The exact bytes of `config.yaml`.
    pub raw_config: String,
}

/// Reads an archive and checks that it can be deployed.
///
/// # Errors
///
/// [`ArchiveError::Content`] if it cannot be deployed or exceeds `limits`, [`ArchiveError::Ours`] for a fault of this
/// installation.
pub fn inspect(path: &Path, limits: Limits, stop: &AtomicBool) -> Result<Inspected, ArchiveError> {
    let mut found = Found { limits, tree: Tree::new(limits), texts: BTreeMap::new(), texts_bytes: 0 };
    let mut source = Source::open(path, limits, stop)?;
    walk(&mut source, limits, |entry, content| match entry.kind {
        Kind::File => found.add(&entry.parts, content),
        kind => found.tree.add(&entry.parts, &kind),
    })?;
    source.finish()?;
    let archive = Archive { path, stop };
    let mut signature = Vec::with_capacity(found.tree.signature_bytes() + 128);
    signature.extend_from_slice(b"{\"content_hashes_by_path\":{");
    let hash = found.tree.write(&mut signature)?;
    let raw_config = found.text(archive, &["config.yaml".to_owned()], "config.yaml")?;
    let Some(raw_config) = raw_config else { return broken("it has no config.yaml at its top") };
    let config = parse(&raw_config)?;
    found.check_model_file(&config)?;
    let requirements = found.requirements(archive, &config)?;
    let signature = found.finish(signature, &raw_config, &requirements)?;
    let content = Content { hash, signature };
    Ok(Inspected { content, config, raw_config })
}

/// An archive that may be read a second time.
#[derive(Clone, Copy)]
struct Archive<'a> {
    path: &'a Path,
    stop: &'a AtomicBool,
}

struct Found {
    limits: Limits,
    tree: Tree,
    /// Text files that may be needed later, by the number of their file.
    texts: BTreeMap<u32, Vec<u8>>,
    texts_bytes: usize,
}

impl Found {
    fn add(&mut self, parts: &Parts, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        let mut start = Vec::new();
        if let [name] = parts.as_slice()
            && may_be_asked_for(name)
            && self.texts_bytes < TEXTS_BYTES_MAX
        {
            start = bounded_start(content, self.limits.text_bytes_max)?;
            hasher.update(&start);
        }
        hasher.update_reader(content)?;
        let file = self.tree.add_file(parts, hasher.finalize().into())?;
        self.texts_bytes -= self.texts.remove(&file).map_or(0, |before| before.len());
        if !start.is_empty() && start.len() as u64 <= self.limits.text_bytes_max {
            self.texts_bytes += start.len();
            self.texts.insert(file, start);
        }
        Ok(())
    }

    /// The text of a file in the archive, with links followed. `None` if there is no such file. A text that was not
    /// kept is read from the archive again.
    fn text(&self, archive: Archive, parts: &[String], name: &str) -> Result<Option<String>, ArchiveError> {
        let Some(file) = self.tree.file(parts) else { return Ok(None) };
        let bytes = match self.texts.get(&file) {
            Some(bytes) => bytes.clone(),
            None => self.read_again(archive, file, name)?,
        };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| ArchiveError::Content(format!("{} is not UTF-8", quoted(name))))
    }

    fn read_again(&self, archive: Archive, file: u32, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let mut read = Vec::new();
        walk(Source::open(archive.path, self.limits, archive.stop)?, self.limits, |entry, content| {
            if entry.kind == Kind::File && self.tree.is_at(&entry.parts, file) {
                read = bounded(content, &quoted(name).to_string(), self.limits.text_bytes_max)?;
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// Checks that the model's code exists, unless something else serves: the server of a Docker image, or an engine.
    fn check_model_file(&self, config: &Map<String, Value>) -> Result<(), ArchiveError> {
        let is_set = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
        if is_set("docker_server") || is_set("trt_llm") {
            return Ok(());
        }
        let text = |name: &str, otherwise: &'static str| -> String {
            config.get(name).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
        };
        let path = format!("{}/{}", text("model_module_dir", "model"), text("model_class_filename", "model.py"));
        if self.tree.file(&parts(&path)?).is_some() {
            return Ok(());
        }
        broken(format!("it has no {}, which config.yaml names as the model's code", quoted(&path)))
    }

    fn requirements(&self, archive: Archive, config: &Map<String, Value>) -> Result<String, ArchiveError> {
        let Some(name) = config.get("requirements_file").and_then(Value::as_str) else { return Ok(String::new()) };
        let Ok(parts) = parts(name) else { return Ok(String::new()) };
        Ok(self.text(archive, &parts, name)?.unwrap_or_default())
    }

    /// Adds to the paths of a signature the other values that truss includes.
    fn finish(mut self, mut signature: Vec<u8>, config: &str, requirements: &str) -> Result<String, ArchiveError> {
        let lines = || requirements.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.tree.count(escaped_bytes(config) + lines().map(|line| escaped_bytes(line) + 3).sum::<usize>())?;
        signature.extend_from_slice(b"},\"config\":");
        write_json(config, &mut signature);
        signature.extend_from_slice(b",\"requirements_file_requirements\":[");
        for (count, line) in lines().enumerate() {
            if count > 0 {
                signature.push(b',');
            }
            write_json(line, &mut signature);
        }
        signature.extend_from_slice(b"]}");
        Ok(String::from_utf8(signature).expect("it was written from text"))
    }
}

/// Whether a file of this name may be needed later. The requirements file is in the same folder as the configuration,
/// and the configuration may come after it.
fn may_be_asked_for(name: &str) -> bool {
    name == "config.yaml" || name.ends_with(".txt") || name.ends_with(".toml")
}

/// Reads at most one byte more than the limit.
fn bounded_start(content: &mut dyn Read, bytes_max: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut start = Vec::new();
    content.take(bytes_max + 1).read_to_end(&mut start)?;
    Ok(start)
}

fn parse(config: &str) -> Result<Map<String, Value>, ArchiveError> {
    yaml::read_config(config).map_err(|why| ArchiveError::Content(format!("config.yaml {why}")))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8], limits: Limits) -> Result<Inspected, ArchiveError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        inspect(file.path(), limits, &AtomicBool::new(false))
    }

    fn refusal(bytes: &[u8], limits: Limits) -> String {
        match read(bytes, limits) {
            Ok(_) => panic!("it was read"),
            Err(why) => why.to_string(),
        }
    }

    const CONFIG: (&str, &[u8]) = ("config.yaml", b"model_name: m\n");
    const CODE: (&str, &[u8]) = ("model/model.py", b"");

    /// Each limit accepts its exact value, and refuses one more.
    #[test]
    fn bounds_are_exact() {
        let files = [CONFIG, CODE, ("a/b/c.py", b"x" as &[u8])];
        let fits = |change: fn(&mut Limits, usize), at: usize, why: &str| {
            let mut limits = Limits::default();
            change(&mut limits, at);
            read(&tar(&files), limits).unwrap_or_else(|cause| panic!("{why}: {cause}"));
            change(&mut limits, at - 1);
            let told = refusal(&tar(&files), limits);
            assert!(told.contains(why), "{told}");
        };
        fits(|limits, max| limits.entries_max = max, 3, "entries");
        fits(|limits, max| limits.paths_max = max, 6, "files and folders");
        fits(|limits, max| limits.depth_max = max, 3, "levels deep");
        fits(|limits, max| limits.name_bytes_max = max as u64, 14, "bytes");
        fits(|limits, max| limits.text_bytes_max = max as u64, 14, "bytes");
        // Six paths of 42 bytes, three folders, three hashes, and the configuration, a line of which is escaped.
        let signature_bytes = 42 + 3 * 8 + 3 * 70 + 15;
        fits(|limits, max| limits.signature_bytes_max = max, signature_bytes, "take more than");
    }

    /// Memory is reserved by the counted size, so the counted size must not be smaller than what is written.
    #[test]
    fn what_is_counted_is_what_is_written() {
        let names = ["plain", "qu\"ote", "back\\slash", "tab\tnew\nline", "\u{1}\u{1f}", "ünï¢ode/🎙", "a/b/c/d"];
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, b"" as &[u8])).chain([CONFIG, CODE]).collect();
        let found = read(&tar(&files), Limits::default()).unwrap();
        let limits = Limits { signature_bytes_max: found.content.signature.len(), ..Limits::default() };
        read(&tar(&files), limits).unwrap();
        let frame = r#"{"content_hashes_by_path":{},"config":"","requirements_file_requirements":[]}"#.len();
        let limits = Limits { signature_bytes_max: found.content.signature.len() - frame - 1, ..limits };
        assert!(refusal(&tar(&files), limits).contains("take more than"));
    }

    /// A changed or truncated archive is either read or refused. It never causes a panic.
    #[test]
    fn no_archive_panics() {
        let mut rng = StdRng::seed_from_u64(5);
        let long = "n".repeat(300);
        let files = [CONFIG, CODE, (long.as_str(), b"long" as &[u8]), ("x.txt", b"text")];
        let plain = tar(&files);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        let packed = encoder.finish().unwrap();
        for round in 0..3000 {
            let mut bytes = if round % 3 == 0 { packed.clone() } else { plain.clone() };
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if round % 5 == 0 {
                bytes.truncate(rng.random_range(0..bytes.len()));
            }
            if let Err(ArchiveError::Ours(cause)) = read(&bytes, Limits::default()) {
                panic!("{cause}");
            }
        }
    }
}
