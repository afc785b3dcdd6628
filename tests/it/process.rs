//! The binary in its own process, and a simple client for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// The binary. Models do not run in its servers.
pub fn guildhall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    command.env_remove("GUILDHALL_DATA").env_remove("GUILDHALL_PUBLIC_URL").env("GUILDHALL_RUNNER", "off");
    command
}

/// Makes an organization with teams and answers its first admin's key.
pub fn init(data: &Path) -> String {
    let words =
        ["init", "--organization", "Acme", "--email", "ada@example.com", "--name", "Ada", "--teams", "-o", "json"];
    let output = guildhall().args(words).arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made["api_key"].as_str().unwrap().to_owned()
}

/// A running server. Dropped, it is killed.
pub struct Serving {
    process: Child,
    pub addr: SocketAddr,
}

impl Serving {
    pub fn start(data: &Path) -> Serving {
        Serving::by(guildhall(), data)
    }

    /// Started by a command that ends in the binary's name.
    pub fn by(command: Command, data: &Path) -> Serving {
        Serving::with(command, data, &[])
    }

    /// Started by a command that ends in the binary's name, with these options.
    pub fn with(mut command: Command, data: &Path, options: &[String]) -> Serving {
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(options).stderr(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut words =
            lines.map_while(Result::ok).flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let url =
            words.find_map(|word| word.strip_prefix("http://").map(str::to_owned)).expect("it says where it listens");
        let addr = url.trim_end_matches('/').parse().unwrap();
        Serving { process, addr }
    }

    /// What of it is in memory.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says how much");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// SIGTERM: it stops in order.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap()
    }

    /// SIGKILL: nothing is tidied up.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One connection, one request after the other.
pub struct Client {
    addr: SocketAddr,
    key: String,
    socket: Option<TcpStream>,
}

impl Client {
    pub fn new(addr: SocketAddr, key: &str) -> Client {
        Client { addr, key: key.to_owned(), socket: None }
    }

    pub fn send(&mut self, method: &str, target: &str, body: Option<Value>) -> std::io::Result<(u16, Value)> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => TcpStream::connect_timeout(&self.addr, PATIENCE)?,
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        write!(
            socket,
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )?;
        let answer = read_answer(&mut socket)?;
        self.socket = Some(socket);
        Ok(answer)
    }
}

fn read_answer(socket: &mut TcpStream) -> std::io::Result<(u16, Value)> {
    let cut_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut_off)?;
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(cut_off());
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| cut_off())?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
