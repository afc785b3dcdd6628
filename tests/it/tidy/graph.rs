//! The module graph of the crate, read from its source: `use` lines, re-exports and paths in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Source;

/// A module's path below the crate: `["db", "secrets"]`.
type Path = Vec<String>;

/// Which module of a level uses which, and what ties them.
type Uses = BTreeMap<(String, String), Vec<String>>;

/// How many re-exports of one name are followed.
const RE_EXPORTS_MAX: usize = 8;

/// Which module uses which, and by which names.
pub struct Graph {
    modules: BTreeMap<Path, Module>,
    uses: BTreeMap<(Path, Path), BTreeSet<String>>,
}

#[derive(Default)]
struct Module {
    /// The code without comments, strings and tests.
    code: String,
    /// What `use` brings into scope: the name here, and the path it stands for.
    imports: BTreeMap<String, Path>,
}

/// Modules that use each other in a circle, at one level of the tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cycle {
    /// The module whose children these are; empty for the crate.
    pub level: String,
    pub modules: Vec<String>,
    /// `from -> to: names`, for every use that ties them.
    pub ties: Vec<String>,
}

impl Graph {
    pub fn of(sources: &[Source]) -> Graph {
        let read =
            |source: &Source| (module_path(&source.path), Module::read(&module_path(&source.path), &source.text));
        let modules = sources.iter().filter(|source| source.path != "src/main.rs").map(read).collect();
        let mut graph = Graph { modules, uses: BTreeMap::new() };
        let paths: Vec<Path> = graph.modules.keys().cloned().collect();
        for from in &paths {
            for path in graph.modules[from].paths(from) {
                if let Some((to, name)) = graph.resolve(&path, 0).filter(|(to, _)| to != from) {
                    graph.uses.entry((from.clone(), to)).or_default().insert(name);
                }
            }
        }
        graph
    }

    /// The module that defines what a path names, and the first name in it; re-exports are followed.
    fn resolve(&self, path: &[String], depth: usize) -> Option<(Path, String)> {
        let len = (0..=path.len()).take_while(|len| self.modules.contains_key(&path[..*len])).last()?;
        let Some(name) = path.get(len) else { return Some((path.to_vec(), "*".to_owned())) };
        match self.modules[&path[..len]].imports.get(name).filter(|_| depth < RE_EXPORTS_MAX) {
            Some(target) => self.resolve(&[target, &path[len + 1..]].concat(), depth + 1),
            None => Some((path[..len].to_vec(), name.clone())),
        }
    }

    /// Every cycle, at every level: the children of a module, each with all that is below it, must use one another in one
    /// direction. A module and those below it may use each other.
    pub fn cycles(&self) -> Vec<Cycle> {
        self.levels().into_iter().flat_map(|level| cycles_of(&level, &self.uses_at(&level))).collect()
    }

    /// The modules that have others below them; the crate itself is "".
    fn levels(&self) -> BTreeSet<String> {
        self.modules.keys().filter_map(|path| Some(path.split_last()?.1.join("::"))).collect()
    }

    /// Which child of this level uses which, with `module -> module: names`.
    pub fn uses_at(&self, level: &str) -> Uses {
        let mut uses = Uses::new();
        let level: Vec<&str> = level.split("::").filter(|part| !part.is_empty()).collect();
        let child = |path: &Path| {
            let is_below = path.len() > level.len() && path.iter().zip(&level).all(|(one, other)| one == other);
            is_below.then(|| path[level.len()].clone())
        };
        for ((from, to), names) in &self.uses {
            if let (Some(one), Some(other)) = (child(from), child(to))
                && one != other
            {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let tie = format!("{} -> {}: {}", from.join("::"), to.join("::"), names.join(", "));
                uses.entry((one, other)).or_default().push(tie);
            }
        }
        uses
    }

    /// The graph of each level as text: a module, and what it uses there.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for level in self.levels() {
            let uses = self.uses_at(&level);
            let mut of_module: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
            for (from, to) in uses.keys() {
                of_module.entry(from).or_default().push(to);
            }
            if !of_module.is_empty() {
                let _ = writeln!(text, "{}:", if level.is_empty() { "crate" } else { &level });
            }
            for (from, to) in of_module {
                let _ = writeln!(text, "    {from} -> {}", to.join(", "));
            }
        }
        text
    }
}

fn cycles_of(level: &str, uses: &Uses) -> BTreeSet<Cycle> {
    let modules: BTreeSet<&String> = uses.keys().flat_map(|(from, to)| [from, to]).collect();
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        modules.iter().map(|module| (*module, reachable(module, uses))).collect();
    let circle_of = |module: &&String| -> Option<Cycle> {
        let circle: BTreeSet<&String> =
            reach[module].iter().filter(|other| reach[*other].contains(module)).copied().collect();
        let ties = uses.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
        circle.contains(module).then(|| Cycle {
            level: level.to_owned(),
            modules: circle.iter().map(|module| (*module).clone()).collect(),
            ties: ties.flat_map(|(_, ties)| ties.clone()).collect(),
        })
    };
    modules.iter().filter_map(circle_of).collect()
}

fn reachable<'u>(from: &String, uses: &'u Uses) -> BTreeSet<&'u String> {
    let next = |at: &String| uses.keys().filter(move |(one, _)| one == at).map(|(_, other)| other).collect::<Vec<_>>();
    let (mut reached, mut left) = (BTreeSet::new(), next(from));
    while let Some(at) = left.pop() {
        if reached.insert(at) {
            left.extend(next(at));
        }
    }
    reached
}

