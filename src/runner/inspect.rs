//! Reads an archive once: whether it can be deployed, and what it holds, as `truss watch` compares it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use super::archive::{Broken, Kind, Limits, Parts, bounded, broken, parts, walk};
use super::source::Source;
use super::tree::{Tree, escaped_bytes, write_json};
use crate::db::deployments::progress::Content;
use crate::error::quoted;
use crate::wire::yaml;

/// The version of the rules below: what another version said of an archive is not believed.
pub const RULES: i64 = 1;

/// How much of texts that may be asked for is kept while the rest is read.
const TEXTS_BYTES_MAX: usize = 4 << 20;

/// What was found in an archive that can be deployed.
pub struct Inspected {
    pub content: Content,
    pub config: Map<String, Value>,
    /// `config.yaml`, byte for byte.
    pub raw_config: String,
}

pub fn inspect(path: &Path, limits: Limits, stop: &AtomicBool) -> Result<Inspected, Broken> {
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

/// An archive that may be read again.
#[derive(Clone, Copy)]
struct Archive<'a> {
    path: &'a Path,
    stop: &'a AtomicBool,
}

struct Found {
    limits: Limits,
    tree: Tree,
    /// Texts that may be asked for, by their file's number.
    texts: BTreeMap<u32, Vec<u8>>,
    texts_bytes: usize,
}

impl Found {
    fn add(&mut self, parts: &Parts, content: &mut dyn Read) -> Result<(), Broken> {
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

    /// The text of a file of the archive, with links followed; `None` if there is no such file. What was not kept is read
    /// again.
    fn text(&self, archive: Archive, parts: &[String], name: &str) -> Result<Option<String>, Broken> {
        let Some(file) = self.tree.file(parts) else { return Ok(None) };
        let bytes = match self.texts.get(&file) {
            Some(bytes) => bytes.clone(),
            None => self.read_again(archive, file, name)?,
        };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| Broken::Content(format!("{} is not UTF-8", quoted(name))))
    }

    fn read_again(&self, archive: Archive, file: u32, name: &str) -> Result<Vec<u8>, Broken> {
        let mut read = Vec::new();
        walk(Source::open(archive.path, self.limits, archive.stop)?, self.limits, |entry, content| {
            if entry.kind == Kind::File && self.tree.is_at(&entry.parts, file) {
                read = bounded(content, &quoted(name).to_string(), self.limits.text_bytes_max)?;
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// The model's code must be there, unless something else serves: an image's own server, or an engine.
    fn check_model_file(&self, config: &Map<String, Value>) -> Result<(), Broken> {
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

    fn requirements(&self, archive: Archive, config: &Map<String, Value>) -> Result<String, Broken> {
        let Some(name) = config.get("requirements_file").and_then(Value::as_str) else { return Ok(String::new()) };
        let Ok(parts) = parts(name) else { return Ok(String::new()) };
        Ok(self.text(archive, &parts, name)?.unwrap_or_default())
    }

    /// Adds to the paths of a signature what else truss has in it.
    fn finish(mut self, mut signature: Vec<u8>, config: &str, requirements: &str) -> Result<String, Broken> {
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

/// Requirements stand beside the configuration, which may come behind them.
fn may_be_asked_for(name: &str) -> bool {
    name == "config.yaml" || name.ends_with(".txt") || name.ends_with(".toml")
}

/// Up to one byte more than is of use.
fn bounded_start(content: &mut dyn Read, bytes_max: u64) -> Result<Vec<u8>, Broken> {
    let mut start = Vec::new();
    content.take(bytes_max + 1).read_to_end(&mut start)?;
    Ok(start)
}

fn parse(config: &str) -> Result<Map<String, Value>, Broken> {
    yaml::read_config(config).map_err(|why| Broken::Content(format!("config.yaml {why}")))
}
