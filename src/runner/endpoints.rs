//! Watches an external endpoint: it is asked again and again whether it is well.

use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::probe::Probe;
use super::replicas::{End, Halt, Report};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};

/// How often an endpoint is asked: until it is well, and then.
const ASKS_EARLY_EVERY: Duration = Duration::from_secs(1);
const ASKS_EVERY: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// An endpoint that is watched.
pub struct Watched {
    pub url: RemoteUrl,
    /// The path that answers 2xx while the endpoint is well. `None`: it always counts as well.
    pub health_path: Option<String>,
    /// The headers of each request. They change with the secrets of the team.
    pub headers: Mutex<Vec<(String, String)>>,
    pub plain: PlainHttp,
}

impl Watched {
    /// Watches until it is halted.
    pub fn run(&self, ready_within: Duration, halt: &Halt, report: impl Fn(Report)) {
        let until = Instant::now() + ready_within;
        let (mut is_ready, mut is_well) = (false, true);
        while !halt.is_told() {
            match self.ask() {
                Ok(()) if !is_ready => {
                    is_ready = true;
                    report(Report::Ready);
                }
                Ok(()) if !is_well => {
                    is_well = true;
                    report(Report::Well);
                }
                Ok(()) => {}
                Err(why) if is_ready && is_well => {
                    is_well = false;
                    report(Report::Unwell(why));
                }
                Err(why) if !is_ready && Instant::now() >= until => {
                    return report(Report::Ended(End::Failed(format!("the endpoint did not become well: {why}"))));
                }
                Err(_) => {}
            }
            if self.health_path.is_none() && is_ready {
                halt.wait();
            } else {
                halt.wait_for(if is_ready { ASKS_EVERY } else { ASKS_EARLY_EVERY });
            }
        }
        report(Report::Ended(End::Stopped));
    }

    /// Asks once. The error says why it is not well.
    fn ask(&self) -> Result<(), String> {
        let Some(path) = &self.health_path else { return Ok(()) };
        let url = self.url.join(path);
        match self.status(&url) {
            Ok(200..300) => Ok(()),
            Ok(status) => Err(format!("{path} answers {status}")),
            Err(cause) => Err(format!("{path} does not answer: {cause}")),
        }
    }

    fn status(&self, url: &RemoteUrl) -> io::Result<u16> {
        let addresses = (url.host(), url.port()).to_socket_addrs()?;
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host = url.authority();
        let probe = Probe { method: "GET", host: &host, path: url.target(), headers: &headers };
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "its name has no address");
        for address in addresses {
            if !url.may_connect_to(address.ip(), self.plain) {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its address must not be called"));
            }
            match probe.of_address(address, ANSWERS_WITHIN) {
                Ok(status) => return Ok(status),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }
}
