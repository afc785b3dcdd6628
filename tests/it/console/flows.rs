//! Each numbered procedure of the document, with the forms of the pages and without JavaScript.

use serde_json::json;

use crate::acme::Acme;
use crate::console::{PASSWORD, nobody, signed_in, with_passwords};
use crate::vocabulary::all;

#[test]
fn create_a_team() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    ada.get("/t/home").shows("Create new team").shows("href=\"/settings/teams?dialog=create\"");
    ada.get("/settings/teams?dialog=create").shows("Team name").shows("Icon").shows(">Create team</button>");
    let page = ada.send("/settings/teams/create", &[("name", "Platform"), ("icon", "🧱")]);
    assert_eq!(page.status, 303);
    let there = page.header("location").to_owned();
    ada.get(&there).shows("Platform").shows("🧱").shows("Created.");
    // A name that is taken comes back with what was typed.
    let again = ada.send("/settings/teams/create", &[("name", "platform"), ("icon", "")]);
    assert_eq!(again.status, 409);
    again.shows("value=\"platform\"").shows("choose another name");
    // Who may not manage teams does not see the entry, and is refused.
    let tess = signed_in(&acme, "tess");
    assert!(!tess.get("/t/research").body.contains("Create new team"));
    assert_eq!(tess.send("/settings/teams/create", &[("name", "Mine"), ("icon", "")]).status, 403);
}

#[test]
fn the_default_team_is_renamed_and_not_deleted() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    ada.get("/t/home/settings").shows("cannot be deleted, only renamed");
    ada.send("/t/home/settings/update", &[("name", "Main"), ("icon", "")]).leads_to("/t/home/settings?done=saved");
    assert_eq!(ada.send("/t/home/settings/delete", &[("confirm", "Main")]).status, 409);
    // Another team is deleted only when its name is typed.
    assert_eq!(ada.send("/t/inference/settings/delete", &[("confirm", "inference")]).status, 400);
    ada.send("/t/inference/settings/delete", &[("confirm", "Inference")]).leads_to("/settings/teams?done=deleted");
}

#[test]
fn invite_a_member_who_accepts() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    ada.get("/settings/members").shows("Invite member");
    ada.get("/settings/members?dialog=invite").shows("E-mail").shows("Organization role").shows("Team Admin");
    let fields = [
        ("email", "new@example.com"),
        ("role", "MEMBER"),
        ("team", "research"),
        ("role-home", "MEMBER"),
        ("role-research", "ADMIN"),
        ("role-inference", "MEMBER"),
    ];
    let made = ada.send("/settings/members/invite", &fields);
    assert_eq!(made.status, 200, "{}", made.body);
    let link = made.between("<code id=\"link\">", "</code>").to_owned();
    let path = link.strip_prefix("http://localhost:8000").expect("the link leads here").to_owned();
    ada.get("/settings/members").shows("new@example.com").shows("Research · Team Admin").shows("Pending");

    // Opening the link uses nothing up.
    for _ in 0..3 {
        nobody(&acme).get(&path).shows("Join Acme").shows("new@example.com").shows("Research · Team Admin");
    }
    let short = nobody(&acme).send(&path, &[("name", "New Comer"), ("password", "short")]);
    assert_eq!(short.status, 400);
    short.shows("value=\"New Comer\"").shows("8 to 256 bytes");
    let accepted = nobody(&acme).send(&path, &[("name", "New Comer"), ("password", PASSWORD)]);
    accepted.leads_to("/t/research?done=joined");
    assert!(accepted.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    let new = signed_in(&acme, "new");
    new.get("/t/research").shows("Research");
    assert_eq!(new.get("/t/inference").status, 404);
    // The link works once.
    assert_eq!(nobody(&acme).get(&path).status, 404);
}

#[test]
fn an_invitation_is_sent_again_and_revoked() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    let fields = [("email", "new@example.com"), ("role", "MEMBER")];
    let first = ada.send("/settings/members/invite", &fields).between("<code id=\"link\">", "</code>").to_owned();
    let list = ada.get("/settings/members");
    let id = list.between("/settings/members/invitations/", "/resend").to_owned();
    let again = ada.send(&format!("/settings/members/invitations/{id}/resend"), &[]);
    let second = again.between("<code id=\"link\">", "</code>").to_owned();
    assert_ne!(first, second);
    let path = |link: &str| link.replace("http://localhost:8000", "");
    assert_eq!(nobody(&acme).get(&path(&first)).status, 404);
    assert_eq!(nobody(&acme).get(&path(&second)).status, 200);
    ada.send(&format!("/settings/members/invitations/{id}/revoke"), &[]).leads_to("/settings/members?done=revoked");
    assert_eq!(nobody(&acme).get(&path(&second)).status, 404);
}

