//! The API: every request takes one path from its route to its reply.
//!
//! [`routes`] lists what is served and the access each route needs, [`dispatch`] is the path, and [`rest`] and [`graphql`]
//! are the handlers.

use std::sync::Arc;

use crate::db::{self, Db};
use crate::pool::{self, Hooks, Pool};

mod body;
mod dispatch;
pub mod elsewhere;
pub mod expiry;
pub mod graphql;
pub mod openapi;
pub mod operator;
mod parameters;
pub mod passwords;
pub mod reply;
pub mod request;
pub mod request_log;
pub mod rest;
pub mod routes;
pub mod shapes;
pub mod unserved;

pub use dispatch::{admit, answer};
use passwords::FailedAttempts;
pub use reply::Reply;
pub use request::{Listener, Request, RequestContext, ReverseProxy, S3Hosts};

/// The limit of a body where its route sets no other.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Of a body that anyone may send, also without a key.
pub const OPEN_BODY_BYTES_MAX: usize = 64 << 10;
/// Of a file of fixtures, which only the operator sends.
pub const FIXTURES_BYTES_MAX: usize = 64 << 20;

/// What every request shares.
pub struct App {
    /// Dropped before the database that its work may read.
    pub pool: Arc<Pool>,
    pub db: Db,
    pub reverse_proxy: ReverseProxy,
    failed_attempts: FailedAttempts,
}

impl App {
    pub fn new(db: Db) -> App {
        App::behind(ReverseProxy::default(), db)
    }

    pub fn behind(reverse_proxy: ReverseProxy, db: Db) -> App {
        let hooks = Hooks { on_start: db::thread_parks, on_idle: db::park };
        App {
            pool: Arc::new(Pool::new(pool::Limits::default(), hooks)),
            db,
            reverse_proxy,
            failed_attempts: FailedAttempts::default(),
        }
    }
}
