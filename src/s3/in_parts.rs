//! Multipart uploads, from their creation until they are completed, aborted or abandoned.
//!
//! An upload that has received no part for a while is dropped when its owner or its organization has no room for
//! another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::refusal::Refusal;
use super::store::{Part, Shared};
use super::xml::ListedPart;
use crate::db::quotas::in_progress::Charge;
use crate::domain::Time;
use crate::domain::uploads::Grant;

/// An upload counts as abandoned after this time without a part.
const ABANDONED_SECONDS: i64 = 10 * 60;
/// How many parts of completed uploads are remembered per owner, for clients that missed the reply.
const COMPLETED_PARTS_MAX: usize = 20_000;

#[derive(Default)]
pub struct AllInParts(HashMap<String, InParts>);

struct InParts {
    grant: Grant,
    since: Time,
    last_part_at: Time,
    /// Every request that receives a part holds a reference.
    receiving: Arc<()>,
    /// `None` after the upload is completed.
    charge: Option<Charge>,
    /// The number of parts of a completed upload.
    listed_parts: usize,
    state: Arc<tokio::sync::Mutex<State>>,
}

pub enum State {
    Open(Parts),
    /// A client that missed the reply sends the request again.
    Completed(Completed),
}

/// The state of a multipart upload.
pub struct Completed {
    pub tag: String,
    pub bytes: u64,
    pub list: Vec<ListedPart>,
}

#[derive(Default)]
pub struct Parts {
    pub came: BTreeMap<u16, Part>,
    /// The file in which its parts are stored side by side.
    pub shared: Option<Shared>,
}

impl InParts {
    fn is_abandoned(&self, now: Time) -> bool {
        self.charge.is_some()
            && Arc::strong_count(&self.receiving) == 1
            && Arc::strong_count(&self.state) == 1
            && self.last_part_at.plus_seconds(ABANDONED_SECONDS) <= now
    }
}

impl AllInParts {
    pub fn begin(&mut self, upload_id: String, grant: Grant, charge: Charge, now: Time) {
        let state = Arc::new(tokio::sync::Mutex::new(State::Open(Parts::default())));
        let (receiving, charge) = (Arc::default(), Some(charge));
        self.0.insert(
            upload_id,
            InParts { grant, since: now, last_part_at: now, receiving, charge, listed_parts: 0, state },
        );
    }

    pub fn state(&self, grant: &Grant, upload_id: &str) -> Result<Arc<tokio::sync::Mutex<State>>, Refusal> {
        let found = self.0.get(upload_id).filter(|upload| upload.grant == *grant);
        found.map(|upload| Arc::clone(&upload.state)).ok_or_else(Refusal::no_such_upload)
    }

    /// Registers that a part is arriving. The upload is not dropped while the returned value exists.
    pub fn receiving(&mut self, grant: &Grant, upload_id: &str, now: Time) -> Result<Arc<()>, Refusal> {
        let found = self.0.get_mut(upload_id).filter(|upload| upload.grant == *grant);
        let upload = found.ok_or_else(Refusal::no_such_upload)?;
        upload.last_part_at = now;
        Ok(Arc::clone(&upload.receiving))
    }

    /// Stops charging an upload. If the owner has too many completed uploads, the oldest are forgotten.
    pub fn complete(&mut self, grant: &Grant, upload_id: &str, listed_parts: usize) {
        if let Some(upload) = self.0.get_mut(upload_id) {
            upload.charge = None;
            upload.listed_parts = listed_parts;
        }
        let owner = grant.owner();
        let others = self
            .0
            .iter()
            .filter(|(id, upload)| upload.charge.is_none() && *id != upload_id && upload.grant.owner() == owner);
        let mut others: Vec<_> = others.map(|(id, upload)| (upload.since, id.clone(), upload.listed_parts)).collect();
        others.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let mut kept = listed_parts;
        for (_, id, parts) in others {
            kept += parts;
            if kept > COMPLETED_PARTS_MAX {
                self.0.remove(&id);
            }
        }
    }

    pub fn remove(&mut self, upload_id: &str) {
        self.0.remove(upload_id);
    }

    /// Ends the owner's upload that was abandoned first, or else the organization's. Returns whether there was one.
    pub fn give_way(&mut self, grant: &Grant, now: Time) -> bool {
        let owner = grant.owner();
        let abandoned =
            self.0.iter().filter(|(_, upload)| upload.grant.org_id == grant.org_id && upload.is_abandoned(now));
        let first = abandoned.min_by_key(|(_, upload)| (upload.grant.owner() != owner, upload.last_part_at));
        let Some(id) = first.map(|(id, _)| id.clone()) else { return false };
        self.remove(&id);
        true
    }

    pub fn forget_older_than(&mut self, time: Time) {
        self.0.retain(|_, upload| upload.since > time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::quotas::InProgress;
    use crate::domain::quotas::Settings;
    use crate::domain::{OrgId, TeamId};

    fn grant(team: &str, s3_key: &str) -> Grant {
        Grant {
            s3_key: s3_key.to_owned(),
            org_id: OrgId("org".to_owned()),
            user_id: None,
            api_key_prefix: "prefix".to_owned(),
            expires_at: Time(i64::MAX),
            team_id: Some(TeamId(team.to_owned())),
        }
    }

    fn begin(all: &mut AllInParts, in_progress: &InProgress, team: &str, id: &str, at: Time) {
        let grant = grant(team, id);
        let charge = in_progress.begin_upload(&Settings::default(), &grant).unwrap();
        all.begin(id.to_owned(), grant, charge, at);
    }

    #[test]
    fn what_is_abandoned_gives_way_the_owners_first() {
        let (mut all, in_progress) = (AllInParts::default(), InProgress::default());
        let later = Time(ABANDONED_SECONDS * 1000);
        begin(&mut all, &in_progress, "other", "others", Time(0));
        begin(&mut all, &in_progress, "team", "old", Time(1));
        begin(&mut all, &in_progress, "team", "received", Time(0));
        begin(&mut all, &in_progress, "team", "new", later);
        let receiving = all.receiving(&grant("team", "received"), "received", Time(0)).unwrap();
        let asks = grant("team", "asks");
        assert!(!all.give_way(&asks, Time(0)), "nothing is abandoned yet");
        let is_there = |all: &AllInParts, team: &str, id: &str| all.state(&grant(team, id), id).is_ok();
        let now = later.plus_seconds(1);
        assert!(all.give_way(&asks, now) && !is_there(&all, "team", "old") && is_there(&all, "other", "others"));
        assert!(all.give_way(&asks, now) && !is_there(&all, "other", "others"));
        assert!(!all.give_way(&asks, now), "one is received, one is new");
        drop(receiving);
        assert!(all.give_way(&asks, now) && is_there(&all, "team", "new"));
        assert_eq!(in_progress.of_organization(&asks.org_id).uploads, 1);
    }

    #[test]
    fn of_completed_ones_the_latest_are_remembered() {
        let (mut all, in_progress) = (AllInParts::default(), InProgress::default());
        for (id, at) in [("first", 1), ("second", 2), ("third", 3)] {
            begin(&mut all, &in_progress, "team", id, Time(at));
            all.complete(&grant("team", id), id, COMPLETED_PARTS_MAX / 2);
        }
        let is_there = |id| all.state(&grant("team", id), id).is_ok();
        assert_eq!([is_there("first"), is_there("second"), is_there("third")], [false, true, true]);
        assert_eq!(in_progress.of_organization(&OrgId("org".to_owned())).uploads, 0);
    }
}
