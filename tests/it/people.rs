//! Do people, members and invitations follow the rules?

use guildhall::db::invitations::{self, Identity};
use guildhall::model::Time;
use serde_json::{Value, json};

use crate::house::House;
use crate::org::{Org, Someone, Teams, accept, contents, ids, refused_untouched, text, token};

const DAY: i64 = 24 * 60 * 60;

// ---- users ----

#[test]
fn every_member_sees_the_people_of_the_organization_and_no_others() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    Org::new(&house, "other", Teams::On);
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let named = acme.key(Some("ci"), Some(&acme.default_team), &acme.founder.id);
    let unnamed = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let manager = acme.key(Some("keys"), None, &acme.founder.id);
    for (key, name) in [(&named, "ci"), (&unnamed, &unnamed[..14]), (&manager, "keys")] {
        let me = house.send(Some(key), "GET", "/v1/users/me", None).ok();
        assert_eq!(
            me,
            json!({ "user_id": &key[..14], "email": null, "name": name, "workspace_name": "acme", "role": null })
        );
        for target in ["/v1/users", "/v1/users/nobody", "/v1/users/nobody/teams"] {
            house.send(Some(key), "GET", target, None).refused(403, "FORBIDDEN");
        }
        house.send(Some(key), "PATCH", "/v1/users/me", Some(json!({ "name": "x" }))).refused(403, "FORBIDDEN");
        house.send(Some(key), "DELETE", "/v1/users/nobody", None).refused(403, "FORBIDDEN");
    }
}

#[test]
fn people_rename_themselves() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
    let before = contents(&house);
    let member = format!("/v1/teams/{}/members/{}", acme.default_team, mia.id);
    for target in ["/v1/users/me", &format!("/v1/users/{}", mia.id), &member] {
        acme.patch(&acme.founder, target, json!({})).ok();
    }
    acme.patch(&acme.founder, "/v1/users/me", json!({ "name": null })).ok();
    acme.patch(&acme.founder, &member, json!({ "role": null })).ok();
    assert_eq!(before, contents(&house));
}

#[test]
fn bodies_about_people_are_closed() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
        let ask = || house.send(Some(&founder.key), method, target, Some(body.clone()));
        let refusal = refused_untouched(&house, 400, "VALIDATION_ERROR", ask);
        assert!(text(&refusal["message"]).contains(&format!("`{field}")), "{target} {body}: {refusal}");
    }
}

#[test]
fn an_organization_role_is_changed_by_admins_and_counts_at_once() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let mias = format!("/v1/users/{}", mia.id);
    refused_untouched(&house, 403, "FORBIDDEN", || acme.patch(&mia, &mias, json!({ "role": "ADMIN" })));
    refused_untouched(&house, 403, "FORBIDDEN", || acme.patch(&mia, "/v1/users/nobody", json!({})));

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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    acme.person("mia", "MEMBER", json!([]));
    let founder = format!("/v1/users/{}", acme.founder.id);
    let demoted = || acme.patch(&acme.founder, &founder, json!({ "role": "MEMBER" }));
    let refusal = refused_untouched(&house, 409, "CONFLICT", demoted);
    assert!(text(&refusal["message"]).contains("last admin"), "{refusal}");
    refused_untouched(&house, 409, "CONFLICT", || acme.delete(&acme.founder, &founder));
}

#[test]
fn two_admins_who_demote_each_other_at_once_leave_one() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([]));
    let demote = |by: &Someone, whom: &Someone| {
        let target = format!("/v1/users/{}", whom.id);
        house.request(Some(&by.key), "PATCH", &target, json!({ "role": "MEMBER" }).to_string().into())
    };
    let answered = house.send_at_once(vec![demote(&ada, &acme.founder), demote(&acme.founder, &ada)]);
    let mut statuses: Vec<u16> = answered.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(statuses, [200, 403]);
    let leave = |who: &Someone| house.request(Some(&who.key), "DELETE", &format!("/v1/users/{}", who.id), Vec::new());
    let answered = house.send_at_once(vec![leave(&ada), leave(&acme.founder)]);
    let mut statuses: Vec<u16> = answered.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(statuses, [200, 409]);
}

