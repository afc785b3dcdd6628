//! Do API keys follow the rules?

use serde_json::{Value, json};

use crate::acme::Acme;
use crate::vocabulary::{DAY, HOUR, prefix, text};

mod audit;
mod listing;
mod rotation;

impl Acme {
    /// The keys that somebody sees, by prefix.
    #[track_caller]
    fn listed(&self, who: &str, target: &str) -> Vec<String> {
        let listed = self.get(who, target);
        listed["keys"].as_array().unwrap().iter().map(|key| text(&key["prefix"])).collect()
    }

    /// How an organization admin sees a key.
    #[track_caller]
    fn seen(&self, key: &str) -> Value {
        let listed = self.get("ada", "/v1/api_keys");
        let found = listed["keys"].as_array().unwrap().iter().find(|listed| listed["prefix"] == prefix(key));
        found.unwrap_or_else(|| panic!("{} is not listed", prefix(key))).clone()
    }

    #[track_caller]
    fn works(&self, key: &str) -> bool {
        match self.send(key, "GET", "/v1/organizations/me", None).status {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    #[track_caller]
    fn rotate(&self, who: &str, key: &str, overlap_seconds: i64) -> Value {
        let target = format!("/v1/api_keys/{}/rotate", prefix(key));
        self.post(who, &target, json!({ "overlap_seconds": overlap_seconds }))
    }
}

fn of(key: &str) -> String {
    format!("/v1/api_keys/{}", prefix(key))
}

fn rotation_of(key: &str) -> String {
    of(key) + "/rotate"
}

const POST: &str = "/v1/api_keys";

// ---- making ----

#[test]
fn the_answer_that_makes_a_key_is_the_key_and_nothing_else() {
    let acme = Acme::new();
    let made = acme.post("max", POST, json!({ "type": "PERSONAL", "name": "laptop" }));
    let key = text(&made["api_key"]);
    assert_eq!(made, json!({ "api_key": key }));
    assert!(acme.works(&key));
    assert!(key.starts_with("guild_") && key.len() == 53, "{key}");
}

#[test]
fn a_team_stands_in_the_path_in_the_body_or_is_the_default_team() {
    let acme = Acme::new();
    let of_research = "/v1/teams/research/api_keys";
    let ways = [
        (of_research, json!({ "type": "WORKSPACE_INVOKE" }), "Research"),
        (of_research, json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }), "Research"),
        (of_research, json!({ "type": "WORKSPACE_INVOKE", "team_id": null }), "Research"),
        (POST, json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }), "Research"),
        (POST, json!({ "type": "WORKSPACE_INVOKE" }), "Default"),
    ];
    for (target, body, team) in ways {
        let key = text(&acme.post("ada", target, body)["api_key"]);
        assert_eq!(acme.seen(&key)["team_name"], team);
    }
    acme.refused(400, "ada", "POST", of_research, json!({ "type": "WORKSPACE_INVOKE", "team_id": "inference" }));
}

#[test]
fn keys_of_persons_and_of_the_organization_are_of_no_team() {
    let acme = Acme::new();
    for category in ["PERSONAL", "WORKSPACE_MANAGE_API_KEYS"] {
        let sentence = acme.refused(400, "ada", "POST", POST, json!({ "type": category, "team_id": "research" }));
        assert!(sentence.contains("`team_id`"), "{sentence}");
        acme.refused(400, "ada", "POST", "/v1/teams/research/api_keys", json!({ "type": category }));
    }
}

#[test]
fn only_the_row_create_team_api_keys_makes_a_teams_keys() {
    let acme = Acme::new();
    for category in ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
        for maker in ["ada", "tess"] {
            acme.make_key(maker, json!({ "type": category, "team_id": "research" }));
        }
        for (who, status) in [("max", 403), ("ian", 404), ("lone", 404), ("fay", 404)] {
            let body = json!({ "type": category, "team_id": "research" });
            acme.refused(status, who, "POST", POST, body.clone());
            for body in [body, json!("no body at all")] {
                acme.refused(status, who, "POST", "/v1/teams/research/api_keys", body);
            }
        }
    }
    let sentence =
        acme.refused(403, "max", "POST", "/v1/teams/research/api_keys", json!({ "type": "WORKSPACE_INVOKE" }));
    assert!(sentence.contains("Create team API keys"), "{sentence}");
}

#[test]
fn who_is_not_in_the_default_team_is_told_to_name_one() {
    let acme = Acme::new();
    for who in ["lone", "tess", "dora"] {
        acme.refused(403, who, "POST", POST, json!({ "type": "WORKSPACE_INVOKE" }));
    }
}

