//! What every request shares.

use std::sync::Arc;

use crate::api::passwords::FailedAttempts;
use crate::api::request::ReverseProxy;
use crate::api::route::Table;
use crate::api::routes;
use crate::db::{self, Db};
use crate::pool::{self, Hooks, Pool};

pub struct App {
    /// Dropped before the database that its work may read.
    pub pool: Arc<Pool>,
    pub db: Db,
    pub reverse_proxy: ReverseProxy,
    /// Every route that is served.
    pub routes: &'static Table,
    pub(super) failed_attempts: FailedAttempts,
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
            routes: routes::table(),
            failed_attempts: FailedAttempts::default(),
        }
    }
}
