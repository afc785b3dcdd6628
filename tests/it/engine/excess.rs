//! Is a process that takes too much ended, and the reason told?

use super::*;

#[test]
fn too_much_memory_ends_a_process() {
    each_way(|bench| {
        let mut launch = bench.launch_inside("hog", "hog");
        launch.limits.memory_bytes = 100 << 20;
        let started = bench.start(launch).unwrap();
        assert_eq!(started.wait(), Ended { exit: Exit::Signal(9), why: Some(Excess::Memory) });
    });
}

/// Memory that is shared by several, each within the limit.
#[test]
fn too_much_memory_of_several_processes_ends_them() {
    let bench = Bench::new(Use::NoBubblewrap);
    let mut launch = bench.launch(
        "hogs",
        "for i in 1 2 3 4; do (x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 300; :) & done; wait",
    );
    launch.limits.memory_bytes = 80 << 20;
    let started = bench.start(launch).unwrap();
    assert_eq!(started.wait(), Ended { exit: Exit::Signal(9), why: Some(Excess::Memory) });
}

#[test]
fn too_much_disk_space_ends_a_process() {
    each_way(|bench| {
        for place in [".", "$HOME", "$TMPDIR"] {
            let script = format!(
                "cd {place}; for i in $(seq 60); do head -c 1000000 /dev/zero > file$i; done; echo full; sleep 300"
            );
            let mut launch = bench.launch("filler", &script);
            launch.limits.disk_bytes = 20 << 20;
            let started = bench.start(launch).unwrap();
            assert_eq!(started.wait().why, Some(Excess::Disk), "{place}");
        }
        let mut launch = bench.launch("large", "head -c 60000000 /dev/zero > file; wc -c < file; sleep 300");
        launch.limits.disk_bytes = 20 << 20;
        let large = bench.start(launch).unwrap();
        wait_until("an end or a cut file", || {
            large.process.ended().is_some() || large.texts().iter().any(|line| line.trim() == (20 << 20).to_string())
        });
        large.process.stop(Duration::ZERO);
    });
}

/// At most 40 processes, by the count of the loop.
#[test]
fn too_many_processes_are_refused_or_end_all() {
    each_way(|bench| {
        let script = "for i in $(seq 40); do sleep 300 & done; echo started; wait";
        let mut launch = bench.launch("many", script);
        launch.limits.processes = 20;
        let started = bench.start(launch).unwrap();
        // The kernel refuses to fork, and the shell gives up; or the watcher sees too many.
        let ended = started.wait();
        assert!(ended.why == Some(Excess::Processes) || ended.exit == Exit::Code(2), "{ended:?} {:?}", started.texts());
    });
}

#[test]
fn usage_is_measured() {
    each_way(|bench| {
        let mut launch = bench.launch_inside("hog", "hog");
        launch.limits.memory_bytes = 2 << 30;
        let started = bench.start(launch).unwrap();
        wait_until("what it uses", || {
            let usage = started.process.usage();
            usage.memory_bytes > 350 << 20
                && usage.processes >= 2
                && usage.cpu_seconds > 0.0
                && usage.disk_bytes >= 3 << 20
        });
        started.process.stop(Duration::ZERO);
    });
}