#[test]
fn a_removed_person_has_no_key_no_team_and_no_grant_left() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
    let team_key = acme.key(Some("ci"), Some(&acme.default_team), &ada.id);
    let manager = acme.key(None, None, &ada.id);
    acme.key(Some("not-hers"), Some(&acme.default_team), &acme.founder.id);
    house
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
            { "prefix": &team_key[..14], "name": "ci", "team_id": acme.default_team },
            { "prefix": &manager[..14], "name": null, "team_id": null },
        ])
    );
    assert_eq!(removed["revoked_api_keys"], json!([&ada.key[..14]]));
    assert_eq!((&removed["user_id"], &removed["deleted"]), (&json!(ada.id), &json!(true)));

    acme.get(&ada, "/v1/users/me").refused(401, "UNAUTHENTICATED");
    house.send(Some(&team_key), "GET", "/v1/users/me", None).ok();
    acme.get(&acme.founder, &format!("/v1/users/{}", ada.id)).refused(404, "NOT_FOUND");
    let granted: i64 =
        house.sql().query_row("SELECT count(*) FROM environment_group_user", [], |row| row.get(0)).unwrap();
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
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (mia, max) = (acme.person("mia", "MEMBER", json!([])), acme.person("max", "MEMBER", json!([])));
    let maxs = format!("/v1/users/{}", max.id);
    refused_untouched(&house, 403, "FORBIDDEN", || acme.delete(&mia, &maxs));
    refused_untouched(&house, 403, "FORBIDDEN", || acme.delete(&mia, "/v1/users/nobody"));
    let elsewhere = format!("/v1/users/{}", other.founder.id);
    refused_untouched(&house, 404, "NOT_FOUND", || acme.delete(&acme.founder, &elsewhere));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.patch(&acme.founder, &elsewhere, json!({ "role": "MEMBER" })));
    acme.delete(&max, &maxs).ok();
    acme.get(&max, "/v1/users/me").refused(401, "UNAUTHENTICATED");
}

#[test]
fn who_leaves_one_organization_stays_in_the_other() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let mia = acme.person("mia", "MEMBER", json!([]));
    let (_, token) = other.invite("mia@people.example", "ADMIN", json!([]));
    let accepted = accept(&house, Some(&mia.key), &token, json!({ "api_key_name": "mine" })).ok();
    assert_eq!(accepted["user"]["user_id"], mia.id);
    acme.delete(&mia, &format!("/v1/users/{}", mia.id)).ok();
    let there = Someone { id: mia.id, key: text(&accepted["api_key"]) };
    let me = other.get(&there, "/v1/users/me").ok();
    assert_eq!((&me["workspace_name"], &me["role"]), (&json!("other"), &json!("ADMIN")));
}

#[test]
fn a_persons_teams_are_shown_to_them_and_to_admins() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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

// ---- members ----

#[test]
fn members_of_a_team_see_each_other_and_implicit_admins_if_asked() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
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
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
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
    assert_eq!(removed, json!({ "team_id": blue, "user_id": mia.id, "deleted": true }));
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
    refused_untouched(&house, 409, "CONFLICT", || acme.post(&tom, &members, add(&tom.id)));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.post(&tom, &members, add("nobody")));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.post(&tom, &members, add(&other.founder.id)));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.patch(&tom, &mias, json!({ "role": "ADMIN" })));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.delete(&tom, &mias));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.delete(&tom, &format!("{members}/{}", acme.founder.id)));
    refused_untouched(&house, 404, "NOT_FOUND", || acme.post(&max, &members, add(&max.id)));
    refused_untouched(&house, 404, "NOT_FOUND", || other.post(&other.founder, &members, add(&other.founder.id)));
    refused_untouched(&house, 403, "FORBIDDEN", || {
        acme.post(&tom, "/v1/invitations", json!({ "email": "new@people.example", "role": "MEMBER" }))
    });
}

