//! The options of a server that runs models.

use std::fs;
use std::path::Path;

use clap::ValueEnum;

use crate::cli::Failure;
use crate::domain::capacity::Missing;
use crate::domain::quotas;
use crate::domain::remote_url::PlainHttp;
use crate::runner::engine::{Ids, Unconfined, Use};
use crate::runner::machine::{Machine, Settings};

const USERS: &str = "/etc/passwd";

/// How models run.
#[derive(clap::Args)]
pub struct RunnerOptions {
    /// Whether models run on this machine; with off, calls get 503
    #[arg(long, env = "GUILDHALL_RUNNER", value_enum, default_value_t = Runner::On, value_name = "on|off")]
    runner: Runner,
    /// The user that models run as, by name or as UID:GID; only root may choose one
    #[arg(long, env = "GUILDHALL_RUNNER_USER", value_name = "USER", value_parser = parse_user)]
    runner_user: Option<Ids>,
    /// Run models even on a machine that cannot confine them: for teams that trust each other
    #[arg(long, env = "GUILDHALL_RUNNER_UNCONFINED")]
    runner_unconfined: bool,
    /// The memory that all models together may ask for, such as 16GiB; more waits [default: not limited]
    #[arg(long, env = "GUILDHALL_RUNNER_MEMORY_MAX", value_name = "BYTES", value_parser = parse_bytes)]
    runner_memory_max: Option<u64>,
    /// How many replicas of one deployment run at most
    #[arg(long, env = "GUILDHALL_RUNNER_REPLICAS_MAX", value_name = "N", default_value_t = Settings::default().replicas_max,
          value_parser = parse_replicas)]
    runner_replicas_max: usize,
    /// Run models that ask for accelerators without them
    #[arg(long, env = "GUILDHALL_RUNNER_IGNORE_ACCELERATORS")]
    runner_ignore_accelerators: bool,
    /// Accept external endpoints of other machines without TLS
    #[arg(long, env = "GUILDHALL_RUNNER_PLAIN_ENDPOINTS")]
    runner_plain_endpoints: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runner {
    On,
    Off,
}

impl RunnerOptions {
    /// What models run on, in this data directory. `None` if they do not run.
    pub fn machine(&self, data: &Path) -> Result<Option<Machine>, Failure> {
        match self.runner {
            Runner::Off => Ok(None),
            Runner::On => open(data, self.settings()).map(Some),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            unconfined: if self.runner_unconfined { Unconfined::Allowed } else { Unconfined::Refused },
            user: self.runner_user,
            use_of: Use::Everything,
            memory_bytes_max: self.runner_memory_max,
            replicas_max: self.runner_replicas_max,
            missing: if self.runner_ignore_accelerators { Missing::Ignore } else { Missing::Refuse },
            plain_endpoints: if self.runner_plain_endpoints { PlainHttp::Anywhere } else { PlainHttp::OnLoopback },
            program: None,
        }
    }
}

/// Opens what models run on.
pub fn open(data: &Path, settings: Settings) -> Result<Machine, Failure> {
    Machine::open(data, settings).map_err(|cause| {
        let data = data.display();
        Failure::new(format!("cannot prepare {data} for running models: {cause}; `--runner off` serves without them"))
    })
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    quotas::number(text).filter(|bytes| *bytes > 0).ok_or_else(|| "must be a number of bytes, such as 16GiB".to_owned())
}

fn parse_replicas(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=1000).contains(count)).ok_or_else(|| "must be a number from 1 to 1000".into())
}

/// Reads `UID:GID`, or the name of a user of this machine.
fn parse_user(text: &str) -> Result<Ids, String> {
    if let Some((user, group)) = text.split_once(':') {
        return match (user.parse(), group.parse()) {
            (Ok(user), Ok(group)) => Ok(Ids { user, group }),
            _ => Err("must be the name of a user, or UID:GID".to_owned()),
        };
    }
    let users = fs::read_to_string(USERS).map_err(|cause| format!("{USERS} cannot be read: {cause}"))?;
    let ids = |line: &str| {
        let mut fields = line.split(':');
        let is_named = fields.next() == Some(text);
        let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_named.then_some(Ids { user, group })
    };
    users.lines().find_map(ids).ok_or_else(|| "is no user of this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered() {
        assert_eq!(parse_user("1000:1001"), Ok(Ids { user: 1000, group: 1001 }));
        assert_eq!(parse_user("root"), Ok(Ids { user: 0, group: 0 }));
        assert!(parse_user("no-such-user-here").is_err() && parse_user("a:b").is_err());
    }
}
