//! The command line: commands, options and exit codes.
//!
//! Standard output carries data, standard error carries messages. Commands that write use the operator's routes, with or
//! without a running server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use rustix::fs::Mode;

use crate::api::{App, ReverseProxy, S3Hosts};
use crate::db::directory::{Directory, Refusal};
use crate::db::{self, Db, Now};
use crate::domain::network::Network;
use crate::domain::quotas::{Setting, Settings};
use crate::domain::{BaseUrl, Time};
use crate::error::Error;
use crate::server::operator::Answered;
use crate::wire;

mod output;
mod permissions;
mod server;
mod smtp;

use output::{print, report};
use server::running::RunnerOptions;
use server::{
    demo, echo, fixtures, init, log, model_api, operator, organization, process, runner, secrets, serve, user,
};

/// Teams for an organization, self-hosted
#[derive(Parser)]
#[command(name = "guildhall", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  not signed in, or not allowed
  4  not found
  5  refused for what was asked: a value, or a conflict with what is there
  6  the server failed";

#[derive(Subcommand)]
enum Action {
    Serve(serve::Options),
    Demo(demo::Options),
    Init(init::Options),
    #[command(subcommand)]
    Organization(organization::Action),
    #[command(subcommand)]
    Fixtures(fixtures::Action),
    #[command(subcommand)]
    Secrets(secrets::Action),
    #[command(subcommand)]
    User(user::Action),
    #[command(subcommand)]
    Runner(runner::Action),
    #[command(subcommand)]
    ModelApi(model_api::Action),
    Permissions(permissions::Options),
    Echo(echo::Options),
    #[command(subcommand, hide = true)]
    Process(process::Part),
}

/// Parses the arguments. An environment variable with an empty value counts as unset, as compose files and units expect.
fn parse() -> Command {
    let matches = without_empty_variables(Command::command()).get_matches();
    Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO); // new files are for this user only
    let action = parse().action;
    if let Action::Process(part) = &action {
        return process::run(part);
    }
    let _log = match &action {
        Action::Serve(options) => log::begin(options.log(), log::Level::Info),
        Action::Demo(options) => log::begin(options.log(), log::Level::Warn),
        Action::Init(_)
        | Action::Organization(_)
        | Action::Fixtures(_)
        | Action::Secrets(_)
        | Action::User(_)
        | Action::Runner(_)
        | Action::ModelApi(_)
        | Action::Process(_)
        | Action::Permissions(_)
        | Action::Echo(_) => log::begin_of_command(),
    };
    let done = match action {
        Action::Serve(options) => serve::run(&options),
        Action::Demo(options) => demo::run(&options),
        Action::Init(options) => init::run(&options),
        Action::Organization(action) => organization::run(&action),
        Action::Fixtures(action) => fixtures::run(&action),
        Action::Secrets(action) => secrets::run(&action),
        Action::User(action) => user::run(&action),
        Action::Runner(action) => runner::run(&action),
        Action::ModelApi(action) => model_api::run(&action),
        Action::Permissions(options) => permissions::run(&options),
        Action::Echo(options) => echo::run(&options),
        Action::Process(part) => return process::run(&part),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(format_args!("guildhall: {}", failure.message));
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

/// The exit code of a failed command. Wrong usage is 2, which clap reports.
#[derive(Clone, Copy, Debug)]
enum Exit {
    Failed = 1,
    NotAllowed = 3,
    NotFound = 4,
    Refused = 5,
    Server = 6,
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into() }
    }

    fn refused(answered: &Answered) -> Failure {
        let message = match serde_json::from_slice(&answered.body) {
            Ok(wire::Refused { message }) => message,
            Err(_) => format!("the server answered with status {}", answered.status),
        };
        Failure { exit: exit(answered.status), message }
    }
}

/// The message of a failure. An internal error shows its cause: the person who runs the command may read it.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Internal(cause) | Error::Defect(cause) => Failure::new(cause),
            other => Failure { exit: exit(other.status().0), message: other.to_string() },
        }
    }
}

fn exit(status: u16) -> Exit {
    match status {
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        400..500 => Exit::Refused,
        _ => Exit::Server,
    }
}

// ---- options ----

