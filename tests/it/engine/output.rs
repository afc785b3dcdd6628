//! Is what a process prints passed on, and bounded?

use guildhall::runner::engine::{LINE_BYTES_MAX, Source};

use super::*;

#[test]
fn lines_of_both_streams_arrive_and_the_exit_is_told() {
    each_way(|bench| {
        let started = bench.run("a", "echo out; echo err >&2; printf unfinished; exit 3");
        assert_eq!(started.wait(), Ended { exit: Exit::Code(3), why: None });
        let lines = started.lines.lock().unwrap();
        let of = |source| lines.iter().filter(move |l| l.source == source).map(|l| l.text.as_str()).collect::<Vec<_>>();
        assert_eq!(of(Source::Stdout), ["out", "unfinished"]);
        assert_eq!(of(Source::Stderr), ["err"]);
        assert!(!bench.engine.folder("a").exists(), "its folder is removed");
        let killed = bench.run("b", "kill -KILL $$");
        assert_eq!(killed.wait().exit, Exit::Signal(9));
    });
}

#[test]
fn the_environment_is_what_the_launch_says() {
    each_way(|bench| {
        let mut launch = bench.launch("a", "env; pwd");
        launch.variables.insert("NAME".to_owned(), "a value".to_owned());
        let directory = launch.directory.clone();
        let started = bench.start(launch).unwrap();
        started.wait();
        let mut texts = started.texts();
        assert_eq!(texts.pop().unwrap(), directory.to_str().unwrap());
        texts.retain(|line| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|own| line.starts_with(own))); // the shell's
        texts.sort();
        let folder = bench.engine.folder("a");
        let home = format!("HOME={}", folder.join("home").display());
        let temporary = format!("TMPDIR={}", folder.join("tmp").display());
        assert_eq!(texts, ["CUDA_VISIBLE_DEVICES=", &home, "NAME=a value", "PATH=/usr/bin:/bin", &temporary]);
    });
}

#[test]
fn a_long_line_is_cut_and_endless_ones_are_dropped_and_counted() {
    let bench = Bench::new(Use::Everything);
    let long = bench.run("long", "head -c 100000 /dev/zero | tr '\\0' x; echo");
    long.wait();
    let texts = long.texts();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].len() < LINE_BYTES_MAX + 100 && texts[0].ends_with("[83616 bytes cut off]"), "{}", texts[0].len());
    let endless = bench.run("endless", "yes 'the same again' | head -n 200000");
    endless.wait();
    let lines = endless.lines.lock().unwrap();
    assert!(lines.len() < 20_000, "{}", lines.len());
    let told = |text: &str| text.split(" lines were dropped").next().and_then(|count| count.parse::<usize>().ok());
    let dropped: usize =
        lines.iter().filter(|line| line.source == Source::Engine).filter_map(|line| told(&line.text)).sum();
    let kept = lines.iter().filter(|line| line.source == Source::Stdout).count();
    assert_eq!(dropped + kept, 200_000);
}

#[test]
fn what_cannot_be_executed_is_refused_by_name() {
    each_way(|bench| {
        for name in ["no-such-program", "/bin/no-such-program", "./no-such-program", ""] {
            let mut launch = bench.launch("a", "");
            launch.command = vec![name.to_owned()];
            match bench.start(launch) {
                Err(StartError::Command(why)) => assert!(why.contains(name), "{why}"),
                other => panic!("{:?}", other.err()),
            }
            assert!(!bench.engine.folder("a").exists());
        }
    });
}

#[test]
fn a_name_is_used_once_at_a_time() {
    let bench = Bench::new(Use::Everything);
    let first = bench.run("a", "sleep 600");
    assert!(matches!(bench.start(bench.launch("a", ":")), Err(StartError::Ours(_))));
    assert!(first.process.socket().parent().unwrap().exists());
    first.process.stop(Duration::ZERO);
    assert_eq!(bench.run("a", ":").wait().exit, Exit::Code(0));
    for name in ["", "../a", "a/b", &"a".repeat(65)] {
        let mut launch = bench.launch("b", ":");
        launch.id = name.to_owned();
        assert!(bench.start(launch).is_err(), "{name}");
    }
}
