//! `guildhall demo`

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::serve::{self, Signal};
use crate::cli::{
    Failure, Format, Front, Listen, Output, fixtures, log, moment, open, open_silently, operator, print, take, talk,
};
use crate::db::organizations;
use crate::http::App;
use crate::http::server::{Hangup, Limits};
use crate::wire::fixtures::{Demo, LoadedOrganization};

const FIXTURES: [&str; 2] = [include_str!("../../fixtures/acme.json"), include_str!("../../fixtures/solo.json")];

/// Serve an installation to look around in: two organizations with people, teams and keys
///
/// Without `--data` it stands in a directory of its own, which is removed at the end. A directory that is named must hold
/// no organization yet, for the keys are shown once; serve what a demo has left with `guildhall serve`.
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
    front: Front,
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

/// What becomes of the directory.
#[derive(Clone, Copy)]
enum Keep {
    Named,
    UntilTheEnd,
}

fn show(options: &Options, path: &Path, keep: Keep, signal: Signal) -> Result<(), Failure> {
    let directory = take(path)?;
    let listener = serve::bind(&options.listen)?;
    let front = options.front.front(&options.listen);
    let app = match keep {
        Keep::Named => open(path, directory, front)?,
        Keep::UntilTheEnd => open_silently(directory, front)?,
    };
    if app.db.read(moment(), organizations::count)? > 0 {
        return Err(Failure::new(format!(
            "{0} holds organizations already, and keys are shown once: serve it with `guildhall serve --data {0}`, or \
             name another directory",
            path.display()
        )));
    }
    let loaded = load(&app)?;
    serve::until_signal(app, path, listener, Limits::default(), signal, |url| match options.format.output {
        Output::Json => {
            let demo = Demo { url, organizations: &loaded };
            print(serde_json::to_string(&demo).expect("shapes of ours always serialize"))
        }
        Output::Text => print(page(url, path, keep, &loaded)),
    })
}

fn load(app: &Arc<App>) -> Result<Vec<LoadedOrganization>, Failure> {
    let mut organizations = Vec::new();
    for fixture in FIXTURES {
        let answer = operator::ask_app(app, fixtures::ROUTE, fixture.as_bytes())?;
        organizations.extend(fixtures::read(&answer)?.organizations);
    }
    Ok(organizations)
}

fn page(url: &str, path: &Path, keep: Keep, organizations: &[LoadedOrganization]) -> String {
    let end = match keep {
        Keep::Named => format!("It is kept in {}: `guildhall serve` goes on with it.", path.display()),
        Keep::UntilTheEnd => format!("It stands in {}, which is removed when this ends.", path.display()),
    };
    let keys = fixtures::listing(organizations);
    let key = organizations.iter().flat_map(|organization| &organization.people).map(|person| &person.api_key).next();
    let key = key.expect("the demo has people");
    format!(
        "Guildhall is at {url}: {count} organizations to look around in. Ctrl-C ends it.\n{end}\n\n\
         These keys are shown this once.\n\n{keys}\
         Try\n\n\
         \x20 curl -H 'Authorization: Bearer {key}' {url}/v1/teams\n\n\
         {truss}\n\n\
         and from Python, with `pip install baseten`:\n\n\
         \x20 from baseten.client import ManagementClient\n\
         \x20 client = ManagementClient(api_key=\"{key}\", base_url_override=\"{url}\")\n\
         \x20 print(client.api.get_teams())",
        count = organizations.len(),
        truss = truss(url, key),
    )
}

/// Truss knows one address that is not Baseten's own, and sends the key of any other to Baseten.
fn truss(url: &str, key: &str) -> String {
    if url.ends_with(":8000") {
        format!(
            "\x20 BASETEN_TRUSS_AUTH_REMOTE_URL=http://localhost:8000 \\\n\
             \x20 BASETEN_TRUSS_AUTH_API_KEY={key} truss whoami"
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
            talk(format_args!("cannot remove {}: {cause}", self.0.display()));
        }
    }
}
