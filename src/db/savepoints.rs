//! Savepoints inside a transaction: work of which all changes are kept or none.

use crate::db::quotas::Desk;
use crate::db::{Tx, writer};
use crate::error::Error;

impl Tx<'_> {
    /// Runs `work` in a savepoint: either all its changes are kept or none. The transaction continues in both cases.
    pub(crate) fn attempt<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, Error> {
        self.sql.prepare_cached("SAVEPOINT attempt")?.execute([])?;
        let mark = self.desk.map(|desk| desk.books.mark());
        self.savepoints.set(self.savepoints.get() + 1);
        let done = work();
        self.savepoints.set(self.savepoints.get() - 1);
        if self.sql.is_autocommit() {
            return Ok(done); // SQLite rolled back the whole transaction: no savepoint is left to end
        }
        if done.is_err() {
            self.sql.prepare_cached("ROLLBACK TO attempt")?.execute([])?;
            self.desk.zip(mark).into_iter().for_each(|(desk, mark)| desk.books.go_back(mark));
        }
        self.sql.prepare_cached("RELEASE attempt")?.execute([])?;
        Ok(done)
    }

    /// Runs `work`, and undoes it if it changed nothing but the audit log: such a write leaves no entry there.
    pub(crate) fn unless_unchanged<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let Some(desk) = self.desk else { return work() };
        if self.savepoints.get() > 0 || desk.has_written(self.sql) {
            return self.attempt(|| self.undo_unchanged("attempt", desk, work))?;
        }
        self.undo_unchanged(writer::SAVEPOINT, desk, work) // nothing was written since the writer's own savepoint
    }

    fn undo_unchanged<T>(
        &self,
        savepoint: &str,
        desk: &Desk,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mark = desk.books.mark();
        let done = work();
        let is_unchanged = !desk.books.has_change() && desk.books.has_grown(&mark);
        if done.is_ok() && is_unchanged && !self.sql.is_autocommit() {
            self.sql.prepare_cached(&format!("ROLLBACK TO {savepoint}"))?.execute([])?;
            desk.books.go_back(mark);
        }
        done
    }
}
