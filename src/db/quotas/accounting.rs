//! What each row costs and who is charged for it: the numbers in `team_usage` and `organization_usage`.
//!
//! Temporary triggers on the writer's connection report each inserted, changed or deleted row to a [`Tally`]. They are
//! generated from the schema, so a new table or column is counted without being named here. At the end of each write
//! the tally is added to the numbers in the database, in the same transaction: no table is scanned, and the numbers are
//! exact. If the triggers differ from those that made the numbers, as after a migration, everything is counted again
//! once.

use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::error::Error;

/// Tables whose rows have no team column, so that their team is found by a row of a parent table. A trigger deletes
/// these rows before the parent row, while that can still be read.
#[rustfmt::skip]
const PARENTS: &[Parent] = &[
    Parent { of: "secret_value",          table: "secret",            keys: &[("secret_id", "id")] },
    Parent { of: "api_key_environment",   table: "api_key",           keys: &[("prefix", "prefix")] },
    Parent { of: "deployment_patch",      table: "deployment",        keys: &[("deployment_id", "id")] },
    Parent { of: "deployment_log",        table: "deployment",        keys: &[("deployment_id", "id")] },
    Parent { of: "training_job_artifact", table: "training_job",      keys: &[("job_id", "id")] },
    Parent { of: "training_job_event",    table: "training_job",      keys: &[("job_id", "id")] },
    Parent { of: "training_job_log",      table: "training_job",      keys: &[("job_id", "id")] },
    Parent { of: "training_job_sample",   table: "training_job",      keys: &[("job_id", "id")] },
    Parent { of: "training_checkpoint",   table: "training_job",      keys: &[("job_id", "id")] },
    Parent { of: "training_checkpoint_file", table: "training_job",   keys: &[("job_id", "id")] },
    Parent { of: "training_cache_file",   table: "training_project",  keys: &[("project_id", "id")] },
    Parent { of: "chainlet_setting",      table: "chain_environment", keys: &[("chain_id", "chain_id"), ("environment", "name")] },
];

/// Tables that are not charged to any team or organization: tenants cannot make them grow, or they belong to no
/// organization, like the people and their second factors. Sessions are few for each person, and a used up quota must
/// keep nobody from signing in.
pub const UNCHARGED: &[&str] = &[
    "accounting",
    "installation",
    "metered",
    "model_api_upstream",
    "organization",
    "organization_usage",
    "recovery_code",
    "refinery_schema_history",
    "second_factor",
    "session",
    "team_usage",
    "user",
];

/// Tables whose rows are work for the runner.
const WORK: &[&str] = &["deployment", "training_job"];

/// The approximate bytes of a row in addition to its texts: its header, and an amount for each column and each index.
const ROW_BYTES: i64 = 32;
const COLUMN_BYTES: i64 = 8;
const INDEX_BYTES: i64 = 48;
/// Up to this size a row is stored in one piece: in a table with row ids, and in a table without them. The rest of a
/// longer row is stored in overflow pages of its own.
const INLINE_BYTES_MAX: i64 = 4000;
const INLINE_BYTES_MAX_BY_KEY: i64 = 1000;
/// The bytes of a longer row that are stored outside its overflow pages.
const LOCAL_BYTES: i64 = 489;
const PAGE_BYTES: i64 = 4096;

struct Parent {
    of: &'static str,
    table: &'static str,
    /// Pairs of a column of the child table and the column of the parent table that it refers to.
    keys: &'static [(&'static str, &'static str)],
}

impl Parent {
    fn find(table: &str) -> Option<&'static Parent> {
        PARENTS.iter().find(|parent| parent.of == table)
    }
}

/// What one write changes in the usage of one team or organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub bytes: i64,
    pub rows: i64,
    pub archive_bytes: i64,
    /// Whether a deployment or a training job was created or its status was written.
    pub work: bool,
}

impl Delta {
    pub fn add(&mut self, other: &Delta) {
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.archive_bytes += other.archive_bytes;
        self.work |= other.work;
    }

    pub fn is_none(&self) -> bool {
        *self == Delta::default()
    }
}

