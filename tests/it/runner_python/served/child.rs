//! Processes of models, and a plain client for them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Built;

pub const TOKEN: &str = "a token of this test";
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Puts the socket and the pipe where the launcher expects them.
const HAND_OVER: &str = r#"exec 3<&0 4<&1 0</dev/null 1>&2; exec "$@""#;

/// A connection to a server, wherever it listens.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

pub trait Server {
    fn connect(&self) -> Box<dyn Wire>;
    /// Headers that every request needs.
    fn headers(&self) -> String;

    fn call(&self, call: &Call) -> Answer {
        let mut wire = self.connect();
        let Call { method, path, headers, body } = call;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: model\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        write!(wire, "{head}{}{headers}\r\n", self.headers()).unwrap();
        wire.write_all(body).unwrap();
        Answer::read(wire)
    }

    fn get(&self, path: &str) -> Answer {
        self.call(&Call { method: "GET", path, headers: "", body: b"" })
    }

    fn predict(&self, body: &str) -> Answer {
        self.call(&Call { method: "POST", path: "/v1/models/model:predict", headers: "", body: body.as_bytes() })
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while self.get("/v1/models/model").status != 200 {
            assert!(begun.elapsed() < READY_WITHIN, "it does not load");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Whole lines.
    pub headers: &'a str,
    pub body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(wire: Box<dyn Wire>) -> Answer {
        let mut reader = BufReader::new(wire);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or((line.trim_end(), ""));
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            loop {
                line.clear();
                reader.read_line(&mut line).unwrap();
                let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
                let mut chunk = vec![0; length + 2];
                if length == 0 || reader.read_exact(&mut chunk).is_err() {
                    break;
                }
                body.extend_from_slice(&chunk[..length]);
            }
        } else {
            let _ = reader.read_to_end(&mut body);
        }
        Answer { status, headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }
}

/// A model's process as the runner starts it.
pub struct Ours {
    child: Child,
    control: Option<PipeWriter>,
    pub built: Built,
}

impl Ours {
    pub fn start(built: Built, secrets: &BTreeMap<String, String>, dynamic_config: Value) -> Ours {
        let listener = UnixListener::bind(built.folder.path().join("socket")).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", HAND_OVER, "sh"]).args(&built.model.command).current_dir(&built.model.directory);
        command.env_clear().envs(&built.model.variables);
        command.env("HOME", built.folder.path().join("home")).env("TMPDIR", built.folder.path().join("tmp"));
        let child = command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(reader)).spawn().unwrap();
        let mut ours = Ours { child, control: Some(writer), built };
        ours.say(secrets, dynamic_config);
        ours
    }

    pub fn say(&mut self, secrets: &BTreeMap<String, String>, dynamic_config: Value) {
        let dynamic_config = if dynamic_config.is_null() { json!({}) } else { dynamic_config };
        let line = json!({"secrets": secrets, "dynamic_config": dynamic_config, "token": TOKEN});
        writeln!(self.control.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> UnixStream {
        UnixStream::connect(self.built.folder.path().join("socket")).unwrap()
    }

    /// Closes the pipe, as the end of the server does. Answers how long the process still lived.
    pub fn abandon(&mut self) -> Duration {
        self.control = None;
        let begun = Instant::now();
        assert!(self.ends(), "it outlives its parent");
        begun.elapsed()
    }

    pub fn ends(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < READY_WITHIN {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Server for Ours {
    fn connect(&self) -> Box<dyn Wire> {
        Box::new(self.socket())
    }

    fn headers(&self) -> String {
        format!("x-guildhall-token: {TOKEN}\r\n")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same model on the server of the package, without us: its files lie beside the model's, as in Baseten's images.
pub struct Stock {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Stock {
    pub fn start(ours: &Ours, secrets: &BTreeMap<String, String>) -> Stock {
        let folder = tempfile::tempdir().unwrap();
        let [python, _, app, server, config] = ours.built.model.command.as_slice() else { panic!("five arguments") };
        for from in [server, app] {
            copy(Path::new(from), folder.path());
        }
        std::fs::copy(config, folder.path().join("config.yaml")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        command.arg("main.py").current_dir(folder.path()).env_clear().envs(&ours.built.model.variables);
        command.env("HOME", folder.path()).env("INFERENCE_SERVER_PORT", port.to_string());
        command.env("PYTHONPATH", folder.path().join("packages")); // /packages in an image
        command.envs(secrets.iter().map(|(name, value)| (format!("TRUSS_SECRET_{name}"), value)));
        Stock { child: command.stdin(Stdio::null()).spawn().unwrap(), port, _folder: folder }
    }
}

impl Server for Stock {
    fn connect(&self) -> Box<dyn Wire> {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => return Box::new(stream),
                Err(cause) => assert!(begun.elapsed() < READY_WITHIN, "{cause}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn headers(&self) -> String {
        String::new()
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
