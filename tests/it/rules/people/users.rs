//! Who sees, changes and removes people.

use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams, accept, contents, ids, refused_untouched};
use crate::test_server::TestServer;
use crate::vocabulary::text;

// ---- users ----

#[test]
fn every_member_sees_the_people_of_the_organization_and_no_others() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let mia = acme.person("mia", "MEMBER", json!([]));

    let listed = acme.get(&mia, "/v1/users").ok();
    assert_eq!(listed["pagination"], json!({ "has_more": false, "cursor": null }));
    let mut seen = ids(&listed, "user_id");
    seen.sort();
    let mut expected = vec![acme.founder.id.clone(), mia.id.clone()];
    expected.sort();
    assert_eq!(seen, expected);

    let shown = acme.get(&mia, &format!("/v1/users/{}", mia.id)).ok();
    assert_eq!(
        shown,
        json!({
            "user_id": mia.id, "email": "mia@people.example", "name": "mia", "workspace_name": "acme", "role": "MEMBER",
        })
    );
    assert_eq!(acme.get(&mia, "/v1/users/me").ok(), shown);
    assert_eq!(acme.get(&mia, &format!("/v1/users/{}", acme.founder.id)).ok()["role"], "ADMIN");

    let elsewhere = acme.get(&mia, &format!("/v1/users/{}", other.founder.id)).refused(404, "NOT_FOUND");
    assert_eq!(elsewhere, acme.get(&mia, "/v1/users/nobody").refused(404, "NOT_FOUND"));
    assert_eq!(elsewhere["message"], "no such user");
}

#[test]
fn users_come_in_pages() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    for name in ["ann", "bob", "cat", "dan"] {
        acme.person(name, "MEMBER", json!([]));
    }
    let all = ids(&acme.get(&acme.founder, "/v1/users").ok(), "user_id");
    assert_eq!(all.len(), 5);

    let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = acme.get(&acme.founder, &format!("/v1/users?limit=2{cursor}")).ok();
        sizes.push(ids(&page, "user_id").len());
        seen.extend(ids(&page, "user_id"));
        if page["pagination"]["has_more"] == false {
            assert_eq!(page["pagination"]["cursor"], Value::Null);
            break;
        }
        cursor = format!("&cursor={}", text(&page["pagination"]["cursor"]));
    }
    assert_eq!((seen, sizes), (all, vec![2, 2, 1]));
    assert_eq!(acme.get(&acme.founder, "/v1/users?limit=5").ok()["pagination"]["has_more"], false);
}

#[test]
fn a_limit_or_cursor_that_no_page_has_is_refused() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    acme.team("Blue");
    let teams = format!("/v1/users/{}/teams?limit=1", acme.founder.id);
    let of_another_list = text(&acme.get(&acme.founder, &teams).ok()["pagination"]["cursor"]);
    let bad = ["limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=", "cursor=", "cursor=garbage", "cursor=%00"];
    for query in bad.map(str::to_owned).into_iter().chain([format!("cursor={of_another_list}")]) {
        let body = acme.get(&acme.founder, &format!("/v1/users?{query}")).refused(400, "VALIDATION_ERROR");
        let field = query.split('=').next().unwrap();
        assert!(text(&body["message"]).starts_with(&format!("`{field}`")), "{query}: {body}");
    }
    acme.get(&acme.founder, "/v1/users?limit=1000").ok();
}

#[test]
fn an_address_is_found_as_normalized_and_nothing_else_is() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    Org::new(&server, "other", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let found = |email: &str| ids(&acme.get(&mia, &format!("/v1/users?email={email}")).ok(), "user_id");
    assert_eq!(found("mia@people.example"), [mia.id.as_str()]);
    assert_eq!(found("MIA@People.EXAMPLE"), [mia.id.as_str()]);
    for unknown in ["", "mia", "mia@", "m%@people.example", "mıa@people.example", "founder@other.example"] {
        assert_eq!(found(unknown), [""; 0], "{unknown}");
    }
}

