//! The request to a route about a place: its path, its query and its body.

use guildhall::api::Listener;
use serde_json::{Value, json};

use super::{CALLERS, Expected};
use crate::seed::{LINK_OF_A_NEW_PERSON, LINK_OF_A_RESET, LINK_OF_FAY, WORLD};
use crate::test_server::TestServer;

/// What is sent to this route about this place.
pub struct Ask {
    pub target: String,
    pub body: Option<Value>,
    pub from: Listener,
}

/// Whoever asks: a column.
pub struct Caller {
    pub key: Option<&'static str>,
    pub user: Option<&'static str>,
    pub prefix: &'static str,
}

impl Caller {
    pub fn of(column: usize) -> Caller {
        match CALLERS[column].1 {
            None => Caller { key: None, user: None, prefix: "guild_nothing0" },
            Some("bad") => Caller { key: Some(WORLD.keys.text("bad")), user: None, prefix: "guild_nothing0" },
            Some(name) => {
                let person = ["ada", "lone", "tess", "max", "ian", "dora", "fay"].contains(&name);
                Caller {
                    key: Some(WORLD.keys.text(name)),
                    user: person.then_some(name),
                    prefix: WORLD.keys.prefix(name),
                }
            }
        }
    }
}

impl Ask {
    pub fn new(expected: &Expected, place: &str, caller: &Caller, server: &TestServer) -> Ask {
        let mut target = String::new();
        let mut noun = "";
        for part in expected.template[1..].split('/') {
            target.push('/');
            if part == "{}" {
                let of_chain = expected.template.starts_with("/v1/chains/");
                let find = if of_chain { of_chain_deployment } else { of_model };
                let word = find(noun, &expected.template, place);
                target.push_str(&word.unwrap_or_else(|| named(noun, place, caller, server)));
            } else {
                target.push_str(part);
                noun = part;
            }
        }
        target.push_str(&query(&expected.method, &expected.template, place));
        let body = body(&expected.method, &expected.template, place);
        let is_the_operators = expected.template.starts_with("/v1/operator/") && place != "network";
        let from = if is_the_operators { Listener::Operator } else { Listener::Network };
        Ask { target, body, from }
    }
}

fn team(place: &str) -> &str {
    match place {
        "other" => "inference",
        "default" => "home",
        "foreign" => "abroad",
        "nothing" => "nosuchteam",
        "empty" => "empty",
        _ => "research",
    }
}

/// What stands in the path behind a noun.
fn named(noun: &str, place: &str, caller: &Caller, server: &TestServer) -> String {
    let kind = |kind: &str| if place == "nothing" { "nosuchid".to_owned() } else { format!("{}{kind}", team(place)) };
    match (noun, place) {
        ("teams", _) => team(place).to_owned(),
        ("secrets", "gone") => "nosuchsecret".to_owned(),
        ("secrets", _) => "token".to_owned(),
        ("members" | "users", "self") => caller.user.unwrap_or("crew").to_owned(),
        ("members", "gone") | ("users", "nothing") => "nosuchuser".to_owned(),
        ("members" | "users", "foreign") => "fern".to_owned(),
        ("members" | "users", _) => "crew".to_owned(),
        ("sessions", "self") => format!("session_{}", caller.user.unwrap_or("crew")),
        ("sessions", "colleague") => "session_crew".to_owned(),
        ("sessions", _) => "session_nothing".to_owned(),
        ("invitations", "own") => "pending".to_owned(),
        ("invitations", "foreign") => "theirs".to_owned(),
        ("invitations", "nothing") => "nosuchinvitation".to_owned(),
        ("invitations", id) => id.to_owned(),
        ("api_keys", "self") => caller.prefix.to_owned(),
        ("api_keys", "personal") => WORLD.keys.prefix("crew").to_owned(),
        ("api_keys", "keymgr") => WORLD.keys.prefix("spare-key-manager").to_owned(),
        ("api_keys", "other") => WORLD.keys.prefix("inference-spare").to_owned(),
        ("api_keys", "default") => WORLD.keys.prefix("home-spare").to_owned(),
        ("api_keys", "foreign") => WORLD.keys.prefix("abroad-spare").to_owned(),
        ("api_keys", "nothing") => "guild_nothing0".to_owned(),
        ("api_keys", _) => WORLD.keys.prefix("spare").to_owned(),
        ("environment_groups", "gone") => "nosuchenvironment".to_owned(),
        ("environment_groups", "used") => "production".to_owned(),
        ("environment_groups", _) => "staging".to_owned(),
        ("models", _) => kind("model"),
        ("chains", _) => kind("chain"),
        ("training_projects", _) => kind("project"),
        ("jobs", "gone") => "nosuchjob".to_owned(),
        ("jobs", "strange") => "inferencejob".to_owned(),
        ("jobs", _) => kind("job"),
        ("downloads", "it") => {
            let asked = "/v1/models/researchmodel/deployments/researchidle/download";
            let link = server.send(Some(WORLD.keys.text("ada")), "GET", asked, None).body["download_url"].clone();
            link.as_str().and_then(|link| link.rsplit('/').next()).expect("a link has parts").to_owned()
        }
        ("downloads", _) => "nosuchlink".to_owned(),
        ("model_apis", "gone") => "nosuchmodelapi".to_owned(),
        ("model_apis", _) => {
            let listed = server.send(Some(WORLD.keys.text("ada")), "GET", "/v1/model_apis", None);
            listed.body["items"][0]["name"].as_str().expect("the catalogue has one").to_owned()
        }
        _ => "x".to_owned(), // of a route that is not served
    }
}

