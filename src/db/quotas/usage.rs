//! What teams and organizations use, as read from the database and kept by the writer.
//!
//! The writer keeps the numbers of the teams and organizations that it wrote for, so that it checks a write without an
//! SQL statement. The changes of a group of writes are stored once for each team and organization, in the transaction
//! of the group before its commit. Therefore readers of the database always read exact numbers.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::db::quotas::accounting::{Delta, Tally};
use crate::db::quotas::unsigned;
use crate::error::Error;

/// How many numbers are kept; when there are more, all are read from the database again.
const KNOWN_MAX: usize = 10_000;

/// What a team or an organization uses.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::db) struct Used {
    pub database_bytes: u64,
    pub database_rows: u64,
    pub archive_bytes: u64,
}

impl Used {
    /// What a team uses; `None` if there is no such team.
    pub fn by_team(tx: &Tx, team_id: &str) -> Result<Option<Used>, Error> {
        let known = tx.desk.and_then(|desk| desk.usage.borrow().teams.known.get(team_id).map(Known::used));
        known.map_or_else(|| TEAMS.read(tx.sql, team_id), |used| Ok(Some(used)))
    }

    /// What an organization uses; `None` if there is no such organization.
    pub fn by_organization(tx: &Tx, org_id: &str) -> Result<Option<Used>, Error> {
        let known = tx.desk.and_then(|desk| desk.usage.borrow().organizations.known.get(org_id).map(Known::used));
        known.map_or_else(|| ORGANIZATIONS.read(tx.sql, org_id), |used| Ok(Some(used)))
    }
}

/// The numbers that the writer keeps.
pub(super) struct Usage {
    teams: Ledger,
    organizations: Ledger,
}

impl Usage {
    pub fn new() -> Usage {
        Usage { teams: Ledger::of(&TEAMS), organizations: Ledger::of(&ORGANIZATIONS) }
    }

    /// What a team would use after this change; `None` if the team does not exist any more.
    pub fn of_team_with(&mut self, sql: &Connection, team_id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        self.teams.with(sql, team_id, delta)
    }

    /// What an organization would use after this change; `None` if the organization does not exist any more.
    pub fn of_organization_with(&mut self, sql: &Connection, id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        self.organizations.with(sql, id, delta)
    }

    /// Adds what a write changed, either completely or not at all. It runs at the very end of the write, after which
    /// only a failure of the whole group can undo the write.
    pub fn add(&mut self, sql: &Connection, tally: &Tally) -> Result<(), Error> {
        self.teams.look_up(sql, &tally.teams)?;
        self.organizations.look_up(sql, &tally.organizations)?;
        self.teams.add(&tally.teams);
        self.organizations.add(&tally.organizations);
        Ok(())
    }

    /// The bytes of archives that are not stored in the database yet.
    pub fn archive_bytes_added(&self) -> i64 {
        let Ledger { known, added_to, .. } = &self.organizations;
        added_to.iter().filter_map(|id| known.get(id)).map(|known| known.added.archive_bytes).sum()
    }

    /// Stores what was added since the last call. It runs outside the savepoints of single writes: one of those may be
    /// undone, but the additions of the others may not.
    pub fn write_down(&mut self, sql: &Connection) -> Result<(), Error> {
        self.teams.write_down(sql)?;
        self.organizations.write_down(sql)
    }

    /// Forgets everything after a group was undone.
    pub fn forget(&mut self) {
        *self = Usage::new();
    }
}

// ---- the two tables ----

struct Statements {
    select: &'static str,
    update: &'static str,
}

/// The statements of a table of usage, with the column that identifies its rows.
macro_rules! statements {
    ($table:literal, $id:literal) => {
        Statements {
            select: concat!(
                "SELECT database_bytes, database_rows, archive_bytes FROM ",
                $table,
                " WHERE ",
                $id,
                " = :id"
            ),
            update: concat!(
                "UPDATE ",
                $table,
                " SET database_bytes = database_bytes + :bytes, database_rows = database_rows + :rows,
                      archive_bytes = archive_bytes + :archive_bytes
                  WHERE ",
                $id,
                " = :id"
            ),
        }
    };
}

const TEAMS: Statements = statements!("team_usage", "team_id");
const ORGANIZATIONS: Statements = statements!("organization_usage", "org_id");

impl Statements {
    fn read(&self, sql: &Connection, id: &str) -> Result<Option<Used>, Error> {
        let mut query = sql.prepare_cached(self.select)?;
        let used = query.query_row(named_params! { ":id": id }, |row| {
            Ok(Used {
                database_bytes: unsigned(row.get("database_bytes")?),
                database_rows: unsigned(row.get("database_rows")?),
                archive_bytes: unsigned(row.get("archive_bytes")?),
            })
        });
        Ok(used.optional()?)
    }
}

/// The numbers of one team or organization: those in the database, and what was added since.
struct Known {
    written: Used,
    added: Delta,
}

impl Known {
    fn used(&self) -> Used {
        with(self.written, &self.added)
    }
}

/// The numbers that are known of one table.
struct Ledger {
    statements: &'static Statements,
    known: HashMap<String, Known>,
    /// The ids whose additions are not stored yet.
    added_to: Vec<String>,
}

impl Ledger {
    fn of(statements: &'static Statements) -> Ledger {
        Ledger { statements, known: HashMap::new(), added_to: Vec::new() }
    }

    fn with(&mut self, sql: &Connection, id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        Ok(self.find(sql, id)?.map(|known| with(known.used(), delta)))
    }

    fn look_up(&mut self, sql: &Connection, deltas: &[(String, Delta)]) -> Result<(), Error> {
        deltas.iter().try_for_each(|(id, _)| self.find(sql, id).map(drop))
    }

    fn add(&mut self, deltas: &[(String, Delta)]) {
        for (id, delta) in deltas.iter().filter(|(_, delta)| !delta.is_none()) {
            let Some(known) = self.known.get_mut(id) else { continue };
            if known.added.is_none() {
                self.added_to.push(id.clone());
            }
            known.added.add(delta);
        }
    }

    /// Finds the numbers of this id. A missing row is looked up again each time, because its deletion may be undone.
    fn find(&mut self, sql: &Connection, id: &str) -> Result<Option<&mut Known>, Error> {
        if !self.known.contains_key(id) {
            let Some(written) = self.statements.read(sql, id)? else { return Ok(None) };
            self.known.insert(id.to_owned(), Known { written, added: Delta::default() });
        }
        Ok(self.known.get_mut(id))
    }

    fn write_down(&mut self, sql: &Connection) -> Result<(), Error> {
        for id in self.added_to.drain(..) {
            let Some(known) = self.known.get_mut(&id) else { continue };
            let Delta { bytes, rows, archive_bytes, .. } = known.added;
            sql.prepare_cached(self.statements.update)?.execute(named_params! {
                ":id": id, ":bytes": bytes, ":rows": rows, ":archive_bytes": archive_bytes,
            })?;
            *known = Known { written: known.used(), added: Delta::default() };
        }
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        Ok(())
    }
}

fn with(used: Used, delta: &Delta) -> Used {
    Used {
        database_bytes: used.database_bytes.saturating_add_signed(delta.bytes),
        database_rows: used.database_rows.saturating_add_signed(delta.rows),
        archive_bytes: used.archive_bytes.saturating_add_signed(delta.archive_bytes),
    }
}