/// `["db", "secrets"]` of `src/db/secrets.rs`; the crate itself of `src/lib.rs`.
fn module_path(file: &str) -> Path {
    let path = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

impl Module {
    fn read(own: &[String], text: &str) -> Module {
        let code = code_of(text);
        let mut imports = BTreeMap::new();
        for tree in use_trees(&code) {
            for (name, path) in flattened(&tree) {
                if let Some(path) = absolute(own, &path) {
                    imports.insert(name, path);
                }
            }
        }
        Module { code, imports }
    }

    /// Every path that this module names, from the crate on.
    fn paths(&self, own: &[String]) -> BTreeSet<Path> {
        let imported = self.imports.values().cloned();
        let named = path_expressions(&self.code).filter_map(|path| {
            if let Some(target) = self.imports.get(&path[0]) {
                return Some(target.iter().chain(&path[1..]).cloned().collect());
            }
            absolute(own, &path)
        });
        imported.chain(named).collect()
    }
}

/// A path from the crate on; `None` if it leads into another crate.
fn absolute(own: &[String], path: &[String]) -> Option<Path> {
    let (mut base, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (own.to_vec(), &path[1..]),
        "super" => (own.to_vec(), path),
        // A child of this module; what is no child resolves to this module itself and counts for nothing.
        _ => (own.to_vec(), path),
    };
    while rest.first().is_some_and(|first| first == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The code alone: no comments, no strings, no tests at the end of the file.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if rest.starts_with("'\"'") {
            3
        } else if c == '"' {
            string_length(rest)
        } else {
            0
        };
        let taken = if skipped == 0 { c.len_utf8() } else { skipped };
        code.push_str(if skipped == 0 { &rest[..taken] } else { " " });
        rest = &rest[taken..];
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What stands between `use` and `;`.
fn use_trees(code: &str) -> Vec<String> {
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let before = code[..*at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['\n', ')', '}', ';', '{']) || before.ends_with("pub")
    });
    starts.filter_map(|(at, _)| Some(code[at + 4..].split(';').next()?.to_owned())).collect()
}

/// Every leaf of a `use`: the name that it brings into scope, and its path.
fn flattened(tree: &str) -> Vec<(String, Path)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
        let mut path: Path = path.split("::").map(|part| part.trim().to_owned()).collect();
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        return vec![(alias.map_or(last, str::to_owned), path)];
    };
    let prefix = tree[..open].trim_end_matches("::");
    let inner = tree[open + 1..].rsplit_once('}').map_or("", |(inner, _)| inner);
    let join = |part: &str| if prefix.is_empty() { part.to_owned() } else { format!("{prefix}::{part}") };
    parts(inner).iter().flat_map(|part| flattened(&join(part))).collect()
}

/// The parts of a group, split at its own commas.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[start..]);
    found.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Every path of two parts or more in the code, such as `teams::find` or `crate::db::Tx`.
fn path_expressions(code: &str) -> impl Iterator<Item = Path> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(move |c: char| !is_name(c)).filter_map(|word| {
        let word = word.trim_matches(':');
        let path: Path = word.split("::").map(str::to_owned).collect();
        let is_path = path.len() > 1 && path.iter().all(|part| !part.is_empty() && !part.contains(':'));
        is_path.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let source = |(path, text): &(&str, &str)| Source { path: format!("src/{path}"), text: (*text).to_owned() };
        Graph::of(&files.iter().map(source).collect::<Vec<_>>())
    }

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        graph(files).cycles().into_iter().map(|cycle| cycle.modules).collect()
    }

    const CRATE: (&str, &str) = ("lib.rs", "pub mod db;\npub mod api;");
    const DB: (&str, &str) = ("db.rs", "pub mod teams;\npub mod users;\npub struct Tx;");

    #[test]
    fn a_cycle_inside_a_level_is_found() {
        let teams = ("db/teams.rs", "use crate::db::{Tx, users::{self, User}};");
        assert_eq!(circles(&[CRATE, DB, teams, ("db/users.rs", "use crate::db::Tx;")]), Vec::<Vec<String>>::new());
        for back in [
            "use super::teams;",
            "fn f() { crate::db::teams::find(); }",
            "use crate::db::{\n    Tx,\n    teams::find,\n};",
        ] {
            assert_eq!(circles(&[CRATE, DB, teams, ("db/users.rs", back)]), [["teams", "users"]], "{back}");
        }
        let said = "// use crate::db::teams;\nfn f() { \"crate::db::teams::find\"; }";
        assert_eq!(circles(&[CRATE, DB, teams, ("db/users.rs", said)]), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_cycle_through_what_is_below_is_found() {
        let (teams, users) = (("db/teams.rs", "mod roles;"), ("db/users.rs", "use crate::db::teams::Team;"));
        assert_eq!(
            circles(&[CRATE, DB, teams, users, ("db/teams/roles.rs", "use crate::db::users;")]),
            [["teams", "users"]]
        );
        // A module and those below it may use each other.
        let users = ("db/users.rs", "");
        let roles = ("db/teams/roles.rs", "use super::Team;");
        assert_eq!(
            circles(&[CRATE, DB, ("db/teams.rs", "mod roles;\nuse roles::Role;"), users, roles]),
            Vec::<Vec<String>>::new()
        );
    }

    #[test]
    fn re_exports_are_followed() {
        let api = ("api.rs", "mod request;\nmod rest;\npub use request::Request;");
        let request = ("api/request.rs", "use crate::api::rest;");
        let found = circles(&[CRATE, DB, api, request, ("api/rest.rs", "use crate::api::Request;")]);
        assert_eq!(found, [["request", "rest"]]);
    }

    #[test]
    fn a_cycle_between_modules_of_the_crate_is_found() {
        let found = circles(&[CRATE, ("db.rs", "use crate::api;"), ("api.rs", "use crate::db::Tx;")]);
        assert_eq!(found, [["api", "db"]]);
    }
}
