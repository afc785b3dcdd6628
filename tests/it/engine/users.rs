//! Does all of this hold for an unprivileged user as well as for root?

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

const NOBODY: &str = "65534";

/// Runs the other tests of this folder again, as a user without privileges.
#[test]
fn everything_holds_without_privileges() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: these tests run without privileges already");
        return;
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        println!("skipped: there is no setpriv");
        return;
    }
    // The other user may not be able to reach where these were built.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let [tests, program] = [std::env::current_exe().unwrap(), program()].map(|from| {
        let to = folder.path().join(from.file_name().unwrap());
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
        to
    });
    let output = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"])
        .arg(tests)
        .args(["engine::", "--skip", "everything_holds", "--test-threads", "2"])
        .env("GUILDHALL_TESTS_PROGRAM", program)
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test result: ok"), "{said}");
}

/// With mounts of its own, a process reaches its files in a data directory that is closed to its user.
#[test]
fn root_may_choose_another_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can choose a user");
        return;
    }
    let id = 65534;
    for use_of in [Use::Everything, Use::NoBubblewrap, Use::NoNamespaces] {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Settings {
            folder: folder.path().join("processes"),
            program: Some(program()),
            unconfined: Unconfined::Refused,
            use_of,
            user: Some(guildhall::runner::engine::Ids { user: id, group: id }),
        })
        .unwrap();
        let bench = Bench { folder, engine };
        let script = "id -u; id -g; id -G; echo x > $HOME/file && echo x > file && echo x > $TMPDIR/file && echo done";
        let started = bench.start(bench.launch("a", script));
        if !bench.has_mounts() {
            assert!(matches!(started, Err(StartError::Deploy(why)) if why.contains("bubblewrap")));
            continue;
        }
        let started = started.unwrap();
        started.wait();
        assert_eq!(started.texts(), ["65534", "65534", "65534", "done"], "{use_of:?}");
    }
}