#[test]
fn a_teams_key_makes_no_keys_whatever_it_asks_for() {
    let acme = Acme::new();
    for category in ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
        let key = acme.team_key("research", category);
        for body in [json!({ "type": "PERSONAL" }), json!({ "type": "WORKSPACE_INVOKE" }), json!("no body at all")] {
            acme.refused(403, &key, "POST", POST, body.clone());
            for team in ["research", "inference", "abroad", "nosuchteam"] {
                acme.refused(403, &key, "POST", &format!("/v1/teams/{team}/api_keys"), body.clone());
            }
        }
    }
}

#[test]
fn only_an_organization_admin_in_person_makes_a_key_that_manages_keys() {
    let acme = Acme::new();
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    for who in ["tess", "max", "lone", &manager] {
        acme.refused(403, who, "POST", POST, json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    }
}

#[test]
fn a_key_that_manages_keys_does_that_in_every_team_and_nothing_else() {
    let acme = Acme::new();
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "name": "robot" }));
    for team in ["home", "research", "inference"] {
        let key = acme.make_key(&manager, json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": team }));
        let new = text(&acme.rotate(&manager, &key, 0)["api_key"]);
        assert_eq!(acme.delete(&manager, &of(&new)), json!({ "prefix": prefix(&new) }));
    }
    acme.refused(403, &manager, "POST", POST, json!({ "type": "PERSONAL" }));
    acme.refused(403, &manager, "POST", &rotation_of(&manager), json!({}));
    acme.refused(404, &manager, "POST", "/v1/teams/abroad/api_keys", json!({ "type": "WORKSPACE_INVOKE" }));
    acme.refused(403, &manager, "GET", "/v1/secrets", None);
    acme.refused(403, &manager, "GET", "/v1/teams/research/secrets", None);
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    let other = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    for unseen in [&personal, &other] {
        acme.refused(404, &manager, "DELETE", &of(unseen), None);
        acme.refused(404, &manager, "POST", &rotation_of(unseen), json!({}));
    }
    acme.delete(&manager, &of(&manager));
    assert!(!acme.works(&manager));
}

#[test]
fn what_a_body_may_not_say() {
    let acme = Acme::new();
    let bad = [
        ("type", json!({})),
        ("type", json!({ "type": null })),
        ("type", json!({ "type": "EVERYTHING" })),
        ("ROUTES", json!({ "type": "ROUTES" })),
        ("modelIds", json!({ "type": "WORKSPACE_INVOKE", "modelIds": ["m"] })),
        ("name", json!({ "type": "PERSONAL", "name": "Two Words" })),
        ("name", json!({ "type": "PERSONAL", "name": "" })),
        ("name", json!({ "type": "PERSONAL", "name": "x".repeat(65) })),
        ("name", json!({ "type": "PERSONAL", "name": 7 })),
        ("model_ids", json!({ "type": "WORKSPACE_MANAGE_ALL", "model_ids": ["m"] })),
        ("model_ids", json!({ "type": "PERSONAL", "model_ids": ["m"] })),
        ("model_ids", json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "model_ids": ["m"] })),
        ("model_ids", json!({ "type": "WORKSPACE_INVOKE", "model_ids": [] })),
        ("model_ids", json!({ "type": "WORKSPACE_INVOKE", "model_ids": "m" })),
        ("model_ids", json!({ "type": "WORKSPACE_INVOKE", "model_ids": vec!["m"; 1001] })),
        ("environments", json!({ "type": "WORKSPACE_EXPORT_METRICS", "environments": ["staging"] })),
        ("environments", json!({ "type": "PERSONAL", "environments": ["staging"] })),
        ("environments", json!({ "type": "WORKSPACE_INVOKE", "environments": [] })),
        ("environments", json!({ "type": "WORKSPACE_INVOKE", "environments": ["Staging"] })),
        ("environments", json!({ "type": "WORKSPACE_INVOKE", "environments": ["development"] })),
        ("expires_at", json!({ "type": "PERSONAL", "expires_at": "tomorrow" })),
        ("expires_at", json!({ "type": "PERSONAL", "expires_at": "9999-12-31T23:59:59-01:00" })),
        ("expires_at", json!({ "type": "PERSONAL", "expires_at": acme.in_seconds(0).to_string() })),
        ("expires_at", json!({ "type": "PERSONAL", "expires_at": acme.in_seconds(-1).to_string() })),
    ];
    for (field, body) in bad {
        let sentence = acme.refused(400, "ada", "POST", POST, body.clone());
        assert!(sentence.contains(field), "{body}: {sentence}");
    }
}

