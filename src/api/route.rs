//! A row of the route table, and how the row of a request is found.

use crate::api::body::{BODY_BYTES_MAX, FIXTURES_BYTES_MAX, OPEN_BODY_BYTES_MAX, PROMPT_BYTES_MAX};
use crate::api::context::{Access, RequestContext};
use crate::api::passwords::Work;
use crate::api::path_template::PathTemplate;
use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::api::request::{Listener, Named, Request};
use crate::api::shapes::Shapes;
use crate::db::Tx;
use crate::domain::async_requests;
use crate::error::Error;
use crate::policy::Caller;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// The path, with `{name}` where a segment is free.
    pub template: &'static str,
    pub access: Access,
    pub run: Run,
    pub origin: Origin,
    /// The API whose shape a refusal has.
    pub api: Api,
    /// Names that may replace `{deployment_id}`, where Baseten's specification lists a separate path for each name.
    pub named_deployments: &'static [&'static str],
    /// The types that the route takes and answers.
    pub shapes: Shapes,
}

/// Whose interface a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Baseten,
    Ours,
}

/// How a request is carried out. The method does not determine this: in Baseten's interface some reads use POST,
/// because their input does not fit into a query.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// In a read transaction, on the thread that received the request.
    Read,
    /// In a read transaction on the pool, because it may read much.
    Search,
    /// In a transaction of the writer.
    Write,
    /// In a transaction of the writer, after the work on a password that this function finds.
    Password(FindWork),
    /// In a transaction of the writer that only reads: the reply shows that the writer works.
    ReadByWriter,
    /// As a read or as a write, depending on the operation of the GraphQL document, after the document was read on the
    /// pool.
    Document,
    /// In a read transaction before the body is read. The server then makes the call that the handler allowed, and
    /// passes the body on as it arrives.
    Call,
    /// In a transaction of the writer, if models run here. The request is carried out later.
    Queue,
    /// Not at all: the route belongs to Baseten's interface and is not served.
    NotServed,
}

/// Finds the work on a password that a request needs, in a read transaction. Hashing is slow, so it is done before the write
/// transaction opens. The handler checks again and gets the outcome from [`RequestContext::password`].
pub type FindWork = fn(&Tx, Option<&Caller>, &RequestContext) -> Result<Option<Work>, Error>;

impl Route {
    /// A row of Baseten's management API, which reads if its method is GET and otherwise writes.
    const fn new(method: &'static str, template: &'static str, access: Access, shapes: Shapes) -> Route {
        let run = if matches!(method.as_bytes(), b"GET") { Run::Read } else { Run::Write };
        let (origin, api) = (Origin::Baseten, Api::Management);
        Route { method, template, access, run, origin, api, named_deployments: &[], shapes }
    }

    /// Marks a route that is not in Baseten's interface.
    pub(super) const fn ours(self) -> Route {
        Route { origin: Origin::Ours, ..self }
    }

    /// Marks a route that writes nothing and may read much.
    pub(super) const fn searching(self) -> Route {
        self.runs(Run::Search)
    }

    pub(super) const fn runs(self, run: Run) -> Route {
        Route { run, ..self }
    }

    pub(super) const fn of_api(self, api: Api) -> Route {
        Route { api, ..self }
    }

    /// Adds the documented paths that have one of these names in place of a deployment's id.
    pub(super) const fn also_for(self, named_deployments: &'static [&'static str]) -> Route {
        Route { named_deployments, ..self }
    }

    pub fn writes(&self) -> bool {
        match self.run {
            Run::Write | Run::Password(_) | Run::Document | Run::Queue => true,
            Run::Read | Run::Search | Run::ReadByWriter | Run::Call | Run::NotServed => false,
        }
    }

    pub fn is_served(&self) -> bool {
        !matches!(self.run, Run::NotServed)
    }

    /// Whether the route only revokes, removes or deletes.
    pub fn deletes(&self) -> bool {
        self.method == "DELETE"
    }

    pub fn body_bytes_max(&self) -> usize {
        if self.access.is_open() {
            OPEN_BODY_BYTES_MAX
        } else if self.access.is_operators() {
            FIXTURES_BYTES_MAX
        } else if matches!(self.run, Run::Queue) {
            async_requests::BODY_BYTES_MAX
        } else if self.api == Api::OpenAi {
            PROMPT_BYTES_MAX
        } else {
            BODY_BYTES_MAX
        }
    }

    /// The template, and the further paths that Baseten's specification lists for it.
    pub fn paths(&self) -> Vec<String> {
        let named = self.named_deployments.iter().map(|name| self.template.replace("{deployment_id}", name));
        std::iter::once(self.template.to_owned()).chain(named).collect()
    }

    /// Whether the route exists for this listener. Over the network, the operator's routes do not exist, whatever the
    /// method.
    fn is_reachable_by(&self, listener: Listener) -> bool {
        listener == Listener::Operator || !self.access.is_operators()
    }
}

pub(super) const fn get(template: &'static str, access: Access, shapes: Shapes) -> Route {
    Route::new("GET", template, access, shapes)
}

pub(super) const fn post(template: &'static str, access: Access, shapes: Shapes) -> Route {
    Route::new("POST", template, access, shapes)
}

pub(super) const fn patch(template: &'static str, access: Access, shapes: Shapes) -> Route {
    Route::new("PATCH", template, access, shapes)
}

pub(super) const fn delete(template: &'static str, access: Access, shapes: Shapes) -> Route {
    Route::new("DELETE", template, access, shapes)
}

/// A route of Baseten's management API that is not served. A caller with a key gets 501.
pub(super) const fn not_served(method: &'static str, template: &'static str) -> Route {
    Route::new(method, template, Access::Caller(refuse), Shapes::UNDESCRIBED).runs(Run::NotServed)
}

/// A route that is not served, of an API that clients call without a key too.
pub(super) const fn not_served_to_anyone(method: &'static str, template: &'static str) -> Route {
    Route::new(method, template, Access::Anyone(refuse_anyone), Shapes::UNDESCRIBED).runs(Run::NotServed)
}

fn refuse(_: &Tx, _: &Caller, ctx: &RequestContext) -> Result<Reply, Error> {
    Err(ctx.not_served())
}

fn refuse_anyone(_: &Tx, _: Option<&Caller>, ctx: &RequestContext) -> Result<Reply, Error> {
    Err(ctx.not_served())
}

/// Rows whose paths are split into segments, so that requests can be matched.
pub struct Table(Vec<Row>);

pub struct Row {
    pub route: Route,
    pub(super) path: PathTemplate,
}

impl Table {
    pub fn of(routes: impl IntoIterator<Item = Route>) -> Table {
        let row = |route: Route| Row { path: PathTemplate::new(route.template), route };
        Table(routes.into_iter().map(row).collect())
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    /// The first row that matches a request.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no row has the path, [`Error::MethodNotAllowed`] with the methods of the rows that have
    /// the path.
    pub fn find(&self, request: &Request) -> Result<&Row, Error> {
        let reaches = |row: &&Row| {
            row.route.is_reachable_by(request.from)
                && (row.route.api == Api::Inference || !matches!(request.callee, Some(Named::ByPath(_))))
                && row.path.matches(&request.path)
        };
        let on_path = || self.0.iter().filter(reaches);
        on_path().find(|row| row.route.method == request.method).ok_or_else(|| {
            let methods: Vec<&str> = on_path().map(|row| row.route.method).collect();
            if methods.is_empty() { Error::NotFound("route") } else { Error::MethodNotAllowed(methods.join(", ")) }
        })
    }
}
