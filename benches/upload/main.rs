//! The cost of an upload, compared with `cp` and fsync of the same file on the same disk in the same run.
//!
//! The client runs on the same cores. In a multipart upload, as boto3 sends it, the client hashes every byte to sign
//! it, and the server hashes every byte to check it. On two cores that others also use, no ratio is stable, so this
//! figure is shown but has no limit.
//!
//! ```text
//! cargo bench --bench upload             1 GiB; fails if one PUT is below half of `cp`, or if the server grows by 32 MiB
//! cargo bench --bench upload -- quick    128 MiB; fails on growth alone
//! ```

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/process.rs"]
mod process;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/uploads/s3.rs"]
mod s3;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use guildhall::domain::uploads::Credentials;
use process::{Client, Serving, init};
use s3::{S3, head, noise, read};

const ROUNDS: usize = 5;
const PART_BYTES: usize = 8 << 20;
/// As many as boto3 has.
const THREADS: usize = 10;
const RATIO_MIN: f64 = 0.5;
const GROWTH_MIB_MAX: f64 = 32.0;

fn main() -> ExitCode {
    let quick = std::env::args().any(|word| word == "quick");
    let bytes = if quick { 128 << 20 } else { 1 << 30 };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let (data, source) = (folder.path().join("data"), folder.path().join("source"));
    std::fs::write(&source, noise(bytes)).expect("there is room for the file");
    let key = init(&data);
    let mut command = process::guildhall();
    command.env("GUILDHALL_PUBLIC_URL", "https://guildhall.example.com"); // bodies come unsigned, as by HTTPS
    let server = Serving::by(command, &data);
    put(&S3::new(server.addr, credentials(server.addr, &key)), &source, 0); // what is made once is made now
    let process = Process::of(&data);
    let before = process.resident_mib();
    let (mut copy, mut whole, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copy.push(rate(bytes, || copied(&source, &folder.path().join("copy"))));
        let client = S3::new(server.addr, credentials(server.addr, &key));
        whole.push(rate(bytes, || put(&client, &source, bytes)));
        let client = S3::new(server.addr, credentials(server.addr, &key));
        parts.push(rate(bytes, || put_in_parts(&client, &source)));
    }
    let growth = process.peak_mib() - before;
    let [copy, whole, parts] = [copy, whole, parts].map(median);
    println!("{} MiB, medians of {ROUNDS} rounds", bytes >> 20);
    println!("  cp + fsync        {copy:>7.0} MB/s");
    println!("  one PUT           {whole:>7.0} MB/s  {:>5.2} ×", whole / copy);
    println!("  parts of 8 MiB    {parts:>7.0} MB/s  {:>5.2} ×", parts / copy);
    println!("  resident before {before:.1} MiB, at most {growth:.1} MiB more");
    let slow = !quick && whole < RATIO_MIN * copy;
    if slow || growth >= GROWTH_MIB_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn credentials(addr: SocketAddr, key: &str) -> Credentials {
    let answer = Client::new(addr, key).send("GET", "/v1/blobs/credentials/model", None);
    let (_, granted) = answer.expect("the server answers");
    let text = |value: &serde_json::Value| value.as_str().expect("it is granted").to_owned();
    Credentials {
        s3_key: text(&granted["s3_key"]),
        access_key_id: text(&granted["creds"]["aws_access_key_id"]),
        secret_access_key: text(&granted["creds"]["aws_secret_access_key"]).into(),
        session_token: text(&granted["creds"]["aws_session_token"]).into(),
    }
}

fn copied(source: &Path, target: &Path) {
    let _ = std::fs::remove_file(target);
    let copied = Command::new("cp").arg(source).arg(target).status().expect("cp is there");
    assert!(copied.success());
    File::open(target).and_then(|file| file.sync_all()).expect("it is on the disk");
}

fn put(client: &S3, source: &Path, bytes: usize) {
    let sent = client.hashed("PUT", &client.path(), b"", "UNSIGNED-PAYLOAD");
    let sent = client.sign(sent.with("content-length", &bytes.to_string()));
    let mut socket = client.connect();
    socket.write_all(&head(&sent)).expect("the server listens");
    let mut content = std::io::Read::take(File::open(source).expect("it was written"), bytes as u64);
    std::io::copy(&mut content, &mut socket).expect("the server takes it all");
    assert_eq!(read(&mut socket).status, 200);
}

fn put_in_parts(client: &S3, source: &Path) {
    let upload = client.create();
    let count = std::fs::metadata(source).expect("it was written").len() as usize / PART_BYTES;
    let (source, next) = (File::open(source).expect("it was written"), AtomicUsize::new(0));
    let mut parts: Vec<(usize, String)> = std::thread::scope(|scope| {
        let send = || {
            let mut buffer = vec![0; PART_BYTES];
            let mut sent = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return sent;
                }
                let offset = (at * PART_BYTES) as u64;
                std::os::unix::fs::FileExt::read_exact_at(&source, &mut buffer, offset).expect("it is that long");
                sent.push((at, client.part(&upload, at as u16 + 1, &buffer)));
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(send)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("all parts are taken")).collect()
    });
    parts.sort();
    let list: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    assert_eq!(client.complete(&upload, &list).status, 200);
}

/// Megabytes a second.
fn rate(bytes: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// What the kernel knows of the server.
struct Process(String);

impl Process {
    /// The server of a data directory: its lock holds its number.
    fn of(data: &Path) -> Process {
        let lock = std::fs::read_to_string(data.join("lock")).expect("the server holds it");
        Process(format!("/proc/{}", lock.trim()))
    }

    fn resident_mib(&self) -> f64 {
        std::fs::write(format!("{}/clear_refs", self.0), "5").expect("the peak can be set back");
        self.mib("VmRSS:")
    }

    fn peak_mib(&self) -> f64 {
        self.mib("VmHWM:")
    }

    fn mib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("{}/status", self.0)).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
    }
}
