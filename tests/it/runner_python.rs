//! Are runtimes and environments of Python models made completely or not at all, and only from named packages? Python,
//! uv and pip are scripts here: nothing is downloaded.

mod served;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Answers as Python does what it is asked: which version it is, for an environment, for pip, to compile.
const PYTHON: &str = r#"#!/bin/sh
case "$*" in
  *"import os, sys"*) printf '%s\n' 3.11.7 "$0" /usr ;;
  *compileall*) echo "compile $*" >> "$PIP_TOLD" ;;
  *"pip --version") echo "pip $PIP_VERSION_HERE" ;;
  *"-m venv"*) for last; do :; done; mkdir -p "$last/bin" "$last/lib"; printf '#!/bin/sh\n' > "$last/bin/python"; chmod +x "$last/bin/python" ;;
  *"-m pip"*) echo "pip $*" >> "$PIP_TOLD"; . "$PIP_INSTALLS" ;;
esac
"#;

const UV: &str = r#"#!/bin/sh
echo "uv $*" >> "$PIP_TOLD"
case "$1" in
  venv) for last; do :; done; mkdir -p "$last/bin" "$last/lib"; printf '#!/bin/sh\n' > "$last/bin/python"; chmod +x "$last/bin/python"
        printf '#!%s/bin/python\n' "$last" > "$last/bin/script" ;;
  pip) . "$PIP_INSTALLS" ;;
esac
"#;

/// Installs: a package `truss` into a target, and otherwise keeps the files of requirements where the test reads them.
const INSTALLS: &str = r#"
target= given= within=
while [ $# -gt 0 ]; do
  case "$1" in --target) target=$2 ;; -r) given=$2 ;; -c) within=$2 ;; esac
  shift
done
if [ -n "$target" ]; then
  mkdir -p "$target/truss/templates/server" "$target/truss/templates/shared"
  printf -- '-i https://host/simple\nnumpy<2\nuvicorn\n' > "$target/truss/templates/server/requirements.txt"
  printf 'numpy<3\n' > "$target/truss/templates/server/constraints.txt"
else
  cp "$given" "$PIP_TOLD.given"; cp "$within" "$PIP_TOLD.within"
  if [ -e "$PIP_TOLD.waits" ]; then touch "$PIP_TOLD.begun"; sleep 60; fi
  if [ -e "$PIP_TOLD.fails" ]; then echo 'error: no version of nothing==9 was found' >&2; exit 1; fi
