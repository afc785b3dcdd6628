//! Do API keys follow the rules?

use serde_json::{Value, json};

use crate::acme::{Acme, prefix, text};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

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

// ---- listing ----

#[test]
fn a_list_shows_what_a_key_is_and_never_its_text() {
    let acme = Acme::new();
    acme.model("research", "llama");
    acme.wait(1);
    let expires_at = acme.in_seconds(DAY).to_string();
    let created_at = acme.in_seconds(0).to_string();
    let invoke = acme.make_key(
        "tess",
        json!({
            "type": "WORKSPACE_INVOKE", "team_id": "research", "name": "robot", "model_ids": ["llama"],
            "expires_at": expires_at,
        }),
    );
    assert_eq!(
        acme.seen(&invoke),
        json!({
            "prefix": prefix(&invoke), "name": "robot", "type": "WORKSPACE_INVOKE", "model_ids": ["llama"],
            "team_name": "Research", "created_at": created_at, "last_used_at": null, "owner": null,
            "expires_at": expires_at, "revoked_at": null,
        })
    );
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    assert_eq!(
        acme.seen(&personal),
        json!({
            "prefix": prefix(&personal), "name": null, "type": "PERSONAL", "model_ids": null, "team_name": null,
            "created_at": created_at, "last_used_at": null,
            "owner": { "user_id": "max", "email": "max@example.com", "name": "Max" },
            "expires_at": null, "revoked_at": null,
        })
    );
    assert!(acme.works(&invoke));
    acme.settle();
    assert_eq!(acme.seen(&invoke)["last_used_at"], created_at);
    let listed = acme.get("ada", POST).to_string();
    for key in [&invoke, &personal] {
        assert!(!listed.contains(key.split_once('.').unwrap().1));
    }
}

#[test]
fn the_newest_key_comes_first() {
    let acme = Acme::new();
    let made: Vec<_> = (0..3)
        .map(|_| {
            acme.wait(1);
            acme.team_key("research", "WORKSPACE_INVOKE")
        })
        .collect();
    let newest_first: Vec<_> = made.iter().rev().map(|key| prefix(key).to_owned()).collect();
    assert_eq!(acme.listed("tess", "/v1/teams/research/api_keys"), newest_first);
    assert_eq!(acme.listed("tess", POST)[..3], newest_first);
}

#[test]
fn who_sees_which_keys() {
    let acme = Acme::new();
    let research = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let spare = acme.team_key("research", "WORKSPACE_INVOKE");
    let inference = acme.team_key("inference", "WORKSPACE_INVOKE");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    let all = [&research, &spare, &inference, &manager, &personal];
    let cases: [(&str, &[&String]); 9] = [
        ("ada", &all),
        ("tess", &[&research, &spare]),
        ("max", &[&research, &spare, &personal]),
        ("ian", &[&inference]),
        ("lone", &[]),
        ("fay", &[]),
        (&manager, &[&research, &spare, &inference, &manager]),
        (&research, &[&research]),
        (&spare, &[&spare]),
    ];
    for (who, expected) in cases {
        let listed = acme.listed(who, POST);
        for key in all {
            assert_eq!(listed.contains(&prefix(key).to_owned()), expected.contains(&key), "{who}");
        }
    }
    let own = |who: &str| {
        acme.get(who, POST)["keys"].as_array().unwrap().iter().filter(|key| key["owner"]["user_id"] == who).count()
    };
    assert_eq!([own("ada"), own("lone"), own("max")], [1, 1, 2]);
    let everyones =
        acme.get("ada", POST)["keys"].as_array().unwrap().iter().filter(|key| !key["owner"].is_null()).count();
    assert_eq!(
        everyones,
        7 + 1,
        "an organization admin sees the personal keys of all seven, and of no other organization"
    );
}

#[test]
fn a_teams_keys_are_listed_for_who_views_it_and_for_who_manages_keys() {
    let acme = Acme::new();
    let manage_all = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let invoke = acme.team_key("research", "WORKSPACE_INVOKE");
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let target = "/v1/teams/research/api_keys";
    for who in ["ada", "tess", "max", &manage_all, &manager] {
        let mut listed = acme.listed(who, target);
        let mut expected = vec![prefix(&manage_all).to_owned(), prefix(&invoke).to_owned()];
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected, "{who}");
    }
    for (who, status) in [("ian", 404), ("lone", 404), ("fay", 404), (invoke.as_str(), 403)] {
        acme.refused(status, who, "GET", target, None);
    }
}