#[test]
fn team_members_manage_nobody_but_may_leave() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let blue = acme.team("Blue");
    let seat = json!([{ "team_id": blue, "role": "MEMBER" }]);
    let (mia, max) = (acme.person("mia", "MEMBER", seat.clone()), acme.person("max", "MEMBER", seat));
    let members = format!("/v1/teams/{blue}/members");
    let (mias, maxs) = (format!("{members}/{}", mia.id), format!("{members}/{}", max.id));
    refused_untouched(&house, 403, "FORBIDDEN", || acme.delete(&mia, &maxs));
    refused_untouched(&house, 403, "FORBIDDEN", || acme.delete(&mia, &format!("{members}/nobody")));
    refused_untouched(&house, 403, "FORBIDDEN", || acme.patch(&mia, &mias, json!({ "role": "ADMIN" })));
    let add = json!({ "user_id": max.id, "role": "ADMIN" });
    refused_untouched(&house, 403, "FORBIDDEN", || acme.post(&mia, &members, add));
    let key = acme.key(None, Some(&blue), &acme.founder.id);
    refused_untouched(&house, 403, "FORBIDDEN", || house.send(Some(&key), "DELETE", &maxs, None));

    house
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
        house.sql().query_row("SELECT count(*) FROM environment_group_user", [], |row| row.get(0)).unwrap();
    assert_eq!(granted, 0, "leaving the team ends the grant");
    acme.get(&mia, "/v1/users/me").ok();
    acme.get(&mia, &members).refused(404, "NOT_FOUND");
}

#[test]
fn while_teams_are_off_every_member_is_in_the_default_team() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::Off);
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
        refused_untouched(&house, 409, "CONFLICT", || acme.delete(&acme.founder, &seat));
        refused_untouched(&house, 409, "CONFLICT", || acme.delete(who, &seat));
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

// ---- invitations ----

#[test]
fn an_invitation_says_what_it_gives_and_shows_its_link_once() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let blue = acme.team("Blue");
    let before = acme.last_entry();
    let (made, token) = acme.invite("New@People.example", "MEMBER", json!([{ "team_id": blue, "role": "ADMIN" }]));
    assert_eq!(made["accept_url"], format!("http://localhost:8000/invite/{token}"));
    let mut listed = made.clone();
    listed["accept_url"] = Value::Null;
    assert_eq!(
        listed,
        json!({
            "id": made["id"], "email": "new@people.example", "role": "MEMBER",
            "teams": [{ "team_id": blue, "team_name": "Blue", "role": "ADMIN" }],
            "status": "PENDING", "created_at": "2026-11-01T00:00:00.000Z", "expires_at": "2026-11-08T00:00:00.000Z",
            "invited_by": { "user_id": acme.founder.id, "email": "founder@acme.example" },
            "mail": "NOT_CONFIGURED", "accept_url": null,
        })
    );
    assert_eq!(acme.get(&acme.founder, "/v1/invitations").ok()["items"], json!([listed]));
    assert_eq!(
        acme.audit_since(before),
        [("USER_INVITED".to_owned(), json!({ "invited_user_email": "new@people.example", "role_name": "MEMBER" }))]
    );
    assert!(!contents(&house).join("\n").contains(&token), "the database holds the link's hash alone");
}

#[test]
fn who_may_not_invite_is_refused_whatever_the_id() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
    let team_key = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let (made, _) = acme.invite("new@people.example", "MEMBER", json!([]));
    for key in [&mia.key, &team_key] {
        for id in [&text(&made["id"]), "nothing"] {
            for (method, target) in [
                ("GET", "/v1/invitations".to_owned()),
                ("POST", "/v1/invitations".to_owned()),
                ("POST", format!("/v1/invitations/{id}/resend")),
                ("DELETE", format!("/v1/invitations/{id}")),
            ] {
                refused_untouched(&house, 403, "FORBIDDEN", || house.send(Some(key), method, &target, Some(json!({}))));
            }
        }
    }
}

#[test]
fn members_are_not_invited_and_teams_of_others_are_not_there() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let invite = |email: &str, team_id: &str| {
        let teams = json!([{ "team_id": team_id, "role": "MEMBER" }]);
        acme.post(&acme.founder, "/v1/invitations", json!({ "email": email, "role": "MEMBER", "teams": teams }))
    };
    refused_untouched(&house, 409, "CONFLICT", || invite("Founder@ACME.example", &acme.default_team));
    let theirs = refused_untouched(&house, 404, "NOT_FOUND", || invite("new@people.example", &other.default_team));
    let nobodys = refused_untouched(&house, 404, "NOT_FOUND", || invite("new@people.example", "nothing"));
    assert_eq!(theirs, nobodys);
}