#[test]
fn a_null_is_an_absent_field() {
    let acme = Acme::new();
    let nothing = json!({
        "type": "WORKSPACE_INVOKE", "name": null, "model_ids": null, "team_id": null, "expires_at": null,
        "environments": null,
    });
    let key = acme.make_key("ada", nothing);
    let seen = acme.seen(&key);
    assert_eq!([&seen["name"], &seen["model_ids"], &seen["expires_at"]], [&Value::Null; 3]);
}

// ---- narrowing ----

#[test]
fn a_key_is_narrowed_to_models_of_its_team_alone() {
    let acme = Acme::new();
    acme.model("research", "llama");
    acme.model("research", "whisper");
    acme.model("inference", "theirs");
    acme.model("abroad", "foreign");
    for category in ["WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
        let body = |ids: &[&str]| json!({ "type": category, "team_id": "research", "model_ids": ids });
        let key = acme.make_key("tess", body(&["whisper", "llama", "whisper"]));
        assert_eq!(acme.seen(&key)["model_ids"], json!(["llama", "whisper"]));
        for model in ["theirs", "foreign", "nosuchmodel"] {
            let sentence = acme.refused(404, "ada", "POST", POST, body(&["llama", model]));
            assert_eq!(sentence, "no such model");
        }
    }
}

#[test]
fn a_narrowed_key_whose_models_are_all_deleted_stays_narrowed() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let narrowed =
        json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "model_ids": ["llama"], "name": "robot" });
    let key = acme.make_key("tess", narrowed);
    acme.run("DELETE FROM model WHERE id = 'llama'");
    assert_eq!(acme.seen(&key)["model_ids"], json!([]));
    let new = text(&acme.rotate("tess", &key, 0)["api_key"]);
    assert_eq!(acme.seen(&new)["model_ids"], json!([]));
}

#[test]
fn a_key_narrowed_to_environments_changes_nothing_else() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let ask = json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "environments": ["staging"] });
    let key = acme.make_key("tess", ask);
    let new = text(&acme.rotate("tess", &key, DAY)["api_key"]);
    for key in [&key, &new] {
        let secret = json!({ "name": "token", "value": "1" });
        let sentence = acme.refused(403, key, "POST", "/v1/teams/research/secrets", secret);
        assert!(sentence.contains("staging"), "{sentence}");
        acme.get(key, "/v1/teams/research/secrets");
        for (environment, allowed) in [("staging", true), ("production", false)] {
            let target =
                format!("/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment={environment}");
            assert_eq!(acme.get(key, &target)["allowed"], allowed);
        }
    }
}

// ---- names ----

#[test]
fn a_name_is_of_one_living_key_of_its_team_whatever_the_category() {
    let acme = Acme::new();
    let robot = |category: &str, team: &str| json!({ "type": category, "team_id": team, "name": "robot" });
    let key = acme.make_key("tess", robot("WORKSPACE_INVOKE", "research"));
    for category in ["WORKSPACE_INVOKE", "WORKSPACE_MANAGE_ALL", "WORKSPACE_EXPORT_METRICS"] {
        let sentence = acme.refused(409, "ada", "POST", POST, robot(category, "research"));
        assert!(sentence.contains("\"robot\""), "{sentence}");
    }
    acme.make_key("ada", robot("WORKSPACE_INVOKE", "inference"));
    acme.delete("tess", &of(&key));
    acme.make_key("tess", robot("WORKSPACE_MANAGE_ALL", "research"));
}

#[test]
fn a_name_is_of_one_living_key_of_its_person_or_organization() {
    let acme = Acme::new();
    for (category, others) in [("PERSONAL", ["max", "fay"]), ("WORKSPACE_MANAGE_API_KEYS", ["fay", "fay"])] {
        let body = json!({ "type": category, "name": "robot" });
        acme.make_key("ada", body.clone());
        acme.refused(409, "ada", "POST", POST, body.clone());
        acme.make_key(others[0], body);
    }
    acme.refused(409, "grace", "POST", POST, json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "name": "robot" }));
    acme.make_key("grace", json!({ "type": "PERSONAL", "name": "robot" }));
}

#[test]
fn unnamed_keys_may_be_many() {
    let acme = Acme::new();
    for _ in 0..3 {
        acme.make_key("max", json!({ "type": "PERSONAL" }));
        acme.team_key("research", "WORKSPACE_INVOKE");
    }
    assert_eq!(acme.listed("max", POST).len(), 1 + 3 + 3);
}

