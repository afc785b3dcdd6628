//! Tests in a mount namespace: a read-only root, full folders for temporary files, a full data directory, and failing
//! disks.

use std::path::Path;
use std::process::{Command, Output};

use super::{FOUNDER, Place, can, create, fixture, init, outcome, succeeds};

/// Runs a script of the shell in a mount namespace of its own, with the binary as `$G` and a file system of this size as
/// `$DATA`. `None` where namespaces cannot be made.
fn in_namespace(size: &str, script: &str) -> Option<Output> {
    let mut probe = Command::new("unshare");
    if !can(probe.args(["-m", "sh", "-c", "mount -t tmpfs none /mnt && mount -o remount,bind,ro /"])) {
        return None;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let setup = format!(
        "set -e
         mount --make-rprivate /
         cp \"$FIXTURES\"/acme.json \"$FIXTURES\"/solo.json \"$OUTSIDE\"
         mount -t tmpfs -o size={size} data \"$DATA\"
         {script}"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", &setup]);
    unshare.env("G", env!("CARGO_BIN_EXE_guildhall")).env("DATA", place.data());
    unshare.env("FIXTURES", fixture("").as_os_str()).env("OUTSIDE", place.data().parent().unwrap());
    unshare.env_remove("GUILDHALL_DATA").env_remove("GUILDHALL_PUBLIC_URL");
    Some(unshare.output().expect("it starts"))
}

/// Makes every folder for temporary files unusable, once in each way; the data directory alone can be written. What is
/// needed is kept elsewhere first, because these folders may hold it all.
const FULL: &str = "
    mount -t tmpfs kept /mnt
    cp \"$G\" /mnt/guildhall
    cp -r \"$FIXTURES\" /mnt/fixtures
    G=/mnt/guildhall FIXTURES=/mnt/fixtures
    for folder in /var/tmp /tmp; do
        test -d $folder || continue
        case \"$DATA\" in $folder/*) mkdir -p /mnt/kept && mount --move \"$DATA\" /mnt/kept 2>/dev/null || true; DATA=/mnt/kept;; esac
    done
    for folder in /var/tmp /tmp; do
        test -d $folder || continue
        mount -t tmpfs -o size=4k full $folder
        head -c 4096 /dev/zero >$folder/filler
    done
    cd /
    mount -o remount,ro /mnt
    mount -o remount,bind,ro /
";

#[test]
fn nothing_but_the_data_directory_need_be_writable() {
    let script = format!(
        "{FULL}
         test -d \"$DATA\"
         $G init --organization acme --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null
         $G organization create beta --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null
         $G fixtures check \"$FIXTURES\"/acme.json
         $G fixtures load \"$FIXTURES\"/solo.json --data \"$DATA\" >/dev/null
         $G fixtures load \"$FIXTURES\"/large.json --data \"$DATA\" >/dev/null
         $G serve --listen 127.0.0.1:0 --data \"$DATA\" >\"$DATA\"/url &
         until grep -q http \"$DATA\"/url; do sleep 0.1; done
         $G organization create gamma --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null
         kill -TERM $!
         wait $!"
    );
    let Some(Output { status, stderr, .. }) = in_namespace("200m", &script) else { return };
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn a_full_disk_is_said_to_be_full_at_the_start_too() {
    let begin = "$G init --organization acme --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null || true
                 ls -A \"$DATA\"";
    for size in ["4k", "64k", "300k", "500k"] {
        let Some(Output { stdout, stderr, .. }) = in_namespace(size, begin) else { return };
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(err.contains("disk is full"), "{size}: {err}");
        assert_eq!(out, "", "{size}: nothing is left: {err}");
    }
    let filled = "$G init --organization acme --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null
                  cat /dev/zero >\"$DATA\"/filler 2>/dev/null || true
                  $G serve --listen 127.0.0.1:0 --data \"$DATA\" || true";
    let Some(Output { stderr, .. }) = in_namespace("4m", filled) else { return };
    let err = String::from_utf8_lossy(&stderr);
    assert!(err.contains("disk is full"), "{err}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let script = "$G init --organization acme --email ada@acme.example --name Ada --data \"$DATA\" >/dev/null
                  mount -o remount,ro \"$DATA\"
                  $G serve --listen 127.0.0.1:0 --data \"$DATA\"";
    let Some(Output { status, stderr, .. }) = in_namespace("4m", script) else { return };
    let err = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("Read-only file system") && err.contains("lock"), "{err}");
}

/// What making an organization of this name says if, from the so-many-th of these calls on, each fails like this.
fn with_failing(name: &str, data: &Path, calls: &str, error: &str, from: usize) -> (Option<i32>, String) {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:error={error}:when={from}+")]);
    strace.arg(env!("CARGO_BIN_EXE_guildhall")).args(["organization", "create", name]).args(FOUNDER);
    outcome(strace.arg("--data").arg(data))
}

#[test]
fn a_disk_that_fails_is_not_called_full_and_a_full_one_is() {
    if !can(Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"])) {
        return;
    }
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let mut seen = 0;
    for (error, is_full) in [("EIO", false), ("ENOSPC", true), ("EDQUOT", true)] {
        for calls in ["pwrite64", "fdatasync,fsync"] {
            for from in [1, 2, 4] {
                // One that is said to have failed may be there: what the disk has of it is not known.
                let name = format!("{error} {calls} {from}");
                let (code, err) = with_failing(&name, &place.data(), calls, error, from);
                if code == Some(0) {
                    continue; // there are fewer calls
                }
                if err.contains("cannot write to standard output") {
                    continue; // that is another file's disk, and is named as the system names it
                }
                seen += 1;
                let says_full = err.contains("disk is full");
                assert_eq!(says_full, is_full, "{error} {calls} {from}: {err}");
            }
        }
    }
    assert!(seen >= 6, "{seen} failures");
    succeeds(&mut create("beta", &place.data()));
}
