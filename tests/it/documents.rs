//! Do the tables match the documents? The expected values were typed from the documents; nothing regenerates them.

use guildhall::policy::{OrgAct, OrgRole, Standing, TeamAct};

const ORGANIZATION: &str = "
| Permission                  | Admin | Member |
| Manage billing              | yes   | no     |
| Manage teams                | yes   | no     |
| Manage organization members | yes   | no     |
| View all teams              | yes   | no     |
";

const TEAM: &str = "
| Permission                                   | Team Admin | Team Member |
| Manage team members                          | yes        | no          |
| Create restricted environments               | yes        | no          |
| Create team API keys                         | yes        | no          |
| Deploy models, Chains, and training projects | yes        | yes         |
| Call models                                  | yes        | yes         |
| View team resources                          | yes        | yes         |
";

/// Decision 13.
const KEYS: &str = "
| Permission                                   | WORKSPACE_MANAGE_ALL | WORKSPACE_INVOKE | WORKSPACE_EXPORT_METRICS | WORKSPACE_MANAGE_API_KEYS |
| Manage team members                          | no                   | no               | no                       | no                        |
| Create restricted environments               | no                   | no               | no                       | no                        |
| Create team API keys                         | no                   | no               | no                       | yes                       |
| Deploy models, Chains, and training projects | yes                  | no               | no                       | no                        |
| Call models                                  | yes                  | yes              | no                       | no                        |
| View team resources                          | yes                  | no               | no                       | no                        |
";

type Table = Vec<Vec<String>>;

fn read(table: &str) -> Table {
    let cells = |line: &str| line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let is_rule = |line: &&str| line.contains("---");
    table.lines().filter(|line| line.trim().starts_with('|') && !is_rule(line)).map(cells).collect()
}

fn mark(allowed: bool) -> String {
    if allowed { "yes" } else { "no" }.to_owned()
}

/// The team table with these columns, as `policy` has it.
fn of_teams(columns: &[(&str, Standing)]) -> Table {
    let header = std::iter::once("Permission").chain(columns.iter().map(|(name, _)| *name)).map(str::to_owned);
    let row = |act: &TeamAct| {
        let marks = columns.iter().map(|(_, standing)| mark(act.allowed_to(*standing)));
        std::iter::once(act.wording().to_owned()).chain(marks).collect()
    };
    std::iter::once(header.collect()).chain(TeamAct::ALL.iter().map(row)).collect()
}

#[test]
fn the_organization_table_is_the_documents() {
    let row = |act: &OrgAct| {
        vec![act.wording().to_owned(), mark(act.allowed_to(OrgRole::Admin)), mark(act.allowed_to(OrgRole::Member))]
    };
    let header = ["Permission", "Admin", "Member"].map(str::to_owned).to_vec();
    let enforced: Table = std::iter::once(header).chain(OrgAct::ALL.iter().map(row)).collect();
    assert_eq!(enforced, read(ORGANIZATION));
    assert_eq!(OrgRole::ALL.len(), 2);
}

#[test]
fn the_team_table_is_the_documents() {
    let enforced = of_teams(&[("Team Admin", Standing::Admin), ("Team Member", Standing::Member)]);
    assert_eq!(enforced, read(TEAM));
}

#[test]
fn the_categories_of_keys_are_decision_13() {
    let columns = [
        ("WORKSPACE_MANAGE_ALL", Standing::ManageAll),
        ("WORKSPACE_INVOKE", Standing::Invoke),
        ("WORKSPACE_EXPORT_METRICS", Standing::ExportMetrics),
        ("WORKSPACE_MANAGE_API_KEYS", Standing::ManageApiKeys),
    ];
    assert_eq!(of_teams(&columns), read(KEYS));
    for (name, standing) in columns {
        assert_eq!(standing.as_str(), name);
    }
    assert_eq!(Standing::ALL.len(), columns.len() + 2, "a standing that no document has");
}

#[test]
fn the_readme_shows_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("README.md: {cause}"));
    let shown: Vec<Table> = tables(&readme);
    for (name, table) in [("organization", ORGANIZATION), ("team", TEAM)] {
        assert!(shown.contains(&read(table)), "README.md does not show the {name} table as the documents have it");
    }
}

/// The tables of a page, each of lines that begin with `|`.
fn tables(page: &str) -> Vec<Table> {
    let lines: Vec<&str> = page.lines().collect();
    lines
        .split(|line| !line.trim().starts_with('|'))
        .filter(|lines| !lines.is_empty())
        .map(|lines| read(&lines.join("\n")))
        .collect()
}
