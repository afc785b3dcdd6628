//! Who may read the data directory, and who owns it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::{FOUNDER, Place, can, create, fails, init, names, succeeds};

pub(super) fn mode(path: &Path) -> u32 {
    path.metadata().unwrap_or_else(|cause| panic!("{}: {cause}", path.display())).mode() & 0o7777
}

fn every_file(folder: &Path, each: &mut impl FnMut(&Path)) {
    for name in names(folder) {
        let path = folder.join(name);
        each(&path);
        if path.is_dir() {
            every_file(&path, each);
        }
    }
}

fn assert_private(data: &Path) {
    assert_eq!(mode(data), 0o700);
    every_file(data, &mut |path| {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{}", path.display());
    });
}

#[test]
fn what_is_open_to_others_is_closed_whatever_the_umask() {
    let place = Place::new();
    let key = {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_guildhall"));
        shell.args(["init", "--organization", "acme"]).args(FOUNDER).arg("--data").arg(place.data());
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    };
    assert!(key.starts_with("guild_"), "{key}");
    assert_private(&place.data());
    assert_eq!(mode(place.data().parent().unwrap()), 0o700, "the folders above that it made, too");
    for (folder, file) in [("archives/ab", "archives/ab/abcd"), ("uploads", "uploads/7")] {
        std::fs::create_dir_all(place.data().join(folder)).unwrap();
        std::fs::write(place.data().join(file), b"secret").unwrap();
    }
    let open = |mode| move |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    every_file(&place.data(), &mut |path| if path.is_dir() { open(0o755)(path) } else { open(0o644)(path) });
    open(0o755)(&place.data());
    let told = succeeds(&mut create("beta", &place.data()));
    assert!(told.contains("master.key to others"), "{told}");
    assert_private(&place.data());
}

#[test]
fn a_directory_that_everybody_shares_is_refused() {
    let place = Place::new();
    place.file("theirs", b"");
    std::fs::set_permissions(place.data(), Permissions::from_mode(0o1777)).unwrap();
    fails(&mut init(&place.data()), 1, &["shared with every user"]);
    assert_eq!((mode(&place.data()), names(&place.data())), (0o1777, vec!["theirs".to_owned()]));
}

/// A refused directory may be another program's: its users would lose it.
#[test]
fn a_directory_that_is_refused_keeps_its_mode() {
    for content in [&b""[..], b"not a database, but long enough to be taken for one at a glance"] {
        let place = Place::new();
        let path = place.file("guildhall.db", content);
        std::fs::set_permissions(place.data(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fails(&mut init(&place.data()), 1, &["guildhall.db"]);
        assert_eq!((mode(&place.data()), mode(&path)), (0o755, 0o644));
        assert_eq!(names(&place.data()), ["guildhall.db"]);
    }
}

#[test]
fn who_may_not_open_it_is_told_whose_it_is() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let somebody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
        command
    };
    if !can(somebody().arg("true")) {
        return;
    }
    std::fs::set_permissions(place.0.path(), Permissions::from_mode(0o755)).unwrap();
    let binary = place.0.path().join("guildhall"); // theirs to run
    std::fs::copy(env!("CARGO_BIN_EXE_guildhall"), &binary).unwrap();
    let ours = place.data().metadata().unwrap().uid();
    let mut command = somebody();
    command.arg(&binary).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(place.data());
    fails(&mut command, 1, &[&format!("belongs to user {ours}"), "this process is user 65534"]);
    // Its own directory, with one file of another's.
    let other = place.0.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::os::unix::fs::chown(&other, Some(65534), None).unwrap();
    for name in ["guildhall.db", "master.key"] {
        let path = other.join(name);
        std::fs::copy(place.data().join(name), &path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let serve_other = || {
        let mut command = somebody();
        command.arg(&binary).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&other);
        command
    };
    fails(&mut serve_other(), 1, &["guildhall.db", &format!("belongs to user {ours} with mode 0600"), "user 65534"]);
    std::os::unix::fs::chown(other.join("guildhall.db"), Some(65534), None).unwrap();
    fails(&mut serve_other(), 1, &["master.key", &format!("belongs to user {ours} with mode 0600"), "user 65534"]);
}
