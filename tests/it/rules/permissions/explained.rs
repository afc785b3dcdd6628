//! Are the tables shown as they are enforced, and is what is allowed explained by what enforces it?

use guildhall::policy::tables;
use guildhall::policy::{OrgAct, TeamAct};
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

const EXPLAIN: &str = "/v1/permissions/explain";

impl Acme {
    #[track_caller]
    fn explained(&self, who: &str, query: &str) -> Value {
        self.get(who, &format!("{EXPLAIN}?{query}"))
    }

    #[track_caller]
    fn unexplained(&self, status: u16, who: &str, query: &str) -> String {
        self.refused(status, who, "GET", &format!("{EXPLAIN}?{query}"), None)
    }
}

fn person(id: &str, organization_role: &str, team_role: Option<&str>) -> Value {
    json!({ "user_id": id, "organization_role": organization_role, "team_role": team_role, "category": null })
}

fn key(prefix: &str, category: &str) -> Value {
    json!({ "api_key_prefix": prefix, "organization_role": null, "team_role": null, "category": category })
}

// ---- the tables ----

#[test]
fn the_tables_are_shown_to_every_key() {
    let acme = Acme::new();
    let invoke = acme.team_key("research", "WORKSPACE_INVOKE");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let tables = acme.get("ada", "/v1/permissions");
    for who in ["lone", "fay", &invoke, &manager] {
        assert_eq!(acme.get(who, "/v1/permissions"), tables);
    }
    assert_eq!(
        tables["organization"],
        json!({
            "roles": ["ADMIN", "MEMBER"],
            "acts": [
                { "act": "MANAGE_BILLING", "title": "Manage billing", "allowed": ["ADMIN"] },
                { "act": "MANAGE_TEAMS", "title": "Manage teams", "allowed": ["ADMIN"] },
                { "act": "MANAGE_ORGANIZATION_MEMBERS", "title": "Manage organization members", "allowed": ["ADMIN"] },
                { "act": "VIEW_ALL_TEAMS", "title": "View all teams", "allowed": ["ADMIN"] },
            ],
        })
    );
    assert_eq!(tables["team"]["roles"], json!(["ADMIN", "MEMBER"]));
    assert_eq!(
        tables["team"]["acts"][3],
        json!({
            "act": "DEPLOY", "title": "Deploy models, Chains, and training projects", "allowed": ["ADMIN", "MEMBER"],
        })
    );
    assert_eq!(
        tables["team_api_keys"]["roles"],
        json!(["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS", "WORKSPACE_MANAGE_API_KEYS"])
    );
    let allowed: Vec<_> =
        tables["team_api_keys"]["acts"].as_array().unwrap().iter().map(|act| &act["allowed"]).collect();
    assert_eq!(
        json!(allowed),
        json!([
            [],
            [],
            ["WORKSPACE_MANAGE_API_KEYS"],
            ["WORKSPACE_MANAGE_ALL"],
            ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE"],
            ["WORKSPACE_MANAGE_ALL"],
        ])
    );
}

#[test]
fn the_readme_has_the_tables_that_the_command_prints() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let read = |text: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        text.lines().filter(|line| line.starts_with('|') && !line.contains("---")).map(cells).collect()
    };
    let in_readme = read(readme);
    for row in read(&tables::as_text()) {
        assert!(in_readme.contains(&row), "{row:?}");
    }
}