#[test]
fn a_name_is_free_when_its_key_has_expired() {
    let acme = Acme::new();
    for (category, team) in
        [("WORKSPACE_INVOKE", Some("research")), ("PERSONAL", None), ("WORKSPACE_MANAGE_API_KEYS", None)]
    {
        let expires_at = acme.in_seconds(HOUR).to_string();
        let mut body = json!({ "type": category, "team_id": team, "name": "robot", "expires_at": expires_at });
        let first = acme.make_key("ada", body.clone());
        acme.refused(409, "ada", "POST", POST, body.clone());
        acme.wait(HOUR);
        assert!(!acme.works(&first));
        body["expires_at"] = Value::Null;
        let second = acme.make_key("ada", body.clone());
        acme.refused(409, "ada", "POST", POST, body);
        assert!(acme.works(&second));
    }
}

// ---- revoking ----

#[test]
fn a_revoked_key_is_dead_at_once_and_stays_so() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    assert!(acme.works(&key));
    assert_eq!(acme.delete("tess", &of(&key)), json!({ "prefix": prefix(&key) }));
    assert!(!acme.works(&key));
    assert_eq!(acme.refused(404, "tess", "DELETE", &of(&key), None), "no such API key");
}

#[test]
fn any_key_may_revoke_itself() {
    let acme = Acme::new();
    let keys = [
        acme.team_key("research", "WORKSPACE_MANAGE_ALL"),
        acme.team_key("research", "WORKSPACE_INVOKE"),
        acme.team_key("research", "WORKSPACE_EXPORT_METRICS"),
        acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" })),
        acme.make_key("lone", json!({ "type": "PERSONAL" })),
    ];
    for key in keys {
        acme.delete(&key, &of(&key));
        assert!(!acme.works(&key));
    }
}

#[test]
fn who_may_revoke_and_rotate_a_teams_key() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_INVOKE");
    let other = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let elsewhere = acme.team_key("inference", "WORKSPACE_MANAGE_ALL");
    for (who, status) in
        [("max", 403), ("ian", 404), ("lone", 404), ("fay", 404), (other.as_str(), 403), (elsewhere.as_str(), 403)]
    {
        acme.refused(status, who, "DELETE", &of(&key), None);
        acme.refused(status, who, "POST", &rotation_of(&key), json!({}));
    }
    for unknown in ["guild_nothing0", "not a prefix", &key] {
        acme.refused(404, "ada", "DELETE", &format!("/v1/api_keys/{unknown}"), None);
        acme.refused(403, &other, "DELETE", &format!("/v1/api_keys/{unknown}"), None);
    }
    acme.refused(403, &key, "POST", &rotation_of(&key), json!({}));
    let new = text(&acme.rotate("tess", &key, 0)["api_key"]);
    acme.delete("tess", &of(&new));
}

#[test]
fn an_organization_admin_revokes_a_persons_key_and_does_not_rotate_it() {
    let acme = Acme::new();
    let key = acme.make_key("max", json!({ "type": "PERSONAL" }));
    for who in ["tess", "lone", "fay"] {
        acme.refused(404, who, "DELETE", &of(&key), None);
        acme.refused(404, who, "POST", &rotation_of(&key), json!({}));
    }
    acme.refused(403, "ada", "POST", &rotation_of(&key), json!({}));
    acme.refused(403, "ada", "POST", &rotation_of(&key), json!("no body at all"));
    acme.delete("ada", &of(&key));
    assert!(!acme.works(&key));
}

#[test]
fn a_key_outlives_who_made_it_a_personal_one_is_its_owner() {
    let acme = Acme::new();
    let team_key = acme.make_key("tess", json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let personal = acme.make_key("tess", json!({ "type": "PERSONAL" }));
    acme.run("UPDATE team_member SET role = 'MEMBER' WHERE user_id = 'tess'");
    acme.refused(403, &personal, "POST", "/v1/teams/research/api_keys", json!({ "type": "WORKSPACE_INVOKE" }));
    acme.run("DELETE FROM org_member WHERE user_id = 'tess'");
    assert!(!acme.works(&personal));
    assert!(acme.works(&team_key));
}

#[test]
fn a_teams_key_has_no_standing_elsewhere_even_if_an_admin_made_it() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.get(&key, "/v1/teams/research/secrets");
    for team in ["inference", "home", "abroad", "nosuchteam"] {
        acme.refused(404, &key, "GET", &format!("/v1/teams/{team}/secrets"), None);
    }
}
