//! Models.

use crate::domain::Time;
use crate::error::Error;

/// A model that exists. Its deployments are what runs.
#[derive(Clone, Debug)]
pub struct Model {
    pub id: String,
    pub name: String,
    pub instance_type: String,
    pub created_at: Time,
    pub team_name: String,
    pub deployments_count: u32,
    /// The deployment that serves the environment `production`.
    pub production_deployment_id: Option<String>,
    pub development_deployment_id: Option<String>,
    /// Whether archives may be downloaded. This is fixed when the model is made.
    pub is_downloadable: bool,
    /// The name of the Chain if the model is one of its chainlets. Such a model is made, changed and deleted only
    /// together with the deployments of that Chain.
    pub chain_name: Option<String>,
}

/// The secret that every chainlet uses and no team sets: the key with which chainlets call each other.
pub const PROVIDED_TO_CHAINLETS: &[&str] = &["baseten_chain_api_key"];

/// Whether archives of a new model may be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downloads {
    Allowed,
    Refused,
}

impl Model {
    /// The names of secrets that the server provides to the deployments of the model.
    pub fn provided_secrets(&self) -> &'static [&'static str] {
        if self.chain_name.is_some() { PROVIDED_TO_CHAINLETS } else { &[] }
    }

    /// Refuses a change to a chainlet's model that is not made through its Chain.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] that names the Chain, if the model is a chainlet.
    pub fn refuse_chainlet(&self) -> Result<(), Error> {
        match &self.chain_name {
            None => Ok(()),
            Some(chain) => Err(Error::conflict(format!(
                "model \"{}\" is a chainlet of the Chain \"{chain}\": change or delete it by way of that Chain",
                self.name
            ))),
        }
    }
}
