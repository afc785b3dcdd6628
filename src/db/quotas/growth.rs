//! Limits how fast a caller makes the database grow.
//!
//! Everything that is added counts, even if it is deleted again: rows that come and go leave entries in the audit log,
//! and are written to the disk all the same. Growth is charged to the person, team or organization that the caller's
//! key belongs to, whichever of their keys they send. The counts are in memory, so a restart clears them.

use std::collections::HashMap;

use crate::domain::Time;
use crate::error::Error;
use crate::policy::{Caller, Who};

const HOUR_MILLISECONDS: u64 = 60 * 60 * 1000;
/// When more growers than this are known, those without remaining growth are forgotten.
const KNOWN_MAX: usize = 10_000;

/// The person, team or organization that growth is charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Grower {
    Person(String),
    Team(String),
    Organization(String),
}

impl Grower {
    pub fn of(caller: &Caller) -> Grower {
        match &caller.who {
            Who::Person(person) => Grower::Person(person.user_id.as_str().to_owned()),
            Who::TeamKey(key) => Grower::Team(key.team_id.as_str().to_owned()),
            Who::KeyManager { .. } => Grower::Organization(caller.org_id.as_str().to_owned()),
        }
    }
}

/// How many bytes of the hourly limit each grower has used. The level falls evenly with time.
#[derive(Default)]
pub(super) struct Growth {
    known: HashMap<Grower, Level>,
}

#[derive(Clone, Copy)]
struct Level {
    bytes: u64,
    at: Time,
}

impl Level {
    fn at(self, now: Time, bytes_per_hour_max: u64) -> u64 {
        let passed = u64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0);
        let off = u128::from(bytes_per_hour_max) * u128::from(passed) / u128::from(HOUR_MILLISECONDS);
        self.bytes.saturating_sub(u64::try_from(off).unwrap_or(u64::MAX))
    }
}

impl Growth {
    /// Adds the growth of a write.
    ///
    /// # Errors
    ///
    /// [`Error::GrowthLimited`] if the level would exceed the limit; nothing is added then.
    pub fn add(&mut self, grower: &Grower, bytes: u64, bytes_per_hour_max: u64, now: Time) -> Result<(), Error> {
        let before = self.known.get(grower).map_or(0, |level| level.at(now, bytes_per_hour_max));
        let bytes_after = before.saturating_add(bytes);
        if bytes_after > bytes_per_hour_max {
            let excess = u128::from(bytes_after - bytes_per_hour_max);
            let seconds =
                (excess * u128::from(HOUR_MILLISECONDS) / 1000).div_ceil(u128::from(bytes_per_hour_max.max(1)));
            let retry_after_seconds = u32::try_from(seconds).unwrap_or(u32::MAX).clamp(1, 60 * 60);
            return Err(Error::GrowthLimited { bytes_per_hour_max, retry_after_seconds });
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, level| level.at(now, bytes_per_hour_max) > 0);
        }
        self.known.insert(grower.clone(), Level { bytes: bytes_after, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 1000;

    fn retry_after(refused: Result<(), Error>) -> u32 {
        match refused {
            Err(Error::GrowthLimited { retry_after_seconds, .. }) => retry_after_seconds,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_used_flows_off_in_an_hour() {
        let (mut growth, grower) = (Growth::default(), Grower::Person("ada".to_owned()));
        let at = |minutes: i64| Time(minutes * 60 * 1000);
        growth.add(&grower, 900, MAX, at(0)).unwrap();
        assert_eq!(retry_after(growth.add(&grower, 200, MAX, at(0))), 360);
        growth.add(&grower, 200, MAX, at(6)).unwrap();
        assert_eq!(retry_after(growth.add(&grower, 500, MAX, at(6))), 1800);
        growth.add(&grower, 1000, MAX, at(66)).unwrap();
    }

    #[test]
    fn a_clock_that_is_set_back_forgives_nothing() {
        let (mut growth, grower) = (Growth::default(), Grower::Team("team".to_owned()));
        growth.add(&grower, 1000, MAX, Time(1_000_000)).unwrap();
        assert_eq!(retry_after(growth.add(&grower, 1, MAX, Time(0))), 4);
        growth.add(&Grower::Team("other".to_owned()), 1, MAX, Time(0)).unwrap();
    }
}