fi
"#;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// With these of the scripts.
    fn with(tools: &[(&str, &str)]) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("installs"), INSTALLS).unwrap();
        for tool in ["sh", "mkdir", "chmod", "cp", "touch", "sleep"] {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            let found = found.iter().find(|path| path.exists()).unwrap();
            symlink(found, folder.path().join("bin").join(tool)).unwrap();
        }
        for (name, script) in tools {
            let path = folder.path().join("bin").join(name);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Machine { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command.args(["runner", "prepare", "-o", "json", "--data"]).arg(self.path("data")).args(arguments);
        command.env("PATH", self.path("bin")).env("PIP_TOLD", self.path("told"));
        command.env("PIP_INSTALLS", self.path("installs")).env("PIP_VERSION_HERE", "23.0.1");
        command.env_remove("GUILDHALL_DATA").stdin(Stdio::null());
        command
    }

    fn prepare(&self, arguments: &[&str]) -> Done {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// What the tools were called with, one call a line.
    fn told(&self) -> Vec<String> {
        let told = std::fs::read_to_string(self.path("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    fn entries(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("data/runner").join(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }

    fn refusal(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(5), ""), "{}", self.err);
        self.err.lines().find(|line| line.starts_with("guildhall: ")).expect("it says why")
    }
}

#[test]
fn it_is_made_once_and_for_this_user_alone() {
    let machine = Machine::with(&[("python3", PYTHON), ("uv", UV)]);
    let made = machine.prepare(&[]).json();
    assert_eq!((&made["python_version"], &made["installer"]), (&"3.11.7".into(), &"uv".into()));
    for name in ["server", "environment"] {
        let mode = std::fs::metadata(made[name].as_str().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let environment = Path::new(made["environment"].as_str().unwrap());
    let script = std::fs::read_to_string(environment.join("bin/script")).unwrap();
    assert_eq!(script, format!("#!{}/bin/python\n", environment.display()), "scripts name the place that they are in");
    let told = machine.told();
    assert!(told.iter().any(|line| line.starts_with("uv pip install") && line.contains("--no-build")), "{told:#?}");
    assert!(told.iter().any(|line| line.starts_with("compile -I -S")), "{told:#?}");
    assert_eq!(machine.prepare(&[]).json(), made);
    assert_eq!(machine.told(), told, "what is there is not made again");
    assert_eq!([machine.entries("environments").len(), machine.entries("runtimes").len()], [1, 1]);
}

#[test]
fn the_model_s_version_counts_within_the_bounds_of_the_server() {
    let machine = Machine::with(&[("python3", PYTHON), ("uv", UV)]);
    let base = machine.prepare(&[]).json();
    assert_eq!(std::fs::read_to_string(machine.path("told.given")).unwrap(), "numpy<2\nuvicorn\n");
    let file = machine.write("requirements.txt", "# ours\nNumPy==2.1.3\n");
    let made = machine.prepare(&["--requirements", file.to_str().unwrap()]).json();
    assert_eq!(std::fs::read_to_string(machine.path("told.given")).unwrap(), "uvicorn\nNumPy==2.1.3\n");
    assert_eq!(std::fs::read_to_string(machine.path("told.within")).unwrap(), "numpy<3\n");
    assert_ne!(made["environment"], base["environment"]);
    let file = machine.write("requirements.txt", "x @ file:///srv/x.whl\n");
    let done = machine.prepare(&["--requirements", file.to_str().unwrap()]);
    assert!(done.refusal().contains("local files"), "{}", done.err);
}

#[test]
fn a_wheelhouse_is_all_that_is_installed_from() {
    let machine = Machine::with(&[("python3", PYTHON), ("uv", UV)]);
    std::fs::create_dir(machine.path("wheels")).unwrap();
    let wheels = machine.path("wheels");
    let wheels = ["--wheelhouse", wheels.to_str().unwrap()];
    assert!(machine.prepare(&wheels).refusal().contains("has no wheels"));
    machine.write("wheels/truss-1-py3-none-any.whl", "wheel");
    machine.write("wheels/notes.txt", "no wheel");
    machine.prepare(&wheels).json();
    let installs: Vec<String> = machine.told().into_iter().filter(|line| line.starts_with("uv pip install")).collect();
    assert_eq!(installs.len(), 2);
    for line in installs {
        assert!(line.contains("--offline --no-index --find-links "), "{line}");
    }
    assert_eq!(machine.entries("wheelhouse"), ["truss-1-py3-none-any.whl"]);
    machine.write("told.fails", "");
    let file = machine.write("requirements.txt", "nothing==9\n");
    let missing = machine.prepare(&["--requirements", file.to_str().unwrap()]);
    assert!(missing.refusal().ends_with("uv says: error: no version of nothing==9 was found"), "{}", missing.err);
    assert_eq!(machine.entries("wheelhouse").len(), 1, "a failure drops nothing");
    assert_eq!(machine.entries("environments").len(), 1, "and leaves nothing");
}

#[test]
fn without_uv_there_is_pip() {
    let machine = Machine::with(&[("python3", PYTHON)]);
    assert_eq!(machine.prepare(&[]).json()["installer"], "pip");
    for line in machine.told().iter().filter(|line| line.starts_with("pip ")) {
        assert!(line.contains("--only-binary=:all:") && line.contains("--no-compile"), "{line}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_mend() {
    let machine = Machine::with(&[]);
    let none = machine.prepare(&[]);
    assert!(none.refusal().contains("there is no Python") && none.err.contains("apt-get install"), "{}", none.err);
    let machine = Machine::with(&[("python3", PYTHON)]);
    let mut command = machine.command(&[]);
    let old = command.env("PIP_VERSION_HERE", "20.3").output().unwrap();
    let err = String::from_utf8(old.stderr).unwrap();
    assert!(old.status.code() == Some(5) && err.contains("neither uv nor a pip"), "{err}");
    let other = machine.prepare(&["--python", "3.12"]);
    assert!(other.refusal().contains("--python") && other.err.contains("there is no Python 3.12"), "{}", other.err);
    assert!(machine.prepare(&["--python", "four"]).refusal().contains("no version of Python"));
}

#[test]
fn a_kill_leaves_nothing_that_is_half_made() {
    let machine = Machine::with(&[("python3", PYTHON), ("uv", UV)]);
    machine.write("told.waits", "");
    let mut killed = machine.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !machine.path("told.begun").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = machine.entries("environments");
    assert!(!left.is_empty() && left.iter().all(|name| name.starts_with(".unfinished-")), "{left:?}");
    std::fs::remove_file(machine.path("told.waits")).unwrap();
    machine.prepare(&[]).json();
    assert!(machine.entries("environments").iter().all(|name| !name.starts_with('.')), "the next start tidies up");
}

/// An archive of these files, packed by the crate that reads them.
fn archive(machine: &Machine, files: &[(&str, &str)]) -> String {
    let path = machine.path("model.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&path).unwrap());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_a_model_s_archive_needs_is_made() {
    let machine = Machine::with(&[("python3", PYTHON), ("uv", UV)]);
    let code = ("model/model.py", "");
    let config = "requirements:\n- numpy==2.1.3\nrequirements_file: more.txt\npython_version: py311\n";
    let model = archive(&machine, &[("config.yaml", config), code, ("more.txt", "idna\n# why\n")]);
    let made = machine.prepare(&["--model", &model]).json();
    assert_eq!(std::fs::read_to_string(machine.path("told.given")).unwrap(), "uvicorn\nidna\nnumpy==2.1.3\n");
    let environment = made["environment"].as_str().unwrap();
    assert_eq!(made["command"][0], format!("{environment}/bin/python"));
    assert!(made["reads"].as_array().unwrap().contains(&environment.into()));
    assert_eq!(machine.entries("environments").len(), 2, "the base, and that of the model");
    assert!(machine.entries("").iter().all(|name| !name.starts_with('.')), "the model is not kept");

    for (config, why) in [
        ("base_image:\n  image: host/image\n", "models run without an image"),
        ("requirements: [./local]\n", "local files"),
        ("requirements_file: ../outside.txt\n", "leads outside"),
        ("requirements_file: missing.txt\n", "is not in the archive"),
        ("system_packages: ['--help']\n", "no package's name"),
    ] {
        let model = archive(&machine, &[("config.yaml", config), code]);
        let refused = machine.prepare(&["--model", &model]);
        assert!(refused.refusal().contains(why), "{}", refused.err);
    }
}