#[test]
fn a_key_that_is_no_persons_shows_itself_and_sees_no_users() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let named = acme.key(Some("ci"), Some(&acme.default_team), &acme.founder.id);
    let unnamed = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let manager = acme.key(Some("keys"), None, &acme.founder.id);
    for (key, name) in [(&named, "ci"), (&unnamed, &unnamed[..14]), (&manager, "keys")] {
        let me = server.send(Some(key), "GET", "/v1/users/me", None).ok();
        assert_eq!(
            me,
            json!({ "user_id": &key[..14], "email": null, "name": name, "workspace_name": "acme", "role": null })
        );
        for target in ["/v1/users", "/v1/users/nobody", "/v1/users/nobody/teams"] {
            server.send(Some(key), "GET", target, None).refused(403, "FORBIDDEN");
        }
        server.send(Some(key), "PATCH", "/v1/users/me", Some(json!({ "name": "x" }))).refused(403, "FORBIDDEN");
        server.send(Some(key), "DELETE", "/v1/users/nobody", None).refused(403, "FORBIDDEN");
    }
}

#[test]
fn people_rename_themselves() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let before = acme.last_entry();
    assert_eq!(acme.patch(&mia, "/v1/users/me", json!({ "name": "  Mia M. " })).ok()["name"], "Mia M.");
    assert_eq!(acme.get(&mia, "/v1/users/me").ok()["name"], "Mia M.");
    assert_eq!(
        acme.audit_since(before),
        [(
            "USER_UPDATED".to_owned(),
            json!({ "user_id": mia.id, "user_email": "mia@people.example", "name": "Mia M.", "previous_name": "mia" })
        )]
    );
}

#[test]
fn an_empty_change_changes_nothing_and_leaves_no_entry() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
    let before = contents(&server);
    let member = format!("/v1/teams/{}/members/{}", acme.default_team, mia.id);
    for target in ["/v1/users/me", &format!("/v1/users/{}", mia.id), &member] {
        acme.patch(&acme.founder, target, json!({})).ok();
    }
    acme.patch(&acme.founder, "/v1/users/me", json!({ "name": null })).ok();
    acme.patch(&acme.founder, &member, json!({ "role": null })).ok();
    assert_eq!(before, contents(&server));
}

#[test]
fn bodies_about_people_are_closed() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let founder = &acme.founder;
    let user = format!("/v1/users/{}", founder.id);
    let members = format!("/v1/teams/{}/members", acme.default_team);
    let cases = [
        ("PATCH", "/v1/users/me", json!({ "nickname": "x" }), "nickname"),
        ("PATCH", "/v1/users/me", json!({ "name": "" }), "name"),
        ("PATCH", "/v1/users/me", json!({ "name": "a\nb" }), "name"),
        ("PATCH", "/v1/users/me", json!({ "name": 7 }), "name"),
        ("PATCH", &user, json!({ "role": "OWNER" }), "role"),
        ("PATCH", &user, json!({ "name": "x" }), "name"),
        ("POST", &members, json!({ "user_id": founder.id }), "role"),
        ("POST", &members, json!({ "role": "ADMIN" }), "user_id"),
        ("POST", &members, json!({ "user_id": founder.id, "role": "ADMIN", "until": 1 }), "until"),
        ("POST", "/v1/invitations", json!({ "email": "a@b.example" }), "role"),
        ("POST", "/v1/invitations", json!({ "email": "a@b.example", "role": null }), "role"),
        ("POST", "/v1/invitations", json!({ "email": "a@b.example", "role": "admin" }), "role"),
        ("POST", "/v1/invitations", json!({ "email": "ab.example", "role": "ADMIN" }), "email"),
        ("POST", "/v1/invitations", json!({ "email": "a@b.example", "role": "ADMIN", "team_ids": [] }), "team_ids"),
        (
            "POST",
            "/v1/invitations",
            json!({ "email": "a@b.example", "role": "MEMBER", "teams": [{ "team_id": acme.default_team }] }),
            "teams[0]",
        ),
        (
            "POST",
            "/v1/invitations",
            json!({ "email": "a@b.example", "role": "MEMBER", "teams": [
                { "team_id": acme.default_team, "role": "MEMBER" }, { "team_id": acme.default_team, "role": "ADMIN" },
            ] }),
            "teams[1].team_id",
        ),
        ("POST", "/v1/invitations/accept", json!({ "name": "x" }), "token"),
        ("POST", "/v1/invitations/accept", json!({ "token": "x", "role": "ADMIN" }), "role"),
        ("POST", "/v1/invitations/accept", json!({ "token": "x", "password": "short" }), "password"),
        ("POST", "/v1/invitations/accept", json!({ "token": "x", "api_key_name": "Not So" }), "api_key_name"),
    ];
    for (method, target, body, field) in cases {
        let ask = || server.send(Some(&founder.key), method, target, Some(body.clone()));
        let refusal = refused_untouched(&server, 400, "VALIDATION_ERROR", ask);
        assert!(text(&refusal["message"]).contains(&format!("`{field}")), "{target} {body}: {refusal}");
    }
}

