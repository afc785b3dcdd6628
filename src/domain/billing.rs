//! Usage and its cost.

use crate::domain::Time;
use crate::error::Error;

const WINDOW_DAYS_MAX: i64 = 31;
/// 2026-01-01T00:00:00Z
const BEGINNING: Time = Time(1_767_225_600_000);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// By how much 31 calendar days can be longer than 31 times 24 hours, because clocks may be set back in that time.
const CLOCKS_SET_BACK_MILLIS_MAX: i64 = 2 * 60 * 60 * 1000;

/// The time of a usage summary: `start` is included, `end` is not. Usage is stored per day, and a day belongs to the
/// window that contains its 00:00 UTC. So the sums of adjacent windows add up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    start: Time,
    end: Time,
}

impl Window {
    /// Checks the start and the end of a window.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names the date that is too early, or the end if it is not after the start or the window
    /// is too long.
    pub fn new(start: Time, end: Time) -> Result<Window, Error> {
        if start < BEGINNING {
            return Err(Error::field("start_date", &format!("must not be before {BEGINNING}: there is nothing older")));
        }
        if end <= start {
            return Err(Error::field("end_date", "must be after `start_date`"));
        }
        if end.0 - start.0 > WINDOW_DAYS_MAX * DAY_MILLIS + CLOCKS_SET_BACK_MILLIS_MAX {
            let why = format!("must be at most {WINDOW_DAYS_MAX} days after `start_date`: ask again for the rest");
            return Err(Error::field("end_date", &why));
        }
        Ok(Window { start, end })
    }

    /// The first day of the window, such as `2026-11-01`.
    pub fn first_day(&self) -> String {
        day(Time(self.start.0 + DAY_MILLIS - 1))
    }

    /// The last day of the window, such as `2026-11-30`.
    pub fn last_day(&self) -> String {
        day(Time(self.end.0 - 1))
    }
}

/// The day of a time in UTC, such as `2026-11-01`.
pub fn day(time: Time) -> String {
    let mut text = time.to_string();
    text.truncate("2026-11-01".len());
    text
}

/// The kinds of resources that cost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ModelDeployment,
    Chainlet,
    TrainingJob,
    ModelApi,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::ModelDeployment, Kind::Chainlet, Kind::TrainingJob, Kind::ModelApi];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::ModelDeployment => "MODEL_DEPLOYMENT",
            Kind::Chainlet => "CHAINLET",
            Kind::TrainingJob => "TRAINING_JOB",
            Kind::ModelApi => "MODEL_API",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The usage of one resource in a window. The resource is described as it was on its last day of use.
#[derive(Debug)]
pub struct Used {
    pub resource: Resource,
    /// The usage of each day, the oldest first.
    pub days: Vec<Day>,
}

#[derive(Debug)]
pub struct Resource {
    pub kind: Kind,
    pub id: String,
    pub name: String,
    /// The model, Chain or training project that the resource belongs to.
    pub parent_id: Option<String>,
    pub parent_name: Option<String>,
    /// Whether that model, Chain or training project is deleted.
    pub is_deleted: bool,
    /// The id and the name of its team, if the organization has several teams.
    pub team: Option<(String, String)>,
    pub environment: Option<String>,
    pub instance_type: Option<String>,
}

#[derive(Debug)]
pub struct Day {
    /// The day in UTC, such as `2026-11-01`.
    pub date: String,
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    pub micro_usd: i64,
    pub minutes: i64,
    pub requests: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// How many of the input tokens were cached.
    pub cached_tokens: i64,
}

impl Used {
    pub fn total(&self) -> Amount {
        self.days.iter().map(|day| day.amount).sum()
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), |sum, amount| Amount {
            micro_usd: sum.micro_usd + amount.micro_usd,
            minutes: sum.minutes + amount.minutes,
            requests: sum.requests + amount.requests,
            input_tokens: sum.input_tokens + amount.input_tokens,
            output_tokens: sum.output_tokens + amount.output_tokens,
            cached_tokens: sum.cached_tokens + amount.cached_tokens,
        })
    }
}
