//! Decisions 5 to 7, 9 and 15: people, and what they may do to one another.

use std::sync::Arc;

use guildhall::api::dispatch::answer;
use serde_json::{Value, json};

use super::{by, make_key, one, sorted, with};
use crate::seed::{self, WORLD};

// ---- decision 5 ----

#[test]
fn the_last_admin_can_be_neither_removed_nor_demoted_by_anyone() {
    let server = WORLD.server();
    let fay = by(&server, "fay");
    fay.refused(409, "PATCH", "/v1/users/fay", Some(json!({ "role": "MEMBER" })));
    fay.refused(409, "DELETE", "/v1/users/fay", None);
    fay.patch("/v1/users/fay", json!({ "role": "ADMIN" }));
    fay.patch("/v1/users/fred", json!({ "role": "ADMIN" }));
    by(&server, "fred").patch("/v1/users/fay", json!({ "role": "MEMBER" }));
    by(&server, "fred").refused(409, "DELETE", "/v1/users/fred", None);
}

#[test]
fn two_admins_who_demote_each_other_at_once_leave_one() {
    let server = WORLD.server();
    let sql = seed::open(server.data());
    for _ in 0..20 {
        let demote = |who: &'static str, whom: &'static str| {
            let body = br#"{"role":"MEMBER"}"#.to_vec();
            let request = server.request(Some(WORLD.keys.text(who)), "PATCH", &format!("/v1/users/{whom}"), body);
            let app = Arc::clone(&server.app);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(answer(&app, request)).status
            })
        };
        let (one, other) = (demote("ada", "grace"), demote("grace", "ada"));
        let mut statuses = [one.join().unwrap(), other.join().unwrap()];
        statuses.sort_unstable();
        // The second finds itself demoted, or the last.
        assert!(matches!(statuses, [200, 403 | 409]), "{statuses:?}");
        sql.execute("UPDATE org_member SET role = 'ADMIN' WHERE user_id IN ('ada', 'grace')", []).unwrap();
        server.send(Some(WORLD.keys.text("tess")), "PATCH", "/v1/users/me", Some(json!({ "name": "Tess" })));
    }
}

#[test]
fn a_team_may_have_no_admin() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    tess.patch("/v1/teams/research/members/tess", json!({ "role": "MEMBER" }));
    tess.refused(403, "PATCH", "/v1/teams/research/members/tess", Some(json!({ "role": "ADMIN" })));
    by(&server, "ada").patch("/v1/teams/research/members/tess", json!({ "role": "ADMIN" }));
    tess.delete("/v1/teams/research/members/tess");
}

// ---- decision 6 ----

#[test]
fn anyone_may_leave_a_team_or_the_organization() {
    let server = WORLD.server();
    let max = by(&server, "max");
    max.delete("/v1/teams/research/members/max");
    max.refused(404, "GET", "/v1/teams/research", None);
    max.delete("/v1/users/max");
    max.refused(401, "GET", "/v1/users/me", None);
    by(&server, "grace").delete("/v1/users/grace");
    by(&server, "ada").refused(409, "DELETE", "/v1/users/ada", None);
}

#[test]
fn nobody_makes_another_leave_who_may_not() {
    let server = WORLD.server();
    let max = by(&server, "max");
    assert!(max.refused(403, "DELETE", "/v1/teams/research/members/crew", None).contains("Manage team members"));
    assert!(max.refused(403, "DELETE", "/v1/users/crew", None).contains("Manage organization members"));
    by(&server, "tess").refused(403, "DELETE", "/v1/users/crew", None);
}

// ---- decision 7 ----

#[test]
fn members_of_a_team_see_its_members_and_their_roles() {
    let server = WORLD.server();
    let members = by(&server, "max").get("/v1/teams/research/members");
    assert_eq!(sorted(super::all(&members["items"], "user_id")), ["crew", "max", "tess"]);
    let tess = one(&members["items"], "user_id", "tess");
    assert_eq!((&tess["role"], &tess["via"]), (&json!("ADMIN"), &json!("TEAM")));
    assert_eq!((&tess["name"], &tess["email"]), (&json!("Tess"), &json!("tess@example.com")));
    assert_eq!(tess["created_at"], "2026-11-01T00:00:00.000Z");
    assert_eq!(members["pagination"]["has_more"], false);
    let implicit = by(&server, "max").get("/v1/teams/research/members?include_implicit=true");
    assert_eq!(implicit["items"].as_array().unwrap().len(), 5);
    by(&server, "max").refused(400, "GET", "/v1/teams/research/members?include_implicit=maybe", None);
}

#[test]
fn organization_members_see_the_list_of_the_organization_s_users() {
    let server = WORLD.server();
    let everyone = ["ada", "crew", "dora", "grace", "ian", "lone", "max", "tess"];
    for who in ["ada", "lone", "max"] {
        assert_eq!(sorted(by(&server, who).list("/v1/users", "items", "user_id")), everyone);
    }
    let max = by(&server, "max");
    assert_eq!(max.list("/v1/users?email=ada@example.com", "items", "user_id"), ["ada"]);
    assert!(max.list("/v1/users?email=fay@example.com", "items", "user_id").is_empty());
    assert_eq!(max.get("/v1/users/ada")["email"], "ada@example.com");
    assert_eq!(max.get("/v1/users/me")["workspace_name"], "Acme");
}

