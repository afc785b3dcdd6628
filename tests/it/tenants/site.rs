//! A server with a low memory limit, and two organizations on it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guildhall::domain::uploads::Credentials;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::neighbour::Figures;
use super::peer::{HOSTILE, NEIGHBOUR, Peer};
use crate::deployments::whole;
use crate::process::{guildhall, init};
use crate::uploads::s3::S3;

/// What the server may have in memory at most, ever.
const RESIDENT_MIB_MAX: u64 = 512;
/// What it may allocate; beyond that an allocation fails, which aborts it. The database and the code are mapped beside it.
const ALLOCATED_KIB_MAX: u64 = 640 << 10;
/// How long it may take to be itself again.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// Times are compared, so these tests do not run beside one another.
static ALONE: Mutex<()> = Mutex::new(());

pub struct BaseUrl {
    server: Server,
    pub hostile: Tenant,
    pub neighbour: Tenant,
    /// How the neighbour fared when it was last alone.
    pub quiet: Option<Figures>,
    data: PathBuf,
    options: Vec<String>,
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// An organization: its admin, its default team, and a key of that team for everything and one for calls alone.
pub struct Tenant {
    pub admin: Peer,
    pub team: String,
    pub deployer: Peer,
    pub invoker: Peer,
}

/// A running server. Dropped, it is killed.
struct Server {
    process: Child,
    addr: SocketAddr,
    log: PathBuf,
}

impl BaseUrl {
    pub fn new() -> BaseUrl {
        BaseUrl::with(&[])
    }

    /// A site whose server is started with these options.
    pub fn with(options: &[&str]) -> BaseUrl {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        BaseUrl::at(directory, data, options)
    }

