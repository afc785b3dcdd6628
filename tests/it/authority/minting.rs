//! Keys that other keys make or replace, directly or indirectly.

use super::*;

#[test]
fn a_rotation_carries_over_only_the_grants_that_the_rotator_could_give() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let robot = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_ALL", "name": "robot" }));
    let manager = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    restrict(&acme, "production", &[&robot.id]);
    restrict(&acme, "canary", &[&robot.id]);

    let rotate = |by: &Someone, key: &Someone, overlap: i64| {
        let target = format!("/v1/api_keys/{}/rotate", key.id);
        acme.post(by, &target, json!({ "overlap_seconds": overlap })).ok()
    };
    let before = acme.last_entry();
    let rotated = rotate(&manager, &robot, HOUR);
    assert_eq!(rotated["grants_not_carried_over"], json!(["canary", "production"]));
    let entry = acme.audit_since(before).pop().unwrap();
    assert_eq!((&*entry.0, &entry.1["grants_not_carried_over"]), ("API_KEY_ROTATED", &json!(["canary", "production"])));
    assert_eq!(granted(&acme, "production"), json!([robot.id]), "the old key keeps its until it ends");
    let deploy = |key: &Someone| {
        let body =
            json!({ "source": { "name": "m", "deployment": { "config": {}, "environment_name": "production" } } });
        acme.post(key, "/v1/models", body).status
    };
    assert_eq!(deploy(&with_key(&rotated)), 403);
    wait(&server, HOUR);
    assert_eq!(granted(&acme, "production"), json!([]));

    let spare = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
    let tom = acme.person("tom", "MEMBER", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
    restrict(&acme, "staging", &[&spare.id]);
    let rotated = rotate(&tom, &spare, 0);
    assert_eq!(rotated["grants_not_carried_over"], json!([]));
    assert_eq!(granted(&acme, "staging"), json!([rotated["prefix"]]), "a team admin could give it");
    let rotated = rotate(&manager, &with_key(&rotated), 0);
    assert_eq!((&rotated["grants_not_carried_over"], granted(&acme, "staging")), (&json!(["staging"]), json!([])));
}

#[test]
fn what_a_key_is_narrowed_to_and_when_it_ends_is_carried_along_whoever_rotates() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let manager = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let expires_at = in_seconds(&server, DAY);
    let body = json!({ "type": "WORKSPACE_MANAGE_ALL", "environments": ["staging"], "expires_at": expires_at });
    let narrow = make(&acme, &acme.founder, body);
    let rotated = acme.post(&manager, &format!("/v1/api_keys/{}/rotate", narrow.id), json!({})).ok();
    let listed = acme.get(&acme.founder, "/v1/api_keys").ok();
    let key = listed["keys"].as_array().unwrap().iter().find(|key| key["prefix"] == rotated["prefix"]).unwrap();
    assert_eq!((&key["environments"], &key["expires_at"]), (&json!(["staging"]), &json!(expires_at)));
}

#[test]
fn a_key_that_ends_makes_and_replaces_none_that_lasts_longer() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let soon = in_seconds(&server, HOUR);
    let personal = make(&acme, &acme.founder, json!({ "type": "PERSONAL", "expires_at": soon }));
    let manager = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "expires_at": soon }));
    let lasting = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_INVOKE" }));
    for (by, kinds) in [
        (&personal, &["PERSONAL", "WORKSPACE_INVOKE", "WORKSPACE_MANAGE_API_KEYS"][..]),
        (&manager, &["WORKSPACE_INVOKE"][..]),
    ] {
        for kind in kinds {
            for expires_at in [Value::Null, json!(in_seconds(&server, HOUR + 1))] {
                let body = json!({ "type": kind, "expires_at": expires_at });
                acme.post(by, "/v1/api_keys", body).refused(403, "FORBIDDEN");
            }
            make(&acme, by, json!({ "type": kind, "expires_at": soon }));
        }
        let rotate = format!("/v1/api_keys/{}/rotate", lasting.id);
        acme.post(by, &rotate, json!({})).refused(403, "FORBIDDEN");
    }
}

#[test]
fn a_key_that_ends_accepts_an_invitation_and_gets_one_that_ends_no_later() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let kim = other.person("kim", "MEMBER", json!([]));
    let soon = in_seconds(&server, HOUR);
    let ending = make(&other, &kim, json!({ "type": "PERSONAL", "expires_at": soon }));
    let (_, link) = acme.invite("kim@people.example", "ADMIN", json!([]));
    let joined = with_key(&accept(&server, Some(&ending.key), &link, json!({ "api_key_name": "mine" })).ok());
    assert!(works(&server, &joined));
    let listed = acme.get(&joined, "/v1/api_keys?type=PERSONAL&created_by_me=true").ok();
    assert_eq!(listed["keys"][0]["expires_at"], json!(soon));
    wait(&server, HOUR);
    assert!(!works(&server, &joined));
    assert!(works(&server, &kim), "the one that does not end is another matter");

    let (_, link) = acme.invite("new@people.example", "MEMBER", json!([]));
    let new = accept(&server, None, &link, json!({ "name": "New", "api_key_name": "mine" })).ok();
    let listed = acme.get(&with_key(&new), "/v1/api_keys").ok();
    assert_eq!(listed["keys"][0]["expires_at"], Value::Null, "a link to somebody new is no key that ends");
}

#[test]
fn a_key_that_ends_sends_a_reset_link_by_which_no_key_lasts_longer() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let ending = make(&acme, &acme.founder, json!({ "type": "PERSONAL", "expires_at": in_seconds(&server, HOUR) }));
    for id in [&mia.id, &acme.founder.id] {
        let sent = acme.post(&ending, &format!("/v1/users/{id}/reset"), json!({})).ok();
        assert_eq!(sent["expires_at"], json!(in_seconds(&server, HOUR)), "nor the link itself");
        let link = text(&sent["reset_url"]).rsplit('/').next().unwrap().to_owned();
        let body = json!({ "token": link, "password": "correct horse", "api_key_name": "again" });
        let key = with_key(&server.send(None, "POST", "/v1/users/reset", Some(body)).ok());
        let listed = acme.get(&key, "/v1/api_keys?created_by_me=true").ok();
        let seen = listed["keys"].as_array().unwrap().iter().find(|seen| seen["prefix"] == key.id).unwrap();
        assert_eq!(seen["expires_at"], json!(in_seconds(&server, HOUR)));
    }
}