#[test]
fn revoked_and_expired_keys_vanish_from_lists() {
    let acme = Acme::new();
    let revoked = acme.team_key("research", "WORKSPACE_INVOKE");
    acme.delete("tess", &of(&revoked));
    let expiry = acme.in_seconds(HOUR).to_string();
    let expired =
        acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "expires_at": expiry }));
    assert_eq!(acme.listed("tess", "/v1/teams/research/api_keys"), [prefix(&expired)]);
    acme.wait(HOUR);
    assert!(acme.listed("tess", "/v1/teams/research/api_keys").is_empty());
    for gone in [&revoked, &expired] {
        assert!(!acme.listed("ada", POST).contains(&prefix(gone).to_owned()));
        acme.refused(401, gone, "GET", POST, None);
        acme.refused(404, "ada", "DELETE", &of(gone), None);
        acme.refused(404, "ada", "POST", &rotation_of(gone), json!({}));
    }
}

#[test]
fn a_list_is_filtered_by_category_and_by_maker() {
    let acme = Acme::new();
    let by_ada = acme.team_key("research", "WORKSPACE_INVOKE");
    let by_tess = acme.make_key("tess", json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let by_manager = acme.make_key(&manager, json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let one = |key: &str| vec![prefix(key).to_owned()];
    assert_eq!(acme.listed("ada", "/v1/api_keys?type=WORKSPACE_INVOKE"), one(&by_ada));
    assert_eq!(acme.listed("ada", "/v1/teams/research/api_keys?type=WORKSPACE_INVOKE"), one(&by_ada));
    assert_eq!(acme.listed("tess", "/v1/api_keys?created_by_me=true&type=WORKSPACE_MANAGE_ALL"), one(&by_tess));
    assert_eq!(acme.listed(&manager, "/v1/api_keys?created_by_me=true"), one(&by_manager));
    assert!(acme.listed("ada", "/v1/api_keys?type=ROUTES").is_empty());
    assert_eq!(acme.listed("tess", "/v1/api_keys?created_by_me=false"), acme.listed("tess", POST));
    acme.refused(400, "ada", "GET", "/v1/api_keys?type=EVERYTHING", None);
    acme.refused(400, "ada", "GET", "/v1/api_keys?created_by_me=perhaps", None);
}

#[test]
fn when_a_key_was_used_is_written_at_most_once_a_minute() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let first = acme.in_seconds(0).to_string();
    for seconds in [0, 59] {
        acme.wait(seconds);
        assert!(acme.works(&key));
        acme.settle();
        assert_eq!(acme.seen(&key)["last_used_at"], first);
    }
    acme.wait(1);
    assert!(acme.works(&key));
    acme.settle();
    assert_eq!(acme.seen(&key)["last_used_at"], acme.in_seconds(0).to_string());
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

// ---- rotating ----

#[test]
fn rotation_without_overlap_ends_the_old_key_at_once() {
    let acme = Acme::new();
    let old = acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "name": "robot" }));
    acme.wait(1);
    for body in [json!({}), json!({ "overlap_seconds": null })] {
        let key = acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }));
        acme.post("tess", &rotation_of(&key), body);
        assert!(!acme.works(&key));
    }
    let rotated = acme.rotate("tess", &old, 0);
    let new = text(&rotated["api_key"]);
    assert_eq!(
        rotated,
        json!({
            "api_key": new, "prefix": prefix(&new), "replaces": prefix(&old),
            "old_expires_at": acme.in_seconds(0).to_string(),
        })
    );
    assert!(!acme.works(&old) && acme.works(&new));
    assert!(!acme.listed("tess", POST).contains(&prefix(&old).to_owned()));
    acme.refused(404, "tess", "POST", &rotation_of(&old), json!({}));
}