#[test]
fn inviting_again_replaces_the_open_invitation() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let (first, old) = acme.invite("new@people.example", "ADMIN", json!([]));
    let before = acme.last_entry();
    let (second, new) = acme.invite("new@people.example", "MEMBER", json!([]));
    assert_eq!(acme.events_since(before), ["INVITATION_REVOKED", "USER_INVITED"]);
    assert_ne!(first["id"], second["id"]);
    let listed = |status: &str| ids(&acme.get(&acme.founder, &format!("/v1/invitations{status}")).ok(), "id");
    assert_eq!(listed("?status=REVOKED"), [text(&first["id"])]);
    assert_eq!(listed("?status=PENDING"), [text(&second["id"])]);
    assert_eq!(listed("").len(), 2);
    let body = json!({ "name": "New", "api_key_name": "mine" });
    refused_untouched(&house, 404, "NOT_FOUND", || accept(&house, None, &old, body.clone()));
    assert_eq!(accept(&house, None, &new, body).ok()["user"]["role"], "MEMBER");
}

#[test]
fn invitations_come_in_pages_the_newest_first() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let mut made = Vec::new();
    for at in 0..5 {
        house.now.set(house.now.get().plus_seconds(1));
        made.push(text(&acme.invite(&format!("p{at}@people.example"), "MEMBER", json!([])).0["id"]));
    }
    acme.delete(&acme.founder, &format!("/v1/invitations/{}", made[2])).ok();
    let open = [4, 3, 1, 0].map(|at: usize| made[at].clone());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for size in [2, 2] {
        let page = acme.get(&acme.founder, &format!("/v1/invitations?status=PENDING&limit=2{cursor}")).ok();
        assert_eq!(ids(&page, "id").len(), size);
        seen.extend(ids(&page, "id"));
        cursor = page["pagination"]["cursor"].as_str().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
    }
    assert_eq!((seen, cursor.as_str()), (open.to_vec(), ""));
    acme.get(&acme.founder, "/v1/invitations?status=OPEN").refused(400, "VALIDATION_ERROR");
}

#[test]
fn a_new_link_kills_the_old_one_and_stands_on_whoever_made_it() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([]));
    let (made, old) = acme.invite("new@people.example", "MEMBER", json!([]));
    let resend = format!("/v1/invitations/{}/resend", text(&made["id"]));
    house.now.set(house.now.get().plus_seconds(8 * DAY));
    assert_eq!(acme.get(&ada, "/v1/invitations?status=EXPIRED").ok()["items"][0]["id"], made["id"]);

    let before = acme.last_entry();
    let resent = acme.post(&ada, &resend, json!({})).ok();
    assert_eq!(acme.events_since(before), ["INVITATION_RESENT"]);
    assert_eq!((&resent["id"], &resent["status"]), (&made["id"], &json!("PENDING")));
    assert_eq!(resent["invited_by"]["user_id"], ada.id);
    assert_eq!(resent["expires_at"], "2026-11-16T00:00:00.000Z");

    let body = json!({ "name": "New", "api_key_name": "mine" });
    refused_untouched(&house, 404, "NOT_FOUND", || accept(&house, None, &old, body.clone()));
    acme.patch(&ada, &format!("/v1/users/{}", acme.founder.id), json!({ "role": "MEMBER" })).ok();
    accept(&house, None, &token(&resent), body).ok();
}

#[test]
fn what_is_accepted_or_revoked_is_neither_resent_nor_revoked() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (accepted, token) = acme.invite("one@people.example", "MEMBER", json!([]));
    accept(&house, None, &token, json!({ "name": "One", "api_key_name": "mine" })).ok();
    let (revoked, _) = acme.invite("two@people.example", "MEMBER", json!([]));
    let before = acme.last_entry();
    let target = format!("/v1/invitations/{}", text(&revoked["id"]));
    assert_eq!(acme.delete(&acme.founder, &target).ok(), json!({ "id": revoked["id"], "deleted": true }));
    assert_eq!(acme.events_since(before), ["INVITATION_REVOKED"]);
    for invitation in [&accepted, &revoked] {
        let target = format!("/v1/invitations/{}", text(&invitation["id"]));
        let resend = format!("{target}/resend");
        refused_untouched(&house, 409, "CONFLICT", || acme.delete(&acme.founder, &target));
        refused_untouched(&house, 409, "CONFLICT", || acme.post(&acme.founder, &resend, json!({})));
        refused_untouched(&house, 404, "NOT_FOUND", || other.delete(&other.founder, &target));
        refused_untouched(&house, 404, "NOT_FOUND", || other.post(&other.founder, &resend, json!({})));
    }
    let listed = acme.get(&acme.founder, "/v1/invitations?status=ACCEPTED").ok();
    assert_eq!(ids(&listed, "id"), [text(&accepted["id"])]);
}

