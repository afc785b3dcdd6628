//! Can a process read or reach what is not its own?

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::*;

/// A file that only the server may read, outside of what any process is given.
fn treasure(bench: &Bench, name: &str) -> PathBuf {
    let path = bench.folder.path().join(name);
    std::fs::write(&path, "the treasure\n").unwrap();
    path
}

#[test]
fn files_of_the_server_and_of_a_sibling_are_out_of_reach() {
    each_way(|bench| {
        let files = ["guildhall.db", "master.key", "archive.tar"].map(|name| treasure(bench, name));
        let mut launch = bench.launch(
            "sibling",
            "echo mine > $HOME/file; echo mine > $TMPDIR/file; echo mine > file; echo ready; sleep 600",
        );
        launch.variables.insert("NAME".to_owned(), "the treasure".to_owned());
        let app = launch.directory.clone();
        let sibling = bench.start(launch).unwrap();
        sibling.wait_for_line("ready");
        let folder = bench.engine.folder("sibling");
        let mut paths: Vec<PathBuf> = files.to_vec();
        paths.extend([app.join("file"), folder.join("home/file"), folder.join("tmp/file")]);
        let own = std::process::id() as i32;
        for pid in [own, sibling.process.pid(), sibling.process.supervisor()] {
            paths.extend(
                ["environ", "mem", "maps", "fd/0", "cwd/file", "root/etc/shadow"]
                    .map(|name| PathBuf::from(format!("/proc/{pid}/{name}"))),
            );
        }
        paths.extend(["/etc/shadow", "/proc/kcore", "/proc/1/environ"].map(PathBuf::from));
        let tries: String = paths
            .iter()
            .map(|path| format!("head -c 1 {p} >/dev/null 2>&1 && echo read {p}\n", p = path.display()))
            .collect();
        let writes: String = paths
            .iter()
            .map(|path| format!("(echo x >> {p}) 2>/dev/null && echo wrote {p}\n", p = path.display()))
            .collect();
        let folders: String = [bench.folder.path(), &folder, &app]
            .iter()
            .map(|path| format!("(echo x > {p}/new) 2>/dev/null && echo made {p}\n", p = path.display()))
            .collect();
        let signals = [own, sibling.process.pid(), sibling.process.supervisor()]
            .map(|pid| format!("kill -0 {pid} 2>/dev/null && echo signalled {pid}\n"))
            .concat();
        // Without scopes of Landlock, a process of the same user can be signalled unless it is hidden.
        let has_scopes = bench.has_bubblewrap() || bench.engine.machine().landlock.is_some_and(|version| version >= 6);
        let signals = if has_scopes { signals } else { String::new() };
        let spy = bench.run("spy", &format!("{tries}{writes}{folders}{signals}head -c 1 /etc/passwd >/dev/null && echo x > own && cat own && echo done"));
        spy.wait();
        // With mounts of its own, what is not its own is empty: it may make files there, which nobody else sees.
        let is_seen = |line: &String| !bench.has_mounts() || !line.starts_with("wrote") && !line.starts_with("made");
        let texts: Vec<String> = spy.texts().into_iter().filter(is_seen).collect();
        assert_eq!(texts, ["x", "done"]);
        for file in &files {
            assert_eq!(std::fs::read_to_string(file).unwrap(), "the treasure\n");
        }
        for folder in [bench.folder.path(), &folder, &app] {
            assert!(!folder.join("new").exists());
        }
        assert_eq!(std::fs::read_to_string(app.join("file")).unwrap(), "mine\n");
        sibling.process.stop(Duration::ZERO);
    });
}

#[test]
fn a_process_has_no_capabilities_and_gets_none() {
    each_way(|bench| {
        let spy = bench.run("spy", "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; (ulimit -c)");
        spy.wait();
        let none = "0000000000000000";
        let mut expected: Vec<String> =
            ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| format!("{set}:\t{none}")).to_vec();
        expected.extend(["NoNewPrivs:\t1".to_owned(), "0".to_owned()]);
        let texts: Vec<String> = spy.texts().into_iter().filter(|line| !line.starts_with("CapBnd")).collect();
        assert_eq!(texts, expected);
    });
}

#[test]
fn devices_and_the_system_cannot_be_changed() {
    each_way(|bench| {
        let places = ["/", "/usr", "/etc", "/dev", "/var", "/run", "/proc/sys/kernel/hostname"];
        let tries: String = places
            .iter()
            .map(|place| match place.contains("hostname") {
                true => format!("(echo x > {place}) 2>/dev/null && echo wrote {place}\n"),
                false => format!("(echo x > {place}/guildhall-test) 2>/dev/null && echo wrote {place}\n"),
            })
            .collect();
        let spy = bench.run("spy", &format!("{tries} (mknod disk b 8 0) 2>/dev/null && echo made; (mount -t tmpfs x $HOME) 2>/dev/null && echo mounted; head -c 1 /dev/urandom >/dev/null && echo done > /dev/null && echo done"));
        spy.wait();
        assert_eq!(spy.texts(), ["done"]);
    });
}

#[test]
fn sockets_of_others_are_out_of_reach() {
    each_way(|bench| {
        let name = format!("guildhall-test-{}", std::process::id());
        let _by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
        let path = bench.folder.path().join("socket");
        let _ = std::fs::remove_file(&path);
        let _by_path = UnixListener::bind(&path).unwrap();
        let mut launch = bench.launch_inside("spy", "sockets");
        launch.variables.insert("ABSTRACT".to_owned(), name);
        launch.variables.insert("PATHNAME".to_owned(), path.to_str().unwrap().to_owned());
        let spy = bench.start(launch).unwrap();
        spy.wait();
        let texts = spy.texts();
        let landlock = bench.engine.machine().landlock.unwrap_or(0);
        assert!(texts.iter().any(|line| line == "abstract false") || landlock < 6, "{texts:?}");
        // Landlock alone does not keep from sockets with a path before its version 9: hence the token.
        assert!(texts.iter().any(|line| line == "path false") || !bench.has_mounts() && landlock < 9, "{texts:?}");
    });
}

#[test]
fn with_bubblewrap_a_process_sees_only_its_own() {
    let bench = Bench::new(Use::Everything);
    if !bench.has_bubblewrap() {
        println!("skipped: bubblewrap does not work here");
        return;
    }
    treasure(&bench, "master.key");
    let script = format!(
        "ls {}; echo; ls -d /proc/[0-9]* | wc -l; (cd /tmp && echo x > file) && ls $TMPDIR; echo x > /dev/shm/file && cat /dev/shm/file; ls /home /root /var 2>/dev/null; hostname",
        bench.folder.path().display()
    );
    let spy = bench.run("spy", &script);
    spy.wait();
    let texts = spy.texts();
    assert_eq!(texts[..3], ["processes", "spy-app", ""], "{texts:?}");
    assert!(texts[3].trim().parse::<usize>().unwrap() <= 5, "{texts:?}");
    assert!(texts[4..].contains(&"file".to_owned()) && texts[4..].contains(&"x".to_owned()), "{texts:?}");
    assert_eq!(texts.last().unwrap(), "model");
}