/// What stands behind these nouns is told by the route too.
fn of_model(noun: &str, template: &str, place: &str) -> Option<String> {
    match noun {
        "deployments" if template.contains("/patches") => Some("development".to_owned()),
        "deployments" if place == "nothing" => Some("nosuchid".to_owned()),
        "deployments" if place == "preview" => Some(format!("{}second", team(place))),
        "deployments" => Some(format!("{}idle", team(place))),
        "environments" if template.ends_with("_promotion") => Some("trial".to_owned()),
        "environments" if place == "gone" => Some("nosuchenvironment".to_owned()),
        "environments" => Some("preview".to_owned()),
        _ => None,
    }
}

/// The same below a Chain.
fn of_chain_deployment(noun: &str, _: &str, place: &str) -> Option<String> {
    match (noun, place) {
        ("deployments" | "environments", "nothing") | ("deployments", "gone") => Some("nosuchid".to_owned()),
        ("deployments", "strange") => Some("inferencechainidle".to_owned()),
        ("chainlets", "strange") => Some("inferencechainidlehello".to_owned()),
        ("deployments", _) => Some(format!("{}chainidle", team(place))),
        ("chainlets", "chainlet-gone") => Some("nosuchid".to_owned()),
        ("chainlets", "sibling") => Some("researchchainsecondhello".to_owned()),
        ("chainlets", _) => Some(format!("{}chainidlehello", team(place))),
        ("environments", "gone") => Some("nosuchenvironment".to_owned()),
        ("environments", "guarded") => Some("guarded".to_owned()),
        ("environments", _) => Some("trial".to_owned()),
        _ => None,
    }
}

fn query(method: &str, template: &str, place: &str) -> String {
    match (method, template, place) {
        ("DELETE", "/v1/teams/{}", "full") => String::new(),
        ("DELETE", "/v1/teams/{}", _) => "?force=true".to_owned(),
        ("GET", "/v1/billing/usage_summary", _) => {
            "?start_date=2026-10-02T00:00:00Z&end_date=2026-11-01T00:00:00Z".to_owned()
        }
        ("GET", "/v1/permissions/explain", "myself") => "?act=MANAGE_BILLING".to_owned(),
        ("GET", "/v1/permissions/explain", "colleague") => "?act=MANAGE_BILLING&user_id=crew".to_owned(),
        ("GET", "/v1/permissions/explain", "someone") => "?act=MANAGE_BILLING&user_id=nosuchuser".to_owned(),
        ("GET", "/v1/permissions/explain", "colleague-own") => "?act=DEPLOY&team_id=research&user_id=crew".to_owned(),
        ("GET", "/v1/permissions/explain", place) => format!("?act=DEPLOY&team_id={}", team(place)),
        _ => String::new(),
    }
}