// ---- acceptance ----

#[test]
fn a_new_person_joins_as_what_the_invitation_says() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let (blue, gone) = (acme.team("Blue"), acme.team("Gone"));
    let teams = json!([{ "team_id": blue, "role": "ADMIN" }, { "team_id": gone, "role": "MEMBER" }]);
    let (_, token) = acme.invite("new@people.example", "MEMBER", teams);
    acme.delete(&acme.founder, &format!("/v1/teams/{gone}")).ok();
    let listed = acme.get(&acme.founder, "/v1/invitations").ok();
    assert_eq!(listed["items"][0]["teams"].as_array().unwrap().len(), 1, "a team deleted since is left out");

    let before = acme.last_entry();
    let accepted = accept(&house, None, &token, json!({ "name": "New", "api_key_name": "mine" })).ok();
    let new = Someone { id: text(&accepted["user"]["user_id"]), key: text(&accepted["api_key"]) };
    assert_eq!(
        accepted,
        json!({
            "user": {
                "user_id": new.id, "email": "new@people.example", "name": "New", "workspace_name": "acme",
                "role": "MEMBER",
            },
            "organization": acme.get(&new, "/v1/organizations/me").ok(),
            "teams": [{ "team_id": blue, "team_name": "Blue", "role": "ADMIN" }],
            "api_key": new.key,
        })
    );
    let audit = acme.audit_since(before);
    assert_eq!(
        audit,
        [
            (
                "USER_JOINED_ORGANIZATION".to_owned(),
                json!({ "user_id": new.id, "new_user_email": "new@people.example" })
            ),
            (
                "TEAM_MEMBER_ADDED".to_owned(),
                json!({ "user_id": new.id, "user_email": "new@people.example", "role_name": "ADMIN" })
            ),
            (
                "API_KEY_CREATED".to_owned(),
                json!({ "api_key_id": &new.key[..14], "api_key_type": "PERSONAL", "prefix": &new.key[..14] })
            ),
        ]
    );
    acme.get(&new, &format!("/v1/teams/{blue}/members")).ok();
}

#[test]
fn a_password_is_kept_as_argon2id_and_nowhere_in_clear() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let (_, token) = acme.invite("new@people.example", "MEMBER", json!([]));
    let body = json!({ "name": "New", "password": "correct horse battery" });
    let accepted = accept(&house, None, &token, body).ok();
    assert_eq!(accepted.get("api_key"), None);
    let hash: String = house
        .sql()
        .query_row("SELECT password_hash FROM user WHERE email = 'new@people.example'", [], |row| row.get(0))
        .unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(!contents(&house).join("\n").contains("correct horse battery"));
}

#[test]
fn a_new_person_gives_a_name_and_a_way_back_in() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let (_, token) = acme.invite("new@people.example", "MEMBER", json!([]));
    for (body, field) in [
        (json!({ "api_key_name": "mine" }), "name"),
        (json!({ "password": "correct horse" }), "name"),
        (json!({ "name": "New" }), "password"),
    ] {
        let refusal = refused_untouched(&house, 400, "VALIDATION_ERROR", || accept(&house, None, &token, body));
        assert!(text(&refusal["message"]).starts_with(&format!("`{field}`")), "{refusal}");
    }
}