#[test]
fn the_printed_tables_are_aligned() {
    let text = tables::as_text();
    for table in text.split("\n\n") {
        let widths: Vec<_> = table.lines().map(str::len).collect();
        assert!(widths.len() >= 6 && widths.iter().all(|width| *width == widths[0]), "{table}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("View team resources")).count(), 2);
}

// ---- about oneself ----

#[test]
fn anyone_may_ask_about_themselves() {
    let acme = Acme::new();
    assert_eq!(
        acme.explained("max", "act=DEPLOY&team_id=research"),
        json!({
            "allowed": true, "act": "DEPLOY", "subject": person("max", "MEMBER", Some("MEMBER")),
            "team_id": "research", "environment": null,
            "because": [
                "the team role in \"Research\" is MEMBER",
                "that includes \"Deploy models, Chains, and training projects\"",
            ],
        })
    );
    assert_eq!(
        acme.explained("max", "act=MANAGE_BILLING"),
        json!({
            "allowed": false, "act": "MANAGE_BILLING", "subject": person("max", "MEMBER", None), "team_id": null,
            "environment": null,
            "because": [
                "the organization role is MEMBER",
                "the organization role MEMBER does not include \"Manage billing\"",
            ],
        })
    );
    let implicit = acme.explained("ada", "act=MANAGE_TEAM_MEMBERS&team_id=inference");
    assert_eq!([&implicit["allowed"], &implicit["subject"]], [&json!(true), &person("ada", "ADMIN", Some("ADMIN"))]);
    assert!(text(&implicit["because"][0]).contains("an organization admin is an admin of every team"));
    let by_name = acme.explained("max", "act=DEPLOY&team_id=research&user_id=max");
    assert_eq!(by_name, acme.explained("max", "act=DEPLOY&team_id=research"));
}

#[test]
fn a_key_may_ask_about_itself() {
    let acme = Acme::new();
    let invoke = acme.team_key("research", "WORKSPACE_INVOKE");
    let explained = acme.explained(&invoke, "act=DEPLOY&team_id=research");
    assert_eq!(
        [&explained["allowed"], &explained["subject"]],
        [&json!(false), &key(prefix(&invoke), "WORKSPACE_INVOKE")]
    );
    let named = format!("act=DEPLOY&team_id=research&api_key_prefix={}", prefix(&invoke));
    assert_eq!(acme.explained(&invoke, &named), explained);
    acme.unexplained(404, &invoke, "act=DEPLOY&team_id=inference");
    assert_eq!(acme.explained(&invoke, "act=MANAGE_TEAMS")["allowed"], false);

    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    for team in ["home", "research", "inference"] {
        assert_eq!(acme.explained(&manager, &format!("act=CREATE_TEAM_API_KEYS&team_id={team}"))["allowed"], true);
        assert_eq!(acme.explained(&manager, &format!("act=VIEW_TEAM_RESOURCES&team_id={team}"))["allowed"], false);
    }
    acme.unexplained(404, &manager, "act=CREATE_TEAM_API_KEYS&team_id=abroad");
}

#[test]
fn a_person_may_ask_about_their_other_keys() {
    let acme = Acme::new();
    let laptop = acme.make_key("max", json!({ "type": "PERSONAL" }));
    let explained = acme.explained("max", &format!("act=DEPLOY&team_id=research&api_key_prefix={}", prefix(&laptop)));
    assert_eq!(explained["allowed"], true);
    assert_eq!(
        explained["subject"],
        json!({
            "api_key_prefix": prefix(&laptop), "organization_role": "MEMBER", "team_role": "MEMBER",
            "category": "PERSONAL",
        })
    );
}

#[test]
fn a_team_that_one_does_not_see_is_not_there() {
    let acme = Acme::new();
    for who in ["ian", "lone", "fay"] {
        assert_eq!(acme.unexplained(404, who, "act=DEPLOY&team_id=research"), "no such team");
        acme.unexplained(404, who, "act=DEPLOY&team_id=research&user_id=max");
    }
    acme.unexplained(404, "ada", "act=DEPLOY&team_id=abroad");
    acme.unexplained(404, "ada", "act=DEPLOY&team_id=nosuchteam");
}

// ---- about others ----

#[test]
fn who_manages_members_may_ask_about_others() {
    let acme = Acme::new();
    for who in ["ada", "tess"] {
        let explained = acme.explained(who, "act=MANAGE_TEAM_MEMBERS&team_id=research&user_id=max");
        assert_eq!(
            [&explained["allowed"], &explained["subject"]],
            [&json!(false), &person("max", "MEMBER", Some("MEMBER"))]
        );
        let outside = acme.explained(who, "act=DEPLOY&team_id=research&user_id=ian");
        assert_eq!([&outside["allowed"], &outside["subject"]], [&json!(false), &person("ian", "MEMBER", None)]);
        assert_eq!(outside["because"][0], "not a member of \"Research\"");
    }
    assert_eq!(acme.explained("ada", "act=MANAGE_TEAMS&user_id=grace")["allowed"], true);

    let (team, org) = ("act=DEPLOY&team_id=research&user_id=tess", "act=MANAGE_TEAMS&user_id=grace");
    let manage_all = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    for who in ["max", &manage_all, &manager] {
        acme.unexplained(403, who, team);
        acme.unexplained(403, who, &team.replace("tess", "nosuchuser"));
    }
    for who in ["tess", "max", "lone", &manage_all, &manager] {
        acme.unexplained(403, who, org);
        acme.unexplained(403, who, &org.replace("grace", "nosuchuser"));
    }
    for nobody in ["nosuchuser", "fay", ""] {
        assert_eq!(acme.unexplained(404, "ada", &format!("act=MANAGE_TEAMS&user_id={nobody}")), "no such user");
        acme.unexplained(404, "tess", &format!("act=DEPLOY&team_id=research&user_id={nobody}"));
    }
}

#[test]
fn a_key_that_one_does_not_see_is_not_there() {
    let acme = Acme::new();
    let research = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let inference = acme.team_key("inference", "WORKSPACE_MANAGE_ALL");
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    let about = |key: &str| format!("act=DEPLOY&team_id=research&api_key_prefix={}", prefix(key));
    let explained = acme.explained("tess", &about(&research));
    assert_eq!(
        [&explained["allowed"], &explained["subject"]],
        [&json!(true), &key(prefix(&research), "WORKSPACE_MANAGE_ALL")]
    );
    for unseen in [&inference, &personal] {
        assert_eq!(acme.unexplained(404, "tess", &about(unseen)), "no such API key");
    }
    assert_eq!(acme.explained("ada", &about(&inference))["allowed"], false);
    assert_eq!(acme.explained("ada", &about(&personal))["subject"]["category"], "PERSONAL");
    acme.unexplained(403, "max", &about(&research));
    acme.unexplained(404, "ada", &about("guild_nothing0"));
    acme.delete("ada", &format!("/v1/api_keys/{}", prefix(&research)));
    acme.unexplained(404, "tess", &about(&research));
}

// ---- environments ----

#[test]
fn changing_an_environment_is_explained_by_its_list() {
    let acme = Acme::new();
    let access = json!({ "is_restricted": true, "user_ids": [] });
    acme.post("tess", "/v1/teams/research/environment_groups", json!({ "name": "staging", "manage_access": access }));
    let query = |environment: &str| format!("act=CHANGE_ENVIRONMENT&team_id=research&environment={environment}");
    assert_eq!(
        acme.explained("max", &query("staging")),
        json!({
            "allowed": false, "act": "CHANGE_ENVIRONMENT", "subject": person("max", "MEMBER", Some("MEMBER")),
            "team_id": "research", "environment": "staging",
            "because": [
                "the team role in \"Research\" is MEMBER",
                "the environment \"staging\" of \"Research\" is restricted",
                "the environment \"staging\" of team \"Research\" is restricted and you are not on its list: ask a team admin",
            ],
        })
    );
    assert_eq!(acme.explained("max", &query("production"))["allowed"], true);
    assert_eq!(acme.explained("tess", &query("staging"))["allowed"], true);
    assert_eq!(acme.explained("ada", &(query("staging") + "&user_id=max"))["allowed"], false);
    acme.unexplained(404, "ian", &query("staging"));
}

// ---- what cannot be asked ----

#[test]
fn what_a_query_may_not_say() {
    let acme = Acme::new();
    let bad = [
        ("act", ""),
        ("act", "act="),
        ("act", "act=FLY"),
        ("act", "act=deploy&team_id=research"),
        ("team_id", "act=DEPLOY"),
        ("team_id", "act=CHANGE_ENVIRONMENT&environment=staging"),
        ("team_id", "act=MANAGE_BILLING&team_id=research"),
        ("environment", "act=CHANGE_ENVIRONMENT&team_id=research"),
        ("environment", "act=CHANGE_ENVIRONMENT&team_id=research&environment=Staging"),
        ("environment", "act=DEPLOY&team_id=research&environment=staging"),
        ("environment", "act=MANAGE_TEAMS&environment=staging"),
        ("api_key_prefix", "act=MANAGE_TEAMS&user_id=max&api_key_prefix=guild_nothing0"),
    ];
    for (field, query) in bad {
        let sentence = acme.unexplained(400, "ada", query);
        assert!(sentence.contains(&format!("`{field}`")), "{query}: {sentence}");
    }
}

// ---- the same functions ----

#[test]
fn what_is_explained_is_what_is_enforced() {
    let acme = Acme::new();
    let keys = ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"]
        .map(|category| acme.team_key("research", category));
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let people = ["ada", "tess", "max"];
    for who in people.into_iter().chain(keys.iter().map(String::as_str)).chain([manager.as_str()]) {
        let allowed =
            |act: TeamAct| acme.explained(who, &format!("act={}&team_id=research", act.as_str()))["allowed"] == true;
        let done = |method: &str, target: &str, body: Value| acme.send(who, method, target, Some(body)).status == 200;
        let listed = acme.send(who, "GET", "/v1/teams/research/secrets", None).status == 200;
        assert_eq!(allowed(TeamAct::View), listed, "{who}");
        let secret = json!({ "name": "token", "value": "1" });
        assert_eq!(allowed(TeamAct::Deploy), done("POST", "/v1/teams/research/secrets", secret), "{who}");
        let invoke = json!({ "type": "WORKSPACE_INVOKE" });
        assert_eq!(allowed(TeamAct::CreateApiKeys), done("POST", "/v1/teams/research/api_keys", invoke), "{who}");
        let group = json!({ "name": "canary", "manage_access": { "is_restricted": true } });
        let made = done("POST", "/v1/teams/research/environment_groups", group);
        assert_eq!(allowed(TeamAct::CreateRestrictedEnvironments), made, "{who}");
        if made {
            acme.delete("ada", "/v1/teams/research/environment_groups/canary");
        }
        let org = acme.explained(who, &format!("act={}", OrgAct::ManageTeams.as_str()))["allowed"] == true;
        assert_eq!(org, done("PATCH", "/v1/organizations/me", json!({})), "{who}");
    }
}
