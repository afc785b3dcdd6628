//! The state that all requests share.

use std::sync::Arc;

use crate::api::first_run::FirstRun;
use crate::api::guesses::Guesses;
use crate::api::request::ReverseProxy;
use crate::api::request_log::RequestLog;
use crate::api::route::Table;
use crate::api::routes;
use crate::db::{self, Db, Now};
use crate::pool::{self, Hooks, Pool};
use crate::runner::fleet::Fleet;

/// The database, the pool and the routes of a server.
pub struct App {
    /// Declared before `db`, so that it is dropped first: its work may read the database.
    pub pool: Arc<Pool>,
    pub db: Db,
    pub reverse_proxy: ReverseProxy,
    /// The replicas that calls go to.
    pub fleet: Arc<Fleet>,
    /// Every route that is served.
    pub routes: &'static Table,
    /// Wrong passwords and codes of late.
    pub guesses: Guesses,
    /// The link by which an empty installation is set up.
    pub first_run: FirstRun,
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
            fleet: Arc::new(Fleet::off()),
            routes: routes::table(),
            guesses: Guesses::default(),
            first_run: FirstRun::default(),
        }
    }

    /// Marks as ended what a request found expired, before the request is answered. A failure is only logged, because
    /// expired keys and links are refused in any case.
    pub async fn mark_ended(&self, now: Now, log: &RequestLog) {
        if let Err(cause) = self.db.mark_ended(now.seed).await {
            log.note_failure(&cause);
        }
    }
}
