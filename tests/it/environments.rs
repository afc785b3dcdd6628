//! Do restricted environments follow the rules?

use serde_json::{Value, json};

use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

const OF_RESEARCH: &str = "/v1/teams/research/environment_groups";

impl Acme {
    fn restricted(&self, user_ids: &[&str], prefixes: &[&str]) -> Value {
        let access = json!({ "is_restricted": true, "user_ids": user_ids, "api_key_prefixes": prefixes });
        self.post("tess", OF_RESEARCH, json!({ "name": "staging", "manage_access": access }))
    }

    #[track_caller]
    fn names(&self, who: &str, target: &str) -> Vec<String> {
        let listed = self.get(who, target);
        assert_eq!(listed["pagination"], json!({ "has_more": false, "cursor": null }));
        listed["items"].as_array().unwrap().iter().map(|group| text(&group["name"])).collect()
    }

    /// Whether somebody may change `staging` of research, as the server decides it.
    #[track_caller]
    fn may_change(&self, who: &str) -> bool {
        let target = "/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment=staging";
        self.get(who, target)["allowed"].as_bool().unwrap()
    }
}

fn user(name: &str) -> Value {
    let shown = name[..1].to_uppercase() + &name[1..];
    json!({ "user_id": name, "email": format!("{name}@example.com"), "name": shown })
}

fn access(is_restricted: bool) -> Value {
    json!({ "manage_access": { "is_restricted": is_restricted } })
}

fn staging() -> String {
    format!("{OF_RESEARCH}/staging")
}

fn production() -> String {
    format!("{OF_RESEARCH}/production")
}

// ---- listing ----

#[test]
fn a_group_is_listed_once_a_model_or_a_chain_has_it_or_it_was_made() {
    let acme = Acme::new();
    assert!(acme.names("max", OF_RESEARCH).is_empty());
    acme.model("research", "llama");
    acme.model("research", "whisper");
    acme.environment("llama", "canary");
    acme.model("inference", "theirs");
    acme.environment("theirs", "theirs-alone");
    acme.run(
        "INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('rag', 'acme', 'research', 'rag', 0);
         INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
         VALUES ('rag', 'blue', 'acme', 'research', 0)",
    );
    acme.restricted(&[], &[]);
    assert_eq!(acme.names("max", OF_RESEARCH), ["blue", "canary", "production", "staging"]);
    assert_eq!(
        acme.get("max", &production()),
        json!({
            "name": "production", "team_id": "research", "team_name": "Research",
            "manage_access": { "is_restricted": false, "users": [], "api_key_prefixes": [] },
        })
    );
    for gone in ["theirs-alone", "nowhere", "Not A Name", "development", ""] {
        let sentence = acme.refused(404, "ada", "GET", &format!("{OF_RESEARCH}/{gone}"), None);
        assert_eq!(sentence, "no such environment");
    }
}

#[test]
fn without_a_team_it_is_a_team_keys_own_otherwise_the_default_team() {
    let acme = Acme::new();
    acme.restricted(&[], &[]);
    let made = acme.post(
        "ada",
        "/v1/environment_groups",
        json!({ "name": "canary", "manage_access": { "is_restricted": true } }),
    );
    assert_eq!(made["team_id"], "home");
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    assert_eq!(acme.names(&key, "/v1/environment_groups"), ["staging"]);
    assert_eq!(acme.get(&key, "/v1/environment_groups/staging")["team_id"], "research");
    acme.refused(404, &key, "GET", "/v1/environment_groups/canary", None);
    for who in ["ada", "dora"] {
        assert_eq!(acme.names(who, "/v1/environment_groups"), ["canary"]);
    }
    for who in ["tess", "max", "lone"] {
        for target in ["/v1/environment_groups", "/v1/environment_groups/canary", "/v1/environment_groups/nowhere"] {
            acme.refused(403, who, "GET", target, None);
        }
    }
    let changed = acme.patch("ada", "/v1/environment_groups/canary", access(false));
    assert_eq!([&changed["team_id"], &changed["manage_access"]["is_restricted"]], [&json!("home"), &json!(false)]);
}

#[test]
fn who_views_a_team_views_its_environments() {
    let acme = Acme::new();
    acme.restricted(&[], &[]);
    let manage_all = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let invoke = acme.team_key("research", "WORKSPACE_INVOKE");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    for target in [OF_RESEARCH.to_owned(), staging()] {
        for who in ["ada", "tess", "max", &manage_all] {
            acme.get(who, &target);
        }
        for (who, status) in
            [("ian", 404), ("lone", 404), ("fay", 404), (invoke.as_str(), 403), (manager.as_str(), 403)]
        {
            acme.refused(status, who, "GET", &target, None);
        }
    }
}

