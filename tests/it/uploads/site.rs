//! A server on a socket, with people who upload.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guildhall::api::{App, ReverseProxy};
use guildhall::db::directory::Directory;
use guildhall::db::{Db, Now, api_keys, teams, uploads};
use guildhall::domain::quotas::Settings;
use guildhall::domain::uploads::{Credentials, Purpose};
use guildhall::domain::{Archive, Time};
use guildhall::error::Error;
use guildhall::policy::TeamAct;
use guildhall::server::{Limits, Server, serve};
use guildhall::token::PlainKey;
use rusqlite::Connection;

use super::s3::S3;
use super::seed::organization;

pub struct BaseUrl {
    pub app: Arc<App>,
    pub ada: PlainKey,
    pub bob: PlainKey,
    /// Of the default team, for everything.
    pub team: PlainKey,
    /// Of the default team, for calls alone.
    pub invoke: PlainKey,
    server: Option<Server>,
    data: tempfile::TempDir,
}

impl BaseUrl {
    pub fn new() -> BaseUrl {
        BaseUrl::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Limits)) -> BaseUrl {
        BaseUrl::behind(ReverseProxy::default(), Settings::default(), change)
    }

    /// Clients reach it by HTTPS: a front ends TLS for it.
    pub fn behind_tls() -> BaseUrl {
        let public = guildhall::domain::BaseUrl::parse("https://guildhall.example.com").unwrap();
        BaseUrl::behind(ReverseProxy { public: Some(public), ..ReverseProxy::default() }, Settings::default(), |_| ())
    }

    pub fn with_quotas(quotas: Settings) -> BaseUrl {
        BaseUrl::behind(ReverseProxy::default(), quotas, |_| ())
    }

    fn behind(front: ReverseProxy, quotas: Settings, change: impl FnOnce(&mut Limits)) -> BaseUrl {
        let data = tempfile::tempdir().unwrap();
        let db = open(data.path(), quotas);
        let [ada, bob, team, invoke] = organization(data.path());
        let mut limits = Limits { workers: 2, ..Limits::default() };
        change(&mut limits);
        let app = Arc::new(App::behind(front, db));
        let server = serve(&app, TcpListener::bind("127.0.0.1:0").unwrap(), None, limits).unwrap();
        BaseUrl { app, ada, bob, team, invoke, server: Some(server), data }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.as_ref().unwrap().addr()
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn sql(&self, statement: &str) {
        Connection::open(self.data().join("guildhall.db")).unwrap().execute_batch(statement).unwrap();
        // A write of the server's own makes its readers look again.
        self.app.db.write_blocking(now(), |_| Ok(())).unwrap();
    }

    pub fn count(&self, query: &str) -> i64 {
        let sql = Connection::open(self.data().join("guildhall.db")).unwrap();
        sql.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Credentials as the server gives them at that time.
    pub fn credentials_at(&self, key: &PlainKey, time: Time) -> Credentials {
        let at = Now { time, ..now() };
        let read = self.app.db.read(at, |tx| {
            let (caller, _) = api_keys::caller(tx, key)?;
            let teams = teams::of_organization(tx, &caller)?;
            Ok(uploads::grant(tx, &caller.to_deploy_in_any(&teams)?, Purpose::Model))
        });
        read.unwrap()
    }

    pub fn client(&self, key: &PlainKey) -> S3 {
        S3::new(self.addr(), self.credentials_at(key, now().time))
    }

    pub fn take(&self, key: &PlainKey, s3_key: &str) -> Result<Archive, Error> {
        let (key, s3_key) = (PlainKey::parse(key.reveal()).unwrap(), s3_key.to_owned());
        self.app.db.write_blocking(now(), move |tx| {
            let (caller, _) = api_keys::caller(tx, &key)?;
            let home = teams::find(tx, "home")?;
            uploads::take(tx, &caller.in_team(&home, TeamAct::Deploy)?, Purpose::Model, &s3_key)
        })
    }

    /// All files under a folder of the data directory.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.data().join(folder))
    }

    /// Waits until nothing is under way: files are removed behind the answer.
    pub fn settles(&self) {
        self.waits_for("uploads", 0);
    }

    /// Waits until the sweep has left so many archives.
    pub fn sweeps_to(&self, archives: usize) {
        self.waits_for("archives", archives);
    }

    fn waits_for(&self, folder: &str, files: usize) {
        let patience = std::time::Instant::now() + Duration::from_secs(5);
        while self.files(folder).len() != files {
            assert!(std::time::Instant::now() < patience, "{folder}: {:?}", self.files(folder));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the server and starts another on the same directory.
    pub fn restart(mut self) -> BaseUrl {
        self.stop();
        let BaseUrl { app, ada, bob, team, invoke, data, .. } = self;
        drop(Arc::into_inner(app).expect("the server has let it go"));
        let app = Arc::new(App::new(open(data.path(), Settings::default())));
        let server = serve(&app, TcpListener::bind("127.0.0.1:0").unwrap(), None, Limits::default()).unwrap();
        BaseUrl { app, ada, bob, team, invoke, server: Some(server), data }
    }

    fn stop(&mut self) {
        let server = self.server.take().unwrap();
        server.stop();
        server.join();
    }
}

fn open(data: &Path, quotas: Settings) -> Db {
    Db::open_with(Directory::take(data).unwrap(), now(), quotas).unwrap()
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Now { time: Time(since.as_millis() as i64), seed: rand::random() }
}
