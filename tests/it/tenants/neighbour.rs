//! The effect on the neighbor: its requests are timed while nothing else happens, and while the hostile tenant acts.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::peer::Peer;
use super::site::{BaseUrl, RECOVERY, Tenant};

/// How many times its quiet median a request may take.
const FACTOR: u32 = 10;
/// A quiet median below this counts as this: the tests share their processors with others.
const FLOOR: Duration = Duration::from_millis(20);
/// How often a comparison that shows harm is made again before it counts.
const ATTEMPTS: usize = 3;
const QUIET: Duration = Duration::from_millis(150);

/// Somebody asks this often. A request that takes longer keeps those waiting that would have come meanwhile: they count too,
/// or a server that stands still for seconds would show in one sample alone.
const EVERY: Duration = Duration::from_millis(15);
/// How long all but one in twenty answers about its health may take, also of a debug build.
const HEALTH_P95: Duration = Duration::from_millis(250);

/// Medians of what the neighbour asks for.
#[derive(Clone, Copy)]
pub struct Figures {
    read: Duration,
    write: Duration,
    health: Duration,
    health_p95: Duration,
    asked: usize,
    failed: usize,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { read, write, health, health_p95, asked, failed } = self;
        write!(f, "read {read:.1?}, write {write:.1?}, health {health:.1?} (p95 {health_p95:.1?}), ")?;
        write!(f, "{failed} of {asked} failed")
    }
}

impl Figures {
    /// The slower of two quiet times: what lies between them may be as slow by chance.
    fn slower(self, other: Figures) -> Figures {
        Figures {
            read: self.read.max(other.read),
            write: self.write.max(other.write),
            health: self.health.max(other.health),
            ..self
        }
    }

    fn is_harmed(self, quiet: Figures) -> bool {
        let slow = |loud: Duration, quiet: Duration| loud > quiet.max(FLOOR) * FACTOR;
        slow(self.read, quiet.read)
            || slow(self.write, quiet.write)
            || slow(self.health, quiet.health)
            || self.health_p95 > HEALTH_P95
            || self.failed * 50 > self.asked
    }
}

impl BaseUrl {
    /// Lets the hostile tenant act beside the neighbour, and compares. Then the process lives, and is itself again.
    #[track_caller]
    pub fn beside(&mut self, what: &str, hostile: impl Fn(&Tenant) + Sync) {
        for attempt in 1..=ATTEMPTS {
            let before = self.quiet.unwrap_or_else(|| self.sample_for(QUIET)); // what came after the last one
            let loud = self.sample_while(|| hostile(&self.hostile));
            self.assert_lives(what);
            let after = self.recovered(what, before);
            self.quiet = Some(after);
            let quiet = before.slower(after);
            let peak = self.peak_mib();
            println!("{what}: quiet {quiet:?}; beside it {loud:?}; peak {peak} MiB");
            if !loud.is_harmed(quiet) {
                return;
            }
            assert!(attempt < ATTEMPTS, "{what}: the neighbour is harmed: {loud:?}, quiet {quiet:?}");
        }
    }

    /// Within its time the neighbour is served as before.
    #[track_caller]
    fn recovered(&self, what: &str, before: Figures) -> Figures {
        let begun = Instant::now();
        loop {
            let after = self.sample_for(QUIET);
            if !after.is_harmed(before) {
                return after;
            }
            assert!(begun.elapsed() < RECOVERY, "{what}: no recovery: {after:?}, before {before:?}");
        }
    }

    fn sample_for(&self, time: Duration) -> Figures {
        let begun = Instant::now();
        self.sample_until(|| begun.elapsed() >= time)
    }

    fn sample_while(&self, hostile: impl FnOnce() + Send) -> Figures {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let _done = SetWhenDropped(&done); // also when it panics
                hostile();
            });
            let figures = self.sample_until(|| done.load(Ordering::Acquire));
            if let Err(panic) = acting.join() {
                std::panic::resume_unwind(panic);
            }
            figures
        })
    }

    fn sample_until(&self, over: impl Fn() -> bool) -> Figures {
        let admin = &self.neighbour.admin;
        let (mut reads, mut writes, mut healths) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = 0;
        let mut timed = |peer: &Peer, times: &mut Vec<Duration>, method: &str, target: &str, body| {
            let begun = Instant::now();
            let answer = peer.send(method, target, body);
            if !answer.is_ok_and(|answer| answer.status == 200) {
                failed += 1;
            }
            record(times, begun.elapsed());
        };
        let mut rounds = 0;
        loop {
            rounds += 1;
            timed(admin, &mut reads, "GET", "/v1/secrets", None);
            let body = json!({ "name": "sampled", "value": format!("{rounds}") });
            timed(admin, &mut writes, "POST", "/v1/secrets", Some(body));
            timed(&Peer { key: None, ..admin.clone() }, &mut healths, "GET", "/healthz", None);
            if over() && rounds >= 3 {
                break;
            }
        }
        let [read, write, health] = [&mut reads, &mut writes, &mut healths].map(|times| quantile(times, 0.5));
        Figures { read, write, health, health_p95: quantile(&mut healths, 0.95), asked: 3 * rounds, failed }
    }
}

fn record(times: &mut Vec<Duration>, mut took: Duration) {
    times.push(took);
    while let Some(left) = took.checked_sub(EVERY).filter(|left| !left.is_zero()) {
        times.push(left);
        took = left;
    }
}

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize]
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
