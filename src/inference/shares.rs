//! How many calls an organization and a team may have in progress, so that long calls of one leave connections to the
//! others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{OrgId, TeamId};
use crate::error::{CallFailure, Error};

/// The calls in progress, of all threads.
pub struct Shares {
    of_organization_max: usize,
    of_team_max: usize,
    /// By the id of the organization or the team.
    in_progress: Mutex<HashMap<String, usize>>,
}

/// The place of one call. Dropping it frees the place.
pub(super) struct Share {
    shares: Arc<Shares>,
    payers: [String; 2],
}

impl Shares {
    /// Divides this many connections: an organization may have half of them in calls, a team a quarter.
    pub fn of(connections_max: usize) -> Arc<Shares> {
        Arc::new(Shares {
            of_organization_max: connections_max.div_ceil(2),
            of_team_max: connections_max.div_ceil(4),
            in_progress: Mutex::default(),
        })
    }

    /// Takes a place for a call.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Crowded`] if the team or its organization has no place left.
    pub(super) fn take(self: &Arc<Self>, org_id: &OrgId, team_id: &TeamId) -> Result<Share, Error> {
        let payers = [org_id.as_str().to_owned(), team_id.as_str().to_owned()];
        let mut in_progress = self.lock();
        let of = |id: &String| in_progress.get(id).copied().unwrap_or_default();
        if of(&payers[0]) >= self.of_organization_max || of(&payers[1]) >= self.of_team_max {
            return Err(Error::Call(CallFailure::Crowded));
        }
        for payer in &payers {
            *in_progress.entry(payer.clone()).or_default() += 1;
        }
        drop(in_progress);
        Ok(Share { shares: Arc::clone(self), payers })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut in_progress = self.shares.lock();
        for payer in &self.payers {
            if let Some(count) = in_progress.get_mut(payer) {
                *count -= 1;
                if *count == 0 {
                    in_progress.remove(payer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shares: &Arc<Shares>, team: &str) -> Result<Share, Error> {
        shares.take(&OrgId("acme".to_owned()), &TeamId(team.to_owned()))
    }

    #[test]
    fn a_team_has_a_quarter_and_an_organization_half() {
        let shares = Shares::of(8);
        let mut taken: Vec<Share> = (0..2).map(|_| take(&shares, "one").unwrap()).collect();
        assert!(take(&shares, "one").is_err(), "the team has its share");
        taken.extend((0..2).map(|_| take(&shares, "two").unwrap()));
        assert!(take(&shares, "three").is_err(), "the organization has its share");
        taken.truncate(1);
        assert!(take(&shares, "one").is_ok());
        drop(taken);
        assert!(shares.lock().is_empty());
    }
}
