//! Do models answer as they do on the stock server? Each model is built and started as the runner does it. Beside it,
//! the server of the same package is started without Guildhall. Both receive the same requests.
//!
//! This needs PyPI and uv or pip. It runs only if `GUILDHALL_TESTS_PYPI` is set, as it is in the gate.

mod chains;
mod child;
mod compared;
mod controlled;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use guildhall::runner::python::{Failure, Installation, Job, Limits, Model, Watch};
use serde_json::{Map, Value};

/// Files of a model.
pub type Files<'a> = &'a [(&'a str, &'a str)];

/// Whether these tests run.
pub fn has_pypi() -> bool {
    std::env::var_os("GUILDHALL_TESTS_PYPI").is_some()
}

/// A folder that stays from run to run, so that packages are fetched once.
pub fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-models")
}

pub struct Built {
    pub model: Model,
    pub folder: tempfile::TempDir,
}

/// Builds a model of these files. Its `config.yaml` is JSON, which is YAML too.
pub fn build(config: &Value, files: Files) -> Result<Built, Failure> {
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut builder = tar::Builder::new(archive.as_file());
    let text = config.to_string();
    for (path, content) in files.iter().chain(&[("config.yaml", text.as_str())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap();
    build_archive(archive.path(), config.as_object().unwrap())
}

pub fn build_archive(archive: &Path, config: &Map<String, Value>) -> Result<Built, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::open(&data(), Limits::default()).unwrap();
    let watch = Watch { stop: &AtomicBool::new(false), log: &|line| eprintln!("{line}") };
    let model =
        installation.build(&Job { archive: Some(archive), config, folder: &folder.path().join("model") }, watch)?;
    for own in ["home", "tmp"] {
        std::fs::create_dir(folder.path().join(own)).unwrap();
    }
    Ok(Built { model, folder })
}

pub fn secrets(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
