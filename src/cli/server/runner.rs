//! `guildhall runner`

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::cli::output::{print, report};
use crate::cli::{Data, Exit, Failure, Format, Output};
use crate::runner::engine::{self, Finding, Level};
use crate::runner::python::{self, Installation, Limits, Model, Order, Prepared, Watch};

const REQUIREMENTS_BYTES_MAX: u64 = 1 << 20;

/// What models run on, on this machine
#[derive(clap::Subcommand)]
pub enum Action {
    Prepare(Prepare),
    Check(Check),
}

/// Fetch ahead of time what every Python model needs
///
/// Makes the server's files and the environment of models in the data directory, with uv or else pip. Works with and without a
/// running server. Otherwise the first push that needs it fetches it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall runner prepare --data /srv/guildhall
  guildhall runner prepare --wheelhouse /media/wheels
  tar -C my-truss -cf my-truss.tar . && guildhall runner prepare --model my-truss.tar

Wheels for a machine without a network, for the same version of Python:
  pip download --only-binary=:all: --no-deps -d wheels truss==0.18.36
  pip download --only-binary=:all: -d wheels -r REQUIREMENTS
where REQUIREMENTS are those of the server, truss/templates/server/requirements.txt in the first wheel, and those of models.")]
pub struct Prepare {
    /// A folder of wheels: nothing is fetched. Without it, an earlier one is forgotten
    #[arg(long, value_name = "DIR")]
    wheelhouse: Option<PathBuf>,
    /// A file of requirements, as models have them in their configuration: their environment is made
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// A model's archive, a tar with its config.yaml at the top: what it needs is made, or what is missing is said
    #[arg(long, value_name = "ARCHIVE", conflicts_with_all = ["requirements", "python"])]
    model: Option<PathBuf>,
    /// The version of Python, such as 3.12 [default: that of python3]
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

/// Say what this machine has for models, and how to mend what is missing
///
/// Changes nothing, and works with and without a running server. Exits with 0 if models can run confined.
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Prepare(options) => prepare(options),
        Action::Check(options) => check(options),
    }
}

fn check(options: &Check) -> Result<(), Failure> {
    let mut findings = vec![python_finding(), uv_finding()];
    findings.extend(engine::check(&options.data.path()?.join("runner/processes")));
    match options.format.output {
        Output::Text => {
            let line = |Finding { name, level, text }: &Finding| format!("{:<8} {name:<19} {text}", level.as_str());
            print(findings.iter().map(line).collect::<Vec<_>>().join("\n"))?;
        }
        Output::Json => {
            let value = |Finding { name, level, text }: &Finding| serde_json::json!({ "name": name, "level": level.as_str(), "text": text });
            print(serde_json::Value::Array(findings.iter().map(value).collect()))?;
        }
    }
    match engine::can_confine(&findings) {
        true => Ok(()),
        false => Err(Failure::new("models cannot run here: they cannot be confined")),
    }
}

fn python_finding() -> Finding {
    let (level, text) = match python::find_version() {
        Ok(version) => (Level::Good, version),
        Err(why) => (Level::Limited, format!("{why}; custom servers run without it")),
    };
    Finding { name: "python", level, text }
}

fn uv_finding() -> Finding {
    let (level, text) = match python::find_uv() {
        Some(path) => (Level::Good, path.display().to_string()),
        None => (Level::Limited, "none: pip makes the environments, more slowly; `pip install uv`".to_owned()),
    };
    Finding { name: "uv", level, text }
}

fn prepare(options: &Prepare) -> Result<(), Failure> {
    let data = options.data.path()?;
    let opened = std::fs::create_dir_all(&data).and_then(|()| Installation::open(&data, Limits::default()));
    let installation = opened.map_err(|cause| Failure::new(format!("cannot use {}: {cause}", data.display())))?;
    let requirements = options.requirements.as_deref().map(read_requirements).transpose()?.unwrap_or_default();
    let order = Order {
        python: options.python.as_deref(),
        requirements: &requirements,
        wheelhouse: options.wheelhouse.as_deref(),
    };
    let watch = Watch { stop: &AtomicBool::new(false), log: &|line| report(format_args!("{line}")) };
    let Prepared { python_version, installer, truss_version, server, launcher, environment } =
        installation.prepare(&order, watch)?;
    if let Some(archive) = &options.model {
        return show_model(&installation.prepare_model(archive, watch)?, &options.format);
    }
    match options.format.output {
        Output::Text => print(format_args!(
            "ready for models: truss {truss_version} on Python {python_version}, installed by {installer}\n\
             server       {}\nlauncher     {}\nenvironment  {}",
            server.display(),
            launcher.display(),
            environment.display()
        )),
        Output::Json => print(format_args!(
            "{}",
            serde_json::json!({
                "python_version": python_version,
                "installer": installer,
                "truss_version": truss_version,
                "server": server,
                "launcher": launcher,
                "environment": environment,
            })
        )),
    }
}

fn show_model(model: &Model, format: &Format) -> Result<(), Failure> {
    let Model { environment, command, reads, build_commands, .. } = model;
    match format.output {
        Output::Text => print(format_args!("ready for the model\nenvironment  {}", environment.folder.display())),
        Output::Json => print(serde_json::json!({
            "environment": environment.folder,
            "command": command,
            "reads": reads,
            "build_commands": build_commands,
        })),
    }
}

fn read_requirements(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(REQUIREMENTS_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > REQUIREMENTS_BYTES_MAX => {
            Err(Failure::new(format!("{} has more than {REQUIREMENTS_BYTES_MAX} bytes", path.display())))
        }
        Ok(_) => Ok(text),
        Err(cause) => Err(Failure::new(format!("cannot read {}: {cause}", path.display()))),
    }
}

impl From<python::Failure> for Failure {
    fn from(failure: python::Failure) -> Failure {
        match failure {
            python::Failure::Build(why) | python::Failure::Deploy(why) => Failure { exit: Exit::Refused, message: why },
            python::Failure::Ours(cause) => Failure::new(cause.to_string()),
            python::Failure::Stopped => Failure::new("it was stopped"),
        }
    }
}
