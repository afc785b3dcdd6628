//! The permission tables in their displayed form.

use guildhall::policy::{OrgAct, OrgRole, Standing, TeamAct, tables};

#[test]
fn acts_are_named_as_on_the_wire() {
    for act in TeamAct::ALL.iter().copied() {
        assert_eq!(TeamAct::parse(act.as_str()), Some(act));
    }
    for act in OrgAct::ALL.iter().copied() {
        assert_eq!(OrgAct::parse(act.as_str()), Some(act));
    }
    assert_eq!((TeamAct::parse("deploy"), OrgAct::parse("")), (None, None));
    assert!(TeamAct::Deploy.allowed_to(Standing::Member) && !OrgAct::ManageTeams.allowed_to(OrgRole::Member));
}

#[test]
fn each_table_has_its_columns_and_its_marks() {
    let organization = tables::organization();
    assert_eq!(organization.roles, ["ADMIN", "MEMBER"]);
    assert!(organization.rows.iter().all(|row| row.allowed == ["ADMIN"]));

    let team = tables::team();
    assert_eq!(team.roles, ["ADMIN", "MEMBER"]);
    let deploy = team.rows.iter().find(|row| row.act == "DEPLOY").unwrap();
    assert_eq!(deploy.allowed, ["ADMIN", "MEMBER"]);
    let members = team.rows.iter().find(|row| row.act == "MANAGE_TEAM_MEMBERS").unwrap();
    assert_eq!((members.wording, members.allowed.as_slice()), ("Manage team members", ["ADMIN"].as_slice()));

    let keys = tables::team_api_keys();
    let categories =
        ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS", "WORKSPACE_MANAGE_API_KEYS"];
    assert_eq!(keys.roles, categories);
    let marks: Vec<_> = keys.rows.iter().map(|row| row.allowed.as_slice()).collect();
    let expected: [&[&str]; 6] = [
        &[],
        &[],
        &["WORKSPACE_MANAGE_API_KEYS"],
        &["WORKSPACE_MANAGE_ALL"],
        &["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE"],
        &["WORKSPACE_MANAGE_ALL"],
    ];
    assert_eq!(marks, expected);
}

#[test]
fn the_tables_are_aligned_as_text() {
    let text = tables::as_text();
    let tables: Vec<Vec<&str>> = text.split("\n\n").map(|table| table.lines().collect()).collect();
    assert_eq!(tables.len(), 3, "{text}");
    let organization = [
        "| Permission                  | Admin | Member |",
        "| --------------------------- | ----- | ------ |",
        "| Manage billing              | yes   | no     |",
        "| Manage teams                | yes   | no     |",
        "| Manage organization members | yes   | no     |",
        "| View all teams              | yes   | no     |",
    ];
    assert_eq!(tables[0], organization, "{text}");
    let (members, deploy) = ("Manage team members", "Deploy models, Chains, and training projects");
    let width = deploy.len();
    let team = &tables[1];
    assert_eq!(team[0], format!("| {:width$} | Team Admin | Team Member |", "Permission"));
    assert_eq!(team[2], format!("| {members:width$} | yes        | no          |"));
    assert_eq!(team[5], format!("| {deploy} | yes        | yes         |"));
}
