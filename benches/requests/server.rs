//! A server in its own process, and the kernel's figures about it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Names another build to measure, to compare the two.
const OTHER_BINARY: &str = "GUILDHALL_BENCH_BINARY";
/// Ticks of `/proc/<pid>/stat` a second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Server {
    process: Child,
    pub addr: SocketAddr,
}

/// Processor time. The system's part is mostly what it costs to be woken by the load, which a server that does nothing
/// pays too; what a server costs itself is the user's part.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub user_micros: f64,
    pub system_micros: f64,
}

impl Server {
    pub fn hello() -> Server {
        let this = std::env::current_exe().expect("this program has a path");
        Server::start(Command::new(this).arg(crate::hello::WORD))
    }

    pub fn serve(data: &Path) -> Server {
        let mut command =
            Command::new(std::env::var_os(OTHER_BINARY).unwrap_or(env!("CARGO_BIN_EXE_guildhall").into()));
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

    /// Processor time so far, of all its threads.
    pub fn cpu(&self) -> Cpu {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the server lives");
        let after_name = stat.rsplit_once(')').expect("the name is in brackets").1;
        let micros = |at: usize| {
            let ticks = after_name.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok());
            ticks.unwrap_or_default() / TICKS_PER_SECOND * 1e6
        };
        Cpu { user_micros: micros(11), system_micros: micros(12) }
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