#[test]
fn with_an_overlap_both_keys_work_until_it_ends() {
    for overlap in [HOUR, DAY, 7 * DAY] {
        let acme = Acme::new();
        let old = acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "name": "robot" }));
        let rotated = acme.rotate("tess", &old, overlap);
        let new = text(&rotated["api_key"]);
        let ends_at = acme.in_seconds(overlap).to_string();
        assert_eq!(rotated["old_expires_at"], ends_at);
        assert_eq!([&acme.seen(&old)["name"], &acme.seen(&new)["name"]], ["robot", "robot"]);
        assert_eq!([&acme.seen(&old)["expires_at"], &acme.seen(&new)["expires_at"]], [&json!(ends_at), &Value::Null]);
        assert!(acme.works(&old) && acme.works(&new));
        let sentence = acme.refused(409, "tess", "POST", &rotation_of(&old), json!({}));
        assert!(sentence.contains(prefix(&new)), "{sentence}");
        acme.wait(overlap - 1);
        assert!(acme.works(&old));
        acme.wait(1);
        assert!(!acme.works(&old) && acme.works(&new));
    }
}

#[test]
fn the_old_key_does_not_count_for_its_name() {
    let acme = Acme::new();
    let robot = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "name": "robot" });
    let old = acme.make_key("tess", robot.clone());
    let new = text(&acme.rotate("tess", &old, DAY)["api_key"]);
    acme.refused(409, "tess", "POST", POST, robot.clone());
    let newer = text(&acme.rotate("tess", &new, DAY)["api_key"]);
    acme.delete("tess", &of(&newer));
    acme.make_key("tess", robot);
    assert!(acme.works(&old) && acme.works(&new));
}

#[test]
fn the_new_key_takes_what_the_old_was_given() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let expires_at = acme.in_seconds(30 * DAY).to_string();
    let old = acme.make_key(
        "ada",
        json!({
            "type": "WORKSPACE_INVOKE", "team_id": "research", "name": "robot", "model_ids": ["llama"],
            "environments": ["staging"], "expires_at": expires_at,
        }),
    );
    acme.wait(1);
    let new = text(&acme.rotate("tess", &old, 0)["api_key"]);
    let seen = acme.seen(&new);
    assert_eq!(seen["type"], "WORKSPACE_INVOKE");
    assert_eq!([&seen["name"], &seen["team_name"]], ["robot", "Research"]);
    assert_eq!([&seen["model_ids"], &seen["expires_at"]], [&json!(["llama"]), &json!(expires_at)]);
    let sql = acme.house.sql();
    let environments: String = sql
        .query_row(
            "SELECT group_concat(environment) FROM api_key_environment WHERE prefix = ?1",
            [prefix(&new)],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(environments, "staging");
    assert!(acme.listed("tess", "/v1/api_keys?created_by_me=true").contains(&prefix(&new).to_owned()));
}

#[test]
fn an_overlap_never_lengthens_a_life() {
    let acme = Acme::new();
    let expires_at = acme.in_seconds(HOUR).to_string();
    let old = acme.make_key("max", json!({ "type": "PERSONAL", "expires_at": expires_at }));
    let rotated = acme.rotate("max", &old, 7 * DAY);
    assert_eq!(rotated["old_expires_at"], expires_at);
    acme.wait(HOUR);
    assert!(!acme.works(&old) && !acme.works(&text(&rotated["api_key"])));
}

#[test]
fn a_key_may_rotate_itself_if_its_owner_may() {
    let acme = Acme::new();
    let old = acme.make_key("max", json!({ "type": "PERSONAL", "name": "laptop" }));
    let new = text(&acme.rotate(&old, &old, 0)["api_key"]);
    assert!(!acme.works(&old) && acme.works(&new));
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    assert!(acme.works(&text(&acme.rotate("grace", &manager, 0)["api_key"])));
}

#[test]
fn rotation_takes_its_four_overlaps_alone() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_INVOKE");
    for bad in [json!(1), json!(-1), json!(86_401), json!("3600"), json!(3600.0), json!(i64::MAX), json!(1e30)] {
        let sentence = acme.refused(400, "tess", "POST", &rotation_of(&key), json!({ "overlap_seconds": bad }));
        assert!(sentence.contains("overlap_seconds"), "{sentence}");
    }
    acme.refused(400, "tess", "POST", &rotation_of(&key), json!({ "overlap": 3600 }));
    assert!(acme.works(&key));
}

// ---- the audit log ----

