//! Do the members of a team follow the rules?

use serde_json::json;

use crate::org::{Org, Teams, ids, refused_untouched};
use crate::test_server::TestServer;
use crate::vocabulary::text;

#[test]
fn members_of_a_team_see_each_other_and_implicit_admins_if_asked() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (blue, amber) = (acme.team("Blue"), acme.team("Amber"));
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": blue, "role": "MEMBER" }]));
    let members = format!("/v1/teams/{blue}/members");
    let explicit = acme.get(&mia, &members).ok();
    assert_eq!(
        explicit["items"],
        json!([{
            "user_id": mia.id, "email": "mia@people.example", "name": "mia", "role": "MEMBER", "via": "TEAM",
            "created_at": "2026-11-01T00:00:00.000Z",
        }])
    );
    let with_implicit = acme.get(&mia, &format!("{members}?include_implicit=true")).ok();
    let vias: Vec<_> = ids(&with_implicit, "user_id").into_iter().zip(ids(&with_implicit, "via")).collect();
    assert_eq!(vias.len(), 2);
    assert!(vias.contains(&(acme.founder.id.clone(), "ORGANIZATION".to_owned())));
    assert!(vias.contains(&(mia.id.clone(), "TEAM".to_owned())));

    acme.post(&acme.founder, &members, json!({ "user_id": acme.founder.id, "role": "MEMBER" })).ok();
    let once = acme.get(&mia, &format!("{members}?include_implicit=true")).ok();
    assert_eq!(ids(&once, "via"), ["TEAM", "TEAM"]);

    acme.get(&mia, &format!("{members}?include_implicit=yes")).refused(400, "VALIDATION_ERROR");
    acme.get(&mia, &format!("/v1/teams/{amber}/members")).refused(404, "NOT_FOUND");
}

#[test]
fn members_come_in_pages() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    for name in ["ann", "bob", "cat"] {
        acme.person(name, "MEMBER", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
    }
    let members = format!("/v1/teams/{}/members?include_implicit=true", acme.default_team);
    let all = ids(&acme.get(&acme.founder, &members).ok(), "user_id");
    let first = acme.get(&acme.founder, &format!("{members}&limit=3")).ok();
    let cursor = text(&first["pagination"]["cursor"]);
    let second = acme.get(&acme.founder, &format!("{members}&limit=3&cursor={cursor}")).ok();
    assert_eq!([ids(&first, "user_id"), ids(&second, "user_id")].concat(), all);
    assert_eq!((all.len(), &second["pagination"]["has_more"]), (4, &json!(false)));
}

#[test]
fn team_admins_add_change_and_remove_members_of_the_organization() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let blue = acme.team("Blue");
    let tom = acme.person("tom", "MEMBER", json!([{ "team_id": blue, "role": "ADMIN" }]));
    let (mia, max) = (acme.person("mia", "MEMBER", json!([])), acme.person("max", "MEMBER", json!([])));
    let members = format!("/v1/teams/{blue}/members");
    let mias = format!("{members}/{}", mia.id);

    let before = acme.last_entry();
    let added = acme.post(&tom, &members, json!({ "user_id": mia.id, "role": "MEMBER" })).ok();
    assert_eq!((&added["role"], &added["via"]), (&json!("MEMBER"), &json!("TEAM")));
    assert_eq!(acme.patch(&tom, &mias, json!({ "role": "ADMIN" })).ok()["role"], "ADMIN");
    acme.get(&mia, &members).ok();
    let removed = acme.delete(&tom, &mias).ok();
    assert_eq!(removed, json!({ "team_id": blue, "user_id": mia.id, "deleted": true, "remaining_team_api_keys": [] }));
    acme.get(&mia, &members).refused(404, "NOT_FOUND");
    let (id, email) = (&mia.id, "mia@people.example");
    assert_eq!(
        acme.audit_since(before),
        [
            ("TEAM_MEMBER_ADDED".to_owned(), json!({ "user_id": id, "user_email": email, "role_name": "MEMBER" })),
            (
                "USER_TEAM_ROLE_UPDATED".to_owned(),
                json!({
                    "user_id": id, "user_email": email, "team_id": blue, "team_name": "Blue", "new_role_name": "ADMIN",
                })
            ),
            ("TEAM_MEMBER_REMOVED".to_owned(), json!({ "user_id": id, "user_email": email })),
        ]
    );

    let add = |user_id: &str| json!({ "user_id": user_id, "role": "MEMBER" });
    refused_untouched(&server, 409, "CONFLICT", || acme.post(&tom, &members, add(&tom.id)));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.post(&tom, &members, add("nobody")));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.post(&tom, &members, add(&other.founder.id)));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.patch(&tom, &mias, json!({ "role": "ADMIN" })));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.delete(&tom, &mias));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.delete(&tom, &format!("{members}/{}", acme.founder.id)));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.post(&max, &members, add(&max.id)));
    refused_untouched(&server, 404, "NOT_FOUND", || other.post(&other.founder, &members, add(&other.founder.id)));
    refused_untouched(&server, 403, "FORBIDDEN", || {
        acme.post(&tom, "/v1/invitations", json!({ "email": "new@people.example", "role": "MEMBER" }))
    });
}

