//! Builds a Python model: what has to be there before its process can be started.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::configuration::Configuration;
use super::disk::{self, Unfinished};
use super::environment::Environment;
use super::installer::Installer;
use super::maker::Maker;
use super::requirements::Requirements;
use super::runtime::Runtime;
use super::tool::{self, Watch};
use super::{Failure, Installation, MAKE, application};
use crate::domain::truss_config::with_defaults;
use crate::error::quoted;
use crate::runner::archive::{ArchiveError, Limits, parts};

const REQUIREMENTS_BYTES_MAX: u64 = 1 << 20;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Prints the dependencies of a project, one a line.
const DEPENDENCIES: &str = "\
import sys, tomllib
with open(sys.argv[1], 'rb') as file:
    print(*tomllib.load(file).get('project', {}).get('dependencies', []), sep='\\n')";

/// A model that is to be built.
pub struct Job<'a> {
    /// `None` for a custom server that consists of its configuration alone.
    pub archive: Option<&'a Path>,
    /// `config.yaml` as it was read.
    pub config: &'a Map<String, Value>,
    /// The deployment's folder. What was in it of an earlier build is replaced.
    pub folder: &'a Path,
}

/// A model whose process can be started. What it runs from is not removed while this lives.
///
/// The process gets a listening Unix socket as descriptor 3 and the reading end of a pipe as descriptor 4. The launcher says
/// what is written there. The process ends when the pipe does.
pub struct Model {
    pub command: Vec<String>,
    /// The application, which is the process's current directory. It may write there.
    pub directory: PathBuf,
    /// Variables besides `HOME` and `TMPDIR`, which must be folders of its own.
    pub variables: BTreeMap<String, String>,
    /// What it must be able to read and execute besides the system's own folders.
    pub reads: Vec<PathBuf>,
    /// Commands to be run in the application's directory before the process is started, confined as it is.
    pub build_commands: Vec<String>,
    pub environment: Environment,
    _runtime: Runtime,
}

/// The unpacked application of a custom server. What it runs from is not removed while this lives.
pub struct Application {
    /// The current directory of the server. It may write there.
    pub directory: PathBuf,
    /// Variables besides `HOME` and `TMPDIR`.
    pub variables: BTreeMap<String, String>,
    /// What it must be able to read and execute besides the system's own folders.
    pub reads: Vec<PathBuf>,
    /// Commands to be run in the directory before the server is started, confined as it is.
    pub build_commands: Vec<String>,
    /// Its virtual environment, if it has one.
    pub model: Option<Box<Model>>,
}

impl Installation {
    /// Builds a Python model. It may take minutes, and be called by several threads at once.
    ///
    /// # Errors
    /// See [`Failure`]; its sentences are for the deployment's log.
    pub fn build(&self, job: &Job, watch: Watch) -> Result<Model, Failure> {
        let Unpacked { app, config, configuration } = self.unpack(job, watch)?;
        let own = Requirements::read(configuration.requirements.iter().map(String::as_str))?;
        let config_file = job.folder.join("config.json");
        std::fs::write(&config_file, Value::Object(config).to_string())?;

        let maker = Maker::find(self, configuration.python, self.source(), watch)?;
        let requirements = match &configuration.requirements_file {
            Some(name) => maker.read_file(&app, name)?.and(own),
            None => own,
        };
        let runtime = maker.runtime(&configuration.truss_version)?;
        let environment = maker.environment(&runtime, &requirements)?;
        let scripts = environment.folder.join("bin");
        let mut variables = configuration.variables;
        variables.entry("PATH".to_owned()).or_insert_with(|| format!("{}:{PATH}", scripts.display()));
        variables.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
        let command = [&scripts.join("python"), &runtime.launcher, &app, &runtime.server, &config_file];
        let mut reads = maker.python.reads();
        reads.extend([environment.folder.clone(), runtime.folder.clone(), config_file.clone()]);
        Ok(Model {
            command: command.map(|path| path.to_string_lossy().into_owned()).to_vec(),
            directory: app,
            variables,
            reads,
            build_commands: configuration.build_commands,
            environment,
            _runtime: runtime,
        })
    }
}

/// The application of a job, with its configuration.
struct Unpacked {
    app: PathBuf,
    /// The configuration with its defaults.
    config: Map<String, Value>,
    configuration: Configuration,
}