#[derive(Args)]
struct Data {
    /// The data directory [default: $XDG_DATA_HOME/guildhall, or ~/.local/share/guildhall]
    #[arg(long, env = "GUILDHALL_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Data {
    fn path(&self) -> Result<PathBuf, Failure> {
        let given = self.data.clone();
        given
            .or_else(|| data_home(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME")))
            .ok_or_else(|| Failure::new("there is no home directory: name a data directory with `--data DIR`"))
    }
}

fn data_home(xdg_data_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let set = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let data_home = set(xdg_data_home).or_else(|| Some(set(home)?.join(".local/share")));
    Some(data_home?.join("guildhall"))
}

/// The reverse proxy in front of the server.
#[derive(Args)]
struct ProxyOptions {
    /// The URL by which clients reach the server if a reverse proxy terminates TLS; links begin with it
    #[arg(long, env = "GUILDHALL_PUBLIC_URL", value_name = "URL", value_parser = BaseUrl::parse)]
    public_url: Option<BaseUrl>,
    /// The reverse proxy also receives requests for S3's host for the bucket guildhall-uploads, where Go clients send archives
    #[arg(long, requires = "public_url")]
    s3_hosts: bool,
    /// Addresses or networks of trusted proxies: their connections are not counted as one client's, and their `X-Forwarded-For`
    /// gives the client's address
    #[arg(long, env = "GUILDHALL_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',', value_parser = Network::parse)]
    trusted_proxies: Vec<Network>,
}

impl ProxyOptions {
    fn reverse_proxy(&self, listen: &Listen) -> ReverseProxy {
        ReverseProxy {
            public: self.public_url.clone(),
            listen: BaseUrl::of_host(&listen.listen).ok(),
            s3_hosts: if self.s3_hosts { S3Hosts::Here } else { S3Hosts::Elsewhere },
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }
}

/// Quotas of teams, organizations and callers.
#[derive(Args)]
struct Quotas {
    /// A quota, such as database_bytes=4GiB; repeat the option for several
    #[arg(
        long,
        env = "GUILDHALL_QUOTA",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        value_parser = Setting::parse,
        long_help = Setting::HELP
    )]
    quota: Vec<Setting>,
}

impl Quotas {
    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        self.quota.iter().for_each(|setting| setting.apply(&mut settings));
        settings
    }
}

#[derive(Args)]
struct Listen {
    /// The address to listen on; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS:PORT")]
    listen: String,
}

#[derive(Args)]
struct Format {
    /// The format of standard output
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

// ---- shared functions ----

/// Locks the data directory.
///
/// # Errors
///
/// If another process holds it; the message says which.
fn take(path: &Path) -> Result<Directory, Failure> {
    Directory::take(path).map_err(|refusal| not_taken(path, refusal))
}

fn not_taken(path: &Path, refusal: Refusal) -> Failure {
    Failure::new(match refusal {
        Refusal::Held(Some(pid)) => format!("{} is in use by another guildhall, process {pid}", path.display()),
        Refusal::Held(None) => format!("{} is in use by another guildhall", path.display()),
        Refusal::Failed(why) => why,
    })
}

/// An opened installation.
struct Opened {
    app: Arc<App>,
    /// Whether the master key was created just now.
    has_new_key: bool,
}

/// Opens the installation of a directory, and prints what the operator must know.
///
/// `runner` runs models there, if it is given.
fn open(
    path: &Path,
    directory: Directory,
    reverse_proxy: ReverseProxy,
    quotas: Settings,
    runner: Option<&RunnerOptions>,
) -> Result<Opened, Failure> {
    let had_key = Directory::master_key(path).exists();
    let mut app = App::behind(reverse_proxy, Db::open_with(directory, now(), quotas)?);
    if let Some(machine) = runner.map(|runner| runner.machine(path)).transpose()?.flatten() {
        app.run_models(machine);
    }
    let app = Arc::new(app);
    app.db.notes().iter().for_each(|note| tracing::warn!("{note}"));
    if let Some(db::Migrated { from, to, copy }) = app.db.migrated() {
        let copy = copy.display();
        tracing::warn!("migrated the database from schema {from} to {to}; a copy from before is {copy}");
    }
    Ok(Opened { app, has_new_key: !had_key })
}

/// Tells the operator about a new master key.
fn tell_of_key(path: &Path, has_new_key: bool) {
    if has_new_key {
        let key = Directory::master_key(path);
        let key = key.display();
        tracing::warn!("made the master key {key}: back this up, without it no secret can be read again");
    }
}

/// The current time, with a new seed.
fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 is no clock
    Now { time: Time(since.as_millis() as i64), seed: rand::random() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_kept_where_the_platform_says() {
        let path = |text: &str| Some(OsString::from(text));
        assert_eq!(data_home(path("/xdg"), path("/users/ada")), Some(PathBuf::from("/xdg/guildhall")));
        assert_eq!(data_home(None, path("/users/ada")), Some(PathBuf::from("/users/ada/.local/share/guildhall")));
        assert_eq!(
            data_home(path("xdg"), path("/users/ada")),
            Some(PathBuf::from("/users/ada/.local/share/guildhall"))
        );
        assert_eq!(data_home(None, None), None);
    }
}
