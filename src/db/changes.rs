//! Tells workers whether a commit may have changed what they follow, so that they need not read the database after each
//! commit.
//!
//! Temporary triggers on the writer's connection note the tables that are written to. A write that is undone may be
//! noted too: a worker then reads once for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Null;

use crate::error::Error;

/// What a worker follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Deployments, their patches and their replicas.
    Deployments,
    Secrets,
}

impl Followed {
    const ALL: &[Followed] = &[Followed::Deployments, Followed::Secrets];

    const fn tables(self) -> &'static [&'static str] {
        match self {
            Followed::Deployments => &["deployment", "replica", "chain_deployment"],
            Followed::Secrets => &["secret", "secret_value"],
        }
    }
}

/// How often each subject may have changed.
#[derive(Default)]
pub(super) struct Changes {
    deployments: Counter,
    secrets: Counter,
}

#[derive(Default)]
struct Counter {
    is_noted: AtomicBool,
    count: AtomicU64,
}

impl Changes {
    /// Creates the triggers on the writer's connection.
    pub fn follow(self: &Arc<Self>, sql: &Connection) -> Result<(), Error> {
        for followed in Followed::ALL.iter().copied() {
            let (changes, name) = (Arc::clone(self), format!("note_{followed:?}").to_lowercase());
            sql.create_scalar_function(name.as_str(), 0, FunctionFlags::SQLITE_UTF8, move |_: &Context| {
                changes.of(followed).is_noted.store(true, Ordering::Relaxed);
                Ok(Null)
            })?;
            for table in followed.tables() {
                for act in ["INSERT", "UPDATE", "DELETE"] {
                    sql.execute_batch(&format!(
                        "CREATE TEMP TRIGGER {name}_{table}_{act} AFTER {act} ON main.{table} BEGIN SELECT {name}(); END"
                    ))?;
                }
            }
        }
        Ok(())
    }

    /// Counts what was noted since the last call. The writer calls it after each commit.
    pub fn announce(&self) {
        for counter in [&self.deployments, &self.secrets] {
            if counter.is_noted.swap(false, Ordering::Relaxed) {
                counter.count.fetch_add(1, Ordering::Release);
            }
        }
    }

    pub fn count(&self, followed: Followed) -> u64 {
        self.of(followed).count.load(Ordering::Acquire)
    }

    fn of(&self, followed: Followed) -> &Counter {
        match followed {
            Followed::Deployments => &self.deployments,
            Followed::Secrets => &self.secrets,
        }
    }
}