impl Installation {
    /// Unpacks the application of a custom server. With requirements it gets a virtual environment, whose programs come
    /// first in `PATH`; without, no Python is needed.
    ///
    /// # Errors
    /// See [`Failure`]; its sentences are for the deployment's log.
    pub fn build_custom(&self, job: &Job, watch: Watch) -> Result<Application, Failure> {
        let Unpacked { app, configuration, .. } = self.unpack(job, watch)?;
        if configuration.requirements.is_empty() && configuration.requirements_file.is_none() {
            let Configuration { mut variables, build_commands, .. } = configuration;
            variables.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
            return Ok(Application { directory: app, variables, reads: Vec::new(), build_commands, model: None });
        }
        let model = self.build(job, watch)?;
        let Model { directory, variables, reads, build_commands, .. } = &model;
        Ok(Application {
            directory: directory.clone(),
            variables: variables.clone(),
            reads: reads.clone(),
            build_commands: build_commands.clone(),
            model: Some(Box::new(model)),
        })
    }

    fn unpack(&self, job: &Job, watch: Watch) -> Result<Unpacked, Failure> {
        let config = with_defaults(job.config);
        let configuration = Configuration::read(&config)?;
        configuration.notes.iter().for_each(|note| (watch.log)(note));
        configuration.check_system_packages(watch)?;
        disk::make_folder(job.folder)?;
        let app = job.folder.join("app");
        let unfinished = Unfinished::new(job.folder)?;
        if let Some(archive) = job.archive {
            application::unpack(archive, unfinished.path(), Limits::default(), watch.stop).map_err(
                |cause| match cause {
                    _ if watch.check().is_err() => Failure::Stopped,
                    ArchiveError::Content(why) => Failure::Build(format!("the archive cannot be unpacked: {why}")),
                    ArchiveError::Ours(cause) => Failure::Ours(cause),
                },
            )?;
        }
        unfinished.replace(&app)?;
        Ok(Unpacked { app, config, configuration })
    }
}

impl Maker<'_> {
    /// Reads the file that `requirements_file` names: lines, a project, or a lock file beside its project.
    fn read_file(&self, app: &Path, name: &str) -> Result<Requirements, Failure> {
        let wrong = |why: &str| Failure::Build(format!("requirements_file \"{}\" {why}", quoted(name)));
        let parts = parts(name).map_err(|_| wrong("leads outside of the archive"))?;
        let path = parts.iter().fold(app.to_owned(), |path, part| path.join(part));
        let text = read_text(&path).map_err(|why| wrong(&why))?;
        let ended = match path.file_name().and_then(|name| name.to_str()) {
            Some("pyproject.toml") => {
                let mut command = self.python.command(app);
                command.args(["-c", DEPENDENCIES]).arg(&path);
                tool::run(&mut command, &MAKE, Watch { log: &|_| {}, ..self.watch })?
            }
            Some("uv.lock") => self.export(&path, &text, &wrong)?,
            _ => return Requirements::read([text.as_str()]),
        };
        if !ended.status.success() {
            return Err(wrong(&format!("cannot be read: {}", ended.last_words)));
        }
        Requirements::read([ended.answer.as_str()])
    }

    /// Lets uv write a lock file as requirements. It sees nothing but the lock file and the project beside it.
    fn export(&self, path: &Path, lock: &str, wrong: &impl Fn(&str) -> Failure) -> Result<tool::Ended, Failure> {
        let Installer::Uv(uv) = &self.installer else {
            return Err(wrong("needs uv, which this machine does not have: ask its operator to `pip install uv`"));
        };
        let project = read_text(&path.with_file_name("pyproject.toml"))
            .map_err(|why| wrong(&format!("and its pyproject.toml {why}")))?;
        let work = Unfinished::new(&self.installation.folder("environments"))?;
        std::fs::write(work.path().join("uv.lock"), lock)?;
        std::fs::write(work.path().join("pyproject.toml"), project)?;
        let mut command = tool::command(uv, work.path());
        command.env("UV_CACHE_DIR", self.installation.folder("cache").join("uv"));
        command.args(["export", "--frozen", "--quiet", "--no-dev", "--no-hashes", "--no-annotate", "--no-header"]);
        command.args(["--no-emit-workspace", "--no-python-downloads", "--format=requirements-txt", "--python"]);
        command.arg(&self.python.executable);
        tool::run(&mut command, &MAKE, self.watch)
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).and_then(|file| match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::ErrorKind::NotFound.into()),
    });
    match file
        .map_err(|_| "is not in the archive".to_owned())?
        .take(REQUIREMENTS_BYTES_MAX + 1)
        .read_to_string(&mut text)
    {
        Ok(bytes) if bytes as u64 <= REQUIREMENTS_BYTES_MAX => Ok(text),
        Ok(_) => Err(format!("has more than {REQUIREMENTS_BYTES_MAX} bytes")),
        Err(_) => Err("is not UTF-8".to_owned()),
    }
}