/// What one write changes in the usage of all teams and organizations.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub teams: Vec<(String, Delta)>,
    pub organizations: Vec<(String, Delta)>,
    /// All bytes that were added; deletions do not reduce it.
    pub grown_bytes: u64,
    /// Whether a row outside the audit log was inserted, deleted or changed.
    changed: bool,
}

/// The tally of the current write.
#[derive(Clone, Default)]
pub(in crate::db) struct Books(Arc<Mutex<Tally>>);

impl Books {
    /// Creates the triggers on the writer's connection. Counts everything if the numbers were made by other triggers.
    pub(in crate::db) fn open(sql: &Connection) -> Result<Books, Error> {
        let books = Books::default();
        books.define_functions(sql)?;
        let tables = tables(sql)?;
        let triggers: String = tables.iter().map(Table::triggers).chain([ARCHIVE_TRIGGERS.to_owned()]).collect();
        sql.execute_batch(&triggers)?;
        sql.execute_batch(&change_triggers(sql)?)?;
        let known: Option<String> =
            sql.query_row("SELECT formula FROM accounting", [], |row| row.get("formula")).optional()?;
        if known.as_ref() != Some(&formula(&triggers)) {
            sql.execute_batch("BEGIN IMMEDIATE")?;
            let counted = count_everything(sql, &tables, &formula(&triggers));
            sql.execute_batch(if counted.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
            counted?;
        }
        books.clear();
        Ok(books)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().expect("nobody panics holding it")
    }

    pub(in crate::db) fn clear(&self) {
        let mut tally = self.lock();
        tally.teams.clear();
        tally.organizations.clear();
        tally.grown_bytes = 0;
        tally.changed = false;
    }

    /// Takes the tally and starts a new, empty one.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.lock())
    }

    /// Whether anything but the audit log was changed.
    pub(in crate::db) fn has_change(&self) -> bool {
        self.lock().changed
    }

    /// Whether anything was added since this mark.
    pub(in crate::db) fn has_grown(&self, since: &Mark) -> bool {
        self.lock().grown_bytes > since.0.grown_bytes
    }

    pub(in crate::db) fn note_change(&self) {
        self.lock().changed = true;
    }

    /// A mark of the current tally, to which [`Books::go_back`] returns if the following changes are undone.
    pub(in crate::db) fn mark(&self) -> Mark {
        Mark(self.lock().clone())
    }

    pub(in crate::db) fn go_back(&self, mark: Mark) {
        *self.lock() = mark.0;
    }

