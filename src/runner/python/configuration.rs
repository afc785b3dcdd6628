//! What a model's configuration asks for, and what of it cannot be done on a machine without images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::interpreter::{Minor, QUESTION, on_path};
use super::tool::{self, Watch};
use super::{Failure, TRUSS_VERSION};
use crate::error::quoted;

const SYSTEM_PACKAGES_MAX: usize = 200;
const VARIABLES_MAX: usize = 1000;
/// Variables that the runner sets itself: what is elsewhere cannot be written.
const RESERVED: &[&str] = &["HOME", "TMPDIR"];

/// What needs an image or a service of Baseten's, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("base_image", "models run without an image here: remove it and list what it contains under requirements"),
    ("trt_llm", "there is no engine builder here: serve the engine yourself and deploy it as an external endpoint"),
    ("bis_llm", "there is no engine builder here: serve the engine yourself and deploy it as an external endpoint"),
    ("weights", "weights are not fetched here: fetch them in the model's load function"),
    (
        "external_data",
        "files are not fetched here: put them into the data folder, or fetch them in the model's load function",
    ),
    ("bdn.mounts", "nothing is mounted here: fetch the files in the model's load function"),
];

/// What a Python model asks for.
#[derive(Debug)]
pub struct Configuration {
    pub python: Option<Minor>,
    pub truss_version: String,
    /// Lines of `requirements`, unchecked.
    pub requirements: Vec<String>,
    pub requirements_file: Option<String>,
    pub system_packages: Vec<String>,
    pub build_commands: Vec<String>,
    pub variables: BTreeMap<String, String>,
    /// What is left undone without harm, as lines of the log.
    pub notes: Vec<String>,
}

impl Configuration {
    /// Reads a configuration with its defaults.
    ///
    /// # Errors
    /// [`Failure::Build`] naming the first field that cannot be honoured, and what to do instead.
    pub fn read(config: &Map<String, Value>) -> Result<Configuration, Failure> {
        for (field, why) in REFUSED {
            if asks_for(config, field) {
                return Err(Failure::Build(format!("config.yaml sets {field}, but {why}")));
            }
        }
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let version = config["runtime"].get("truss_server_version_override").and_then(text);
        Ok(Configuration {
            python: config["python_version"].as_str().and_then(Minor::parse),
            truss_version: version.unwrap_or_else(|| TRUSS_VERSION.to_owned()),
            requirements: texts(config, "requirements")?,
            requirements_file: text(&config["requirements_file"]),
            system_packages: texts(config, "system_packages")?,
            build_commands: texts(config, "build_commands")?,
            variables: variables(&config["environment_variables"])?,
            notes: notes(config),
        })
    }

    /// Refuses system packages that this machine lacks.
    ///
    /// # Errors
    /// [`Failure::Build`] naming what is missing and how it is installed.
    pub fn check_system_packages(&self, watch: Watch) -> Result<(), Failure> {
        let names = self.system_packages.iter().map(|package| package_name(package)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Ok(());
        }
        if names.len() > SYSTEM_PACKAGES_MAX {
            return Err(Failure::Build(format!(
                "config.yaml lists more than {SYSTEM_PACKAGES_MAX} system packages: list fewer"
            )));
        }
        let Some(dpkg_query) = on_path("dpkg-query") else {
            return Err(Failure::Build(
                "config.yaml lists system packages, and this machine is no Debian on which they could be looked for: leave \
                 out those that the model does without"
                    .to_owned(),
            ));
        };
        let mut command = tool::command(&dpkg_query, Path::new("/"));
        command.args(["--show", "--showformat=${Package} ${binary:Package} ${db:Status-Status}\\n", "--"]).args(&names);
        let ended = tool::run(&mut command, &QUESTION, Watch { log: &|_| {}, ..watch })?;
        let installed: BTreeSet<&str> = ended
            .answer
            .lines()
            .filter_map(|line| line.strip_suffix(" installed"))
            .flat_map(str::split_whitespace)
            .collect();
        let missing: Vec<&str> = names.into_iter().filter(|name| !installed.contains(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(" ");
        Err(Failure::Build(format!(
            "config.yaml lists system packages that this machine does not have: ask its operator to run `apt-get install \
             {missing}`, or leave them out"
        )))
    }
}

/// Whether a field, with its path, is set to something.
fn asks_for(config: &Map<String, Value>, field: &str) -> bool {
    let (first, rest) = field.split_once('.').map_or((field, None), |(first, rest)| (first, Some(rest)));
    let found = config.get(first);
    match rest.map_or(found, |rest| found.and_then(|value| value.get(rest))) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        // A base image without a name is none.
        Some(Value::Object(fields)) => fields.get("image").is_none_or(|image| image.as_str() != Some("")),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => true,
    }
}

fn texts(config: &Map<String, Value>, field: &str) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::Build(format!("config.yaml must have a list of texts as {field}"));
    let Some(items) = config.get(field).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let items = items.as_array().ok_or_else(wrong)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

fn variables(value: &Value) -> Result<BTreeMap<String, String>, Failure> {
    let Some(given) = value.as_object() else { return Ok(BTreeMap::new()) };
    if given.len() > VARIABLES_MAX {
        return Err(Failure::Build(format!(
            "config.yaml sets more than {VARIABLES_MAX} environment variables: set fewer"
        )));
    }
    let mut variables = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            return Err(Failure::Build(format!(
                "config.yaml sets \"{}\", which cannot be an environment variable",
                quoted(name)
            )));
        }
        if !RESERVED.contains(&name.as_str()) {
            variables.insert(name.clone(), text);
        }
    }
    Ok(variables)
}

