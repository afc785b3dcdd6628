//! Programs of processes: this test binary, told by a variable what to be.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use super::*;

pub const VARIABLE: &str = "GUILDHALL_TESTS_INSIDE";
pub const ARGUMENTS: [&str; 3] = ["engine::inside::program", "--exact", "--nocapture"];

impl Bench {
    /// A launch of this binary.
    pub fn launch_inside(&self, id: &str, what: &str) -> Launch {
        let mut launch = self.launch(id, "");
        let own = std::env::current_exe().unwrap();
        launch.command = vec![own.to_str().unwrap().to_owned()];
        launch.command.extend(ARGUMENTS.map(str::to_owned));
        launch.variables.insert(VARIABLE.to_owned(), what.to_owned());
        launch.reads.push(own);
        launch
    }
}

#[test]
fn program() {
    match std::env::var(VARIABLE).as_deref() {
        Ok("server") => tree::serve_until_killed(),
        Ok("custom") => serve(),
        Ok("hog") => fill_memory(),
        Ok("sockets") => connect(),
        _ => {} // an ordinary test run
    }
}

/// A custom server: each answer has the head of its request and the secret `name`.
fn serve() {
    let port = std::env::var("OWN_PORT").or_else(|_| std::env::var("PORT")).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    println!("listening");
    for client in listener.incoming() {
        std::thread::spawn(|| answer(client.unwrap()));
    }
}

fn answer(client: std::net::TcpStream) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let folder = PathBuf::from(std::env::var("GUILDHALL_SECRETS_FOLDER").ok()?);
        let secret = std::fs::read_to_string(folder.join("name")).unwrap_or_else(|_| "none".to_owned());
        let is_upgrade = head.to_ascii_lowercase().contains("upgrade: echo") && !head.contains("/refuse");
        if is_upgrade {
            write!(&client, "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\r\n").ok()?;
            let mut buffer = [0; 1000];
            loop {
                let read = reader.read(&mut buffer).ok().filter(|read| *read > 0)?;
                (&client).write_all(&buffer[..read]).ok()?;
            }
        }
        let text = format!("{head}{}|{secret}", String::from_utf8_lossy(&body));
        write!(&client, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok()?;
    }
}

/// Fills memory, up to a bound of its own, and writes a file.
fn fill_memory() {
    std::fs::write(Path::new(&std::env::var_os("HOME").unwrap()).join("file"), vec![1; 3 << 20]).unwrap();
    let mut kept = Vec::new();
    for _ in 0..100 {
        kept.push(vec![1_u8; 4 << 20]);
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("filled {}", kept.len());
    std::thread::sleep(LONG);
}

/// Connects to sockets of another process: one by name alone, one by path.
fn connect() {
    let name = std::env::var("ABSTRACT").unwrap();
    let by_name = SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
    println!("abstract {}", by_name.is_ok());
    println!("path {}", UnixStream::connect(std::env::var("PATHNAME").unwrap()).is_ok());
}
