//! The permission tables as they are shown: the README, `guildhall permissions` and `GET /v1/permissions` have them from
//! here.

use crate::policy::{OrgAct, OrgRole, Standing, TeamAct, TeamCategory, TeamRole};

/// A table with its columns in order.
#[derive(Debug)]
pub struct Table {
    pub title: &'static str,
    /// Roles or categories, as they stand on the wire.
    pub roles: Vec<&'static str>,
    pub rows: Vec<Row>,
}

/// What can be done, and by which of the columns.
#[derive(Debug)]
pub struct Row {
    pub act: &'static str,
    pub wording: &'static str,
    pub allowed: Vec<&'static str>,
}

/// What the two roles of the organization include.
pub fn organization() -> Table {
    let row = |act: &OrgAct| {
        let allowed = OrgRole::ALL.iter().filter(|role| act.allowed_to(**role));
        Row { act: act.as_str(), wording: act.wording(), allowed: allowed.map(|role| role.as_str()).collect() }
    };
    Table {
        title: "Organization",
        roles: OrgRole::ALL.iter().map(|role| role.as_str()).collect(),
        rows: OrgAct::ALL.iter().map(row).collect(),
    }
}

/// What the two roles of a team include.
pub fn team() -> Table {
    of_team("Team", &[TeamRole::Admin.standing(), TeamRole::Member.standing()])
}

/// What keys that are no person's can do in a team: in their own, and those that manage keys in every one.
pub fn team_api_keys() -> Table {
    let [manage_all, invoke, export_metrics] = TeamCategory::ALL.map(TeamCategory::standing);
    of_team("Team API keys", &[manage_all, invoke, export_metrics, Standing::ManageApiKeys])
}

fn of_team(title: &'static str, columns: &[Standing]) -> Table {
    let row = |act: &TeamAct| {
        let allowed = columns.iter().filter(|column| act.allowed_to(**column));
        Row { act: act.as_str(), wording: act.wording(), allowed: allowed.map(|column| column.as_str()).collect() }
    };
    Table {
        title,
        roles: columns.iter().map(|column| column.as_str()).collect(),
        rows: TeamAct::ALL.iter().map(row).collect(),
    }
}

/// All tables as text. It is Markdown too, so that a page can hold what the command prints.
pub fn as_text() -> String {
    [organization(), team(), team_api_keys()].map(|table| table.to_text()).join("\n")
}

impl Table {
    fn to_text(&self) -> String {
        let first_width = self.rows.iter().map(|row| row.wording.len()).chain([self.title.len()]).max().unwrap_or(0);
        let line = |first: &str, cell: &dyn Fn(&str) -> String| {
            let cells: String =
                self.roles.iter().map(|role| format!(" {:width$} |", cell(role), width = role.len())).collect();
            format!("| {first:first_width$} |{cells}\n")
        };
        let mark = |row: &Row, role: &str| if row.allowed.contains(&role) { "yes" } else { "no" }.to_owned();
        let head = line(self.title, &str::to_owned);
        let rule = line(&"-".repeat(first_width), &|role| "-".repeat(role.len()));
        let rows = self.rows.iter().map(|row| line(row.wording, &|role| mark(row, role)));
        [head, rule].into_iter().chain(rows).collect()
    }
}
