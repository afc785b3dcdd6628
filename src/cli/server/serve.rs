//! `guildhall serve`

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::api::App;
use crate::cli::server::{descriptors, log};
use crate::cli::{Data, Failure, Listen, Opened, ProxyOptions, Quotas, now, open, print, take, tell_of_key};
use crate::db::directory::{self, Directory};
use crate::db::first_run;
use crate::db::uploads::{self, Pushed};
use crate::domain::BaseUrl;
use crate::error::quoted;
use crate::server::{self, Hangup, Limits};
use crate::token::LinkToken;

/// Serve an installation
///
/// The URL is printed once the server listens. SIGTERM and SIGINT stop it after requests in progress are answered.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall serve
  guildhall serve --listen 127.0.0.1:0 --data /srv/guildhall
  guildhall serve --public-url https://guildhall.example.com")]
pub struct Options {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    proxy: ProxyOptions,
    /// How many connections one address may have; beyond that, a new connection closes the oldest idle one
    #[arg(
        long,
        env = "GUILDHALL_CONNECTIONS_PER_PEER",
        value_name = "N",
        default_value_t = Limits::default().connections_per_peer,
        value_parser = parse_count,
    )]
    connections_per_peer: usize,
    #[command(flatten)]
    quotas: Quotas,
    #[command(flatten)]
    log: log::LogOptions,
    #[command(flatten)]
    data: Data,
}

impl Options {
    pub fn log(&self) -> &log::LogOptions {
        &self.log
    }

    fn limits(&self) -> Limits {
        Limits { connections_per_peer: self.connections_per_peer, ..Limits::default() }
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let signal = Signal::watch(Hangup::IsNoted)?;
    let path = options.data.path()?;
    let directory = take(&path)?;
    let listener = bind(&options.listen)?;
    let Opened { app, has_new_key } =
        open(&path, directory, options.proxy.reverse_proxy(&options.listen), options.quotas.settings())?;
    tell_of_key(&path, has_new_key);
    tell_of_missing_archives(&app, &path)?;
    let setup = if app.db.read(now(), first_run::is_open)? { app.first_run.begin(now()) } else { None };
    if setup.is_some() {
        let data = path.display();
        tracing::warn!(
            "{data} holds no organization yet. To begin, open the setup link within 30 minutes, or stop this server and run \
             `guildhall init --organization NAME --email E --name N --data {data}`"
        );
    }
    let public = app.reverse_proxy.public.clone();
    until_signal(app, &path, listener, options.limits(), signal, |url| {
        // The log has the URL too, so a closed standard output is no error.
        print(url).unwrap_or_else(|failure| tracing::warn!("{}", failure.message));
        match setup {
            // Without the link nobody can begin: a closed standard output is an error here.
            Some(token) => print(setup_line(public.as_ref(), url, &token)),
            None => Ok(()),
        }
    })
}

/// The one line that shows the setup link. The log never has it.
fn setup_line(public: Option<&BaseUrl>, url: &str, token: &LinkToken) -> String {
    let base = public.map_or_else(|| url.to_owned(), BaseUrl::to_string);
    format!("Set up the first organization within 30 minutes: {base}/setup/{}", token.reveal())
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "must be a number from 1".to_owned())
}

/// Lists archives that the database names and that do not exist, as after a restore without `archives/`. The server starts anyway.
fn tell_of_missing_archives(app: &App, data: &Path) -> Result<(), Failure> {
    const NAMED_MAX: usize = 10;
    let (missing, pushed) = app.db.read(now(), |tx| {
        let mut missing = uploads::named(tx)?;
        missing.retain(|archive| !archive.path(data).exists());
        let first = missing.iter().take(NAMED_MAX);
        let pushed = first.map(|archive| uploads::pushed_with(tx, archive)).collect::<Result<Vec<_>, _>>()?;
        Ok((missing.len(), pushed))
    })?;
    if missing == 0 {
        return Ok(());
    }
    let archives = data.join("archives");
    let archives = archives.display();
    tracing::warn!(
        "archives that the database names are missing from {archives}: {missing}; put them back from a backup"
    );
    for pushed in &pushed {
        let Some(Pushed { kind, id, parent, organization }) = pushed.first() else { continue };
        let more = if pushed.len() > 1 { format!(", and {} more", pushed.len() - 1) } else { String::new() };
        let (parent, organization) = (quoted(parent), quoted(organization));
        tracing::warn!("an archive is missing of {kind} {id} of \"{parent}\" in \"{organization}\"{more}");
    }
    Ok(())
}

pub fn bind(listen: &Listen) -> Result<TcpListener, Failure> {
    TcpListener::bind(&listen.listen).map_err(|cause| {
        Failure::new(format!(
            "cannot listen on {}: {cause}; choose another with `--listen ADDRESS:PORT`",
            listen.listen
        ))
    })
}

/// Serves until a signal arrives, then stops in order: requests in progress, the operator's socket, the database. `ready` is
/// called with the URL.
pub fn until_signal(
    app: Arc<App>,
    path: &Path,
    listener: TcpListener,
    limits: Limits,
    signal: Signal,
    ready: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let socket = Directory::operator_socket(path);
    let operator = directory::bind_operator_socket(path)
        .map_err(|cause| Failure::new(directory::failed("make the operator's socket", &socket, &cause)))?;
    let server = server::serve(&app, listener, Some(operator), descriptors::fit(limits))
        .map_err(|cause| Failure::new(directory::failed("serve", path, &cause)))?;
    let url = format!("http://{}", server.addr());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), url, data = %path.display(), "started");
    let ended = ready(&url).and_then(|()| signal.wait());
    tracing::info!("stopping: requests in flight end first");
    server.stop();
    server.join();
    let _ = std::fs::remove_file(socket); // the next server would replace it
    tracing::info!("stopped");
    ended
}

/// The signals that stop a server. They are watched before the directory is locked, so an opened database is always closed in
/// order.
pub struct Signal(JoinHandle<std::io::Result<()>>);

impl Signal {
    pub fn watch(hangup: Hangup) -> Result<Signal, Failure> {
        let watch =
            std::thread::Builder::new().name("signals".to_owned()).spawn(move || server::wait_for_signal(hangup));
        Ok(Signal(watch.map_err(|cause| Failure::new(format!("cannot watch for signals: {cause}")))?))
    }

    fn wait(self) -> Result<(), Failure> {
        let came = self.0.join().unwrap_or_else(|_| Err(std::io::Error::other("the watch for signals panicked")));
        came.map_err(|cause| Failure::new(format!("cannot watch for signals: {cause}")))
    }
}
