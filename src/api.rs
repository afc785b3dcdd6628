//! The API: every request goes through the same steps, from its route to its reply.
//!
//! [`routes`] lists what is served and the access that each row needs, [`dispatch`] carries out the steps, and [`rest`]
//! and [`graphql`] contain the handlers. Imports go in one direction: the handlers import request, reply and access;
//! the routes import the handlers; the dispatch imports the routes.

pub mod access;
mod app;
mod authentication;
mod body;
pub mod context;
pub mod dispatch;
pub mod first_run;
pub mod graphql;
pub mod guesses;
pub mod openapi;
pub mod operator;
mod parameters;
pub mod passwords;
pub(crate) mod path_template;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod request_log;
pub mod rest;
pub mod route;
pub mod routes;
pub mod shapes;
pub mod sign_in;

pub use app::App;
pub use body::{BODY_BYTES_MAX, FIXTURES_BYTES_MAX, OPEN_BODY_BYTES_MAX};
pub use context::RequestContext;
pub use reply::Reply;
pub use request::{Browser, Listener, Request, ReverseProxy, S3Hosts};