// ---- restricting ----

#[test]
fn a_restriction_lists_who_is_granted_and_who_always_may() {
    let acme = Acme::new();
    let (one, two) = (acme.team_key("research", "WORKSPACE_MANAGE_ALL"), acme.team_key("research", "WORKSPACE_INVOKE"));
    let made = acme.restricted(&["max", "max"], &[prefix(&two), prefix(&one), prefix(&two)]);
    let mut prefixes = [prefix(&one), prefix(&two)];
    prefixes.sort_unstable();
    assert_eq!(
        made,
        json!({
            "name": "staging", "team_id": "research", "team_name": "Research",
            "manage_access": {
                "is_restricted": true, "users": [user("ada"), user("grace"), user("max"), user("tess")],
                "api_key_prefixes": prefixes,
            },
        })
    );
    assert_eq!(acme.get("max", &staging()), made);
    assert_eq!(acme.get("max", OF_RESEARCH)["items"], json!([made]));
}

#[test]
fn only_who_creates_restricted_environments_changes_them() {
    let acme = Acme::new();
    acme.restricted(&["max"], &[]);
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let new = json!({ "name": "canary", "manage_access": { "is_restricted": false } });
    let cases = [("max", 403), (key.as_str(), 403), (manager.as_str(), 403), ("ian", 404), ("lone", 404), ("fay", 404)];
    for (who, status) in cases {
        for body in [new.clone(), json!("no body at all")] {
            acme.refused(status, who, "POST", OF_RESEARCH, body.clone());
            acme.refused(status, who, "PATCH", &staging(), body.clone());
            acme.refused(status, who, "PATCH", &format!("{OF_RESEARCH}/nowhere"), body);
        }
        acme.refused(status, who, "DELETE", &staging(), None);
        acme.refused(status, who, "DELETE", &format!("{OF_RESEARCH}/nowhere"), None);
    }
    let sentence = acme.refused(403, "max", "PATCH", &staging(), access(false));
    assert!(sentence.contains("Create restricted environments"), "{sentence}");
}

#[test]
fn a_team_admin_restricts_also_while_teams_are_off() {
    let acme = Acme::new();
    acme.run(
        "DELETE FROM team WHERE org_id = 'acme' AND is_default = 0;
         UPDATE organization SET teams_enabled = 0 WHERE id = 'acme';
         UPDATE team_member SET role = 'ADMIN' WHERE user_id = 'dora'",
    );
    let body = json!({ "name": "staging", "manage_access": { "is_restricted": true } });
    assert_eq!(acme.post("dora", "/v1/environment_groups", body)["team_id"], "home");
}

#[test]
fn a_list_is_replaced_where_it_is_given_and_kept_where_it_is_not() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let granted = acme.restricted(&["max"], &[prefix(&key)]);
    let patch =
        |access: Value| acme.patch("tess", &staging(), json!({ "manage_access": access }))["manage_access"].clone();
    assert_eq!(patch(json!({ "is_restricted": true })), granted["manage_access"]);
    assert_eq!(
        patch(json!({ "is_restricted": true, "user_ids": null, "api_key_prefixes": null })),
        granted["manage_access"]
    );
    let without_max = patch(json!({ "is_restricted": true, "user_ids": [] }));
    assert_eq!(without_max["users"], json!([user("ada"), user("grace"), user("tess")]));
    assert_eq!(without_max["api_key_prefixes"], json!([prefix(&key)]));
    let without_key = patch(json!({ "is_restricted": true, "user_ids": ["max"], "api_key_prefixes": [] }));
    assert_eq!(without_key["users"], granted["manage_access"]["users"]);
    assert_eq!(without_key["api_key_prefixes"], json!([]));
}

#[test]
fn lifting_a_restriction_ends_its_grants() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.restricted(&["max"], &[prefix(&key)]);
    let ignored = json!({ "is_restricted": false, "user_ids": ["max"], "api_key_prefixes": [prefix(&key)] });
    let lifted = acme.patch("tess", &staging(), json!({ "manage_access": ignored }));
    assert_eq!(lifted["manage_access"], json!({ "is_restricted": false, "users": [], "api_key_prefixes": [] }));
    let again = acme.patch("tess", &staging(), access(true));
    assert_eq!(again["manage_access"]["users"], json!([user("ada"), user("grace"), user("tess")]));
    assert_eq!(again["manage_access"]["api_key_prefixes"], json!([]));
}