    fn define_functions(&self, sql: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8;
        sql.create_scalar_function("row_cost", 3, flags | FunctionFlags::SQLITE_DETERMINISTIC, |row: &Context| {
            Ok(cost(row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let books = self.clone();
        sql.create_scalar_function("charge_row", 7, flags, move |row: &Context| {
            let (base, inline_bytes_max) = (row.get(3)?, row.get(4)?);
            let (before, after): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
            let of = |bytes: Option<i64>| bytes.map_or(0, |bytes| cost(base, inline_bytes_max, bytes));
            let delta = Delta {
                bytes: of(after) - of(before),
                rows: i64::from(after.is_some()) - i64::from(before.is_some()),
                archive_bytes: 0,
                work: text(row, 0)?.is_some_and(|table| WORK.contains(&table)) && after.is_some(),
            };
            let mut tally = books.lock();
            tally.grown_bytes += u64::try_from(delta.bytes).unwrap_or(0);
            tally.add(text(row, 1)?, text(row, 2)?, &delta);
            Ok(Null)
        })?;
        let books = self.clone();
        sql.create_scalar_function("note_change", 0, flags, move |_: &Context| {
            books.note_change();
            Ok(Null)
        })?;
        let books = self.clone();
        sql.create_scalar_function("charge_archive", 3, flags, move |row: &Context| {
            let delta = Delta { archive_bytes: row.get(2)?, ..Delta::default() };
            books.lock().add(text(row, 0)?, text(row, 1)?, &delta);
            Ok(Null)
        })
    }
}

/// A state of [`Books`] to which it can return.
pub(in crate::db) struct Mark(Tally);

impl Tally {
    fn add(&mut self, team_id: Option<&str>, org_id: Option<&str>, delta: &Delta) {
        team_id.into_iter().for_each(|id| add(&mut self.teams, id, delta));
        org_id.into_iter().for_each(|id| add(&mut self.organizations, id, delta));
    }
}

/// A list, because it is faster than a map: a write changes one or two teams.
fn add(deltas: &mut Vec<(String, Delta)>, id: &str, delta: &Delta) {
    let at = deltas.iter().position(|(known, _)| known == id).unwrap_or_else(|| {
        deltas.push((id.to_owned(), Delta::default()));
        deltas.len() - 1
    });
    deltas[at].1.add(delta);
}

fn text<'c>(row: &'c Context<'_>, at: usize) -> rusqlite::Result<Option<&'c str>> {
    match row.get_raw(at) {
        ValueRef::Null => Ok(None),
        other => Ok(Some(other.as_str()?)),
    }
}

/// The bytes that a row takes in the database file. Only a limited number of longer rows fit into one page, and a row
/// with overflow pages shares them with no other row.
fn cost(base: i64, inline_bytes_max: i64, bytes: i64) -> i64 {
    if bytes <= inline_bytes_max.min(INLINE_BYTES_MAX_BY_KEY) {
        base + bytes
    } else if bytes <= inline_bytes_max {
        base + PAGE_BYTES / (PAGE_BYTES / (bytes + ROW_BYTES)).max(1)
    } else {
        base + LOCAL_BYTES + (bytes - LOCAL_BYTES + PAGE_BYTES - 5) / (PAGE_BYTES - 4) * PAGE_BYTES
    }
}

// ---- the triggers ----

/// A table whose rows are charged to a team or an organization.
struct Table {
    name: String,
    /// The columns whose values differ in length from row to row.
    texts: Vec<String>,
    has_team: bool,
    has_org: bool,
    base: i64,
    inline_bytes_max: i64,
}

fn tables(sql: &Connection) -> Result<Vec<Table>, Error> {
    let charged = table_names(sql)?.into_iter().filter(|name| !UNCHARGED.contains(&name.as_str()));
    charged.map(|name| Table::read(sql, name)).collect()
}

fn table_names(sql: &Connection) -> Result<Vec<String>, Error> {
    let mut query = sql.prepare(
        "SELECT name FROM main.sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         ORDER BY name",
    )?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The columns of a table, each with its type.
fn columns(sql: &Connection, table: &str) -> Result<Vec<(String, String)>, Error> {
    let mut query = sql.prepare("SELECT name, type FROM pragma_table_info(:table) ORDER BY cid")?;
    let columns = query.query_map(named_params! { ":table": table }, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

impl Table {
    fn read(sql: &Connection, name: String) -> Result<Table, Error> {
        let columns = columns(sql, &name)?;
        let indexes: i64 =
            sql.query_row("SELECT count(*) FROM pragma_index_list(:table)", named_params! { ":table": name }, |row| {
                row.get(0)
            })?;
        let is_kept_by_key: bool = sql.query_row(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = :table",
            named_params! { ":table": name },
            |row| row.get(0),
        )?;
        let has = |wanted: &str| columns.iter().any(|(column, _)| column == wanted);
        Ok(Table {
            has_team: has("team_id"),
            has_org: has("org_id"),
            inline_bytes_max: if is_kept_by_key { INLINE_BYTES_MAX_BY_KEY } else { INLINE_BYTES_MAX },
            base: ROW_BYTES + COLUMN_BYTES * columns.len() as i64 + INDEX_BYTES * indexes,
            texts: columns
                .iter()
                .filter(|(_, kind)| !matches!(kind.as_str(), "INTEGER" | "REAL"))
                .map(|(column, _)| column.clone())
                .collect(),
            name,
        })
    }

    /// The SQL expression for the bytes of the texts of a row.
    fn bytes(&self, row: &str) -> String {
        let lengths: Vec<String> =
            self.texts.iter().map(|column| format!("ifnull(octet_length({row}.\"{column}\"), 0)")).collect();
        if lengths.is_empty() { "0".to_owned() } else { lengths.join(" + ") }
    }

    fn team(&self, row: &str) -> String {
        if self.has_team { format!("{row}.team_id") } else { self.of_parent(row, "team_id") }
    }

    fn org(&self, row: &str) -> String {
        if self.has_org { format!("{row}.org_id") } else { self.of_parent(row, "org_id") }
    }

    fn of_parent(&self, row: &str, column: &str) -> String {
        match Parent::find(&self.name) {
            None => "NULL".to_owned(),
            Some(Parent { table, keys, .. }) => {
                let same: Vec<String> =
                    keys.iter().map(|(child, parent)| format!("{table}.{parent} = {row}.{child}")).collect();
                format!("(SELECT {table}.{column} FROM {table} WHERE {})", same.join(" AND "))
            }
        }
    }

    fn triggers(&self) -> String {
        let Table { name, base, inline_bytes_max, .. } = self;
        let charge = |row: &str, before: &str, after: &str| {
            format!(
                "SELECT charge_row('{name}', {}, {}, {base}, {inline_bytes_max}, {before}, {after});",
                self.team(row),
                self.org(row)
            )
        };
        let (old, new) = (self.bytes("OLD"), self.bytes("NEW"));
        let inserted = charge("NEW", "NULL", &new);
        let updated = charge("NEW", &old, &new);
        let deleted = charge("OLD", &old, "NULL");
        let mut triggers = format!(
            "CREATE TEMP TRIGGER {name}_comes AFTER INSERT ON main.{name} BEGIN {inserted} END;
             CREATE TEMP TRIGGER {name}_goes AFTER DELETE ON main.{name} BEGIN {deleted} END;\n"
        );
        if !self.texts.is_empty() {
            let texts: Vec<String> = self.texts.iter().map(|column| format!("\"{column}\"")).collect();
            triggers += &format!(
                "CREATE TEMP TRIGGER {name}_changes AFTER UPDATE OF {} ON main.{name} BEGIN {updated} END;\n",
                texts.join(", ")
            );
        }
        if let Some(Parent { table, keys, .. }) = Parent::find(name) {
            let same: Vec<String> = keys.iter().map(|(child, parent)| format!("{child} = OLD.{parent}")).collect();
            triggers += &format!(
                "CREATE TEMP TRIGGER {name}_goes_first BEFORE DELETE ON main.{table}
                 BEGIN DELETE FROM {name} WHERE {}; END;\n",
                same.join(" AND ")
            );
        }
        triggers
    }
}

/// Tables whose rows only describe rows of other tables, and columns that only hold a time. Writing to these is not a
/// change.
const ACCOUNTS: &[&str] = &["accounting", "audit", "organization_usage", "refinery_schema_history", "team_usage"];
const TIMES: &[&str] = &["last_used_at", "updated_at"];

/// The triggers that report each inserted, deleted or changed row. A row that is written with its old values has not
/// changed.
fn change_triggers(sql: &Connection) -> Result<String, Error> {
    let mut triggers = String::new();
    for name in table_names(sql)?.iter().filter(|name| !ACCOUNTS.contains(&name.as_str())) {
        let columns = columns(sql, name)?;
        let others = columns.iter().filter(|(column, _)| !TIMES.contains(&column.as_str()));
        let differs: Vec<String> =
            others.map(|(column, _)| format!("OLD.\"{column}\" IS NOT NEW.\"{column}\"")).collect();
        triggers += &format!(
            "CREATE TEMP TRIGGER {name}_is_new AFTER INSERT ON main.{name} BEGIN SELECT note_change(); END;
             CREATE TEMP TRIGGER {name}_is_gone AFTER DELETE ON main.{name} BEGIN SELECT note_change(); END;
             CREATE TEMP TRIGGER {name}_is_other AFTER UPDATE ON main.{name} WHEN {}
             BEGIN SELECT note_change(); END;\n",
            differs.join(" OR ")
        );
    }
    Ok(triggers)
}

/// The triggers that charge uploads. An organization is charged for each upload. A team is charged for the uploads that
/// it uses, and for unused uploads that were made with its keys.
const ARCHIVE_TRIGGERS: &str = "
    CREATE TEMP TRIGGER archive_comes AFTER INSERT ON main.upload
    BEGIN
        SELECT charge_archive(NULL, NEW.org_id, NEW.bytes);
        SELECT charge_archive(NEW.team_id, NULL, iif(NEW.taken_at IS NULL, NEW.bytes, 0));
    END;
    CREATE TEMP TRIGGER archive_changes AFTER UPDATE OF bytes, taken_at ON main.upload
    BEGIN
        SELECT charge_archive(NULL, NEW.org_id, NEW.bytes - OLD.bytes);
        SELECT charge_archive(NEW.team_id, NULL,
                              iif(NEW.taken_at IS NULL, NEW.bytes, 0) - iif(OLD.taken_at IS NULL, OLD.bytes, 0));
    END;
    CREATE TEMP TRIGGER archive_goes AFTER DELETE ON main.upload
    BEGIN
        SELECT charge_archive(NULL, OLD.org_id, -OLD.bytes);
        SELECT charge_archive(OLD.team_id, NULL, iif(OLD.taken_at IS NULL, -OLD.bytes, 0));
    END;
    CREATE TEMP TRIGGER archive_is_used AFTER INSERT ON main.team_upload
    BEGIN
        SELECT charge_archive(NEW.team_id, NULL, NEW.bytes);
    END;
    CREATE TEMP TRIGGER archive_is_let_go AFTER DELETE ON main.team_upload
    BEGIN
        SELECT charge_archive(OLD.team_id, NULL, -OLD.bytes);
    END;
";

/// Identifies this way of counting. The number in it is the version of [`cost`].
fn formula(triggers: &str) -> String {
    blake3::hash(format!("1 {triggers}").as_bytes()).to_hex().to_string()
}

// ---- counting everything ----

/// Counts all rows again. It reads the whole database, so it runs only if the stored numbers were made by other
/// triggers, as after a migration, or were discarded.
fn count_everything(sql: &Connection, tables: &[Table], formula: &str) -> Result<(), Error> {
    sql.execute_batch(
        "UPDATE team_usage SET database_bytes = 0, database_rows = 0, archive_bytes = 0;
         UPDATE organization_usage SET database_bytes = 0, database_rows = 0, archive_bytes = 0;",
    )?;
    for table in tables {
        let Table { name, base, inline_bytes_max, .. } = table;
        let (team, org, bytes) = (table.team(name), table.org(name), table.bytes(name));
        sql.execute_batch(&format!(
            "CREATE TEMP TABLE counted AS
             SELECT {team} AS team_id, {org} AS org_id, sum(row_cost({base}, {inline_bytes_max}, {bytes})) AS bytes, count(*) AS rows
             FROM main.{name}
             GROUP BY 1, 2;
             UPDATE team_usage
             SET database_bytes = database_bytes + counted.bytes, database_rows = database_rows + counted.rows
             FROM (SELECT team_id, sum(bytes) AS bytes, sum(rows) AS rows FROM counted GROUP BY team_id) AS counted
             WHERE counted.team_id = team_usage.team_id;
             UPDATE organization_usage
             SET database_bytes = database_bytes + counted.bytes, database_rows = database_rows + counted.rows
             FROM (SELECT org_id, sum(bytes) AS bytes, sum(rows) AS rows FROM counted GROUP BY org_id) AS counted
             WHERE counted.org_id = organization_usage.org_id;
             DROP TABLE counted;"
        ))?;
    }
    sql.execute_batch(
        "UPDATE organization_usage
         SET archive_bytes = (SELECT ifnull(sum(bytes), 0) FROM upload WHERE upload.org_id = organization_usage.org_id);
         UPDATE team_usage
         SET archive_bytes =
                 (SELECT ifnull(sum(bytes), 0) FROM team_upload WHERE team_upload.team_id = team_usage.team_id)
                 + (SELECT ifnull(sum(bytes), 0) FROM upload
                    WHERE upload.org_id = team_usage.org_id AND upload.team_id = team_usage.team_id
                      AND upload.taken_at IS NULL);",
    )?;
    sql.execute(
        "INSERT INTO accounting (id, formula) VALUES (1, :formula)
         ON CONFLICT (id) DO UPDATE SET formula = :formula",
        named_params! { ":formula": formula },
    )?;
    Ok(())
}
