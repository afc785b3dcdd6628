//! The log: its destination, level and format.
//!
//! A separate thread writes the lines to standard error. A slow or missing reader never delays a request: lines that do not
//! fit the queue are dropped.

use std::io::{BufWriter, IsTerminal as _};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// How many lines may wait for a slow reader.
const LINES_MAX: usize = 4096;

#[derive(clap::Args)]
pub struct LogOptions {
    /// The level of the log on standard error. `info` has one line per request [default: info; demo: warn]
    #[arg(long = "log", env = "GUILDHALL_LOG", value_enum, value_name = "LEVEL")]
    level: Option<Level>,
    /// The format of the log
    #[arg(long = "log-format", env = "GUILDHALL_LOG_FORMAT", value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// The running log. Dropping it writes the lines that wait, or gives up if nobody reads.
pub struct Log(#[expect(dead_code, reason = "it is held for what its drop does")] WorkerGuard);

/// Starts the log of a server. `default` is the level if the options set none.
pub fn begin(options: &LogOptions, default: Level) -> Log {
    let (writer, guard) = writer();
    let log = tracing_subscriber::fmt().with_max_level(options.level.unwrap_or(default).filter()).with_target(false);
    match options.format {
        Format::Text => log.with_ansi(std::io::stderr().is_terminal()).with_writer(writer).init(),
        Format::Json => log.json().flatten_event(true).with_current_span(false).with_writer(writer).init(),
    }
    Log(guard)
}

/// Starts the log of a command that ends by itself: internal errors only, as plain lines.
pub fn begin_of_command() -> Log {
    let (writer, guard) = writer();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .with_writer(writer)
        .init();
    Log(guard)
}

fn writer() -> (NonBlocking, WorkerGuard) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
    builder.finish(BufWriter::new(std::io::stderr()))
}
