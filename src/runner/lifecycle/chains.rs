//! What chainlets are told besides: where the other chainlets of their deployment are called, and the key for it.
//!
//! The key is issued when the first chainlet of a deployment starts, and revoked when none of them runs any more.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::Lifecycle;
use super::entry::Entry;
use crate::db::serving::{self, InChain};
use crate::error::Error;
use crate::token::PlainKey;

/// The name of the secret by which a chainlet finds its key.
pub const CHAIN_KEY: &str = "baseten_chain_api_key";
const ADDRESSES: &str = "dynamic_chainlet_config";

impl Lifecycle<'_> {
    /// Adds what a chainlet is told. Does nothing for a model that is in no Chain.
    pub(super) fn tell_chainlet(
        &self,
        entry: &Entry,
        secrets: &mut BTreeMap<String, String>,
        dynamic_config: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        if entry.kept.chain_deployment_id.is_none() {
            return Ok(());
        }
        let Some(chain) = self.read(|tx| serving::chain_of(tx, entry.id()))? else { return Ok(()) };
        let mut keys = self.keys.borrow_mut();
        let key = keys.entry(chain.chain_deployment_id.clone()).or_insert_with(|| self.issue(entry, &chain));
        secrets.insert(CHAIN_KEY.to_owned(), key.reveal().to_owned());
        let address = |model_id: &str, deployment_id: &str| {
            format!("http://{}/models/{model_id}/deployment/{deployment_id}/predict", self.address)
        };
        let addresses: Map<String, Value> = chain
            .chainlets
            .iter()
            .map(|one| (one.name.clone(), json!({ "predict_url": address(&one.model_id, &one.deployment_id) })))
            .collect();
        dynamic_config.insert(ADDRESSES.to_owned(), Value::Object(addresses));
        Ok(())
    }

    fn issue(&self, entry: &Entry, chain: &InChain) -> PlainKey {
        let models = chain.chainlets.iter().map(|one| one.model_id.clone()).collect();
        let mut rng = StdRng::from_seed((self.now)().seed);
        self.chain_keys.issue(&mut rng, &entry.kept.org_id, &entry.kept.team_id, models)
    }

    /// Revokes the keys of Chains of which no chainlet runs any more.
    pub(super) fn revoke_keys(&mut self) {
        let runs = |id: &str| {
            let is_of_it = |entry: &&Entry| entry.kept.chain_deployment_id.as_deref() == Some(id);
            self.entries.values().filter(is_of_it).any(|entry| !entry.replicas.is_empty())
        };
        let ended: Vec<String> = self.keys.borrow().keys().filter(|id| !runs(id)).cloned().collect();
        for id in ended {
            if let Some(key) = self.keys.borrow_mut().remove(&id) {
                self.chain_keys.revoke(key.prefix());
            }
        }
    }
}
