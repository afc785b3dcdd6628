//! Is what a process prints passed on, and bounded?

use guildhall::runner::engine::{LINE_BYTES_MAX, Source};

use super::*;

#[test]
fn lines_of_both_streams_arrive_and_the_exit_is_told() {
    let bench = Bench::new();
    let started = bench.run("a", "echo out; echo err >&2; printf unfinished; exit 3");
    assert_eq!(started.wait(), Ended { exit: Exit::Code(3), why: None });
    let mut lines: Vec<_> =
        started.lines.lock().unwrap().iter().map(|l| (format!("{:?}", l.source), l.text.clone())).collect();
    lines.sort();
    let expected = [("Stderr", "err"), ("Stdout", "out"), ("Stdout", "unfinished")];
    assert_eq!(lines, expected.map(|(source, text)| (source.to_owned(), text.to_owned())));
    assert!(!bench.engine.folder("a").exists(), "its folder is removed");
}

#[test]
fn the_environment_is_what_the_launch_says() {
    let bench = Bench::new();
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
    assert_eq!(texts, [&home, "NAME=a value", "PATH=/usr/bin:/bin", &temporary]);
}

#[test]
fn a_long_line_is_cut_and_endless_ones_are_dropped_and_counted() {
    let bench = Bench::new();
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
    let bench = Bench::new();
    let mut launch = bench.launch("a", "");
    launch.command = vec!["no-such-program".to_owned()];
    match bench.start(launch) {
        Err(StartError::Command(why)) => assert!(why.contains("no-such-program"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
    assert!(!bench.engine.folder("a").exists());
}