#[test]
fn team_members_manage_nobody_but_may_leave() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let blue = acme.team("Blue");
    let seat = json!([{ "team_id": blue, "role": "MEMBER" }]);
    let (mia, max) = (acme.person("mia", "MEMBER", seat.clone()), acme.person("max", "MEMBER", seat));
    let members = format!("/v1/teams/{blue}/members");
    let (mias, maxs) = (format!("{members}/{}", mia.id), format!("{members}/{}", max.id));
    refused_untouched(&server, 403, "FORBIDDEN", || acme.delete(&mia, &maxs));
    refused_untouched(&server, 403, "FORBIDDEN", || acme.delete(&mia, &format!("{members}/nobody")));
    refused_untouched(&server, 403, "FORBIDDEN", || acme.patch(&mia, &mias, json!({ "role": "ADMIN" })));
    let add = json!({ "user_id": max.id, "role": "ADMIN" });
    refused_untouched(&server, 403, "FORBIDDEN", || acme.post(&mia, &members, add));
    let key = acme.key(None, Some(&blue), &acme.founder.id);
    refused_untouched(&server, 403, "FORBIDDEN", || server.send(Some(&key), "DELETE", &maxs, None));

    server
        .sql()
        .execute_batch(&format!(
            "INSERT INTO environment_group VALUES ('{blue}', 'production', '{org}', 1, 0);
             INSERT INTO environment_group_user VALUES ('{blue}', 'production', '{org}', '{user}');",
            org = acme.id,
            user = mia.id
        ))
        .unwrap();
    acme.delete(&mia, &mias).ok();
    let granted: i64 =
        server.sql().query_row("SELECT count(*) FROM environment_group_user", [], |row| row.get(0)).unwrap();
    assert_eq!(granted, 0, "leaving the team ends the grant");
    acme.get(&mia, "/v1/users/me").ok();
    acme.get(&mia, &members).refused(404, "NOT_FOUND");
}

#[test]
fn while_teams_are_off_every_member_is_in_the_default_team() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let tom = acme.person("tom", "MEMBER", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
    let ada = acme.person("ada", "ADMIN", json!([]));
    let members = format!("/v1/teams/{}/members", acme.default_team);
    let roles = || {
        let listed = acme.get(&acme.founder, &members).ok();
        let mut roles: Vec<_> = ids(&listed, "email").into_iter().zip(ids(&listed, "role")).collect();
        roles.sort();
        roles
    };
    let [of_mia, of_tom, of_ada] = [("mia", "MEMBER"), ("tom", "ADMIN"), ("ada", "MEMBER")]
        .map(|(name, role)| (format!("{name}@people.example"), role.to_owned()));
    assert_eq!(roles(), [of_mia.clone(), of_tom.clone()]);

    for who in [&mia, &tom] {
        let seat = format!("{members}/{}", who.id);
        refused_untouched(&server, 409, "CONFLICT", || acme.delete(&acme.founder, &seat));
        refused_untouched(&server, 409, "CONFLICT", || acme.delete(who, &seat));
    }

    let before = acme.last_entry();
    acme.patch(&acme.founder, &format!("/v1/users/{}", ada.id), json!({ "role": "MEMBER" })).ok();
    assert_eq!(acme.events_since(before), ["USER_ROLE_UPDATED", "TEAM_MEMBER_ADDED"]);
    assert_eq!(roles(), [of_ada, of_mia, of_tom]);
    acme.patch(&acme.founder, &format!("/v1/users/{}", tom.id), json!({ "role": "MEMBER" })).ok();
    assert_eq!(roles()[2].1, "ADMIN", "who is in the team already stays what they are");

    acme.patch(&acme.founder, "/v1/organizations/me", json!({ "teams_enabled": true })).ok();
    acme.delete(&mia, &format!("{members}/{}", mia.id)).ok();
    let new = acme.person("new", "MEMBER", json!([]));
    assert_eq!(acme.get(&new, &format!("/v1/users/{}/teams", new.id)).ok()["items"], json!([]));
}