#[test]
fn pages_of_a_list_join_to_the_whole_of_it() {
    let server = WORLD.server();
    let max = by(&server, "max");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = max.get(&format!("/v1/users?limit=3{cursor}"));
        seen.extend(super::all(&page["items"], "user_id"));
        assert!(page["items"].as_array().unwrap().len() <= 3);
        match page["pagination"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        assert_eq!(page["pagination"]["has_more"], true);
    }
    assert_eq!(seen.len(), 8);
    assert_eq!(sorted(seen), sorted(max.list("/v1/users", "items", "user_id")));
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=%%%"] {
        max.refused(400, "GET", &format!("/v1/users?{bad}"), None);
    }
}

#[test]
fn a_person_renames_themselves() {
    let server = WORLD.server();
    assert_eq!(by(&server, "max").patch("/v1/users/me", json!({ "name": " Max M. " }))["name"], "Max M.");
    for bad in ["", "\u{0}", &"x".repeat(256)] {
        by(&server, "max").refused(400, "PATCH", "/v1/users/me", Some(json!({ "name": bad })));
    }
    by(&server, "manage-all").refused(403, "PATCH", "/v1/users/me", Some(json!({ "name": "Robot" })));
}

// ---- decision 9 ----

#[test]
fn team_admins_add_existing_members_and_do_not_invite() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    tess.post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    tess.refused(409, "POST", "/v1/teams/research/members", Some(json!({ "user_id": "lone", "role": "ADMIN" })));
    for stranger in ["fern", "nosuchuser", ""] {
        tess.refused(404, "POST", "/v1/teams/research/members", Some(json!({ "user_id": stranger, "role": "MEMBER" })));
    }
    for role in ["OWNER", "admin", ""] {
        let why =
            tess.refused(400, "POST", "/v1/teams/research/members", Some(json!({ "user_id": "ian", "role": role })));
        assert!(why.contains("role"), "{why}");
    }
    let invitation = json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] });
    tess.refused(403, "POST", "/v1/invitations", Some(invitation));
}

#[test]
fn an_organization_admin_may_be_an_explicit_member_too() {
    let server = WORLD.server();
    let added = by(&server, "ada").post("/v1/teams/research/members", json!({ "user_id": "grace", "role": "MEMBER" }));
    assert_eq!((&added["role"], &added["via"]), (&json!("MEMBER"), &json!("TEAM")));
    // The greater of the two counts.
    by(&server, "grace").post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    let implicit = by(&server, "max").get("/v1/teams/research/members?include_implicit=true");
    assert_eq!(one(&implicit["items"], "user_id", "grace")["via"], "TEAM");
    by(&server, "ada").patch("/v1/users/grace", json!({ "role": "MEMBER" }));
    assert_eq!(by(&server, "grace").list("/v1/teams", "teams", "id"), ["research"]);
}

// ---- decision 15 ----

#[test]
fn removing_a_person_revokes_their_personal_keys_and_lists_the_team_keys_that_stay() {
    let server = WORLD.server();
    let (laptop, laptop_prefix) = make_key(&by(&server, "tess"), json!({ "type": "PERSONAL", "name": "laptop" }));
    let robot = json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "name": "robot" });
    let (robot, robot_prefix) = make_key(&by(&server, "tess"), robot);
    let gone = by(&server, "ada").delete("/v1/users/tess");
    let revoked: Vec<Value> = gone["revoked_api_keys"].as_array().unwrap().clone();
    assert_eq!(revoked.len(), 2);
    assert!(revoked.contains(&json!(laptop_prefix)) && revoked.contains(&json!(WORLD.keys.prefix("tess"))));
    let stay = json!([{
        "prefix": robot_prefix, "name": "robot", "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "made_by": "tess",
    }]);
    assert_eq!(gone["remaining_team_api_keys"], stay);
    with(&server, &laptop).refused(401, "GET", "/v1/users/me", None);
    by(&server, "tess").refused(401, "GET", "/v1/users/me", None);
    with(&server, &robot).get("/v1/teams/research/secrets");
}

#[test]
fn who_is_removed_and_invited_again_has_none_of_their_old_keys() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    ada.delete("/v1/users/max");
    let invited = ada.post("/v1/invitations", json!({ "email": "max@example.com", "role": "MEMBER", "teams": [] }));
    // Nothing could prove that it is them: their keys are gone, and they never had a password. So they begin anew.
    let body = json!({ "token": super::token(&invited), "name": "Maxim", "api_key_name": "again" });
    let joined = super::nobody(&server).post("/v1/invitations/accept", body);
    assert_eq!((&joined["user"]["user_id"], &joined["user"]["name"]), (&json!("max"), &json!("Maxim")));
    assert_eq!(joined["teams"], json!([]), "nothing of what they had comes back");
    by(&server, "max").refused(401, "GET", "/v1/users/me", None);
}

#[test]
fn a_removed_person_s_role_does_not_come_back_with_a_membership() {
    let server = WORLD.server();
    by(&server, "ada").delete("/v1/users/crew");
    by(&server, "ada").refused(
        404,
        "POST",
        "/v1/teams/research/members",
        Some(json!({ "user_id": "crew", "role": "MEMBER" })),
    );
}

#[test]
fn users_me_with_a_team_key_answers_its_service_identity() {
    let server = WORLD.server();
    for key in ["manage-all", "invoke", "metrics", "key-manager"] {
        let me = by(&server, key).get("/v1/users/me");
        assert_eq!(me["role"], Value::Null, "{me}");
        assert_eq!(me["workspace_name"], "Acme");
        let id = me["user_id"].as_str().expect("an identity has an id");
        by(&server, "ada").refused(404, "GET", &format!("/v1/users/{id}"), None);
    }
}
