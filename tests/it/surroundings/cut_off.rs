//! If a first `init` is killed at any point, the next command completes it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use super::{FOUNDER, Place, can, init, names, outcome, succeeds};
use crate::process::Serving;

/// The calls that change what is on the disk, and how many of each are let through between two kills.
const CALLS: [(&str, usize); 8] = [
    ("mkdir,mkdirat", 1),
    ("rename,renameat,renameat2", 1),
    ("fsync,fdatasync", 1),
    ("unlink,unlinkat", 1),
    ("ftruncate", 1),
    ("write", 1),
    ("openat", 9),
    ("pwrite64", 23),
];

/// Ends by SIGKILL at the so-many-th of these calls.
fn killed_at(place: &Place, calls: &str, number: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={number}")]);
    strace.arg(env!("CARGO_BIN_EXE_guildhall")).args(["init", "--organization", "acme"]).args(FOUNDER);
    strace.arg("--data").arg(place.data()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = strace.status().expect("strace starts");
    status.signal() == Some(9) || status.code() == Some(137)
}

#[test]
fn a_first_init_that_is_cut_off_anywhere_is_completed() {
    if !can(Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"])) {
        return;
    }
    let mut points = 0;
    for (calls, step) in CALLS {
        for number in (1..).step_by(step) {
            let place = Place::new();
            if !killed_at(&place, calls, number) {
                break;
            }
            points += 1;
            let (code, err) = outcome(&mut init(&place.data()));
            // Killed after the commit, it had begun the installation already.
            let had_begun = code == Some(5) && err.contains("already");
            assert!(code == Some(0) || had_begun, "{calls} {number}: {err}");
            if points % 5 == 0 {
                drop(Serving::start(&place.data()));
            }
            assert!(!names(&place.data()).iter().any(|name| name.contains(".new")), "{calls} {number}");
        }
    }
    assert!(points > 30, "{points} points");
}

#[test]
fn serve_goes_on_with_a_first_start_that_was_cut_off() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let sql = rusqlite::Connection::open(place.data().join("guildhall.db")).unwrap();
    // As it was before the master key, and with what was being written.
    sql.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM installation;").unwrap();
    drop(sql);
    std::fs::write(place.data().join("master.key.new"), "12").unwrap();
    std::fs::write(place.data().join("guildhall.db.new"), "12").unwrap();
    for torn in [None, Some("")] {
        match torn {
            None => std::fs::remove_file(place.data().join("master.key")).unwrap(),
            Some(torn) => std::fs::write(place.data().join("master.key"), torn).unwrap(),
        }
        drop(Serving::start(&place.data()));
        let key = std::fs::read_to_string(place.data().join("master.key")).unwrap();
        assert_eq!(key.trim().len(), 64);
        let sql = rusqlite::Connection::open(place.data().join("guildhall.db")).unwrap();
        sql.execute_batch("DELETE FROM installation").unwrap();
    }
}

#[test]
fn a_journal_that_was_cut_off_is_recovered() {
    if !can(Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"])) {
        return;
    }
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let database = place.data().join("guildhall.db");
    // Another program may have switched the journal; its transaction is cut off before it ends.
    let script = "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN; UPDATE organization SET name = 'half';
                  CREATE TABLE filler AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9000)
                  SELECT i, hex(randomblob(40)) FROM n; COMMIT;";
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=unlink", "-e", "inject=unlink:signal=SIGKILL:when=1+"]);
    strace.arg("sqlite3").arg(&database).arg(script).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = strace.status();
    let journal = place.data().join("guildhall.db-journal");
    if !journal.metadata().is_ok_and(|journal| journal.len() > 0) {
        eprintln!("LEFT OUT: no journal was left behind on this host");
        return;
    }
    succeeds(&mut super::create("beta", &place.data()));
    let sql = rusqlite::Connection::open(&database).unwrap();
    let names: String = sql
        .query_row("SELECT group_concat(name) FROM (SELECT name FROM organization ORDER BY name)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(names, "acme,beta");
    assert_eq!(sql.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
}