fn notes(config: &Map<String, Value>) -> Vec<String> {
    let mut notes = Vec::new();
    if config.get("model_cache").and_then(Value::as_array).is_some_and(|caches| !caches.is_empty()) {
        notes.push("model_cache is not filled ahead of time: the model fetches what it needs when it loads".to_owned());
    }
    for name in RESERVED.iter().filter(|name| config["environment_variables"].get(**name).is_some()) {
        notes
            .push(format!("the environment variable {name} is set by Guildhall: the value in config.yaml is not used"));
    }
    notes
}

/// The name of a package, without the version that `apt-get` would take.
fn package_name(package: &str) -> Result<&str, Failure> {
    let name = package.split('=').next().unwrap_or_default().trim();
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | ':'));
    if is_plain {
        return Ok(name);
    }
    Err(Failure::Build(format!(
        "config.yaml lists \"{}\" under system_packages, which is no package's name",
        quoted(package)
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use serde_json::json;

    use super::*;
    use crate::domain::truss_config::with_defaults;

    fn read(config: Value) -> Result<Configuration, Failure> {
        Configuration::read(&with_defaults(config.as_object().unwrap()))
    }

    fn refusal(result: Result<impl std::fmt::Debug, Failure>) -> String {
        match result {
            Err(Failure::Build(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_needs_an_image_is_refused_with_a_reason() {
        read(json!({})).unwrap();
        read(json!({"base_image": {"image": ""}, "weights": [], "bdn": {"mounts": []}})).unwrap();
        for (field, config) in [
            ("base_image", json!({"base_image": {"image": "host/image"}})),
            ("trt_llm", json!({"trt_llm": {"build": {}}})),
            ("weights", json!({"weights": [{"source": "x"}]})),
            ("bdn.mounts", json!({"bdn": {"mounts": [{"source": "x"}]}})),
            ("external_data", json!({"external_data": [{"url": "x"}]})),
        ] {
            let why = refusal(read(config));
            assert!(why.starts_with(&format!("config.yaml sets {field}, but ")), "{why}");
        }
        assert!(refusal(read(json!({"requirements": "numpy"}))).contains("list of texts as requirements"));
    }

    #[test]
    fn what_it_asks_for_is_read() {
        let config = json!({
            "python_version": "py311", "requirements": ["numpy"], "requirements_file": "r.txt", "build_commands": ["make"],
            "environment_variables": {"A": "b", "N": 1, "T": true, "HOME": "/", "E": null},
            "model_cache": [{"repo_id": "x"}], "runtime": {"truss_server_version_override": "0.17.0"}
        });
        let read = read(config).unwrap();
        assert_eq!(read.python, Minor::parse("py311"));
        assert_eq!((read.truss_version.as_str(), read.requirements_file.as_deref()), ("0.17.0", Some("r.txt")));
        assert_eq!((read.requirements, read.build_commands), (vec!["numpy".to_owned()], vec!["make".to_owned()]));
        let expected = [("A", "b"), ("E", ""), ("N", "1"), ("T", "true")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(read.variables, BTreeMap::from(expected));
        assert_eq!(read.notes.len(), 2, "{:?}", read.notes);
        let why = refusal(super::tests::read(json!({"environment_variables": {"a=b": "c"}})));
        assert!(why.contains("cannot be an environment variable"), "{why}");
    }

    #[test]
    fn system_packages_are_looked_for() {
        let check = |packages: Value| {
            let watch = Watch { stop: &AtomicBool::new(false), log: &|_| {} };
            read(json!({"system_packages": packages})).unwrap().check_system_packages(watch)
        };
        check(json!([])).unwrap();
        for name in ["--admindir=x", "a b", "A*", "", "../x"] {
            assert!(refusal(check(json!([name]))).contains("no package's name"), "{name}");
        }
        if on_path("dpkg-query").is_none() {
            assert!(refusal(check(json!(["dpkg"]))).contains("no Debian"));
            return;
        }
        check(json!(["dpkg", "libc6=2.0"])).unwrap();
        let why = refusal(check(json!(["dpkg", "no-such-package-here", "nor-this"])));
        assert!(why.contains("`apt-get install no-such-package-here nor-this`"), "{why}");
    }
}