#[test]
fn only_members_and_living_keys_of_the_team_can_be_granted() {
    let acme = Acme::new();
    acme.restricted(&[], &[]);
    let elsewhere = acme.team_key("inference", "WORKSPACE_MANAGE_ALL");
    let revoked = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.delete("tess", &format!("/v1/api_keys/{}", prefix(&revoked)));
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    let expires_at = acme.in_seconds(1).to_string();
    let expired =
        acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "expires_at": expires_at }));
    acme.wait(1);
    let mut bad = Vec::new();
    for user in ["ian", "lone", "ada", "fay", "nosuchuser", ""] {
        bad.push((user.to_owned(), json!({ "is_restricted": true, "user_ids": ["max", user] })));
    }
    for key in [elsewhere.as_str(), &revoked, &personal, &expired, "guild_nothing0"] {
        let access = json!({ "is_restricted": true, "api_key_prefixes": [prefix(key)] });
        bad.push((prefix(key).to_owned(), access));
    }
    for (named, access) in bad {
        let sentence = acme.refused(400, "tess", "PATCH", &staging(), json!({ "manage_access": access }));
        assert!(sentence.contains(&format!("\"{named}\"")), "{sentence}");
        acme.refused(400, "tess", "POST", OF_RESEARCH, json!({ "name": "canary", "manage_access": access }));
    }
}

#[test]
fn what_a_body_may_not_say() {
    let acme = Acme::new();
    acme.restricted(&[], &[]);
    let restricted = json!({ "is_restricted": true });
    let bad = [
        ("name", json!({ "manage_access": restricted })),
        ("name", json!({ "name": "Staging", "manage_access": restricted })),
        ("name", json!({ "name": "development", "manage_access": restricted })),
        ("name", json!({ "name": "x".repeat(41), "manage_access": restricted })),
        ("manage_access", json!({ "name": "canary" })),
        ("manage_access", json!({ "name": "canary", "manage_access": null })),
        ("is_restricted", json!({ "name": "canary", "manage_access": {} })),
        ("is_restricted", json!({ "name": "canary", "manage_access": { "is_restricted": "yes" } })),
        ("users", json!({ "name": "canary", "manage_access": { "is_restricted": true, "users": [] } })),
        ("team_id", json!({ "name": "canary", "manage_access": restricted, "team_id": "research" })),
    ];
    for (field, body) in bad {
        let sentence = acme.refused(400, "tess", "POST", OF_RESEARCH, body);
        assert!(sentence.contains(field), "{sentence}");
    }
    let too_many = json!({ "is_restricted": true, "user_ids": vec!["max"; 1001] });
    for (field, body) in [
        ("name", json!({ "name": "other" })),
        ("is_restricted", json!({ "manage_access": {} })),
        ("is_restricted", json!({ "manage_access": { "is_restricted": null } })),
        ("user_ids", json!({ "manage_access": { "is_restricted": true, "user_ids": "max" } })),
        ("user_ids", json!({ "manage_access": too_many })),
    ] {
        let sentence = acme.refused(400, "tess", "PATCH", &staging(), body);
        assert!(sentence.contains(field), "{sentence}");
    }
    acme.refused(404, "tess", "PATCH", &format!("{OF_RESEARCH}/nowhere"), json!("no body at all"));
}

#[test]
fn an_empty_change_changes_nothing_and_is_not_in_the_log() {
    let acme = Acme::new();
    let made = acme.restricted(&["max"], &[]);
    let before = acme.content();
    for nothing in [json!({}), json!({ "manage_access": null })] {
        assert_eq!(acme.patch("tess", &staging(), nothing), made);
    }
    assert_eq!(acme.content(), before);
}

#[test]
fn what_is_there_is_not_made_again() {
    let acme = Acme::new();
    acme.restricted(&[], &[]);
    acme.model("research", "llama");
    for name in ["staging", "production"] {
        let body = json!({ "name": name, "manage_access": { "is_restricted": true } });
        let sentence = acme.refused(409, "tess", "POST", OF_RESEARCH, body);
        assert!(sentence.contains(name), "{sentence}");
    }
}

#[test]
fn a_group_that_a_model_brought_gets_its_row_when_it_is_changed() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": ["max"] } });
    let changed = acme.patch("tess", &production(), restricted);
    assert_eq!(changed["manage_access"]["users"], json!([user("ada"), user("grace"), user("max"), user("tess")]));
    acme.run("DELETE FROM model WHERE id = 'llama'");
    assert_eq!(acme.get("max", &production()), changed, "the restriction waits for the next model");
}

// ---- deleting ----

#[test]
fn a_group_is_deleted_while_nothing_has_it() {
    let acme = Acme::new();
    acme.restricted(&["max"], &[]);
    assert_eq!(acme.delete("tess", &staging()), json!({ "name": "staging", "team_id": "research", "deleted": true }));
    assert!(acme.names("tess", OF_RESEARCH).is_empty());
    acme.refused(404, "tess", "DELETE", &staging(), None);
    assert!(acme.may_change("max"));
    acme.model("research", "llama");
    acme.patch("tess", &production(), access(true));
    let sentence = acme.refused(409, "tess", "DELETE", &production(), None);
    assert!(sentence.contains("PATCH"), "{sentence}");
}

