//! What happens to the keys that a person made, and to the keys that those keys made, when the person loses a role.

use super::*;

/// An admin who made a key that manages keys, which made one, which it replaced; and a team key of their own.
struct Descent<'h> {
    acme: Org<'h>,
    ada: Someone,
    team_key: Someone,
    manager: Someone,
    minted: Someone,
    replaced: Someone,
}

impl<'h> Descent<'h> {
    fn new(server: &'h TestServer) -> Descent<'h> {
        let acme = Org::new(server, "acme", Teams::On);
        let ada = acme.person("ada", "ADMIN", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
        let team_key = make(&acme, &ada, json!({ "type": "WORKSPACE_MANAGE_ALL", "name": "robot" }));
        wait(server, 1);
        let manager = make(&acme, &ada, json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
        wait(server, 1);
        let minted = make(&acme, &manager, json!({ "type": "WORKSPACE_INVOKE" }));
        let of_founder = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_INVOKE" }));
        wait(server, 1);
        let rotate = format!("/v1/api_keys/{}/rotate", of_founder.id);
        let replaced = with_key(&acme.post(&manager, &rotate, json!({})).ok());
        Descent { acme, ada, team_key, manager, minted, replaced }
    }

    fn all(&self) -> Vec<(String, String, Value, String)> {
        let (team, none) = (json!(self.acme.default_team), Value::Null);
        let told = |key: &Someone, kind: &str, team: &Value, by: &str| {
            (key.id.clone(), kind.to_owned(), team.clone(), by.to_owned())
        };
        vec![
            told(&self.team_key, "WORKSPACE_MANAGE_ALL", &team, &self.ada.id),
            told(&self.manager, "WORKSPACE_MANAGE_API_KEYS", &none, &self.ada.id),
            told(&self.minted, "WORKSPACE_INVOKE", &team, &self.manager.id),
            told(&self.replaced, "WORKSPACE_INVOKE", &team, &self.manager.id),
        ]
    }

    fn of_team(&self) -> Vec<(String, String, Value, String)> {
        self.all().into_iter().filter(|(_, _, team, _)| !team.is_null()).collect()
    }

    fn working(&self) -> [bool; 4] {
        [&self.team_key, &self.manager, &self.minted, &self.replaced].map(|key| works(self.acme.server, key))
    }
}

#[test]
fn removing_and_demoting_an_admin_list_all_that_they_made() {
    for fall in ["removed", "demoted", "leaving", "demoting themselves"] {
        let server = TestServer::empty();
        let descent = Descent::new(&server);
        let (acme, user) = (&descent.acme, format!("/v1/users/{}", descent.ada.id));
        let by = if ["removed", "demoted"].contains(&fall) { &acme.founder } else { &descent.ada };
        let answered = match fall {
            "removed" | "leaving" => acme.delete(by, &user).ok(),
            _ => acme.patch(by, &user, json!({ "role": "MEMBER" })).ok(),
        };
        assert_eq!(remaining(&answered), descent.all(), "{fall}");
        assert_eq!(descent.working(), [true; 4], "{fall}");
    }
}

#[test]
fn and_revoke_them_if_asked_each_in_the_audit_log() {
    for fall in ["removed", "demoted"] {
        let server = TestServer::empty();
        let descent = Descent::new(&server);
        let acme = &descent.acme;
        restrict(acme, "production", &[&descent.team_key.id]);
        let user = format!("/v1/users/{}?revoke_created_api_keys=true", descent.ada.id);
        let before = acme.last_entry();
        let answered = match fall {
            "removed" => acme.delete(&acme.founder, &user).ok(),
            _ => acme.patch(&acme.founder, &user, json!({ "role": "MEMBER" })).ok(),
        };
        assert_eq!((remaining(&answered), descent.working()), (vec![], [false; 4]), "{fall}");
        assert_eq!(granted(acme, "production"), json!([]));
        let ended = acme.events_since(before).into_iter().filter(|event| event == "API_KEY_DELETED").count();
        let own = if fall == "removed" { 1 } else { 0 };
        assert_eq!(ended, 4 + own, "{fall}");
        if fall == "removed" {
            let revoked: Vec<String> = answered["revoked_api_keys"].as_array().unwrap().iter().map(text).collect();
            assert!(descent.all().iter().all(|(prefix, ..)| revoked.contains(prefix)));
        }
    }
}

#[test]
fn a_team_admin_who_is_demoted_or_leaves_leaves_the_keys_of_that_team() {
    for fall in ["demoted", "removed", "leaving"] {
        for revoke in [false, true] {
            let server = TestServer::empty();
            let descent = Descent::new(&server);
            let acme = &descent.acme;
            let blue = acme.team("Blue");
            let elsewhere = make(acme, &descent.ada, json!({ "type": "WORKSPACE_INVOKE", "team_id": blue }));
            let member = format!("/v1/teams/{}/members/{}", acme.default_team, descent.ada.id);
            let target = if revoke { format!("{member}?revoke_created_api_keys=true") } else { member };
            let answered = match fall {
                "demoted" => acme.patch(&acme.founder, &target, json!({ "role": "MEMBER" })).ok(),
                "removed" => acme.delete(&acme.founder, &target).ok(),
                _ => acme.delete(&descent.ada, &target).ok(),
            };
            let (left, working) =
                if revoke { (vec![], [false, true, false, false]) } else { (descent.of_team(), [true; 4]) };
            assert_eq!((remaining(&answered), descent.working()), (left, working), "{fall} {revoke}");
            assert!(works(&server, &elsewhere), "another team's is not concerned");
        }
    }
}

#[test]
fn a_key_is_traced_by_way_of_one_that_works_no_more() {
    let server = TestServer::empty();
    let descent = Descent::new(&server);
    let acme = &descent.acme;
    acme.delete(&acme.founder, &format!("/v1/api_keys/{}", descent.manager.id)).ok();
    let answered = acme.delete(&acme.founder, &format!("/v1/users/{}", descent.ada.id)).ok();
    let living = descent.all().into_iter().filter(|(prefix, ..)| *prefix != descent.manager.id).collect::<Vec<_>>();
    assert_eq!(remaining(&answered), living);
}

#[test]
fn revoking_goes_with_a_role_that_is_taken() {
    let server = TestServer::empty();
    let descent = Descent::new(&server);
    let acme = &descent.acme;
    let user = format!("/v1/users/{}?revoke_created_api_keys=true", descent.ada.id);
    let member = format!("/v1/teams/{}/members/{}?revoke_created_api_keys=true", acme.default_team, descent.ada.id);
    for (target, body) in
        [(&user, json!({ "role": "ADMIN" })), (&user, json!({})), (&member, json!({ "role": "ADMIN" }))]
    {
        acme.patch(&acme.founder, target, body).refused(400, "VALIDATION_ERROR");
    }
    let bad = format!("/v1/users/{}?revoke_created_api_keys=yes", descent.ada.id);
    acme.delete(&acme.founder, &bad).refused(400, "VALIDATION_ERROR");
    assert_eq!(descent.working(), [true; 4]);
    let promoted = acme.patch(&acme.founder, &format!("/v1/users/{}", descent.ada.id), json!({ "role": "ADMIN" })).ok();
    assert!(promoted.get("remaining_team_api_keys").is_none(), "{promoted}");
}
