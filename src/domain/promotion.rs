//! Decides how a deployment starts to serve an environment. The rules are the same for models and Chains.
//!
//! An environment has one promotion at a time. A deployment that does not serve yet is the candidate of the
//! environment, and takes over as soon as it serves.

use crate::domain::serving::{Cleanup, Phase, PromotionSettings, Status};
use crate::error::Error;

/// What happens to the previous deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// As the settings of the environment say.
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

/// The facts about a deployment that is being promoted.
#[derive(Clone, Copy, Debug)]
pub struct Promoted<'a> {
    pub is_development: bool,
    /// The environment that the deployment serves.
    pub environment: Option<&'a str>,
    pub candidate_for: Option<&'a str>,
    /// Whether the deployment has the instance types that the environment needs.
    pub fits: bool,
}

/// Whether a deployment itself is promoted or a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The deployment serves the environment already, with the right instance types.
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

/// The facts about an environment that a deployment is to serve.
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
    /// The deployment serves the environment, which had no deployment before.
    Occupy,
    /// The deployment replaces the previous deployment in the environment.
    Replace,
    /// The deployment is the candidate, and the previous deployment continues to serve.
    Wait,
    /// The deployment is no longer a candidate.
    GiveUp,
}

impl Takeover {
    /// Decides for a deployment that has just been promoted or pushed.
    pub const fn at_entry(status: Status, occupancy: Occupancy) -> Takeover {
        match (occupancy, status.phase()) {
            // No other deployment could serve while this one starts.
            (Occupancy::Vacant, _) => Takeover::Occupy,
            (Occupancy::Occupied, Phase::Serving) => Takeover::Replace,
            (Occupancy::Occupied, Phase::Starting | Phase::Asleep | Phase::Off | Phase::Failed) => Takeover::Wait,
        }
    }

    /// Decides for a candidate whose status has changed.
    pub const fn at_step(status: Status, occupancy: Occupancy) -> Takeover {
        match (status, status.phase(), occupancy) {
            // It may recover. Until then the previous deployment serves better.
            (Status::Unhealthy, _, _) | (_, Phase::Starting | Phase::Asleep, _) => Takeover::Wait,
            (_, Phase::Serving, Occupancy::Vacant) => Takeover::Occupy,
            (_, Phase::Serving, Occupancy::Occupied) => Takeover::Replace,
            (_, Phase::Off | Phase::Failed, _) => Takeover::GiveUp,
        }
    }
}

/// Refuses a second promotion to an environment. `way_out` tells the client how to end the first one.
///
/// # Errors
///
/// [`Error::Conflict`] that names the candidate, if the environment has one.
pub fn refuse_second(candidate: Option<&str>, environment: &str, way_out: &str) -> Result<(), Error> {
    match candidate {
        None => Ok(()),
        Some(name) => Err(Error::conflict(format!(
            "deployment \"{name}\" is being promoted to \"{environment}\": wait until it is active, or {way_out}"
        ))),
    }
}

/// Whether a push that names no environment goes into `production`. It does while no deployment serves `production` and
/// none is its candidate. A failed deployment does not serve.
pub fn takes_first_push(current: Option<Status>, candidate: Option<Status>) -> bool {
    current.is_none_or(|status| status.phase() == Phase::Failed) && candidate.is_none()
}
