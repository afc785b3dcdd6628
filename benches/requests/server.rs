//! A server in a process of its own, and what the kernel knows of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ticks of `/proc/<pid>/stat` a second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Server {
    process: Child,
    pub addr: SocketAddr,
}

impl Server {
    pub fn hello() -> Server {
        let this = std::env::current_exe().expect("this program has a path");
        Server::start(Command::new(this).arg(crate::hello::WORD))
    }

    pub fn serve(data: &Path) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        Server::start(command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::null()))
    }

    fn start(command: &mut Command) -> Server {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let url = lines.find_map(|line| {
            line.ok()?.split_whitespace().find_map(|word| word.strip_prefix("http://").map(str::to_owned))
        });
        let addr = url.expect("the server prints its URL").parse().expect("the URL is an address");
        Server { process, addr }
    }

    /// Processor time so far, of all its threads, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the server lives");
        let after_name = stat.rsplit_once(')').expect("the name stands in brackets").1;
        let ticks =
            |at: usize| after_name.split_whitespace().nth(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND * 1e6
    }

    pub fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
