//! Records the statements that the connections of one database run, with the cost of each run.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use rusqlite::auto_extension::register_auto_extension;
use rusqlite::ffi;

/// One run of a statement.
#[derive(Debug)]
pub struct Statement {
    /// With one space wherever there are several.
    pub sql: String,
    /// Instructions of SQLite's virtual machine.
    pub steps: u64,
}

/// What the connections that are opened from now on to this database run.
pub struct Recorder {
    database: PathBuf,
}

static RECORDED: Mutex<BTreeMap<PathBuf, Vec<Statement>>> = Mutex::new(BTreeMap::new());

/// Whatever connection this process opens is looked at as it is opened.
static REGISTERED: LazyLock<()> = LazyLock::new(|| {
    // SAFETY: the function opens and closes no connection and registers nothing.
    unsafe { register_auto_extension(look_at) }.expect("SQLite takes another function");
});

impl Recorder {
    pub fn of(database: &Path) -> Recorder {
        let database = database.canonicalize().expect("the database exists");
        RECORDED.lock().unwrap().insert(database.clone(), Vec::new());
        LazyLock::force(&REGISTERED);
        Recorder { database }
    }

    /// What ran since this was last asked.
    pub fn take(&self) -> Vec<Statement> {
        std::mem::take(RECORDED.lock().unwrap().get_mut(&self.database).expect("it was put there"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        RECORDED.lock().unwrap().remove(&self.database);
    }
}

fn database_of(db: *mut ffi::sqlite3) -> Option<PathBuf> {
    // SAFETY: SQLite calls us with an open connection; the name lives as long as that.
    let name = unsafe {
        let name = ffi::sqlite3_db_filename(db, c"main".as_ptr());
        (!name.is_null()).then(|| CStr::from_ptr(name))?
    };
    Path::new(name.to_str().ok()?).canonicalize().ok()
}

unsafe extern "C" fn look_at(db: *mut ffi::sqlite3, _: *mut *mut c_char, _: *const ffi::sqlite3_api_routines) -> c_int {
    let is_recorded = database_of(db).is_some_and(|path| RECORDED.lock().unwrap().contains_key(&path));
    if is_recorded {
        // SAFETY: the connection is open, and the callback needs no context.
        unsafe { ffi::sqlite3_trace_v2(db, ffi::SQLITE_TRACE_PROFILE, Some(record), std::ptr::null_mut()) };
    }
    ffi::SQLITE_OK
}

/// Called when a statement has run to its end.
unsafe extern "C" fn record(_: c_uint, _: *mut c_void, statement: *mut c_void, _: *mut c_void) -> c_int {
    let statement = statement.cast::<ffi::sqlite3_stmt>();
    // SAFETY: for this event SQLite passes the statement, which lives until we return.
    let (db, sql, steps, reads) = unsafe {
        (
            ffi::sqlite3_db_handle(statement),
            CStr::from_ptr(ffi::sqlite3_sql(statement)),
            ffi::sqlite3_stmt_status(statement, ffi::SQLITE_STMTSTATUS_VM_STEP, 1),
            ffi::sqlite3_stmt_readonly(statement) != 0,
        )
    };
    let sql = sql.to_string_lossy().split_whitespace().collect::<Vec<_>>().join(" ");
    let is_query = reads && (sql.starts_with("SELECT") || sql.starts_with("WITH"));
    if is_query
        && let Some(path) = database_of(db)
        && let Some(recorded) = RECORDED.lock().unwrap().get_mut(&path)
    {
        recorded.push(Statement { sql, steps: u64::from(steps.unsigned_abs()) });
    }
    0
}
