//! Who may call models and Chains.
//!
//! The row "Call models" says who calls. A key that is narrowed to models calls only these models, and no Chain. A key
//! that is narrowed to environments calls only deployments that serve one of them. The restriction of an environment
//! does not affect calls.

use crate::domain::Team;
use crate::domain::calls::{Callee, Place};
use crate::error::Error;
use crate::policy::{Caller, TeamAct, TeamKey, Who, metrics, refusal};

/// Proof that the caller may call this model or Chain in some environment.
///
/// Its holder may look up what is called, and may ask for the next proof, [`Invoker`].
#[derive(Clone, Copy, Debug)]
pub struct Invoking<'a> {
    caller: &'a Caller,
    team: &'a Team,
    callee: &'a Callee,
}

/// Proof that the caller may call this model or Chain at this place: in this environment, or by this deployment.
///
/// It does not implement [`Reader`](crate::policy::Reader), because a key that calls reads nothing.
///
/// ```compile_fail,E0277
/// use guildhall::db::{Tx, deployments};
/// use guildhall::error::Error;
/// use guildhall::policy::Invoker;
///
/// fn list(tx: &Tx, invoker: &Invoker) -> Result<(), Error> {
///     deployments::list(tx, invoker, "model", None).map(drop)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Invoker<'a> {
    invoking: Invoking<'a>,
    place: Place<'a>,
}

impl Caller {
    /// Proves that the caller may call this model or Chain of the team in some environment.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the caller does not see the team. [`Error::Forbidden`] if the caller may not call models
    /// in it, or has a key that is narrowed to other models.
    pub fn to_invoke<'a>(&'a self, team: &'a Team, callee: &'a Callee) -> Result<Invoking<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        if !TeamAct::CallModels.allowed_to(standing) {
            return Err(refusal(standing, TeamAct::CallModels));
        }
        if let Who::TeamKey(key) = &self.who {
            key.calls(callee)?;
        }
        Ok(Invoking { caller: self, team, callee })
    }
}

impl TeamKey {
    fn calls(&self, callee: &Callee) -> Result<(), Error> {
        let Some(models) = &self.models else { return Ok(()) };
        match callee {
            Callee::Model(id) if models.contains(id) => Ok(()),
            Callee::Model(_) | Callee::Chain(_) => Err(Error::Forbidden(format!(
                "this key is narrowed to {} and calls nothing else",
                metrics::named(models)
            ))),
        }
    }

    /// Whether the key calls what serves one of these environments.
    fn calls_in(&self, environments: &[&str]) -> Result<(), Error> {
        let Some(names) = &self.environments else { return Ok(()) };
        if names.iter().any(|name| environments.contains(&name.as_str())) {
            return Ok(());
        }
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        Err(Error::Forbidden(format!(
            "this key is narrowed to the environments {} and calls nothing else",
            names.join(", ")
        )))
    }
}

impl<'a> Invoking<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
    }

    pub fn callee(&self) -> &'a Callee {
        self.callee
    }

    /// Proves that the caller may call at this place. `serves` are the environments that a deployment serves; it is
    /// called only for a place that is not an environment itself.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that is narrowed to other environments, and the errors of `serves`.
    pub fn at(
        self,
        place: Place<'a>,
        serves: impl FnOnce(&Invoking<'a>) -> Result<Option<String>, Error>,
    ) -> Result<Invoker<'a>, Error> {
        if let Who::TeamKey(key) = &self.caller.who
            && key.environments.is_some()
        {
            match place {
                Place::Environment(name) => key.calls_in(&[name])?,
                // The development deployment serves no environment.
                Place::Development => key.calls_in(&[])?,
                Place::Deployment(_) => key.calls_in(serves(&self)?.as_deref().as_slice())?,
            }
        }
        Ok(Invoker { invoking: self, place })
    }
}

impl<'a> Invoker<'a> {
    pub fn team(&self) -> &'a Team {
        self.invoking.team
    }

    pub fn caller(&self) -> &'a Caller {
        self.invoking.caller
    }

    pub fn callee(&self) -> &'a Callee {
        self.invoking.callee
    }

    /// The environment or the deployment that is called.
    pub fn place(&self) -> Place<'a> {
        self.place
    }
}