#[test]
fn a_link_that_does_not_work_is_not_there_whatever_the_reason() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let body = json!({ "name": "New", "api_key_name": "mine" });
    let try_it =
        |token: &str| refused_untouched(&house, 404, "NOT_FOUND", || accept(&house, None, token, body.clone()));
    let of_another = |by: &Someone, email: &str| {
        token(&acme.post(by, "/v1/invitations", json!({ "email": email, "role": "ADMIN" })).ok())
    };

    let nonsense = try_it("nonsense");
    let (_, used) = acme.invite("used@people.example", "MEMBER", json!([]));
    accept(&house, None, &used, body.clone()).ok();
    assert_eq!(try_it(&used), nonsense);
    let (made, revoked) = acme.invite("revoked@people.example", "MEMBER", json!([]));
    acme.delete(&acme.founder, &format!("/v1/invitations/{}", text(&made["id"]))).ok();
    assert_eq!(try_it(&revoked), nonsense);

    let ada = acme.person("ada", "ADMIN", json!([]));
    let of_demoted = of_another(&ada, "demoted@people.example");
    acme.patch(&acme.founder, &format!("/v1/users/{}", ada.id), json!({ "role": "MEMBER" })).ok();
    assert_eq!(try_it(&of_demoted), nonsense);
    let eve = acme.person("eve", "ADMIN", json!([]));
    let of_removed = of_another(&eve, "removed@people.example");
    acme.delete(&acme.founder, &format!("/v1/users/{}", eve.id)).ok();
    assert_eq!(try_it(&of_removed), nonsense);

    let other = Org::new(&house, "other", Teams::On);
    let kim = other.person("kim", "MEMBER", json!([]));
    let (_, of_member) = acme.invite("kim@people.example", "MEMBER", json!([]));
    house.sql().execute("INSERT INTO org_member VALUES (?, ?, 'MEMBER', 0)", (&acme.id, &kim.id)).unwrap();
    let proven = || accept(&house, Some(&kim.key), &of_member, json!({}));
    assert_eq!(refused_untouched(&house, 404, "NOT_FOUND", proven), nonsense);

    let (_, expired) = acme.invite("expired@people.example", "MEMBER", json!([]));
    house.now.set(Time(house.now.get().0 + 7 * DAY * 1000));
    assert_eq!(try_it(&expired), nonsense);
}

#[test]
fn the_link_alone_never_acts_as_somebody_who_exists() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    let joined = accept(&house, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let keyless = other.person("kim", "MEMBER", json!([]));

    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    for proof in [
        json!({ "name": "Mallory", "api_key_name": "mine" }),
        json!({ "name": "Mallory", "password": "wrong horse" }),
        json!({ "password": "wrong horse", "api_key_name": "mine" }),
    ] {
        refused_untouched(&house, 403, "FORBIDDEN", || accept(&house, None, &token, proof));
    }
    let accepted = accept(&house, None, &token, json!({ "password": "correct horse", "name": "Other" })).ok();
    assert_eq!(accepted["user"]["user_id"], joined["user"]["user_id"]);
    assert_eq!(accepted["user"]["name"], "Mia", "who is known keeps the name they have");

    let (_, token) = acme.invite("kim@people.example", "MEMBER", json!([]));
    let guess = json!({ "password": "any password" });
    refused_untouched(&house, 403, "FORBIDDEN", || accept(&house, None, &token, guess));
    let accepted = accept(&house, Some(&keyless.key), &token, json!({})).ok();
    assert_eq!(accepted["user"]["user_id"], keyless.id);
}

#[test]
fn a_password_that_was_changed_since_it_was_verified_proves_nothing() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&house, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let stored: String = house
        .sql()
        .query_row("SELECT password_hash FROM user WHERE email = 'mia@people.example'", [], |row| row.get(0))
        .unwrap();
    let proves = |verified: &str| {
        house.app.db.read(house.moment(), |tx| {
            let offer = invitations::open(tx, &token)?;
            Ok(matches!(offer.identify(None, Some(verified))?, Identity::Proven(_)))
        })
    };
    assert!(proves(&stored).unwrap());
    assert!(!proves(&stored.replace("t=2", "t=3")).unwrap());
}

#[test]
fn a_request_with_the_key_of_anyone_else_is_refused() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let other = Org::new(&house, "other", Teams::On);
    let kim = other.person("kim", "MEMBER", json!([]));
    let team_key = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let (_, to_new) = acme.invite("new@people.example", "MEMBER", json!([]));
    let (_, to_kim) = acme.invite("kim@people.example", "MEMBER", json!([]));
    let body = json!({ "name": "New", "api_key_name": "mine", "password": "correct horse" });
    for token in [&to_new, &to_kim] {
        for key in [&acme.founder.key, &team_key] {
            refused_untouched(&house, 403, "FORBIDDEN", || accept(&house, Some(key), token, body.clone()));
        }
        refused_untouched(&house, 401, "UNAUTHENTICATED", || {
            accept(&house, Some("guild_nonsense"), token, body.clone())
        });
    }
    refused_untouched(&house, 403, "FORBIDDEN", || accept(&house, Some(&kim.key), &to_new, body.clone()));
    accept(&house, Some(&kim.key), &to_kim, json!({ "api_key_name": "mine" })).ok();
    accept(&house, None, &to_new, body).ok();
}

