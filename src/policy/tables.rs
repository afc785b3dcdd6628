//! The permission tables as text and as data. `guildhall permissions` and `GET /v1/permissions` take them from this
//! module, and a test compares the README with them.

use crate::policy::{OrgAct, OrgRole, Standing, TeamAct, TeamCategory, TeamRole};

/// A permission table, with its columns in order.
#[derive(Debug)]
pub struct Table {
    /// The headings of the columns, in the words of the documents.
    headings: Vec<&'static str>,
    /// Roles or categories, by their names on the wire.
    pub roles: Vec<&'static str>,
    pub rows: Vec<Row>,
}

/// One act, and which of the columns include it.
#[derive(Debug)]
pub struct Row {
    pub act: &'static str,
    pub wording: &'static str,
    pub allowed: Vec<&'static str>,
}

/// The table of the two organization roles.
pub fn organization() -> Table {
    let row = |act: &OrgAct| {
        let allowed = OrgRole::ALL.iter().filter(|role| act.allowed_to(**role));
        Row { act: act.as_str(), wording: act.wording(), allowed: allowed.map(|role| role.as_str()).collect() }
    };
    Table {
        headings: vec!["Admin", "Member"],
        roles: OrgRole::ALL.iter().map(|role| role.as_str()).collect(),
        rows: OrgAct::ALL.iter().map(row).collect(),
    }
}

/// The table of the two team roles.
pub fn team() -> Table {
    let columns = [TeamRole::Admin, TeamRole::Member].map(TeamRole::standing);
    of_team(vec!["Team Admin", "Team Member"], &columns)
}

/// The table of keys that belong to no person. Team keys act in their own team; keys that manage keys act in every
/// team.
pub fn team_api_keys() -> Table {
    let of_teams = TeamCategory::ALL.iter().map(|category| category.standing());
    let columns: Vec<_> = of_teams.chain([Standing::ManageApiKeys]).collect();
    of_team(columns.iter().map(|column| column.as_str()).collect(), &columns)
}

fn of_team(headings: Vec<&'static str>, columns: &[Standing]) -> Table {
    let row = |act: &TeamAct| {
        let allowed = columns.iter().filter(|column| act.allowed_to(**column));
        Row { act: act.as_str(), wording: act.wording(), allowed: allowed.map(|column| column.as_str()).collect() }
    };
    Table {
        headings,
        roles: columns.iter().map(|column| column.as_str()).collect(),
        rows: TeamAct::ALL.iter().map(row).collect(),
    }
}

/// All tables as Markdown text.
pub fn as_text() -> String {
    [organization(), team(), team_api_keys()].map(|table| table.to_text()).join("\n")
}

/// The heading of the first column.
const FIRST: &str = "Permission";

impl Table {
    fn to_text(&self) -> String {
        let head = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let rule = self.headings.iter().map(|heading| "-".repeat(heading.len())).collect();
        let rows = self.rows.iter().map(|row| self.line(row.wording, self.marks(row)));
        let head = [self.line(FIRST, head), self.line(&"-".repeat(self.first_width()), rule)];
        head.into_iter().chain(rows).collect()
    }

    fn marks(&self, row: &Row) -> Vec<String> {
        let mark = |role| if row.allowed.contains(role) { "yes" } else { "no" };
        self.roles.iter().map(|role| mark(role).to_owned()).collect()
    }

    fn line(&self, first: &str, cells: Vec<String>) -> String {
        let cell = |(cell, heading): (&String, &&str)| format!(" {cell:width$} |", width = heading.len());
        let cells: String = cells.iter().zip(&self.headings).map(cell).collect();
        format!("| {first:width$} |{cells}\n", width = self.first_width())
    }

    fn first_width(&self) -> usize {
        self.rows.iter().map(|row| row.wording.len()).chain([FIRST.len()]).max().unwrap_or_default()
    }
}
