//! How a deployment comes to serve an environment: decided once for models and for Chains.
//!
//! An environment has one promotion at a time. A deployment that does not serve yet waits as the environment's candidate,
//! and takes over as soon as it serves.

use crate::domain::serving::{Cleanup, Phase, PromotionSettings, Status};
use crate::error::Error;

/// What becomes of the deployment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// What the environment's settings say.
    AsSet,
    Keep,
}

impl Previous {
    pub fn cleanup(self, settings: &PromotionSettings) -> Cleanup {
        match self {
            Previous::AsSet => settings.promotion_cleanup_strategy,
            Previous::Keep => Cleanup::Keep,
        }
    }
}

/// What is known of a deployment that is to be promoted.
#[derive(Clone, Copy, Debug)]
pub struct Promoted<'a> {
    pub is_development: bool,
    /// The environment that it serves.
    pub environment: Option<&'a str>,
    pub candidate_for: Option<&'a str>,
    /// Whether it has the instance types that it is to have in the environment.
    pub fits: bool,
}

/// In which form a deployment is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It serves the environment already, as it should.
    AlreadyThere,
    Itself,
    /// A new deployment of the same archive.
    Copy,
}

impl Form {
    pub fn of(promoted: &Promoted, environment: &str, settings: &PromotionSettings) -> Form {
        let is_free = promoted.environment.is_none() && promoted.candidate_for.is_none();
        if !promoted.fits || settings.redeploy_on_promotion {
            Form::Copy
        } else if promoted.environment == Some(environment) {
            Form::AlreadyThere
        } else if is_free && !promoted.is_development {
            Form::Itself
        } else {
            Form::Copy // the development deployment and what serves elsewhere stay where they are
        }
    }
}

/// What is known of an environment that a deployment is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    Vacant,
    Occupied,
}

impl Occupancy {
    pub fn of<T>(current: Option<&T>) -> Occupancy {
        if current.is_some() { Occupancy::Occupied } else { Occupancy::Vacant }
    }
}

/// What happens to a deployment that is to serve an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It serves the environment, which nothing served before.
    Occupy,
    /// It serves the environment in place of the deployment before.
    Replace,
    /// It is the candidate, and the deployment before goes on serving.
    Wait,
    /// It is a candidate no longer.
    GiveUp,
}

impl Takeover {
    /// For a deployment that has just been promoted or pushed.
    pub const fn at_entry(status: Status, occupancy: Occupancy) -> Takeover {
        match (occupancy, status.phase()) {
            // There is nothing that would go on serving while it starts.
            (Occupancy::Vacant, _) => Takeover::Occupy,
            (Occupancy::Occupied, Phase::Serving) => Takeover::Replace,
            (Occupancy::Occupied, Phase::Starting | Phase::Asleep | Phase::Off | Phase::Failed) => Takeover::Wait,
        }
    }

    /// For a candidate whose status has changed.
    pub const fn at_step(status: Status, occupancy: Occupancy) -> Takeover {
        match (status, status.phase(), occupancy) {
            // It may recover, and until then the one before serves better.
            (Status::Unhealthy, _, _) | (_, Phase::Starting | Phase::Asleep, _) => Takeover::Wait,
            (_, Phase::Serving, Occupancy::Vacant) => Takeover::Occupy,
            (_, Phase::Serving, Occupancy::Occupied) => Takeover::Replace,
            (_, Phase::Off | Phase::Failed, _) => Takeover::GiveUp,
        }
    }
}

/// Refuses a second promotion to an environment. `way_out` says how the first is ended.
///
/// # Errors
///
/// [`Error::Conflict`] that names the candidate.
pub fn refuse_second(candidate: Option<&str>, environment: &str, way_out: &str) -> Result<(), Error> {
    match candidate {
        None => Ok(()),
        Some(name) => Err(Error::conflict(format!(
            "deployment \"{name}\" is being promoted to \"{environment}\": wait until it is active, or {way_out}"
        ))),
    }
}

/// Whether a push that names no environment goes into `production`: while nothing serves it or is about to. A deployment
/// that has failed does not serve.
pub fn takes_first_push(current: Option<Status>, candidate: Option<Status>) -> bool {
    current.is_none_or(|status| status.phase() == Phase::Failed) && candidate.is_none()
}
