//! The keys with which the chainlets of a running Chain call each other.
//!
//! They are in memory alone: the runner issues one when it starts a Chain's deployment, and revokes it when the last
//! chainlet has stopped. Such a key is a key of the team that calls models and is narrowed to the models of these
//! chainlets. It works only where models are called, and nowhere else in the API.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use rand::rngs::StdRng;

use crate::domain::{OrgId, TeamId};
use crate::policy::{Caller, TeamCategory, TeamKey, Who};
use crate::token::{PlainKey, TokenHash};

#[derive(Default)]
pub struct ChainKeys {
    callers: RwLock<HashMap<TokenHash, Caller>>,
}

impl ChainKeys {
    /// Issues a key that calls these models of the team, and nothing else.
    pub fn issue(&self, rng: &mut StdRng, org_id: &OrgId, team_id: &TeamId, model_ids: Vec<String>) -> PlainKey {
        let key = PlainKey::generate(rng);
        let who = Who::TeamKey(TeamKey {
            prefix: key.prefix().to_owned(),
            team_id: team_id.clone(),
            category: TeamCategory::Invoke,
            environments: None,
            models: Some(model_ids),
        });
        let caller = Caller { org_id: org_id.clone(), who, key_ends_at: None };
        self.callers.write().unwrap_or_else(PoisonError::into_inner).insert(key.hash(), caller);
        key
    }

    /// Ends the key with this prefix.
    pub fn revoke(&self, prefix: &str) {
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, caller| caller.prefix() != prefix);
    }

    /// The caller of a key of a running Chain.
    pub fn caller(&self, key: &PlainKey) -> Option<Caller> {
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        if callers.is_empty() { None } else { callers.get(&key.hash()).cloned() }
    }
}