#[test]
fn each_kind_of_key_stands_in_the_log_by_baseten_s_name() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let kinds = [
        (json!({ "type": "PERSONAL" }), "PERSONAL", None),
        (json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }), "MANAGE_API_KEYS_SERVICE_ACCOUNT", None),
        (json!({ "type": "WORKSPACE_MANAGE_ALL" }), "CREATOR_SERVICE_ACCOUNT", Some("research")),
        (json!({ "type": "WORKSPACE_INVOKE" }), "INVOKE_ALL_MODELS_SERVICE_ACCOUNT", Some("research")),
        (
            json!({ "type": "WORKSPACE_INVOKE", "model_ids": ["llama"] }),
            "INVOKE_ALLOWED_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
        (
            json!({ "type": "WORKSPACE_INVOKE", "environments": ["staging"] }),
            "INVOKE_SCOPED_ENVS_AND_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
        (json!({ "type": "WORKSPACE_EXPORT_METRICS" }), "EXPORT_METRICS_ALL_MODELS_SERVICE_ACCOUNT", Some("research")),
        (
            json!({ "type": "WORKSPACE_EXPORT_METRICS", "model_ids": ["llama"] }),
            "EXPORT_METRICS_ALLOWED_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
    ];
    for (at, (mut body, kind, team)) in kinds.into_iter().enumerate() {
        body["team_id"] = json!(team);
        let key = acme.make_key("ada", body);
        let data = json!({ "api_key_id": prefix(&key), "api_key_type": kind, "prefix": prefix(&key) });
        let entry =
            |event_type: &str| json!({ "event_type": event_type, "team_id": team, "actor": "ada", "data": data });
        assert_eq!(acme.last_of(2 * at + 1), entry("API_KEY_CREATED"));
        acme.delete("ada", &of(&key));
        assert_eq!(acme.last_of(2 * at + 2), entry("API_KEY_DELETED"));
    }
}

#[test]
fn a_rotation_is_one_entry() {
    let acme = Acme::new();
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let old = acme.team_key("research", "WORKSPACE_INVOKE");
    let rotated = acme.rotate(&manager, &old, HOUR);
    assert_eq!(
        acme.last_of(3),
        json!({
            "event_type": "API_KEY_ROTATED", "team_id": "research", "actor": prefix(&manager),
            "data": {
                "api_key_id": rotated["prefix"], "api_key_type": "INVOKE_ALL_MODELS_SERVICE_ACCOUNT",
                "prefix": rotated["prefix"], "replaces": prefix(&old), "old_expires_at": rotated["old_expires_at"],
            },
        })
    );
}

#[test]
fn a_teams_living_keys_stand_in_the_log_when_it_is_deleted() {
    let acme = Acme::new();
    let living = acme.team_key("inference", "WORKSPACE_MANAGE_ALL");
    let revoked = acme.team_key("inference", "WORKSPACE_INVOKE");
    acme.delete("ada", &of(&revoked));
    let before = acme.audit().len();
    acme.delete("ada", "/v1/teams/inference");
    let deleted: Vec<_> =
        acme.audit().split_off(before).into_iter().filter(|entry| entry["event_type"] == "API_KEY_DELETED").collect();
    let data =
        json!({ "api_key_id": prefix(&living), "api_key_type": "CREATOR_SERVICE_ACCOUNT", "prefix": prefix(&living) });
    assert_eq!(
        deleted,
        [json!({ "event_type": "API_KEY_DELETED", "team_id": "inference", "actor": "ada", "data": data })]
    );
    assert!(!acme.works(&living));
}

#[test]
fn no_key_is_kept_anywhere() {
    let acme = Acme::new();
    let old = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let new = text(&acme.rotate("tess", &old, HOUR)["api_key"]);
    acme.patch_access(&new);
    let sql = acme.house.sql();
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path: String =
        sql.query_row("SELECT file FROM pragma_database_list WHERE name = 'main'", [], |row| row.get(0)).unwrap();
    let file = std::fs::read(path).unwrap();
    for key in [&old, &new] {
        let (prefix, secret) = key.split_once('.').unwrap();
        let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds(prefix) && !holds(secret));
    }
}

impl Acme {
    /// A whole key where a prefix belongs is refused and not repeated.
    fn patch_access(&self, key: &str) {
        let access = json!({ "is_restricted": true, "api_key_prefixes": [key] });
        let body = json!({ "name": "staging", "manage_access": access });
        let sentence = self.refused(400, "tess", "POST", "/v1/teams/research/environment_groups", body);
        assert!(sentence.contains(prefix(key)) && !sentence.contains(key), "{sentence}");
    }
}
