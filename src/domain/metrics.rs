//! Metrics of deployments: which there are, and how their values are computed from what is stored.

use crate::domain::Time;
use crate::domain::latencies::Latencies;
use crate::domain::named::named;
use crate::error::Error;

pub const MINUTE_MILLIS: i64 = 60 * 1000;
/// The longest period of metrics, which is also how long they are stored.
pub const WINDOW_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;

const WINDOW_SECONDS: i64 = 60 * 60;
const SERIES_POINTS: i64 = 60;

named! {
    /// A metric of a deployment.
    Metric {
        Replicas: baseten_replicas_active,
        Requests: baseten_inference_requests_total,
        ResponseTime: baseten_end_to_end_response_time_seconds,
    }
}

named! {
    /// How values are aggregated over the period.
    Mode { Current: CURRENT, Summary: SUMMARY, Series: SERIES }
}

/// The calls of a deployment or an environment in one minute.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Since the epoch.
    pub minute: i64,
    pub calls: Calls,
}

/// How calls ended, and how long they took.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    pub successes: i64,
    pub client_errors: i64,
    pub server_errors: i64,
    pub milliseconds: i64,
    pub latencies: Latencies,
}

/// From when on how many replicas ran, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ReplicasFrom {
    pub at: Time,
    pub replicas: i64,
}

/// What is known about a deployment or an environment in a period.
#[derive(Debug)]
pub struct Measurements {
    pub replicas_now: i64,
    pub replicas: Vec<ReplicasFrom>,
    /// The oldest first.
    pub minutes: Vec<Minute>,
}

/// What a deployment exports to collectors.
#[derive(Debug)]
pub struct Exported {
    pub model_id: String,
    pub model_name: String,
    pub deployment_id: String,
    /// The environment that it serves now.
    pub environment: Option<String>,
    pub replicas: i64,
    pub totals: Vec<Total>,
}

/// All calls of a deployment that had a status in an environment. It only grows.
#[derive(Debug)]
pub struct Total {
    /// Empty if the deployment served none.
    pub environment: String,
    pub status: i64,
    pub is_async: bool,
    pub requests: i64,
    pub milliseconds: i64,
    pub latencies: Latencies,
}

/// A period, and how it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    pub mode: Mode,
    pub start: Time,
    pub end: Time,
    /// The length of a step of a series.
    pub step_seconds: Option<i64>,
}

/// The values at one step of a period.
#[derive(Debug)]
pub struct Step {
    pub start: Time,
    pub replicas: Option<i64>,
    pub calls: Calls,
}

impl Period {
    /// Checks a period and fills in its defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a period that ends before it starts or is too long.
    pub fn new(mode: Mode, now: Time, start: Option<i64>, end: Option<i64>) -> Result<Period, Error> {
        let until = end.unwrap_or(now.0);
        let start = start.unwrap_or_else(|| until.saturating_sub(WINDOW_SECONDS * 1000));
        if until < start {
            return Err(Error::field("end_epoch_millis", "must not be before `start_epoch_millis`"));
        }
        if until.saturating_sub(start) > WINDOW_SECONDS_MAX * 1000 {
            return Err(Error::field("start_epoch_millis", "must be at most 7 days before `end_epoch_millis`"));
        }
        let step_seconds = match mode {
            Mode::Current | Mode::Summary => None,
            Mode::Series => Some(((until - start) / 1000 + SERIES_POINTS - 1) / SERIES_POINTS).map(|step| step.max(1)),
        };
        Ok(Period { mode, start: Time(start), end: Time(until), step_seconds })
    }

    /// The minutes whose calls the values need, the first and the last.
    pub fn minutes(&self) -> (i64, i64) {
        let start = match self.mode {
            Mode::Current => self.end.0 - MINUTE_MILLIS,
            Mode::Summary | Mode::Series => self.start.0,
        };
        (start.div_euclid(MINUTE_MILLIS), self.end.0.div_euclid(MINUTE_MILLIS))
    }

    /// The values at each step. Calls are stored by the minute; a step gets those of the minutes that begin in it.
    pub fn steps(&self, now: Time, measured: &Measurements) -> Vec<Step> {
        let all = || measured.minutes.iter();
        match self.mode {
            Mode::Current => {
                vec![Step { start: self.end, replicas: Some(measured.replicas_now), calls: sum(all()) }]
            }
            Mode::Summary => {
                let replicas = Some(measured.replicas_now);
                vec![Step { start: self.start, replicas, calls: sum(all()) }]
            }
            Mode::Series => {
                let step = self.step_seconds.unwrap_or(1) * 1000;
                let starts = (0..SERIES_POINTS).map(|number| self.start.0 + number * step);
                let end_of = |start| if start + step >= self.end.0 { self.end.0 + 1 } else { start + step };
                let starts = starts.take_while(|start| *start == self.start.0 || *start < self.end.0);
                starts.map(|start| self.step_of_series(now, measured, start, end_of(start))).collect()
            }
        }
    }

    fn step_of_series(&self, now: Time, measured: &Measurements, start: i64, end: i64) -> Step {
        // The first step also has the minute that its start lies in.
        let from = if start == self.start.0 { start.div_euclid(MINUTE_MILLIS) * MINUTE_MILLIS } else { start };
        let within = |minute: &&Minute| (from..end).contains(&(minute.minute * MINUTE_MILLIS));
        let known = measured.replicas.iter().rev().find(|known| known.at.0 < end).map(|known| known.replicas);
        let replicas = match (end > now.0, start > now.0) {
            (_, true) => None,
            (true, false) => Some(measured.replicas_now),
            (false, false) => known,
        };
        Step { start: Time(start), replicas, calls: sum(measured.minutes.iter().filter(within)) }
    }
}

impl Calls {
    pub fn requests(&self) -> i64 {
        self.successes + self.client_errors + self.server_errors
    }

    pub fn average_seconds(&self) -> Option<f64> {
        let requests = self.requests();
        (requests > 0).then(|| self.milliseconds as f64 / 1000.0 / requests as f64)
    }

    pub fn quantile_seconds(&self, share: f64) -> Option<f64> {
        self.latencies.quantile_millis(share).map(|millis| millis / 1000.0)
    }
}

fn sum<'m>(minutes: impl Iterator<Item = &'m Minute>) -> Calls {
    minutes.fold(Calls::default(), |mut sum, Minute { calls, .. }| {
        sum.successes += calls.successes;
        sum.client_errors += calls.client_errors;
        sum.server_errors += calls.server_errors;
        sum.milliseconds += calls.milliseconds;
        sum.latencies.add(&calls.latencies);
        sum
    })
}
