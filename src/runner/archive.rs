//! Reads archives. What stands in one is never written to a path that it names.
//!
//! An archive is a plain tar of files and folders: links, devices and sparse files are refused, so it cannot unfold to more
//! than it is; its entries are counted and their names bounded. Names beyond a header's hundred bytes come in entries of
//! their own, which are read here, because the tar crate reads them whole whatever their size.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufReader, Read};

use serde_json::{Value, json};
use tar::EntryType;

use crate::db::deployments::patches::hash_of;
use crate::db::deployments::progress::Content;
use crate::wire::yaml;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries_max: usize,
    /// Of a name, and of an entry that extends the next one's header.
    pub name_bytes_max: u64,
    /// Of `config.yaml` and of the file of requirements.
    pub text_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { entries_max: 100_000, name_bytes_max: 4096, text_bytes_max: 1 << 20 }
    }
}

/// Why an archive is of no use.
#[derive(Debug)]
pub enum Broken {
    /// What its sender did wrong.
    Content(String),
    Disk(std::io::Error),
}

impl From<std::io::Error> for Broken {
    fn from(cause: std::io::Error) -> Broken {
        match cause.kind() {
            std::io::ErrorKind::NotFound => Broken::Content("the archive is gone".to_owned()),
            // The tar crate says so what it cannot read.
            std::io::ErrorKind::Other | std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Broken::Content(format!("it is no readable tar archive ({cause})"))
            }
            _ => Broken::Disk(cause),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Content(why) => f.write_str(why),
            Broken::Disk(cause) => write!(f, "{}", cause.kind()),
        }
    }
}

fn broken<T>(why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Content(why.into()))
}

/// A file of an archive: its path, checked, its folders and its name.
pub type Parts = Vec<String>;

/// Gives every file to `each`, in the order of the archive.
pub fn walk(
    from: impl Read,
    limits: Limits,
    mut each: impl FnMut(Parts, &mut tar::Header, &mut dyn Read) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(256 << 10, from));
    let mut long_name = None;
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        if count >= limits.entries_max {
            return broken(format!("it has more than {} entries", limits.entries_max));
        }
        let mut entry = entry?;
        let mut header = entry.header().clone();
        match header.entry_type() {
            EntryType::XHeader => long_name = extended_name(&mut entry, limits)?.or(long_name),
            EntryType::GNULongName => long_name = Some(gnu_name(&mut entry, limits)?),
            EntryType::XGlobalHeader => {}
            EntryType::Directory => {
                name(long_name.take(), &header, limits)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                let parts = name(long_name.take(), &header, limits)?;
                each(parts, &mut header, &mut entry)?;
            }
            other => {
                let bytes = header.path_bytes();
                let name = String::from_utf8_lossy(&bytes);
                return broken(format!("\"{name}\" is neither a file nor a folder ({other:?}): leave it out"));
            }
        }
    }
    Ok(())
}

/// The path of a PAX header. A size there would be another than the one that is read by.
fn extended_name(entry: &mut impl Read, limits: Limits) -> Result<Option<Vec<u8>>, Broken> {
    let bytes = bounded(entry, "an extended header", 4 * limits.name_bytes_max)?;
    let mut name = None;
    for extension in tar::PaxExtensions::new(&bytes) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => name = Some(extension.value_bytes().to_vec()),
            b"size" => return broken("a file of more than 8 GiB is in it"),
            key if key.starts_with(b"GNU.sparse") => return broken("a sparse file is in it"),
            _ => {}
        }
    }
    Ok(name)
}