// ---- what a grant means ----

#[test]
fn who_may_change_a_restricted_environment() {
    let acme = Acme::new();
    let granted = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let other = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let invoke = acme.team_key("research", "WORKSPACE_INVOKE");
    acme.run(
        "INSERT INTO team_member (org_id, team_id, user_id, role, created_at)
         VALUES ('acme', 'research', 'dora', 'MEMBER', 0)",
    );
    let all = ["ada", "tess", "max", "dora", granted.as_str(), &other, &invoke];
    let may = || all.map(|who| acme.may_change(who));
    assert_eq!(may(), [true, true, true, true, true, true, false], "it is not restricted yet");
    acme.restricted(&["max"], &[prefix(&granted), prefix(&invoke)]);
    assert_eq!(may(), [true, true, true, false, true, false, false]);
}

#[test]
fn who_leaves_the_team_loses_the_grant() {
    let acme = Acme::new();
    acme.restricted(&["max"], &[]);
    acme.delete("tess", "/v1/teams/research/members/max");
    acme.post("tess", "/v1/teams/research/members", json!({ "user_id": "max", "role": "MEMBER" }));
    assert!(!acme.may_change("max"));
    assert_eq!(
        acme.get("max", &staging())["manage_access"]["users"],
        json!([user("ada"), user("grace"), user("tess")])
    );
}

#[test]
fn a_key_that_ends_loses_its_grants() {
    let acme = Acme::new();
    let revoked = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let expires_at = acme.in_seconds(60).to_string();
    let expired = acme
        .make_key("tess", json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "expires_at": expires_at }));
    acme.restricted(&[], &[prefix(&revoked), prefix(&expired)]);
    acme.delete("tess", &format!("/v1/api_keys/{}", prefix(&revoked)));
    assert_eq!(acme.get("max", &staging())["manage_access"]["api_key_prefixes"], json!([prefix(&expired)]));
    acme.wait(60);
    assert_eq!(acme.get("max", &staging())["manage_access"]["api_key_prefixes"], json!([]));
}

#[test]
fn a_new_key_takes_the_grants_and_the_old_one_keeps_its_until_it_ends() {
    let acme = Acme::new();
    let old = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.restricted(&[], &[prefix(&old)]);
    let rotate = |key: &str, seconds: i64| {
        let target = format!("/v1/api_keys/{}/rotate", prefix(key));
        text(&acme.post("tess", &target, json!({ "overlap_seconds": seconds }))["api_key"])
    };
    let granted = || acme.get("max", &staging())["manage_access"]["api_key_prefixes"].clone();
    let new = rotate(&old, 3600);
    assert!(acme.may_change(&old) && acme.may_change(&new));
    assert_eq!(granted().as_array().unwrap().len(), 2);
    acme.wait(3600);
    assert_eq!(granted(), json!([prefix(&new)]));
    let newest = rotate(&new, 0);
    assert_eq!(granted(), json!([prefix(&newest)]));
    assert!(acme.may_change(&newest));
    let rows =
        acme.server.sql().query_row("SELECT group_concat(prefix) FROM environment_group_key", [], |row| row.get(0));
    assert!(!rows.unwrap_or_else(|_| String::new()).contains(prefix(&new)), "a dead key's grant is taken away");
}

// ---- the audit log ----

#[test]
fn each_change_of_a_group_is_an_entry() {
    let acme = Acme::new();
    acme.restricted(&["max"], &[]);
    let entry = |event_type: &str, users: &[&str], is_restricted: bool| {
        json!({
            "event_type": event_type, "team_id": "research", "actor": "tess",
            "data": {
                "environment_name": "staging", "is_restricted": is_restricted, "user_ids": users,
                "api_key_prefixes": [],
            },
        })
    };
    assert_eq!(acme.last_of(1), entry("ENVIRONMENT_GROUP_CREATED", &["max"], true));
    acme.patch("tess", &staging(), json!({ "manage_access": { "is_restricted": true, "user_ids": [] } }));
    assert_eq!(acme.last_of(2), entry("ENVIRONMENT_GROUP_UPDATED", &[], true));
    acme.patch("tess", &staging(), access(false));
    assert_eq!(acme.last_of(3), entry("ENVIRONMENT_GROUP_UPDATED", &[], false));
    acme.delete("tess", &staging());
    assert_eq!(acme.last_of(4), entry("ENVIRONMENT_GROUP_DELETED", &[], false));
}