#[test]
fn an_organization_role_is_changed_by_admins_and_counts_at_once() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let mias = format!("/v1/users/{}", mia.id);
    refused_untouched(&server, 403, "FORBIDDEN", || acme.patch(&mia, &mias, json!({ "role": "ADMIN" })));
    refused_untouched(&server, 403, "FORBIDDEN", || acme.patch(&mia, "/v1/users/nobody", json!({})));

    let before = acme.last_entry();
    assert_eq!(acme.patch(&acme.founder, &mias, json!({ "role": "ADMIN" })).ok()["role"], "ADMIN");
    acme.get(&mia, "/v1/invitations").ok();
    let founders = format!("/v1/users/{}", acme.founder.id);
    assert_eq!(acme.patch(&mia, &founders, json!({ "role": "MEMBER" })).ok()["role"], "MEMBER");
    acme.get(&acme.founder, "/v1/invitations").refused(403, "FORBIDDEN");
    let changed = |id: &str, email: &str, role: &str| {
        ("USER_ROLE_UPDATED".to_owned(), json!({ "user_id": id, "user_email": email, "new_role_name": role }))
    };
    assert_eq!(
        acme.audit_since(before),
        [changed(&mia.id, "mia@people.example", "ADMIN"), changed(&acme.founder.id, "founder@acme.example", "MEMBER")]
    );
}

#[test]
fn the_last_admin_is_neither_demoted_nor_removed_by_anyone() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    acme.person("mia", "MEMBER", json!([]));
    let founder = format!("/v1/users/{}", acme.founder.id);
    let demoted = || acme.patch(&acme.founder, &founder, json!({ "role": "MEMBER" }));
    let refusal = refused_untouched(&server, 409, "CONFLICT", demoted);
    assert!(text(&refusal["message"]).contains("last admin"), "{refusal}");
    refused_untouched(&server, 409, "CONFLICT", || acme.delete(&acme.founder, &founder));
}

#[test]
fn two_admins_who_demote_each_other_at_once_leave_one() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([]));
    let demote = |by: &Someone, whom: &Someone| {
        let target = format!("/v1/users/{}", whom.id);
        server.request(Some(&by.key), "PATCH", &target, json!({ "role": "MEMBER" }).to_string().into())
    };
    let answered = server.send_at_once(vec![demote(&ada, &acme.founder), demote(&acme.founder, &ada)]);
    let mut statuses: Vec<u16> = answered.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(statuses, [200, 403]);
    let leave = |who: &Someone| server.request(Some(&who.key), "DELETE", &format!("/v1/users/{}", who.id), Vec::new());
    let answered = server.send_at_once(vec![leave(&ada), leave(&acme.founder)]);
    let mut statuses: Vec<u16> = answered.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(statuses, [200, 409]);
}