/// A body that the route takes.
fn body(method: &str, template: &str, place: &str) -> Option<Value> {
    let body = match (method, template) {
        ("PATCH", "/v1/organizations/me") => json!({ "name": "Renamed" }),
        ("POST", "/v1/teams") => json!({ "name": "Platform", "icon": "🛠" }),
        ("PATCH", "/v1/teams/{}") => json!({ "name": "Renamed" }),
        ("POST", "/v1/secrets" | "/v1/teams/{}/secrets") => json!({ "name": "hf_token", "value": "hf_1" }),
        ("POST", "/v1/teams/{}/members") => {
            let user = match place {
                "foreign" => "fred",
                "foreigner" => "fern",
                "nobody" => "nosuchuser",
                "already" => "max",
                _ => "lone",
            };
            json!({ "user_id": user, "role": "MEMBER" })
        }
        ("PATCH", "/v1/teams/{}/members/{}") => json!({ "role": "ADMIN" }),
        ("PATCH", "/v1/users/me") => json!({ "name": "Renamed" }),
        ("PATCH", "/v1/users/{}") if place == "self" => json!({ "role": "MEMBER" }),
        ("PATCH", "/v1/users/{}") => json!({ "role": "ADMIN" }),
        ("POST", "/v1/invitations") => {
            let email = if place == "colleague" { "crew@example.com" } else { "guest@example.com" };
            let teams = match place {
                "it" | "colleague" => json!([]),
                place => json!([{ "team_id": team(place), "role": "MEMBER" }]),
            };
            json!({ "email": email, "role": "MEMBER", "teams": teams })
        }
        ("POST", "/v1/invitations/accept") => match place {
            "newcomer" => json!({ "token": LINK_OF_A_NEW_PERSON, "name": "New", "api_key_name": "first" }),
            "known" => json!({ "token": LINK_OF_FAY }),
            "accepted" => json!({ "token": "linkofaccepted" }),
            "revoked" => json!({ "token": "linkofrevoked", "name": "New", "api_key_name": "first" }),
            _ => json!({ "token": "nosuchlink", "name": "New", "api_key_name": "first" }),
        },
        ("POST", "/v1/users/reset") => match place {
            "it" => json!({ "token": LINK_OF_A_RESET, "password": "correct horse" }),
            _ => json!({ "token": "nosuchlink", "password": "correct horse" }),
        },
        ("POST", "/v1/operator/users/api_keys") => {
            let email = if place == "nothing" { "nobody@example.com" } else { "crew@example.com" };
            json!({ "organization": "Acme", "email": email, "name": "issued" })
        }
        ("POST", "/v1/operator/users/password_resets") => json!({ "email": "crew@example.com" }),
        ("POST", "/v1/api_keys") => match place {
            "personal" => json!({ "type": "PERSONAL" }),
            "keymgr" => json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }),
            "unnamed" => json!({ "type": "WORKSPACE_INVOKE" }),
            place => json!({ "type": "WORKSPACE_INVOKE", "team_id": team(place) }),
        },
        ("POST", "/v1/teams/{}/api_keys") => json!({ "type": "WORKSPACE_INVOKE" }),
        ("POST", "/v1/api_keys/{}/rotate") => json!({ "overlap_seconds": 3600 }),
        ("POST", "/v1/environment_groups" | "/v1/teams/{}/environment_groups") => {
            let name = if place == "there" { "staging" } else { "canary" };
            json!({ "name": name, "manage_access": { "is_restricted": true } })
        }
        ("PATCH", "/v1/environment_groups/{}" | "/v1/teams/{}/environment_groups/{}") => {
            json!({ "manage_access": { "is_restricted": false } })
        }
        ("POST", "/v1/training_projects" | "/v1/teams/{}/training_projects") => {
            json!({ "training_project": { "name": "new" } })
        }
        ("POST", "/v1/training_projects/{}/jobs") => json!({ "training_job": { "image": { "base_image": "python" } } }),
        ("PATCH", "/v1/training_projects/{}/jobs/{}") => json!({ "priority": 1 }),
        ("POST", "/v1/training_projects/{}/jobs/{}/logs" | "/v1/training_projects/{}/jobs/{}/metrics") => {
            json!({ "start_epoch_millis": 0, "end_epoch_millis": 1 })
        }
        ("POST", "/v1/training_jobs/search") => json!({ "statuses": ["TRAINING_JOB_PENDING"] }),
        ("PATCH", "/v1/training/capacity") => json!({ "team_id": team(place), "gpu_type": "H100", "max_gpus": 8 }),
        ("POST", "/v1/models" | "/v1/teams/{}/models") => {
            json!({ "source": { "name": "new", "deployment": { "config": {} } } })
        }
        ("POST", "/v1/prepare_model_upload") => {
            let team_id = (place != "it").then(|| team(place));
            json!({ "name": "new", "deployment": { "config": {} }, "team_id": team_id })
        }
        ("POST", "/v1/models/{}/deployments") => {
            let environment = (place == "into").then_some("preview");
            json!({ "source": { "deployment": { "config": {}, "environment_name": environment } } })
        }
        ("POST", "/v1/models/{}/deployments/development/promote" | "/v1/models/{}/deployments/{}/promote") => {
            json!({ "preserve_env_instance_type": true })
        }
        ("PATCH", "/v1/models/{}/deployments/{}") => json!({ "name": "renamed" }),
        (
            "PATCH",
            "/v1/models/{}/deployments/development/autoscaling_settings"
            | "/v1/models/{}/deployments/production/autoscaling_settings"
            | "/v1/models/{}/deployments/{}/autoscaling_settings",
        ) => json!({ "max_replica": 2 }),
        ("PATCH", "/v1/models/{}/deployments/{}/request_backpressure_settings") => {
            json!({ "policy": "REJECT_ON_FULL" })
        }
        ("POST", "/v1/models/{}/deployments/{}/logs") => json!({ "limit": 1 }),
        ("POST", "/v1/models/{}/deployments/{}/patches") => json!({
            "prev_patch_hash": "hash",
            "next_patch_point": { "content_hashes": {}, "config": "", "requirements": [] },
            "patch_ops": [],
        }),
        ("POST", "/v1/models/{}/environments") => json!({ "name": if place == "there" { "trial" } else { "new" } }),
        ("PATCH", "/v1/models/{}/environments/{}") => json!({ "autoscaling_settings": { "max_replica": 2 } }),
        ("POST", "/v1/models/{}/environments/{}/promote") => json!({ "deployment_id": format!("{}idle", team(place)) }),
        ("POST", "/v1/chains/{}/environments") => {
            let name = match place {
                "closed" => "staging",
                "there" => "trial",
                _ => "new",
            };
            json!({ "name": name, "chainlet_settings": [{ "chainlet_name": "Hello", "instance_type_id": "2x8" }] })
        }
        ("PATCH", "/v1/chains/{}/environments/{}") => {
            json!({ "promotion_settings": { "redeploy_on_promotion": true } })
        }
        ("POST", "/v1/chains/{}/environments/{}/promote") => {
            let id = match place {
                "absent" => "nosuchid".to_owned(),
                "stranger" => "inferencechainidle".to_owned(),
                place => format!("{}chainidle", team(place)),
            };
            json!({ "deployment_id": id })
        }
        ("PATCH", "/v1/chains/{}/environments/{}/chainlet_settings/autoscaling_settings") => {
            json!({ "updates": [{ "chainlet_name": "Hello", "autoscaling_settings": { "max_replica": 2 } }] })
        }
        ("POST", "/v1/chains/{}/environments/{}/chainlet_settings/instance_types/update") => {
            json!({ "updates": [{ "chainlet_name": "Hello", "instance_type_id": "2x8" }] })
        }
        ("PATCH", "/v1/models/{}") => json!({ "name": "renamed" }),
        ("POST", "/v1/operator/organizations" | "/v1/operator/installation") => {
            json!({ "name": "Initech", "email": "f@initech.example", "user_name": "F", "teams_enabled": true })
        }
        ("POST", "/v1/operator/fixtures") => json!({
            "organization": { "name": "initech", "teams_enabled": false },
            "people": [{ "email": "f@initech.example", "name": "F", "role": "ADMIN", "api_key_name": "first" }],
            "teams": [{ "name": "Default", "default": true }],
        }),
        _ => return None,
    };
    Some(body)
}