    /// A site whose data directory is there, or will be made there.
    pub fn at(directory: tempfile::TempDir, data: PathBuf, options: &[&str]) -> BaseUrl {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let first = init(&data);
        let words = ["organization", "create", "Mallory", "--email", "mal@mallory.example", "--name", "Mal", "--teams"];
        let made = guildhall().args(words).args(["-o", "json", "--data"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let server = Server::start(&data, directory.path(), &options);
        let tenant = |from, key: &str| Tenant::new(Peer { addr: server.addr, from, key: Some(key.to_owned()) });
        let (neighbour, hostile) = (tenant(NEIGHBOUR, &first), tenant(HOSTILE, made["api_key"].as_str().unwrap()));
        BaseUrl { server, hostile, neighbour, quiet: None, data, options, directory, _alone: alone }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Somebody without a key.
    pub fn stranger(&self) -> Peer {
        Peer { addr: self.addr(), from: HOSTILE, key: None }
    }

    /// The process lives, has never held more memory than it may, and answers its health.
    #[track_caller]
    pub fn assert_lives(&mut self, after: &str) {
        if let Some(status) = self.server.process.try_wait().unwrap() {
            panic!("{after}: the server ended ({status}): {}", self.server.last_words());
        }
        let peak = self.peak_mib();
        assert!(peak <= RESIDENT_MIB_MAX, "{after}: the server held {peak} MiB");
        self.assert_healthy(after);
    }

    /// Within the time that it has to recover.
    #[track_caller]
    fn assert_healthy(&self, after: &str) {
        let begun = Instant::now();
        let peer = Peer { key: None, ..self.neighbour.admin.clone() };
        loop {
            match peer.send("GET", "/healthz", None) {
                Ok(reply) if reply.status == 200 => return,
                answer => assert!(begun.elapsed() < RECOVERY, "{after}: the server is not healthy: {answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the process held at most.
    pub fn peak_mib(&self) -> u64 {
        self.server.status_kib("VmHWM:") / 1024
    }

    pub fn resident_mib(&self) -> u64 {
        self.server.status_kib("VmRSS:") / 1024
    }

    /// Kills the server and starts it again on the same data: it comes up, stays, and the neighbour works.
    #[track_caller]
    pub fn assert_restarts(&mut self, after: &str) {
        self.server.kill();
        let begun = Instant::now();
        self.start();
        assert!(begun.elapsed() < RECOVERY, "{after}: the restart took {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(500)); // a worker that crashes it does so soon
        self.assert_lives(&format!("{after}, started again"));
        let body = json!({ "name": "after_restart", "value": after });
        self.neighbour.admin.post("/v1/secrets", body);
    }

    /// Starts the server again on the same data.
    fn start(&mut self) {
        self.server = Server::start(&self.data, self.directory.path(), &self.options);
        for tenant in [&mut self.hostile, &mut self.neighbour] {
            for peer in [&mut tenant.admin, &mut tenant.deployer, &mut tenant.invoker] {
                peer.addr = self.server.addr;
            }
        }
    }

    /// Changes the database while no server has it.
    pub fn edit(&mut self, change: impl FnOnce(&Connection)) {
        self.server.kill();
        let sql = Connection::open(self.data.join("guildhall.db")).unwrap();
        sql.execute_batch("PRAGMA synchronous = OFF").unwrap();
        change(&sql);
        drop(sql);
        self.start();
    }

    /// How many audit entries there are.
    pub fn entries(&self) -> i64 {
        let sql = Connection::open(self.data.join("guildhall.db")).unwrap();
        sql.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
    }

    /// The size of the database and of what is not in it yet.
    pub fn database_bytes(&self) -> u64 {
        let size = |name: &str| std::fs::metadata(self.data.join(name)).map_or(0, |file| file.len());
        size("guildhall.db") + size("guildhall.db-wal")
    }
}

impl Tenant {
    fn new(admin: Peer) -> Tenant {
        let team = text(&admin.get("/v1/teams")["teams"][0]["id"]);
        Tenant::of_team(admin, team)
    }

    /// Another team of the organization, and its keys.
    pub fn another_team(&self) -> Tenant {
        let made = self.admin.post("/v1/teams", json!({ "name": unique("Team ") }));
        Tenant::of_team(self.admin.clone(), text(&made["id"]))
    }

    fn of_team(admin: Peer, team: String) -> Tenant {
        let key = |category: &str| {
            let made = admin.post(&format!("/v1/teams/{team}/api_keys"), json!({ "type": category }));
            Peer { key: Some(text(&made["api_key"])), ..admin.clone() }
        };
        let (deployer, invoker) = (key("WORKSPACE_MANAGE_ALL"), key("WORKSPACE_INVOKE"));
        Tenant { admin, team, deployer, invoker }
    }

    /// A client of the S3 part with the credentials of one upload.
    pub fn upload(&self) -> S3 {
        let given = self.deployer.get("/v1/blobs/credentials/model");
        let credential = |name: &str| text(&given["creds"][name]);
        S3::new(
            self.deployer.addr,
            Credentials {
                s3_key: text(&given["s3_key"]),
                access_key_id: credential("aws_access_key_id"),
                secret_access_key: credential("aws_secret_access_key").into(),
                session_token: credential("aws_session_token").into(),
            },
        )
    }

    /// Uploads an archive and gives its key.
    #[track_caller]
    pub fn uploaded(&self, archive: &[u8]) -> String {
        let s3 = self.upload();
        s3.send(s3.request("PUT", "", archive)).is(200, "");
        s3.credentials.s3_key.clone()
    }

    /// Pushes an archive as a new model.
    #[track_caller]
    pub fn push(&self, name: &str, archive: &[u8]) -> Pushed {
        self.push_upload(name, &self.uploaded(archive))
    }

    #[track_caller]
    pub fn push_upload(&self, name: &str, s3_key: &str) -> Pushed {
        let deployment = json!({ "config": { "model_name": name } });
        let source = json!({ "kind": "model_archive", "name": name, "s3_key": s3_key, "deployment": deployment });
        let made = self.deployer.post(&format!("/v1/teams/{}/models", self.team), json!({ "source": source }));
        Pushed { model: text(&made["model"]["id"]), deployment: text(&made["deployment"]["id"]) }
    }

    pub fn status(&self, pushed: &Pushed) -> String {
        let at = format!("/v1/models/{}/deployments/{}", pushed.model, pushed.deployment);
        text(&self.deployer.get(&at)["status"])
    }

    /// How it ends, if it does so in time.
    pub fn outcome(&self, pushed: &Pushed, patience: Duration) -> String {
        let begun = Instant::now();
        loop {
            let status = self.status(pushed);
            let in_progress = ["BUILDING", "DEPLOYING", "LOADING_MODEL", "UPDATING"].contains(&status.as_str());
            if !in_progress || begun.elapsed() > patience {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A push like any other, up to a deployment that is active, and how long it took.
    #[track_caller]
    pub fn push_honestly(&self, name: &str) -> Duration {
        let begun = Instant::now();
        let pushed = self.push(name, &whole());
        let outcome = self.outcome(&pushed, Duration::from_secs(30));
        assert_eq!(outcome, "ACTIVE", "the push of {name} after {:?}", begun.elapsed());
        begun.elapsed()
    }
}

pub struct Pushed {
    pub model: String,
    pub deployment: String,
}

impl Server {
    fn start(data: &Path, logs: &Path, options: &[String]) -> Server {
        let log = logs.join("server.log");
        let said = logs.join("server.out");
        let mut command = Command::new("sh");
        let limited = format!("ulimit -c 0; ulimit -d {ALLOCATED_KIB_MAX}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(limited).arg(env!("CARGO_BIN_EXE_guildhall"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(options);
        command.env_remove("GUILDHALL_DATA").env_remove("GUILDHALL_PUBLIC_URL").env("GUILDHALL_RUNNER", "off");
        let errors = File::options().create(true).append(true).open(&log).unwrap();
        let process = command.stdin(Stdio::null()).stdout(File::create(&said).unwrap()).stderr(errors).spawn().unwrap();
        let mut server = Server { process, addr: SocketAddr::new(NEIGHBOUR, 0), log };
        let begun = Instant::now();
        loop {
            let said = std::fs::read_to_string(&said).unwrap();
            let url = said.split_whitespace().find_map(|word| word.strip_prefix("http://"));
            if let Some(addr) = url.and_then(|url| url.trim_end_matches('/').parse().ok()) {
                server.addr = addr;
                return server;
            }
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "the server does not start: {}", server.last_words());
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not say where it listens");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(600);
        log.get(from..).unwrap_or(&log).to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name that nothing else has.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{stem}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