#[test]
fn a_removed_person_has_no_key_no_team_and_no_grant_left() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
    let team_key = acme.key(Some("ci"), Some(&acme.default_team), &ada.id);
    let manager = acme.key(None, None, &ada.id);
    acme.key(Some("not-hers"), Some(&acme.default_team), &acme.founder.id);
    server
        .sql()
        .execute_batch(&format!(
            "PRAGMA foreign_keys = ON;
             INSERT INTO environment_group VALUES ('{team}', 'production', '{org}', 1, 0);
             INSERT INTO environment_group_user VALUES ('{team}', 'production', '{org}', '{user}');",
            team = acme.default_team,
            org = acme.id,
            user = ada.id
        ))
        .unwrap();

    let before = acme.last_entry();
    let removed = acme.delete(&acme.founder, &format!("/v1/users/{}", ada.id)).ok();
    let mut remaining = removed["remaining_team_api_keys"].as_array().unwrap().clone();
    remaining.sort_by_key(|key| key["team_id"] == Value::Null);
    assert_eq!(
        json!(remaining),
        json!([
            {
                "prefix": &team_key[..14], "name": "ci", "type": "WORKSPACE_MANAGE_ALL",
                "team_id": acme.default_team, "made_by": ada.id,
            },
            {
                "prefix": &manager[..14], "name": null, "type": "WORKSPACE_MANAGE_API_KEYS", "team_id": null,
                "made_by": ada.id,
            },
        ])
    );
    assert_eq!(removed["revoked_api_keys"], json!([&ada.key[..14]]));
    assert_eq!((&removed["user_id"], &removed["deleted"]), (&json!(ada.id), &json!(true)));

    acme.get(&ada, "/v1/users/me").refused(401, "UNAUTHENTICATED");
    server.send(Some(&team_key), "GET", "/v1/users/me", None).ok();
    acme.get(&acme.founder, &format!("/v1/users/{}", ada.id)).refused(404, "NOT_FOUND");
    let granted: i64 =
        server.sql().query_row("SELECT count(*) FROM environment_group_user", [], |row| row.get(0)).unwrap();
    assert_eq!(granted, 0);
    let audit = acme.audit_since(before);
    assert_eq!(
        audit.iter().map(|(event_type, _)| event_type.as_str()).collect::<Vec<_>>(),
        ["TEAM_MEMBER_REMOVED", "API_KEY_DELETED", "USER_REMOVED"]
    );
    assert_eq!(audit[2].1, json!({ "removed_user_email": "ada@people.example" }));
}

#[test]
fn anyone_may_leave_and_only_admins_remove_others() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (mia, max) = (acme.person("mia", "MEMBER", json!([])), acme.person("max", "MEMBER", json!([])));
    let maxs = format!("/v1/users/{}", max.id);
    refused_untouched(&server, 403, "FORBIDDEN", || acme.delete(&mia, &maxs));
    refused_untouched(&server, 403, "FORBIDDEN", || acme.delete(&mia, "/v1/users/nobody"));
    let elsewhere = format!("/v1/users/{}", other.founder.id);
    refused_untouched(&server, 404, "NOT_FOUND", || acme.delete(&acme.founder, &elsewhere));
    refused_untouched(&server, 404, "NOT_FOUND", || acme.patch(&acme.founder, &elsewhere, json!({ "role": "MEMBER" })));
    acme.delete(&max, &maxs).ok();
    acme.get(&max, "/v1/users/me").refused(401, "UNAUTHENTICATED");
}

#[test]
fn who_leaves_one_organization_stays_in_the_other() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let mia = acme.person("mia", "MEMBER", json!([]));
    let (_, token) = other.invite("mia@people.example", "ADMIN", json!([]));
    let accepted = accept(&server, Some(&mia.key), &token, json!({ "api_key_name": "mine" })).ok();
    assert_eq!(accepted["user"]["user_id"], mia.id);
    acme.delete(&mia, &format!("/v1/users/{}", mia.id)).ok();
    let there = Someone { id: mia.id, key: text(&accepted["api_key"]) };
    let me = other.get(&there, "/v1/users/me").ok();
    assert_eq!((&me["workspace_name"], &me["role"]), (&json!("other"), &json!("ADMIN")));
}