#[test]
fn nobody_guesses_on() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&house, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    for _ in 0..10 {
        accept(&house, None, &token, json!({ "password": "wrong horse" })).refused(403, "FORBIDDEN");
    }
    let right = json!({ "password": "correct horse" });
    let refusal = refused_untouched(&house, 429, "RATE_LIMITED", || accept(&house, None, &token, right.clone()));
    assert!(refusal["retry_after"].as_u64().unwrap() >= 15 * 60, "{refusal}");
    house.now.set(house.now.get().plus_seconds(15 * 60));
    accept(&house, None, &token, right).ok();
}

#[test]
fn of_fifty_who_accept_at_once_one_does() {
    let house = House::empty();
    let (acme, other) = (Org::new(&house, "acme", Teams::On), Org::new(&house, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&house, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let proofs = [
        ("key@people.example", json!({ "name": "New", "api_key_name": "mine" })),
        ("password@people.example", json!({ "name": "New", "password": "correct horse" })),
        ("mia@people.example", json!({ "password": "correct horse" })),
    ];
    for (email, mut body) in proofs {
        let (_, token) = acme.invite(email, "MEMBER", json!([]));
        body["token"] = json!(token);
        let before = acme.last_entry();
        let request = || house.request(None, "POST", "/v1/invitations/accept", body.to_string().into());
        let answered = house.send_at_once((0..50).map(|_| request()).collect());
        let accepted = answered.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(accepted, 1, "{email}");
        assert!(answered.iter().all(|answer| matches!(answer.status, 200 | 404)), "{email}");
        let joined = acme.events_since(before).into_iter().filter(|event| event == "USER_JOINED_ORGANIZATION").count();
        assert_eq!(joined, 1, "{email}");
    }
}

// ---- the operator ----

#[test]
fn the_operators_routes_are_not_there_over_the_network() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::On);
    let body = json!({ "name": "mine", "email": "a@b.example", "user_name": "A" });
    let nothing = acme.get(&acme.founder, "/v1/nothing").refused(404, "NOT_FOUND");
    for method in ["GET", "POST", "PATCH"] {
        let ask = || house.send(Some(&acme.founder.key), method, "/v1/operator/organizations", Some(body.clone()));
        assert_eq!(refused_untouched(&house, 404, "NOT_FOUND", ask), nothing);
        house.send(None, method, "/v1/operator/organizations", Some(body.clone())).refused(404, "NOT_FOUND");
    }
}

#[test]
fn the_operator_founds_organizations_for_people_new_and_known() {
    let house = House::empty();
    let acme = Org::new(&house, "acme", Teams::Off);
    assert_eq!(acme.events_since(0), ["ORGANIZATION_CREATED", "USER_JOINED_ORGANIZATION", "API_KEY_CREATED"]);
    let me = acme.get(&acme.founder, "/v1/users/me").ok();
    assert_eq!((&me["role"], &me["name"]), (&json!("ADMIN"), &json!("Fay Founder")));
    let teams = acme.get(&acme.founder, &format!("/v1/users/{}/teams", acme.founder.id)).ok();
    assert_eq!(ids(&teams, "via"), ["ORGANIZATION"], "a founder gets no membership by it");

    let found = |body: Value| house.send_as_operator("POST", "/v1/operator/organizations", body);
    let again = json!({ "name": "Branch", "email": "Founder@Acme.example", "user_name": "Somebody Else" });
    let branch = found(again.clone()).ok();
    assert_eq!(branch["user_id"], acme.founder.id);
    let there = Someone { id: acme.founder.id.clone(), key: text(&branch["api_key"]) };
    let me = acme.get(&there, "/v1/users/me").ok();
    assert_eq!((&me["workspace_name"], &me["name"]), (&json!("Branch"), &json!("Fay Founder")));

    refused_untouched(&house, 409, "CONFLICT", || found(again));
    for (field, body) in [
        ("name", json!({ "name": "", "email": "a@b.example", "user_name": "A" })),
        ("email", json!({ "name": "x", "email": "ab.example", "user_name": "A" })),
        ("user_name", json!({ "name": "x", "email": "a@b.example", "user_name": "" })),
        ("plan", json!({ "name": "x", "email": "a@b.example", "user_name": "A", "plan": "free" })),
    ] {
        let refusal = refused_untouched(&house, 400, "VALIDATION_ERROR", || found(body));
        assert!(text(&refusal["message"]).contains(&format!("`{field}`")), "{refusal}");
    }
}
