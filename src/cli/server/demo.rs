//! `guildhall demo`

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use crate::cli::server::running::RunnerOptions;
use crate::cli::server::serve::{self, Signal};
use crate::cli::{
    Failure, Format, Listen, Opened, Output, ProxyOptions, fixtures, log, now, open, operator, print, report, take,
    tell_of_key,
};
use crate::db::organizations;
use crate::domain::quotas::Settings;
use crate::server::{Hangup, Limits};
use crate::wire::fixtures::{Demo, LoadedOrganization, LoadedPerson};

mod client;
mod models;

const FIXTURES: [&str; 2] = [include_str!("../../../fixtures/acme.json"), include_str!("../../../fixtures/solo.json")];

/// The folder in a data directory that holds what models run on.
const RUNNER_FOLDER: &str = "runner";

/// Serve a demonstration: two organizations with people, teams and keys, and a running model in two teams
///
/// Without `--data` it uses a temporary directory, which is removed at the end. A directory given by `--data` must not contain an
/// organization yet, because the keys are shown once. To serve it again later, use `guildhall serve`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall demo
  guildhall demo --listen 127.0.0.1:0 -o json
  guildhall demo --data ./demo && guildhall serve --data ./demo")]
pub struct Options {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    proxy: ProxyOptions,
    #[command(flatten)]
    runner: RunnerOptions,
    #[command(flatten)]
    log: log::LogOptions,
    /// A data directory to keep it in
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

impl Options {
    pub fn log(&self) -> &log::LogOptions {
        &self.log
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let signal = Signal::watch(Hangup::Ends)?;
    match &options.data {
        Some(path) => show(options, path, Keep::Named, signal),
        None => {
            let temporary = Temporary::new()?;
            show(options, &temporary.0, Keep::UntilTheEnd, signal)
        }
    }
}

/// What happens to the directory at the end.
#[derive(Clone, Copy)]
enum Keep {
    Named,
    UntilTheEnd,
}

fn show(options: &Options, path: &Path, keep: Keep, signal: Signal) -> Result<(), Failure> {
    let runner = path.join(RUNNER_FOLDER);
    let had_runner = runner.exists();
    let directory = take(path)?;
    let listener = serve::bind(&options.listen)?;
    let address = listener.local_addr().map_err(|cause| Failure::new(format!("cannot listen: {cause}")))?;
    let Opened { app, has_new_key } = open(
        path,
        directory,
        options.proxy.reverse_proxy(&options.listen),
        Settings::default(),
        Some(&options.runner),
    )?;
    if app.db.read(now(), organizations::count)? > 0 {
        return Err(Failure::new(format!(
            "{0} holds organizations already, and keys are shown once: serve it with `guildhall serve --data {0}`, or \
             name another directory",
            path.display()
        )));
    }
    let url = format!("http://{address}");
    let mut organizations = Vec::new();
    let loaded = operator::ask_app(&app, fixtures::ROUTE, file().as_bytes(), |answer| {
        organizations = fixtures::read(answer)?.organizations;
        match options.format.output {
            Output::Json => {
                let demo = Demo { url: &url, organizations: &organizations };
                print(serde_json::to_string(&demo).expect("shapes of ours always serialize"))
            }
            Output::Text => print(page(&url, path, keep, &organizations)),
        }
    });
    if let Err(failure) = loaded {
        if !had_runner {
            let _ = std::fs::remove_dir_all(runner); // otherwise the directory stays, as one that is not empty
        }
        operator::abandon(app);
        return Err(failure);
    }
    if let Keep::Named = keep {
        tell_of_key(path, has_new_key);
    }
    let runs_models = app.machine.is_some();
    let format = options.format.output;
    serve::until_signal(app, path, listener, Limits::default(), signal, move |_| {
        if runs_models {
            run_models(address, url, organizations, format)?;
        }
        Ok(())
    })
}

/// Deploys the demo's models while the server serves, and prints how to call them. Without them the demo goes on.
fn run_models(
    server: SocketAddr,
    url: String,
    organizations: Vec<LoadedOrganization>,
    format: Output,
) -> Result<(), Failure> {
    let cannot = |cause: std::io::Error| Failure::new(format!("cannot run the demo's models: {cause}"));
    let run = move || match models::run(server, &url, &organizations) {
        Ok(page) if format == Output::Text => drop(print(page)), // who closed the output does not want it
        Ok(_) => {}
        Err(why) if is_listening(server) => report(format_args!("the demo's models do not run: {why}")),
        Err(_) => {} // the demo ends
    };
    std::thread::Builder::new().name("models of the demo".to_owned()).spawn(run).map(drop).map_err(cannot)
}

fn is_listening(server: SocketAddr) -> bool {
    TcpStream::connect(server).is_ok()
}

/// The fixtures as one file, so that all of them are loaded or none.
fn file() -> String {
    format!("[{}]", FIXTURES.join(","))
}

fn page(url: &str, path: &Path, keep: Keep, organizations: &[LoadedOrganization]) -> String {
    let end = match keep {
        Keep::Named => format!("It is kept in {}: `guildhall serve` goes on with it.", path.display()),
        Keep::UntilTheEnd => format!("It stands in {}, which is removed when this ends.", path.display()),
    };
    let people: Vec<&LoadedPerson> = organizations.iter().flat_map(|organization| &organization.people).collect();
    let (first, key) =
        people.first().map(|person| (variable(&person.name), &person.api_key)).expect("the demo has people");
    format!(
        "Guildhall is at {url}: {count} organizations to look around in. Ctrl-C ends it.\n{end}\n\n\
         These keys are shown this once.\n\n{keys}\
         For another terminal:\n\n{exports}\n\
         Try\n\n\
         \x20 curl -H \"Authorization: Bearer ${first}\" {url}/v1/teams\n\n\
         {truss}\n\n\
         and from Python, with `pip install baseten`:\n\n\
         \x20 from baseten.client import ManagementClient\n\
         \x20 client = ManagementClient(api_key=\"{key}\", base_url_override=\"{url}\")\n\
         \x20 print(client.api.get_teams())",
        count = organizations.len(),
        keys = fixtures::listing(organizations),
        exports = exports(&people),
        truss = truss(url, &first),
    )
}

/// One `export` line for each person, named by first name. A second person of that name gets a number.
fn exports(people: &[&LoadedPerson]) -> String {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let line = |person: &&LoadedPerson| {
        let name = variable(&person.name);
        let times = taken.entry(name.clone()).or_default();
        *times += 1;
        let number = if *times == 1 { String::new() } else { times.to_string() };
        format!("\x20 export {name}{number}={}\n", person.api_key)
    };
    people.iter().map(line).collect()
}

/// The first name as the name of a shell variable.
fn variable(name: &str) -> String {
    let first = name.split_whitespace().next().unwrap_or_default();
    let letters: String = first.nfd().filter(char::is_ascii_alphabetic).collect(); // drops accents
    if letters.is_empty() { "PERSON".to_owned() } else { letters.to_ascii_uppercase() }
}

/// Warns about other ports: truss knows one self-hosted address, and with any other it sends the key to Baseten.
fn truss(url: &str, variable: &str) -> String {
    if url.ends_with(":8000") {
        format!(
            "\x20 BASETEN_TRUSS_AUTH_REMOTE_URL=http://localhost:8000 \\\n\
             \x20 BASETEN_TRUSS_AUTH_API_KEY=${variable} truss whoami"
        )
    } else {
        "\x20 truss, once this listens on port 8000: told of any other, it sends REST calls with the key to Baseten"
            .to_owned()
    }
}

/// A directory that nobody else can enter, removed when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Temporary, Failure> {
        let path = std::env::temp_dir().join(format!("guildhall-demo-{:016x}", rand::random::<u64>()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Temporary(path)),
            Err(cause) => Err(Failure::new(format!("cannot make {}: {cause}", path.display()))),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            report(format_args!("cannot remove {}: {cause}", self.0.display()));
        }
    }
}