#[test]
fn a_persons_teams_are_shown_to_them_and_to_admins() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (blue, amber) = (acme.team("Blue"), acme.team("amber"));
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": blue, "role": "ADMIN" }]));
    let ada = acme.person("ada", "ADMIN", json!([{ "team_id": blue, "role": "MEMBER" }]));
    let (mias, adas) = (format!("/v1/users/{}/teams", mia.id), format!("/v1/users/{}/teams", ada.id));

    let of_mia = json!([{ "team_id": blue, "team_name": "Blue", "role": "ADMIN", "via": "TEAM" }]);
    assert_eq!(acme.get(&mia, &mias).ok()["items"], of_mia);
    assert_eq!(acme.get(&ada, &mias).ok()["items"], of_mia);
    assert_eq!(
        acme.get(&ada, &adas).ok()["items"],
        json!([
            { "team_id": amber, "team_name": "amber", "role": "ADMIN", "via": "ORGANIZATION" },
            { "team_id": blue, "team_name": "Blue", "role": "MEMBER", "via": "TEAM" },
            { "team_id": acme.default_team, "team_name": "Default", "role": "ADMIN", "via": "ORGANIZATION" },
        ])
    );
    let first = acme.get(&ada, &format!("{adas}?limit=2")).ok();
    let cursor = text(&first["pagination"]["cursor"]);
    let second = acme.get(&ada, &format!("{adas}?limit=2&cursor={cursor}")).ok();
    assert_eq!(ids(&second, "team_name"), ["Default"]);

    let others = acme.get(&mia, &adas).refused(404, "NOT_FOUND");
    assert_eq!(others, acme.get(&mia, "/v1/users/nobody/teams").refused(404, "NOT_FOUND"));
    acme.get(&ada, "/v1/users/nobody/teams").refused(404, "NOT_FOUND");
}

// ---- the operator ----

#[test]
fn the_operators_routes_are_not_there_over_the_network() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let body = json!({ "name": "mine", "email": "a@b.example", "user_name": "A" });
    let nothing = acme.get(&acme.founder, "/v1/nothing").refused(404, "NOT_FOUND");
    for method in ["GET", "POST", "PATCH"] {
        let ask = || server.send(Some(&acme.founder.key), method, "/v1/operator/organizations", Some(body.clone()));
        assert_eq!(refused_untouched(&server, 404, "NOT_FOUND", ask), nothing);
        server.send(None, method, "/v1/operator/organizations", Some(body.clone())).refused(404, "NOT_FOUND");
    }
}

#[test]
fn the_operator_founds_organizations_for_people_new_and_known() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    assert_eq!(acme.events_since(0), ["ORGANIZATION_CREATED", "USER_JOINED_ORGANIZATION", "API_KEY_CREATED"]);
    let me = acme.get(&acme.founder, "/v1/users/me").ok();
    assert_eq!((&me["role"], &me["name"]), (&json!("ADMIN"), &json!("Fay Founder")));
    let teams = acme.get(&acme.founder, &format!("/v1/users/{}/teams", acme.founder.id)).ok();
    assert_eq!(ids(&teams, "via"), ["ORGANIZATION"], "a founder gets no membership by it");

    let found = |body: Value| server.send_as_operator("POST", "/v1/operator/organizations", body);
    let again = json!({ "name": "Branch", "email": "Founder@Acme.example", "user_name": "Somebody Else" });
    let branch = found(again.clone()).ok();
    assert_eq!(branch["user_id"], acme.founder.id);
    let there = Someone { id: acme.founder.id.clone(), key: text(&branch["api_key"]) };
    let me = acme.get(&there, "/v1/users/me").ok();
    assert_eq!((&me["workspace_name"], &me["name"]), (&json!("Branch"), &json!("Fay Founder")));

    refused_untouched(&server, 409, "CONFLICT", || found(again));
    for (field, body) in [
        ("name", json!({ "name": "", "email": "a@b.example", "user_name": "A" })),
        ("email", json!({ "name": "x", "email": "ab.example", "user_name": "A" })),
        ("user_name", json!({ "name": "x", "email": "a@b.example", "user_name": "" })),
        ("plan", json!({ "name": "x", "email": "a@b.example", "user_name": "A", "plan": "free" })),
    ] {
        let refusal = refused_untouched(&server, 400, "VALIDATION_ERROR", || found(body));
        assert!(text(&refusal["message"]).contains(&format!("`{field}`")), "{refusal}");
    }
}
