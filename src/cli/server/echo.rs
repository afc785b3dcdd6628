//! `guildhall echo`: a small HTTP server that stands for a model in the demo, the tests and the benches.
//!
//! It answers each request with what it received, and with the SHA-256 of one secret, which it reads again for each call.
//! Its options make it misbehave as models may: late, silent or endless answers, an early end, a server that is never ready.

use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::Failure;
use crate::cli::output::print;

mod http;

use http::{Body, Incoming, Request};

/// A thread of a connection holds no large values on its stack.
const STACK_BYTES: usize = 256 << 10;
/// The most pieces in a stream. `--endless-body` has no maximum.
const CHUNKS_MAX: u64 = 100_000;

/// Answer HTTP requests with what they hold: the model of the demo
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Options {
    /// The port to listen on, at 127.0.0.1; 0 picks a free one
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// The secret whose SHA-256 is in each answer
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// The folder that holds a file for each secret
    #[arg(long, env = "GUILDHALL_SECRETS_FOLDER", value_name = "DIR", default_value = "/secrets")]
    secrets_folder: PathBuf,
    /// The deployment that each answer names
    #[arg(long, env = "GUILDHALL_DEPLOYMENT_ID", value_name = "ID")]
    deployment: Option<String>,
    /// How long each call takes
    #[arg(long, value_name = "N", default_value_t = 0)]
    sleep_ms: u64,
    /// End with status 1 after this time
    #[arg(long, value_name = "N")]
    exit_after_ms: Option<u64>,
    /// Answer 503 to `GET /health`
    #[arg(long)]
    never_ready: bool,
    /// Answer calls with headers that never end
    #[arg(long)]
    endless_headers: bool,
    /// Answer calls with a body that never ends
    #[arg(long)]
    endless_body: bool,
    /// Never answer calls
    #[arg(long)]
    hang: bool,
    /// Print this many lines at the start
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    print: u64,
    /// Print a line of JSON for each call
    #[arg(long)]
    log_calls: bool,
}

/// Serves until it is killed.
///
/// # Errors
///
/// If it cannot listen on the port.
pub fn run(options: &Options) -> Result<(), Failure> {
    let failed = |cause| Failure::new(format!("cannot listen on port {}: {cause}", options.port));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).map_err(failed)?;
    print(format_args!("listening on http://{}", listener.local_addr().map_err(failed)?))?;
    for line in 0..options.print {
        print(format_args!("line {line}"))?;
    }
    if let Some(millis) = options.exit_after_ms {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            process::exit(1);
        });
    }
    let model = Arc::new(Model::of(options));
    for connection in listener.incoming() {
        let Ok(connection) = connection else {
            std::thread::sleep(Duration::from_millis(20)); // out of descriptors: some will be closed
            continue;
        };
        let model = Arc::clone(&model);
        let serve = move || drop(model.serve(connection)); // an error means that the client is gone
        if let Err(cause) = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(serve) {
            eprintln!("a connection is refused: {cause}");
        }
    }
    Ok(())
}

/// What it does with calls.
#[derive(Clone, Copy)]
enum Conduct {
    Answer,
    Hang,
    EndlessHeaders,
    EndlessBody,
}

struct Model {
    conduct: Conduct,
    is_ready: bool,
    sleep: Duration,
    logs_calls: bool,
    secret: Option<PathBuf>,
    deployment: Option<String>,
}

impl Model {
    fn of(options: &Options) -> Model {
        let conduct = match options {
            Options { hang: true, .. } => Conduct::Hang,
            Options { endless_headers: true, .. } => Conduct::EndlessHeaders,
            Options { endless_body: true, .. } => Conduct::EndlessBody,
            _ => Conduct::Answer,
        };
        Model {
            conduct,
            is_ready: !options.never_ready,
            sleep: Duration::from_millis(options.sleep_ms),
            logs_calls: options.log_calls,
            secret: options.secret.as_ref().map(|name| options.secrets_folder.join(name)),
            deployment: options.deployment.clone(),
        }
    }

    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut out = connection.try_clone()?;
        let mut from = BufReader::with_capacity(16 << 10, connection);
        loop {
            let request = match http::read(&mut from, &mut out)? {
                Incoming::Request(request) => request,
                Incoming::Refused(why) => return http::answer(&mut out, 400, &json!({ "error": why })),
                Incoming::End => return Ok(()),
            };
            match request.path() {
                "/health" if self.is_ready => http::answer(&mut out, 200, &json!({ "status": "ready" }))?,
                "/health" => http::answer(&mut out, 503, &json!({ "status": "loading" }))?,
                _ => self.call(&request, &mut out)?,
            }
            if request.is_last {
                return Ok(());
            }
        }
    }

    fn call(&self, request: &Request, out: &mut TcpStream) -> io::Result<()> {
        if !self.sleep.is_zero() {
            std::thread::sleep(self.sleep);
        }
        if self.logs_calls {
            println!("{}", json!({ "levelname": "INFO", "message": "answers a call", "request_id": request.id() }));
        }
        match self.conduct {
            Conduct::Hang => loop {
                std::thread::park();
            },
            Conduct::EndlessHeaders => {
                out.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    out.write_all(b"x-endless: header\r\n")?;
                }
            }
            Conduct::EndlessBody => {
                let mut body = Body::begin(out)?;
                loop {
                    body.piece(&[b'.'; 4096])?;
                }
            }
            Conduct::Answer => match request.input() {
                Ok(input) => self.answer(request, input, out),
                Err(cause) => http::answer(out, 400, &json!({ "error": format!("the body is no JSON: {cause}") })),
            },
        }
    }

    fn answer(&self, request: &Request, input: Value, out: &mut TcpStream) -> io::Result<()> {
        if input.get("stream").and_then(Value::as_bool) == Some(true) {
            return self.stream(&input, out);
        }
        let headers = input.get("show_headers").and_then(Value::as_bool).unwrap_or_default();
        let mut answer = json!({
            "secret_sha256": self.secret_sha256(),
            "input": input,
            "process": process::id(),
            "deployment": self.deployment,
            "request_id": request.id(),
            "method": request.method,
            "path": request.target,
        });
        if headers {
            let named = request.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            answer["headers"] = Value::Object(named.collect::<Map<_, _>>());
        }
        http::answer(out, 200, &answer)
    }

    /// Streams `chunks` lines of JSON, one each `chunk_ms` milliseconds.
    fn stream(&self, input: &Value, out: &mut TcpStream) -> io::Result<()> {
        let number = |name: &str, default| input.get(name).and_then(Value::as_u64).unwrap_or(default);
        let (chunks, pause) = (number("chunks", 4).min(CHUNKS_MAX), Duration::from_millis(number("chunk_ms", 0)));
        let secret_sha256 = self.secret_sha256();
        let mut body = Body::begin(out)?;
        for chunk in 0..chunks {
            if chunk > 0 && !pause.is_zero() {
                std::thread::sleep(pause);
            }
            let line = json!({ "chunk": chunk, "secret_sha256": secret_sha256, "process": process::id() });
            body.piece(format!("{line}\n").as_bytes())?;
        }
        body.end()
    }

    /// The SHA-256 of the secret as it is now. `None` if there is no such secret.
    fn secret_sha256(&self) -> Option<String> {
        let secret = std::fs::read(self.secret.as_ref()?).ok()?;
        Some(Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