fn gnu_name(entry: &mut impl Read, limits: Limits) -> Result<Vec<u8>, Broken> {
    let mut bytes = bounded(entry, "a long name", limits.name_bytes_max)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn bounded(from: &mut (impl Read + ?Sized), what: &str, bytes_max: u64) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return broken(format!("{what} in it has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

fn name(long: Option<Vec<u8>>, header: &tar::Header, limits: Limits) -> Result<Parts, Broken> {
    let bytes = long.unwrap_or_else(|| header.path_bytes().into_owned());
    match String::from_utf8(bytes) {
        Ok(name) if name.len() as u64 <= limits.name_bytes_max => parts(&name),
        Ok(_) => broken(format!("a name in it has more than {} bytes", limits.name_bytes_max)),
        Err(_) => broken("a name in it is not UTF-8"),
    }
}

/// The folders and the name of a path that stays inside.
pub fn parts(path: &str) -> Result<Parts, Broken> {
    let inside = |part: &&str| *part != ".." && !part.contains(['\\', '\0']);
    if path.starts_with('/') || !path.split('/').all(|part| inside(&part)) {
        return broken(format!("the name {path:?} in it leads outside"));
    }
    Ok(path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect())
}

/// Checks that an archive can be deployed, and takes down its content.
pub fn inspect(from: impl Read, limits: Limits) -> Result<Content, Broken> {
    let mut files: BTreeMap<Parts, blake3::Hash> = BTreeMap::new();
    let mut texts: BTreeMap<Parts, String> = BTreeMap::new();
    walk(from, limits, |parts, _, content| {
        let hash = match parts.as_slice() {
            // Requirements stand beside the configuration, which may come behind them.
            [name] if name == "config.yaml" || is_requirements(name) => {
                let bytes = bounded(content, name, limits.text_bytes_max)?;
                let hash = blake3::hash(&bytes);
                let text = String::from_utf8(bytes).map_err(|_| Broken::Content(format!("{name} is not UTF-8")))?;
                texts.insert(parts.clone(), text);
                hash
            }
            _ => {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(content)?;
                hasher.finalize()
            }
        };
        files.insert(parts, hash);
        Ok(())
    })?;
    let Some(config) = texts.get(["config.yaml".to_owned()].as_slice()) else {
        return broken("it has no config.yaml at its top");
    };
    let parsed = parse(config)?;
    check_folders(&files)?;
    check_model_file(&parsed, &files)?;
    let requirements = requirements(&parsed, &texts);
    Ok(content(&files, config, &requirements))
}

fn is_requirements(name: &str) -> bool {
    name.ends_with(".txt") || name.ends_with(".toml")
}

fn parse(config: &str) -> Result<Value, Broken> {
    yaml::read_config(config).map(Value::Object).map_err(|why| Broken::Content(format!("config.yaml {why}")))
}

/// An archive in which a file is a folder too cannot be unpacked.
fn check_folders(files: &BTreeMap<Parts, blake3::Hash>) -> Result<(), Broken> {
    let both = files.keys().flat_map(|parts| (1..parts.len()).map(|end| &parts[..end]));
    match both.into_iter().find(|folder| files.contains_key(*folder)) {
        None => Ok(()),
        Some(parts) => broken(format!("{} in it is a file and a folder", parts.join("/"))),
    }
}

/// The model's code must be there, unless something else serves: an image's own server, or an engine.
fn check_model_file(config: &Value, files: &BTreeMap<Parts, blake3::Hash>) -> Result<(), Broken> {
    let is_set = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    if is_set("docker_server") || is_set("trt_llm") {
        return Ok(());
    }
    let text = |name: &str, otherwise: &'static str| -> String {
        config.get(name).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    };
    let path = format!("{}/{}", text("model_module_dir", "model"), text("model_class_filename", "model.py"));
    if files.contains_key(&parts(&path)?) {
        return Ok(());
    }
    broken(format!("it has no {path}, which config.yaml names as the model's code"))
}

fn requirements(config: &Value, texts: &BTreeMap<Parts, String>) -> Vec<String> {
    let file = config.get("requirements_file").and_then(Value::as_str).map(str::to_owned);
    let text = file.and_then(|name| texts.get([name].as_slice()));
    let lines = text.map(|text| text.lines().map(str::trim)).into_iter().flatten();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The hash and the signature as truss makes them: every path, folders without content.
fn content(files: &BTreeMap<Parts, blake3::Hash>, config: &str, requirements: &[String]) -> Content {
    let folders = files.keys().flat_map(|parts| (1..parts.len()).map(|end| parts[..end].to_vec()));
    let paths: BTreeSet<Parts> = folders.chain(files.keys().cloned()).collect();
    let hash_at = |parts: &Parts| files.get(parts).map(|hash| hash.to_hex().to_string());
    let hashes: serde_json::Map<String, Value> =
        paths.iter().map(|parts| (parts.join("/"), json!(hash_at(parts)))).collect();
    let signature = json!({
        "content_hashes_by_path": hashes,
        "config": config,
        "requirements_file_requirements": requirements,
    });
    Content { hash: hash_of(&signature), signature: signature.to_string() }
}
