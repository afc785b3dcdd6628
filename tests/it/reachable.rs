//! What can be reached? `data/reachable.txt` lists every row of every route table, with who may use it and how it runs,
//! so that any change is visible there. A request without a row gets no answer.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use guildhall::api::graphql::root_fields::ROOT_FIELDS;
use guildhall::api::route::Run;
use guildhall::api::routes::TABLES;

/// One line a row: what it is called, its access, how it runs.
fn reachable() -> String {
    let mut list = String::new();
    for table in TABLES {
        writeln!(list, "{}", table.name).unwrap();
        for route in table.rows {
            let (access, run) = (route.access, run(route.run));
            for path in route.paths() {
                writeln!(list, "    {} {path} | {access:?} | {run}", route.method).unwrap();
            }
        }
    }
    writeln!(list, "GraphQL").unwrap();
    for field in ROOT_FIELDS {
        let kind = field.kind.as_str().to_lowercase();
        writeln!(list, "    {kind} {} | {:?} | {}", field.name, field.access, run(field.run())).unwrap();
    }
    list
}

/// The name of a way to run, without the function that belongs to it.
fn run(run: Run) -> String {
    format!("{run:?}").split('(').next().unwrap().to_owned()
}

#[test]
fn everything_that_can_be_reached_is_listed() {
    let (listed, reachable) = (include_str!("data/reachable.txt"), reachable());
    let (listed, reachable): (Vec<_>, Vec<_>) = (listed.lines().collect(), reachable.lines().collect());
    let added: Vec<_> = reachable.iter().filter(|line| !listed.contains(line)).collect();
    let gone: Vec<_> = listed.iter().filter(|line| !reachable.contains(line)).collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "not in data/reachable.txt: {added:#?}\nin data/reachable.txt alone: {gone:#?}"
    );
    assert_eq!(listed, reachable, "the order, in which a request looks for its row");
}

/// The texts of the files below a folder of `src`, by their paths.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)
}

/// A handler without a row is either dead or reached past the table.
#[test]
fn every_handler_has_a_row() {
    let tables = ["api/routes.rs", "api/routes/inference.rs", "api/routes/model_api_calls.rs"]
        .map(|path| std::fs::read_to_string(source(path)).unwrap());
    let table = tables.concat();
    let mut handlers = 0;
    for (path, text) in sources(&source("api/rest")) {
        let module = path.file_stem().unwrap().to_str().unwrap();
        for rest in text.split("\npub fn ").skip(1) {
            let (name, signature) = rest.split_once('(').unwrap();
            let signature = signature.split('{').next().unwrap();
            if signature.contains("RequestContext") && signature.contains("Result<Reply, Error>") {
                assert!(table.contains(&format!("{module}::{name})")), "{module}::{name} has no row");
                handlers += 1;
            }
        }
    }
    assert!(handlers > 100, "{handlers} handlers");
}

/// The server makes no reply of its own: it asks the dispatch or the uploads, or tells why it refuses.
#[test]
fn the_server_answers_nothing_by_itself() {
    for (path, text) in sources(&source("server")) {
        for making in ["Reply::ok(", "Reply::list(", "Reply::json(", "Reply::bytes(", "Reply::archive("] {
            assert!(!text.contains(making), "{} makes a reply: {making}", path.display());
        }
    }
    let asks = |text: &str| text.matches("dispatch::answer(").count();
    let asked: usize = sources(&source("")).iter().map(|(_, text)| asks(text)).sum();
    assert_eq!(
        asked, 3,
        "the listener's worker (to the API and to the console) and the operator's commands alone hand requests over"
    );
}
