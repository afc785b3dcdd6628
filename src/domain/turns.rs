//! Turns between organizations and teams: whoever was served longest ago comes next.

use std::collections::{HashMap, HashSet};

use crate::domain::{OrgId, TeamId};

/// When each organization and each team was last served, as a count. Those that were never served come first.
#[derive(Debug, Default)]
pub struct Turns {
    served: HashMap<String, u64>,
    count: u64,
}

impl Turns {
    /// Where an owner stands in the order: the smallest comes next.
    pub fn place(&self, org_id: &OrgId, team_id: &TeamId) -> (u64, u64) {
        let last = |id: &str| self.served.get(id).copied().unwrap_or_default();
        (last(org_id.as_str()), last(team_id.as_str()))
    }

    /// Records that an owner is served now.
    pub fn serve(&mut self, org_id: &OrgId, team_id: &TeamId) {
        self.count += 1;
        self.served.insert(org_id.as_str().to_owned(), self.count);
        self.served.insert(team_id.as_str().to_owned(), self.count);
    }

    /// Forgets everybody but these.
    pub fn keep(&mut self, owners: &HashSet<&str>) {
        self.served.retain(|id, _| owners.contains(id.as_str()));
    }
}
