//! Is the layout kept? Read from the source itself: levels, cycles, and what each part alone may name.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

mod graph;

use graph::Graph;

const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of ours: its path from the root with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `db` of `src/db/secrets.rs`.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().expect("a path has a part").trim_end_matches(".rs")
    }

    /// Lines that are code: neither comments nor tests at the end of a file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    let mut sources: Vec<Source> = found
        .into_iter()
        .map(|path| Source {
            text: std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display())),
            path: path.strip_prefix(root()).expect("it is below").to_str().expect("it is UTF-8").replace('\\', "/"),
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("it is listed").path()) {
        if entry.is_dir() {
            collect(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
}

fn everything() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// The levels of the crate's documentation, from the top down: a number, and the modules that share it.
fn levels() -> Vec<(u8, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("the crate has a root");
    let map =
        text.split("```text").nth(1).and_then(|rest| rest.split("```").next()).expect("its documentation has a map");
    let level = |line: &str| {
        let (number, rest) = line.trim_start_matches("//!").trim().split_once("  ")?;
        let modules = rest.split("  ").next()?.split(", ").map(|name| name.trim().to_owned()).collect();
        Some((number.parse().ok()?, modules))
    };
    map.lines().filter_map(level).collect()
}

fn graph() -> &'static Graph {
    static GRAPH: LazyLock<Graph> = LazyLock::new(|| Graph::of(&sources("src")));
    &GRAPH
}

#[test]
fn the_modules_of_the_crate_use_those_of_lower_levels_alone() {
    let levels = levels();
    let level = |module: &str| {
        let found = levels.iter().find(|(_, modules)| modules.iter().any(|name| name == module));
        found.unwrap_or_else(|| panic!("{module} has no level: give it one in the map of src/lib.rs")).0
    };
    let upward: Vec<_> = graph().uses_at("").into_iter().filter(|((from, to), _)| level(to) >= level(from)).collect();
    assert!(upward.is_empty(), "these modules use what is not below them:\n{upward:#?}");
}

/// `wire` converts from and to the domain. `error` and `token` are what the domain itself is made of.
#[test]
fn wire_knows_the_domain_alone() {
    let others: Vec<_> = graph()
        .uses_at("")
        .into_iter()
        .filter(|((from, to), _)| from == "wire" && !["domain", "error", "token"].contains(&to.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    println!("{}", graph().print());
    let cycles = graph().cycles();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

/// Places where a word may stand; everywhere else in `src` it may not.
fn named_only_in(word: &str, places: &[&str]) {
    let named: Vec<String> = sources("src")
        .iter()
        .filter(|source| !places.iter().any(|place| source.path.starts_with(place)))
        .flat_map(|source| {
            source
                .code()
                .filter(|(_, line)| line.contains(word))
                .map(|(at, line)| format!("{}:{at}: {}", source.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(named.is_empty(), "{word} is named outside {places:?}:\n{}", named.join("\n"));
}

#[test]
fn only_the_door_knows_that_the_server_is_asynchronous() {
    named_only_in("hyper", &["src/server", "src/s3", "src/inference"]);
    named_only_in(
        "tokio::",
        &[
            "src/server",
            "src/budget",
            "src/api/passwords.rs",
            "src/db.rs",
            "src/pool.rs",
            "src/s3",
            "src/inference",
            "src/runner/fleet.rs",
        ],
    );
    for source in sources("src").iter().filter(|source| ["src/db.rs", "src/pool.rs"].contains(&source.path.as_str())) {
        for (at, line) in source.code().filter(|(_, line)| line.contains("tokio::")) {
            assert!(line.contains("tokio::sync"), "{}:{at}: {line}", source.path);
        }
    }
}

#[test]
fn sql_stands_in_db_alone() {
    for word in ["SELECT ", "INSERT INTO ", "DELETE FROM ", "UPDATE api_key", "PRAGMA ", "prepare_cached", "query_row"]
    {
        named_only_in(word, &["src/db.rs", "src/db/"]);
    }
    // `error` turns a failure of the database into ours; nothing else knows the database's crate.
    named_only_in("rusqlite", &["src/db.rs", "src/db/", "src/error.rs"]);
}

/// Who is granted is read where the proof is made, so that nobody gets it with a list that is not the environment's.
#[test]
fn the_proof_for_an_environment_is_made_where_its_list_is_read() {
    named_only_in(".in_environment(", &["src/policy/", "src/db/environment_groups.rs"]);
}

#[test]
fn json_shapes_stand_in_wire() {
    // The last three declare what the database stores as JSON.
    let places = [
        "src/wire.rs",
        "src/wire/",
        "src/api/graphql",
        "src/cli",
        "src/domain/async_requests.rs",
        "src/domain/serving.rs",
        "src/db/deployments/patches.rs",
    ];
    let outside: Vec<String> = sources("src")
        .iter()
        .filter(|source| !places.iter().any(|place| source.path.starts_with(place)))
        .filter(|source| derived(&source.text).any(|name| name == "Serialize" || name == "Deserialize"))
        .map(|source| source.path.clone())
        .collect();
    assert!(outside.is_empty(), "these derive Serialize or Deserialize, outside {places:?}: {outside:?}");
    named_only_in("INSERT OR REPLACE", &[]);
    named_only_in("REPLACE INTO", &[]);
}

/// What a file derives, in whatever order and on however many lines.
fn derived(text: &str) -> impl Iterator<Item = &str> {
    let lists = text.match_indices("derive(").filter_map(|(at, _)| text[at + "derive(".len()..].split(')').next());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().rsplit("::").next().unwrap_or_default())
}

#[test]
fn derives_are_read_in_any_order() {
    let text = "#[derive(Debug, serde::Serialize)]\nstruct A;\n#[derive(\n    Clone,\n    Deserialize,\n)]\nstruct B;";
    assert_eq!(derived(text).collect::<Vec<_>>(), ["Debug", "Serialize", "Clone", "Deserialize", ""]);
}

#[test]
fn a_file_is_one_thing() {
    let long: Vec<String> = sources("src")
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "ask what second thing these have become: {long:#?}");
}

/// Written in halves, so that this file does not hold them.
const NEVER: &[[&str; 2]] = &[
    ["todo", "!("],
    ["unimpl", "emented!("],
    ["db", "g!("],
    ["#[ig", "nore"],
    ["/ro", "ot/"],
    ["/wo", "rk/"],
    ["/t", "mp/"],
];

#[test]
fn nothing_unfinished_and_no_machine_s_paths() {
    let mut found = Vec::new();
    for source in everything() {
        for (at, line) in source.text.lines().enumerate() {
            for word in NEVER.iter().map(|halves| halves.concat()).filter(|word| line.contains(word)) {
                found.push(format!("{}:{}: {word}", source.path, at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn unwrap_is_for_tests() {
    for source in sources("src") {
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        if let Some((at, line)) = lines.find(|(_, line)| line.contains(".unwrap()")) {
            panic!("{}:{}: say why it cannot be: {line}", source.path, at + 1);
        }
    }
}

#[test]
fn every_list_has_an_order() {
    for source in sources("src").iter().filter(|source| source.module() == "db") {
        for (at, _) in source.text.match_indices("query_map(") {
            let function = source.text[..at].rfind("\nfn ").max(source.text[..at].rfind("\npub")).unwrap_or_default();
            let function = &source.text[function..at];
            // Some statements stand as constants beside their function.
            let statement = if function.contains("SELECT") { function } else { &source.text };
            let ordered = statement.contains("ORDER BY") || statement.contains("UNION ALL");
            assert!(ordered, "{}: a list without ORDER BY:{statement}", source.path);
        }
    }
}
