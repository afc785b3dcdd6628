//! Signals that stop the server.

use tokio::signal::unix::{SignalKind, signal};

use super::runtime;

/// What the server does on SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Stops: the terminal is closed and nobody watches any more.
    Ends,
    /// Continues: there is no configuration to reload. The log records the signal.
    IsNoted,
}

/// Waits for SIGTERM or SIGINT, or for SIGHUP if that stops the server too.
pub fn wait_for_signal(hangup: Hangup) -> std::io::Result<()> {
    let hangup = if is_ignored(HANGUP) { Hangup::IsNoted } else { hangup };
    runtime()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hung_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hung_up.recv() => match hangup {
                    Hangup::Ends => return Ok(()),
                    Hangup::IsNoted => tracing::info!("SIGHUP: nothing is read anew, the server goes on"),
                },
            }
        }
    })
}

const HANGUP: u32 = 1;

/// Whether the parent process had this signal ignored, as `nohup` does.
fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
