//! Are the floors held? Read from the source itself.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// The floors of the crate's documentation: a module imports from its own floor or below.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["domain", "error", "pool", "table"]),
    (1, &["policy", "token", "seal"]),
    (2, &["db"]),
    (3, &["api", "wire", "server", "s3", "inference", "console", "runner", "jobs"]),
    (4, &["cli"]),
    (5, &["lib", "main"]),
];

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

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// Every module that a line names behind `crate::`, also inside `crate::{…}`.
fn imported(text: &str) -> Vec<String> {
    let mut imported = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => imported.extend(first_names(group)),
            None => imported.push(name(rest)),
        }
    }
    imported
}

fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names at the first level of a group: `db, api::{a, b}, domain` gives `db`, `http`, `model`.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                names.push(name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn groups_of_imports_are_read() {
    assert_eq!(imported("use crate::{db::{a, b}, api,\n domain::C};"), ["db", "api", "domain"]);
    assert_eq!(imported("use crate::db::{self, Tx}; crate::wire::parse()"), ["db", "wire"]);
}

#[test]
fn imports_go_down_or_stay_on_their_floor() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module().to_owned();
        let own = floor(&module).unwrap_or_else(|| panic!("{} stands on no floor: give it one", source.path));
        for name in imported(&source.text) {
            // The macro of the tables, and the crate's own root.
            let Some(other) = floor(&name) else { continue };
            if other > own {
                wrong.push(format!("{} (floor {own}) imports {name} (floor {other})", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up:\n{}", wrong.join("\n"));
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
    named_only_in("hyper", &["src/server", "src/api/operator.rs", "src/s3"]);
    named_only_in(
        "tokio::",
        &["src/server", "src/api/passwords.rs", "src/api/operator.rs", "src/db.rs", "src/pool.rs", "src/s3"],
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

#[test]
fn json_shapes_stand_in_wire() {
    named_only_in(
        "derive(Serialize",
        &["src/wire.rs", "src/wire/", "src/api/graphql", "src/cli", "src/db/fixtures.rs"],
    );
    named_only_in("INSERT OR REPLACE", &[]);
    named_only_in("REPLACE INTO", &[]);
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