#[test]
fn remove_a_member() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    acme.make_key("tess", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }));
    ada.get("/settings/members").shows("aria-label=\"Remove Tess\"");
    let asked = ada.get("/settings/members?dialog=remove&about=tess");
    asked
        .shows("Remove Tess from Acme?")
        .shows("membership in Research ends")
        .shows("1 personal API key")
        .shows("which Tess made, stays");
    ada.send("/settings/members/tess/remove", &[]).leads_to("/settings/members?done=removed");
    assert_eq!(acme.send("ada", "GET", "/v1/users/tess", None).status, 404);
    // From a team alone.
    ada.send("/t/inference/settings/members/ian/remove", &[]).leads_to("/t/inference/settings/members?done=removed");
    assert_eq!(acme.send("ada", "GET", "/v1/users/ian", None).status, 200);
    // The last admin stays, and the page says why.
    ada.send("/settings/members/grace/remove", &[]).leads_to("/settings/members?done=removed");
    ada.get("/settings/members").shows("The last admin can be neither removed nor made a member");
    assert_eq!(ada.send("/settings/members/ada/remove", &[]).status, 409);
    // Who may not.
    let max = signed_in(&acme, "max");
    assert!(!max.get("/settings/members").body.contains("Remove "));
    assert_eq!(max.send("/settings/members/dora/remove", &[]).status, 403);
}

#[test]
fn change_a_members_role() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    ada.get("/settings/members").shows("aria-label=\"Edit Max\"");
    ada.get("/settings/members?dialog=edit&about=max").shows("Save changes");
    let fields = [
        ("role", "MEMBER"),
        ("team", "research"),
        ("team", "inference"),
        ("role-home", "MEMBER"),
        ("role-research", "ADMIN"),
        ("role-inference", "MEMBER"),
    ];
    ada.send("/settings/members/max/change", &fields).leads_to("/settings/members?done=saved");
    let teams = acme.get("ada", "/v1/users/max/teams");
    assert_eq!(all(&teams["items"], "team_name"), ["Inference", "Research"]);
    assert_eq!(all(&teams["items"], "role"), ["MEMBER", "ADMIN"]);
    // A team that the form does not list is left alone, one whose box is empty is left.
    ada.send("/settings/members/max/change", &[("role", "MEMBER"), ("role-research", "MEMBER")]);
    assert_eq!(all(&acme.get("ada", "/v1/users/max/teams")["items"], "team_name"), ["Inference"]);
    ada.send("/settings/members/max/change", &[("role", "ADMIN")]).leads_to("/settings/members?done=saved");
    assert_eq!(acme.get("ada", "/v1/users/max")["role"], "ADMIN");
    // In the team's settings.
    let tess = signed_in(&acme, "tess");
    tess.send("/t/research/settings/members/add", &[("user_id", "lone"), ("role", "MEMBER")])
        .leads_to("/t/research/settings/members?done=added");
    tess.send("/t/research/settings/members/lone/change", &[("role", "ADMIN")])
        .leads_to("/t/research/settings/members?done=saved");
    assert_eq!(
        signed_in(&acme, "ian").send("/t/inference/settings/members/ian/change", &[("role", "ADMIN")]).status,
        403
    );
}

#[test]
fn switch_between_teams() {
    let acme = Acme::new();
    with_passwords(&acme);
    let dora = signed_in(&acme, "dora");
    let page = dora.get("/t/home");
    page.shows("aria-label=\"Teams\"").shows("data-team=\"Default\"");
    assert!(!page.body.contains("Research") && !page.body.contains("Inference"), "{}", page.body);
    signed_in(&acme, "ada")
        .get("/t/research")
        .shows("data-team=\"Inference\"")
        .shows("data-team=\"Research\" aria-current");
}

#[test]
fn while_teams_are_off_no_page_speaks_of_teams() {
    let acme = Acme::new();
    with_passwords(&acme);
    acme.delete("ada", "/v1/teams/research?force=true");
    acme.delete("ada", "/v1/teams/inference?force=true");
    let ada = signed_in(&acme, "ada");
    ada.send("/settings/general/teams", &[("teams", "off")]).leads_to("/settings/general?done=saved");
    for path in [
        "/t/home",
        "/t/home/models",
        "/t/home/chains",
        "/t/home/training",
        "/t/home/settings/secrets",
        "/t/home/settings/api-keys",
        "/t/home/settings/environments",
        "/settings/members",
        "/settings/billing",
        "/settings/members?dialog=invite",
        "/account",
        "/t/home/models/new",
    ] {
        let page = ada.get(path);
        assert_eq!(page.status, 200, "{path}");
        // Commands of the API and fields of forms name teams; what a person reads does not.
        let known = ["API key", "api_keys", "value=\"team\"", "team_id", "/v1/teams/"];
        let speaking = page.body.lines().filter(|line| line.to_lowercase().contains("team"));
        let unknown: Vec<&str> = speaking.filter(|line| !known.iter().any(|known| line.contains(known))).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:#?}");
    }
    for path in ["/settings/teams", "/t/home/settings/members", "/t/home/settings"] {
        assert_eq!(ada.get(path).status, 404, "{path}");
    }
}

