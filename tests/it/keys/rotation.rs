//! What happens to a key that is replaced, and what can the new key do?

use serde_json::{Value, json};

use super::{DAY, HOUR, POST, of, rotation_of};
use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

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
            "old_expires_at": acme.in_seconds(0).to_string(), "grants_not_carried_over": [],
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
    let sql = acme.server.sql();
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
