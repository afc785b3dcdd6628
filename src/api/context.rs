//! The context of a request: through it, a handler reads what was sent.

use crate::api::access::{self, Context, Surface};
use crate::api::body::Body;
use crate::api::passwords::Outcome;
use crate::api::path_template::PathTemplate;
use crate::api::reply::Reply;
use crate::api::request::{Listener, Named, Request};
use crate::api::shapes::Shapes;
use crate::domain::Team;
use crate::domain::calls::Callee;
use crate::error::Error;

/// The kind of table that holds HTTP routes: the management API, the operator's socket and inference.
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl Surface for Http {
    type Context<'c> = RequestContext<'c>;
    type Reply = Reply;
}

/// Who may use a route.
pub type Access = access::Access<Http>;

/// A request together with its route.
pub struct RequestContext<'r> {
    pub request: &'r Request,
    pub(super) path: &'r PathTemplate,
    /// The parameters and types that the route declares for its handler.
    pub(super) shapes: &'r Shapes,
    pub(super) prepared: &'r Prepared,
}

/// What was prepared for a request before its transaction.
#[derive(Default)]
pub struct Prepared {
    pub(super) password: Outcome,
    pub(super) body: Body,
}

impl RequestContext<'_> {
    /// The outcome of the work on the request's password.
    pub fn password(&self) -> &Outcome {
        &self.prepared.password
    }

    /// How many segments at the end of the path the route leaves to the model.
    pub fn rest_count(&self) -> usize {
        self.path.rest_count(&self.request.path)
    }

    /// The refusal of a route of Baseten's interface that is not served. The message names the route, so that nobody
    /// mistakes it for a resource that does not exist.
    pub fn not_served(&self) -> Error {
        Error::NotImplemented(format!("{} {}", self.request.method, self.path.text))
    }
}

impl Context for RequestContext<'_> {
    fn named(&self, name: &str) -> Result<&str, Error> {
        Ok(self.param(name))
    }

    fn listener(&self) -> Listener {
        self.request.from
    }

    fn callee(&self) -> Option<&Callee> {
        self.request.callee.as_ref().map(Named::callee)
    }

    fn note_team(&self, team: &Team) {
        self.request.log.note_team(team);
    }
}