#[test]
fn secrets_of_a_team() {
    let acme = Acme::new();
    with_passwords(&acme);
    let max = signed_in(&acme, "max");
    max.get("/t/research/settings/secrets").shows("No secrets in Research").shows("Add secret");
    max.send("/t/research/settings/secrets/set", &[("name", "hf_token"), ("value", "s3cret-value")])
        .leads_to("/t/research/settings/secrets?done=saved");
    let page = max.get("/t/research/settings/secrets?done=saved");
    page.shows("hf_token").shows("Saved.");
    assert!(!page.body.contains("s3cret-value"));
    let refused = max.send("/t/research/settings/secrets/set", &[("name", "not a name"), ("value", "s3cret-value")]);
    assert_eq!(refused.status, 400);
    refused.shows("value=\"not a name\"");
    assert!(!refused.body.contains("s3cret-value"), "a value comes back");
    assert_eq!(max.send("/t/research/settings/secrets/hf_token/delete", &[("confirm", "x")]).status, 400);
    max.send("/t/research/settings/secrets/hf_token/delete", &[("confirm", "hf_token")])
        .leads_to("/t/research/settings/secrets?done=deleted");
    assert_eq!(signed_in(&acme, "ian").get("/t/research/settings/secrets").status, 404);
}

#[test]
fn create_a_team_api_key() {
    let acme = Acme::new();
    with_passwords(&acme);
    let tess = signed_in(&acme, "tess");
    tess.get("/t/research/settings/api-keys").shows("Create API Key");
    tess.get("/t/research/settings/api-keys?dialog=create")
        .shows("value=\"research\" selected")
        .shows(">Create</button>");
    let fields =
        [("kind", "team"), ("team_id", "research"), ("category", "WORKSPACE_MANAGE_ALL"), ("name", "ci-deploy")];
    let made = tess.send("/t/research/settings/api-keys/create", &fields);
    assert_eq!(made.status, 200, "{}", made.body);
    made.shows("I have saved it").shows("ci-deploy");
    let key = made.between("<code id=\"key\">", "</code>").to_owned();
    assert_eq!(acme.send(&key, "GET", "/v1/teams/research/secrets", None).status, 200);
    let list = tess.get("/t/research/settings/api-keys");
    assert!(list.body.contains(key.split('.').next().unwrap()) && !list.body.contains(&key), "the key is shown again");
    let prefix = key.split('.').next().unwrap().to_owned();
    let rotated = tess.send(&format!("/t/research/settings/api-keys/{prefix}/rotate"), &[("overlap_seconds", "3600")]);
    rotated.shows("The old key ends");
    tess.send(&format!("/t/research/settings/api-keys/{prefix}/revoke"), &[])
        .leads_to("/t/research/settings/api-keys?done=revoked");
    assert_eq!(acme.send(&key, "GET", "/v1/teams/research/secrets", None).status, 401);
    // A member may make a personal key, and no team key.
    let max = signed_in(&acme, "max");
    max.get("/t/research/settings/api-keys")
        .shows("does not include \"Create team API keys\"".replace('"', "&#34;").as_str());
    assert_eq!(max.send("/t/research/settings/api-keys/create", &fields).status, 403);
    let own = max.send("/account/api-keys/create", &[("kind", "personal"), ("name", "laptop")]);
    let key = own.between("<code id=\"key\">", "</code>").to_owned();
    assert_eq!(acme.get(&key, "/v1/users/me")["email"], "max@example.com");
}

#[test]
fn restricted_environments() {
    let acme = Acme::new();
    with_passwords(&acme);
    acme.model("research", "modelone");
    let (tess, max) = (signed_in(&acme, "tess"), signed_in(&acme, "max"));
    tess.send("/t/research/settings/environments/production/change", &[])
        .leads_to("/t/research/settings/environments?done=saved");
    // Who is not on its list sees the buttons, disabled and with the reason, and the model as before.
    max.get("/t/research/models/modelone")
        .shows("You can look and call, not change")
        .shows("On the list: Ada, Grace, Tess");
    let scale = |who: &crate::console::Surfer| {
        let fields = [("min_replica", "1"), ("max_replica", "2")];
        who.send("/t/research/models/modelone/environments/production/autoscaling", &fields).status
    };
    assert_eq!((scale(&max), scale(&tess)), (403, 303));
    tess.send("/t/research/settings/environments/production/change", &[("user", "max")]);
    assert_eq!(scale(&max), 303);
    tess.send("/t/research/settings/environments/production/lift", &[]);
    assert!(!max.get("/t/research/models/modelone").body.contains("You can look and call"));
    assert_eq!(max.send("/t/research/settings/environments/create", &[("name", "staging")]).status, 403);
}

#[test]
fn a_password_is_changed_and_sessions_end() {
    let acme = Acme::new();
    with_passwords(&acme);
    let (here, there) = (signed_in(&acme, "max"), signed_in(&acme, "max"));
    here.get("/account/sessions").shows("this one");
    let wrong = here.send("/account/password", &[("old", "not the password"), ("new", "another password")]);
    assert_eq!(wrong.status, 400);
    here.send("/account/password", &[("old", PASSWORD), ("new", "another password")])
        .leads_to("/account/password?done=password");
    there.get("/account").leads_to("/sign-in?next=/account");
    let signed_out = signed_in(&acme, "tess");
    signed_out.send("/sign-out", &[]).leads_to("/sign-in?done=signed-out");
    signed_out.get("/account").leads_to("/sign-in?next=/account");
}
