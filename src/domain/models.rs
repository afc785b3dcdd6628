//! Models.

use crate::domain::Time;
use crate::error::Error;

/// A model that exists. What runs of it are its deployments.
#[derive(Clone, Debug)]
pub struct Model {
    pub id: String,
    pub name: String,
    pub instance_type: String,
    pub created_at: Time,
    pub team_name: String,
    pub deployments_count: u32,
    /// The deployment that serves `production`.
    pub production_deployment_id: Option<String>,
    pub development_deployment_id: Option<String>,
    /// Whether archives may be fetched back: fixed when the model is made.
    pub is_downloadable: bool,
    /// The Chain whose chainlet it is. Such a model is made, changed and deleted with that Chain's deployments alone.
    pub chain_name: Option<String>,
}

/// The secret that every chainlet names and no team sets: the key by which chainlets call each other.
pub const PROVIDED_TO_CHAINLETS: &[&str] = &["baseten_chain_api_key"];

/// Whether archives of a new model may be fetched back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downloads {
    Allowed,
    Refused,
}

impl Model {
    /// Names of secrets that the server provides to whatever runs of the model.
    pub fn provided_secrets(&self) -> &'static [&'static str] {
        if self.chain_name.is_some() { PROVIDED_TO_CHAINLETS } else { &[] }
    }

    /// Refuses to change a chainlet's model by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] that names the Chain.
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
