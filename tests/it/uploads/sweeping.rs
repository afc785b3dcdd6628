//! Which archives a sweep removes, and which it never removes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use guildhall::db::archives::Archives;
use guildhall::domain::Archive;
use guildhall::error::Error;

use super::age;
use crate::test_server::TestServer;

fn archive(number: u8) -> Archive {
    Archive { hash: [number; 32], bytes: 1 }
}

/// Puts an archive in its place as uploads and patches do, and answers where it is.
fn place(archives: &Archives, number: u8) -> (guildhall::db::archives::Placed, PathBuf) {
    let temp = archives.data().join(format!("temp{number}"));
    std::fs::write(&temp, [number]).unwrap();
    (archives.place(&temp, archive(number)).unwrap(), archive(number).path(archives.data()))
}

/// Sweeps where rows name these archives, and answers what could not be swept.
fn sweep(archives: &Archives, named: &[u8]) -> Vec<PathBuf> {
    let failed = RefCell::new(Vec::new());
    archives.sweep(|hash| Ok(named.contains(&hash[0])), |path, _| failed.borrow_mut().push(path.to_owned()));
    failed.into_inner()
}

#[test]
fn what_no_row_names_goes_after_a_day_by_its_own_clock() {
    let server = TestServer::empty();
    let archives = server.app.db.archives();
    let paths: Vec<PathBuf> = (0..4).map(|number| place(archives, number).1).collect();
    sweep(archives, &[]);
    assert!(paths.iter().all(|path| path.exists()), "they are new");
    paths.iter().zip([25, 23, 25, 1000]).for_each(|(path, hours)| age(path, hours));
    sweep(archives, &[2, 3]);
    let left: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
    assert_eq!(left, [false, true, true, true]);
}

#[test]
fn what_is_placed_and_not_committed_yet_is_held() {
    let server = TestServer::empty();
    let archives = server.app.db.archives();
    let (placed, path) = place(archives, 1);
    let (twice, _) = place(archives, 1);
    age(&path, 1000);
    drop(twice);
    sweep(archives, &[]);
    assert!(path.exists());
    drop(placed);
    sweep(archives, &[]);
    assert!(!path.exists());
}

/// The older copy names fewer archives; the newer one, put back, must find all of its own.
#[test]
fn starting_once_on_an_older_copy_of_the_database_takes_nothing_that_the_newer_names() {
    let server = TestServer::empty();
    let archives = server.app.db.archives();
    let (_, path) = place(archives, 1);
    age(&path, 1000);
    sweep(archives, &[1]); // the newer
    sweep(archives, &[]); // the older
    assert!(path.exists(), "a day begins when it is named no longer");
    // The server was down for days, and starts on the older copy.
    for path in [&path, &server.data().join("swept")] {
        age(path, 100);
    }
    sweep(archives, &[]);
    assert!(path.exists(), "nobody looked meanwhile");
    age(&path, 25);
    sweep(archives, &[]);
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_swept_keeps_nothing_else() {
    let server = TestServer::empty();
    let archives = server.app.db.archives();
    let paths: Vec<PathBuf> = (0..4).map(|number| place(archives, number).1).collect();
    paths.iter().for_each(|path| age(path, 25));
    std::fs::remove_file(&paths[1]).unwrap();
    std::fs::create_dir(&paths[1]).unwrap();
    age(&paths[1], 25);
    let failed = RefCell::new(Vec::new());
    archives.sweep(
        |hash| if hash[0] == 2 { Err(Error::Internal("no row can be read".to_owned())) } else { Ok(false) },
        |path, _| failed.borrow_mut().push(path.to_owned()),
    );
    let mut failed = failed.into_inner();
    failed.sort();
    assert_eq!(failed, paths[1..3]);
    assert_eq!((paths[0].exists(), paths[3].exists()), (false, false));
}

/// A sweep that runs all the time beside what is placed and committed: nothing that a row names is ever gone.
#[test]
fn sweeping_and_placing_at_once_lose_nothing() {
    let server = TestServer::empty();
    let archives = server.app.db.archives();
    let (named, stop) = (Mutex::new(HashSet::<u8>::new()), AtomicBool::new(false));
    let lost = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                archives.sweep(|hash| Ok(named.lock().unwrap().contains(&hash[0])), |_, _| ());
            }
        });
        let lost = (0..150).find(|round| {
            let number = *round as u8;
            let (placed, path) = place(archives, number);
            age(&path, 25); // as one that was there before
            std::thread::yield_now();
            named.lock().unwrap().insert(number);
            drop(placed);
            let is_lost = !path.exists();
            named.lock().unwrap().remove(&number);
            is_lost
        });
        stop.store(true, Ordering::Relaxed); // before anything is asserted: the scope waits for the sweeper
        lost
    });
    assert_eq!(lost, None, "the sweep took the archive of this round");
}

/// Nobody else reads them, whatever the directory was before.
#[test]
fn archives_and_their_folders_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::empty();
    let (_, path) = place(server.app.db.archives(), 1);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&server.data().join("archives")), 0o700);
}
