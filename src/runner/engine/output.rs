//! What a process prints, as lines: bounded in length and rate.
//!
//! Beyond the rate lines are dropped, and read more slowly, so that a process that prints without end costs little. A line
//! of ours says how many were dropped.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

/// The maximum length of a line. The rest of a longer one is cut off.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// How many lines a process may print in a second, on average, and at once.
pub const LINES_PER_SECOND: f64 = 500.0;
pub const LINES_AT_ONCE: f64 = 5_000.0;
pub const BYTES_PER_SECOND: f64 = (512 << 10) as f64;
pub const BYTES_AT_ONCE: f64 = (4 << 20) as f64;

const READ_BYTES: usize = 64 << 10;
/// The pause after each read beyond the rate.
const PAUSE: Duration = Duration::from_millis(10);
/// How often dropped lines are told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
    /// The engine, about the process.
    Engine,
}

/// A line that a process printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub source: Source,
    pub text: String,
}

/// Receives lines. It is called on the process's own thread, and delays only what this process prints.
pub type Output = Box<dyn Fn(Line) + Send + Sync>;

/// The lines of one process.
pub struct Lines {
    output: Output,
    buffer: Vec<u8>,
    rate: Rate,
    dropped: u64,
    told: Instant,
}

/// One of the two streams, with the line that is not finished.
pub struct Stream {
    source: Source,
    file: File,
    line: Vec<u8>,
    cut_bytes: usize,
}

impl Stream {
    pub fn new(source: Source, file: File) -> Stream {
        Stream { source, file, line: Vec::new(), cut_bytes: 0 }
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Lines {
    pub fn new(output: Output) -> Lines {
        let now = Instant::now();
        Lines { output, buffer: vec![0; READ_BYTES], rate: Rate::new(now), dropped: 0, told: now }
    }

    /// Reads once what is there. False at the end of the stream.
    pub fn read(&mut self, stream: &mut Stream) -> bool {
        let read = match stream.file.read(&mut self.buffer) {
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => 0,
        };
        self.rate.spend(read, Instant::now());
        let buffer = std::mem::take(&mut self.buffer);
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let kept = text.len().min(LINE_BYTES_MAX - stream.line.len());
            stream.line.extend_from_slice(&text[..kept]);
            stream.cut_bytes += text.len() - kept;
            if is_whole {
                self.finish(stream);
            }
        }
        self.buffer = buffer;
        if read == 0 && !(stream.line.is_empty() && stream.cut_bytes == 0) {
            self.finish(stream);
        }
        if self.told.elapsed() >= TOLD_EVERY {
            self.tell_dropped();
        }
        if self.rate.is_exceeded() {
            std::thread::sleep(PAUSE);
        }
        read > 0
    }

    /// Passes on a line of the engine.
    pub fn tell(&self, text: String) {
        (self.output)(Line { source: Source::Engine, text });
    }

    fn finish(&mut self, stream: &mut Stream) {
        let line = std::mem::take(&mut stream.line);
        let cut_bytes = std::mem::take(&mut stream.cut_bytes);
        if !self.rate.allows_line() {
            self.dropped += 1;
            return;
        }
        let mut text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        if cut_bytes > 0 {
            text.push_str(&format!(" [{cut_bytes} bytes cut off]"));
        }
        (self.output)(Line { source: stream.source, text });
    }

    /// How many lines were dropped and not told.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Says how many lines were dropped since the last time.
    pub fn tell_dropped(&mut self) {
        if self.dropped == 0 {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.told = Instant::now();
        self.tell(format!(
            "{dropped} lines were dropped: the process may print {LINES_PER_SECOND} lines and {} KiB a second",
            BYTES_PER_SECOND / 1024.0
        ));
    }
}

/// What may still be printed now.
struct Rate {
    lines: f64,
    bytes: f64,
    at: Instant,
}

impl Rate {
    fn new(now: Instant) -> Rate {
        Rate { lines: LINES_AT_ONCE, bytes: BYTES_AT_ONCE, at: now }
    }

    fn spend(&mut self, bytes: usize, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.lines = (self.lines + seconds * LINES_PER_SECOND).min(LINES_AT_ONCE);
        let saved = (self.bytes + seconds * BYTES_PER_SECOND).min(BYTES_AT_ONCE);
        self.bytes = (saved - bytes as f64).max(-BYTES_PER_SECOND); // after a flood, it may print again in a second
    }

    fn allows_line(&mut self) -> bool {
        let allowed = !self.is_exceeded();
        if allowed {
            self.lines -= 1.0;
        }
        allowed
    }

    fn is_exceeded(&self) -> bool {
        self.lines < 1.0 || self.bytes < 0.0
    }
}
