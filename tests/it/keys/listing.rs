//! Which keys does each caller see in lists, and which of their fields?

use serde_json::json;

use super::{DAY, HOUR, POST, of, rotation_of};
use crate::acme::Acme;
use crate::vocabulary::prefix;

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
            "environments": null, "team_name": "Research", "created_at": created_at, "last_used_at": null, "owner": null,
            "expires_at": expires_at, "revoked_at": null,
        })
    );
    let personal = acme.make_key("max", json!({ "type": "PERSONAL" }));
    assert_eq!(
        acme.seen(&personal),
        json!({
            "prefix": prefix(&personal), "name": null, "type": "PERSONAL", "model_ids": null, "environments": null, "team_name": null,
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
