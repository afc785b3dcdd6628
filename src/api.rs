//! The API: every request takes one path from its route to its reply.
//!
//! [`routes`] lists what is served and the access that each row needs, [`dispatch`] is the path, and [`rest`] and
//! [`graphql`] are the handlers. Imports go one way: request, reply and access; the handlers; the routes; the dispatch.

pub mod access;
mod app;
mod authentication;
mod body;
pub mod context;
pub mod dispatch;
pub mod expiry;
pub mod graphql;
pub mod openapi;
pub mod operator;
mod parameters;
pub mod passwords;
mod path_template;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod request_log;
pub mod rest;
pub mod route;
pub mod routes;
pub mod shapes;

pub use app::App;
pub use body::{BODY_BYTES_MAX, FIXTURES_BYTES_MAX, OPEN_BODY_BYTES_MAX};
pub use context::RequestContext;
pub use reply::Reply;
pub use request::{Listener, Request, ReverseProxy, S3Hosts};
