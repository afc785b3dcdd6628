//! The data that a tenant can add to the database and the disk.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::bodies::Own;
use super::peer::{Peer, Reply};
use super::site::{BaseUrl, Tenant, text, unique};
use crate::chains::{Chainlet, mutation};
use crate::deployments::whole;
use crate::uploads::s3::noise;

/// A small disk of its own, which is gone when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u64) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A job whose specification is this large.
fn create_job(tenant: &Tenant, project: &str, bytes: usize) -> u16 {
    let variables = json!({ "V": "v".repeat(bytes) });
    let job = json!({ "image": { "base_image": "python" }, "runtime": { "environment_variables": variables } });
    let target = format!("/v1/training_projects/{project}/jobs");
    tenant.deployer.send("POST", &target, Some(json!({ "training_job": job }))).unwrap().status
}

fn create_project(tenant: &Tenant, name: &str) -> String {
    let made = tenant.admin.post("/v1/training_projects", json!({ "training_project": { "name": name } }));
    text(&made["training_project"]["id"])
}

fn set_secret(tenant: &Tenant, name: &str, bytes: usize) -> u16 {
    let body = json!({ "name": name, "value": "s".repeat(bytes) });
    tenant.deployer.send("POST", "/v1/secrets", Some(body)).unwrap().status
}

/// A tenant fills a small disk with whatever it can. Revoking, removing and deleting work all the same, and the neighbour
/// writes.
#[test]
fn a_full_disk_stops_neither_revoking_nor_the_neighbour() {
    let Some(disk) = SmallDisk::mount(40) else {
        eprintln!("SKIPPED: a_full_disk_stops_neither_revoking_nor_the_neighbour: mounting a tmpfs needs root");
        return;
    };
    let mut site = BaseUrl::at(tempfile::tempdir().unwrap(), disk.path().join("data"), &[]);
    let hostile = &site.hostile;
    let project = create_project(hostile, "filler");
    let person = json!({ "email": "pal@mallory.example", "role": "MEMBER", "teams": [] });
    let invited = hostile.admin.post("/v1/invitations", person);
    let token = text(&invited["accept_url"]).rsplit('/').next().unwrap().to_owned();
    let accepted = json!({ "token": token, "name": "Pal", "api_key_name": "pal" });
    let pal = site.stranger().post("/v1/invitations/accept", accepted);

    let refused = |status: u16| matches!(status, 429 | 507);
    let mut last = Vec::new();
    last.push((0..60).map(|_| create_job(hostile, &project, 1_000_000)).find(|&status| refused(status)));
    last.push((0..700).map(|at| set_secret(hostile, &format!("s{at}"), 60_000)).find(|&status| refused(status)));
    last.push((0..60).map(|_| put_archive(hostile, 1 << 20)).find(|&status| status >= 429));
    last.push((0..200).map(|at| set_secret(hostile, &format!("t{at}"), 1000)).find(|&status| refused(status)));
    assert!(last.iter().take(3).all(Option::is_some), "nothing refused it: {last:?}");

    let neighbour = &site.neighbour;
    let body = json!({ "name": "beside", "value": "a full disk" });
    let written = neighbour.admin.send("POST", "/v1/secrets", Some(body)).unwrap();
    assert_eq!(written.status, 200, "the neighbour writes: {}", written.text());
    neighbour.push_honestly("beside");

    let deletes = [
        format!("/v1/api_keys/{}", hostile.invoker.key.as_ref().unwrap().split('.').next().unwrap()),
        format!("/v1/api_keys/{}", hostile.deployer.key.as_ref().unwrap().split('.').next().unwrap()),
        format!("/v1/users/{}", text(&pal["user"]["user_id"])),
        "/v1/secrets/s0".to_owned(),
        format!("/v1/training_projects/{project}"),
    ];
    for target in deletes {
        let deleted = hostile.admin.send("DELETE", &target, None).unwrap();
        assert_eq!(deleted.status, 200, "{target} on a full disk: {}", deleted.text());
    }
    let reads = hostile.deployer.send("GET", "/v1/secrets", None).unwrap();
    assert_eq!(reads.status, 401, "the revoked key still reads");
    site.assert_lives("a full disk");
    site.assert_restarts("a full disk");
}

/// The status of an upload of so many bytes that nobody has sent yet.
fn put_archive(tenant: &Tenant, bytes: usize) -> u16 {
    let mut archive = noise(bytes);
    archive.extend(unique("upload").into_bytes());
    let s3 = tenant.upload();
    s3.send(s3.request("PUT", "", &archive)).status
}

// ---- whatever grows ----

/// Asks again and again until it is told that it is too much, and gives what it was told.
#[track_caller]
fn until_refused(what: &str, times: usize, ask: impl Fn(usize) -> Reply) -> Value {
    for at in 0..times {
        let reply = ask(at);
        match reply.status {
            200 => {}
            429 => return reply.json(),
            status => panic!("{what}, the {at}th time: {status} {}", reply.text()),
        }
    }
    panic!("{what}: {times} times, and it is never too much")
}

/// A GraphQL answer as one of REST's: what failed in it has its status, its code and its details.
fn of_graphql(reply: Reply) -> Reply {
    let failure = reply.json()["errors"][0]["extensions"].clone();
    match failure["code"].as_str() {
        None => reply,
        Some("QUOTA_EXCEEDED" | "RATE_LIMITED") => Reply { status: 429, body: failure.to_string().into_bytes() },
        Some(_) => Reply { status: 400, ..reply },
    }
}

/// A way to make the database grow, taken once.
type Way = (&'static str, Box<dyn Fn(&Tenant, usize) -> Reply>);

/// Every kind of thing that a team's key can make more of, or larger.
fn ways() -> Vec<Way> {
    let post = |team: &Tenant, target: &str, body: Value| team.deployer.send("POST", target, Some(body)).unwrap();
    let secrets = |team: &Tenant| format!("/v1/teams/{}/secrets", team.team);
    let projects = |team: &Tenant| format!("/v1/teams/{}/training_projects", team.team);
    let models = |team: &Tenant| format!("/v1/teams/{}/models", team.team);
    let project = move |team: &Tenant| {
        let made = post(team, &projects(team), json!({ "training_project": { "name": "one" } })).ok();
        text(&made["training_project"]["id"])
    };
    let job = |bytes: usize| {
        let variables = json!({ "V": "v".repeat(bytes) });
        json!({ "training_job": { "image": { "base_image": "python" },
                                  "runtime": { "environment_variables": variables } } })
    };
    let source = |name: String, deployment: Value| json!({ "source": { "name": name, "deployment": deployment } });
    vec![
        (
            "secrets",
            Box::new(move |team, at| {
                post(team, &secrets(team), json!({ "name": format!("s{at}"), "value": "s".repeat(40_000) }))
            }),
        ),
        (
            "a secret that changes",
            Box::new(move |team, at| {
                post(team, &secrets(team), json!({ "name": "s".repeat(128), "value": format!("{at}") }))
            }),
        ),
        (
            "training jobs",
            Box::new(move |team, _| {
                let target = format!("/v1/training_projects/{}/jobs", project(team));
                post(team, &target, job(150_000))
            }),
        ),
        (
            "training jobs made again",
            Box::new(move |team, at| {
                let jobs = format!("/v1/training_projects/{}/jobs", project(team));
                if at == 0 {
                    return post(team, &jobs, job(90_000));
                }
                let listed = team.deployer.get(&jobs);
                let first = text(&listed["training_jobs"][0]["id"]);
                post(team, &format!("{jobs}/{first}/recreate"), json!({}))
            }),
        ),
        (
            "training projects",
            Box::new(move |team, at| {
                post(
                    team,
                    &projects(team),
                    json!({ "training_project": { "name": format!("{at}{}", "p".repeat(240)) } }),
                )
            }),
        ),
        (
            "models",
            Box::new(move |team, at| {
                let config = json!({ "config": { "description": "d".repeat(60_000) } });
                post(team, &models(team), source(unique(&format!("model-{at}-")), config))
            }),
        ),
        (
            "configurations as they were written",
            Box::new(move |team, at| {
                let raw = format!("# {}\nmodel_name: m\n", "c".repeat(90_000));
                post(
                    team,
                    &models(team),
                    source(unique(&format!("raw-{at}-")), json!({ "config": {}, "raw_config": raw })),
                )
            }),
        ),
        (
            "labels and what the client says of itself",
            Box::new(move |team, at| {
                let much = json!({ "l": "l".repeat(50_000) });
                let deployment = json!({ "config": {}, "labels": much, "user_env": much });
                post(team, &models(team), source(unique(&format!("label-{at}-")), deployment))
            }),
        ),
        (
            "deployments",
            Box::new(move |team, at| {
                let config = json!({ "config": { "description": "d".repeat(60_000) } });
                let listed = team.deployer.get(&models(team));
                match listed["models"][0]["id"].as_str() {
                    None => post(team, &models(team), source(unique(&format!("many-{at}-")), config)),
                    Some(model) => post(
                        team,
                        &format!("/v1/models/{model}/deployments"),
                        json!({ "source": { "deployment": config } }),
                    ),
                }
            }),
        ),
        (
            "pushes by GraphQL",
            Box::new(move |team, at| {
                let config = BASE64_STANDARD.encode(json!({ "description": "d".repeat(30_000) }).to_string());
                let document = format!(
                "mutation {{ create_model_from_truss(name: \"{}\" team_id: \"{}\" s3_key: \"{}\" config: \"{config}\")
                 {{ model_version {{ id }} }} }}",
                unique(&format!("graphql-{at}-")),
                team.team,
                team.uploaded(&whole())
            );
                of_graphql(post(team, "/graphql/", json!({ "query": document })))
            }),
        ),
        (
            "Chains",
            Box::new(move |team, at| {
                let chainlet = Chainlet {
                    name: "Hello",
                    model_name: unique("chainlet-"),
                    s3_key: team.uploaded(&whole()),
                    config: json!({ "model_name": "hello", "description": "d".repeat(30_000) }),
                };
                let arguments = format!(
                    "chain_name: \"{}\" team_id: \"{}\" is_draft: false",
                    unique(&format!("c{at}-")),
                    team.team
                );
                of_graphql(post(team, "/graphql/", json!({ "query": mutation(&arguments, &[chainlet]) })))
            }),
        ),
    ]
}

/// Each way comes to an end, says what is used and allowed, and lets go of nothing but growing.
#[test]
fn whatever_a_team_makes_grow_comes_to_an_end() {
    let allowed = 1 << 20;
    let mut site = BaseUrl::with(&["--quota", "database_bytes=1MiB", "--quota", "growth_bytes_per_hour=256MiB"]);
    let ways = ways();
    let (count, begin) = (ways.len() as u64, site.database_bytes());
    for (what, way) in ways {
        let team = site.hostile.another_team();
        let told = until_refused(what, 6000, |at| way(&team, at));
        assert_eq!(
            (&told["code"], &told["details"]["name"]),
            (&json!("QUOTA_EXCEEDED"), &json!("database_bytes")),
            "{what}"
        );
        assert_eq!(told["details"]["allowed"], allowed, "{what}");
        let quotas = team.admin.get(&format!("/v1/teams/{}/quotas", team.team));
        let quota = quotas["items"].as_array().unwrap().iter().find(|quota| quota["name"] == "database_bytes").unwrap();
        // That it was refused is an entry too.
        assert!(quota["used"].as_u64().unwrap() <= allowed + 4096, "{what}: {quota}");
        // It reads, and takes away.
        team.deployer.get(&format!("/v1/teams/{}/models", team.team));
        let prefix = team.invoker.key.as_ref().unwrap().split('.').next().unwrap();
        let revoked = team.admin.send("DELETE", &format!("/v1/api_keys/{prefix}"), None).unwrap();
        assert_eq!(revoked.status, 200, "{what}: {}", revoked.text());
    }
    let grown = site.database_bytes() - begin;
    assert!(grown < 2 * count * allowed + (16 << 20), "{count} teams made the database grow by {grown} bytes");
    site.neighbour.push_honestly("honest");
    site.assert_lives("growth");
    site.assert_restarts("growth");
}

/// What belongs to no team is counted to whoever asks for it.
#[test]
fn whatever_a_person_makes_grow_comes_to_an_end() {
    let mut site = BaseUrl::with(&["--quota", "growth_bytes_per_hour=192KiB"]);
    type Way<'a> = (&'a str, Box<dyn Fn(&Peer, usize) -> Reply>);
    let post = |peer: &Peer, target: &str, body: Value| peer.send("POST", target, Some(body)).unwrap();
    let patch = |peer: &Peer, target: &str, body: Value| peer.send("PATCH", target, Some(body)).unwrap();
    let ways: Vec<Way> = vec![
        (
            "a name that changes",
            Box::new(move |peer, at| patch(peer, "/v1/users/me", json!({ "name": format!("{at}") }))),
        ),
        (
            "invitations",
            Box::new(move |peer, at| {
                let invitation = json!({ "email": format!("i{at}@mallory.example"), "role": "MEMBER", "teams": [] });
                post(peer, "/v1/invitations", invitation)
            }),
        ),
        (
            "one invitation again and again",
            Box::new(move |peer, _| {
                post(peer, "/v1/invitations", json!({ "email": "same@mallory.example", "role": "MEMBER", "teams": [] }))
            }),
        ),
        ("keys", Box::new(move |peer, _| post(peer, "/v1/api_keys", json!({ "type": "PERSONAL" })))),
        ("teams", Box::new(move |peer, _| post(peer, "/v1/teams", json!({ "name": unique("Grown ") })))),
        (
            "groups of environments",
            Box::new(move |peer, at| {
                let group = json!({ "name": format!("e{at}"), "manage_access": { "is_restricted": true } });
                post(peer, "/v1/environment_groups", group)
            }),
        ),
        (
            "an organization's name that changes",
            Box::new(move |peer, at| patch(peer, "/v1/organizations/me", json!({ "name": format!("Mallory {at}") }))),
        ),
    ];
    for (at, (what, way)) in ways.into_iter().enumerate() {
        let body = json!({ "email": format!("p{at}@mallory.example"), "role": "ADMIN", "teams": [] });
        let invited = post(&site.hostile.admin, "/v1/invitations", body).ok();
        let token = text(&invited["accept_url"]).rsplit('/').next().unwrap().to_owned();
        let body = json!({ "token": token, "name": "P", "api_key_name": "p" });
        let accepted = site.stranger().post("/v1/invitations/accept", body);
        let peer = Peer { key: Some(text(&accepted["api_key"])), ..site.hostile.admin.clone() };
        let told = until_refused(what, 3000, |at| way(&peer, at));
        assert!(told["retry_after"].as_f64().is_some_and(|seconds| seconds > 0.0), "{what}: {told}");
        assert_eq!(peer.get("/v1/users/me")["role"], "ADMIN", "{what}");
    }
    site.neighbour.admin.post("/v1/teams", json!({ "name": "Neighbourly" }));
    site.assert_lives("growth");
}

// ---- what changes nothing ----

/// Writes that change nothing are answered and leave no entry, on every route that can be asked for what is so already.
#[test]
fn writes_that_change_nothing_leave_no_entry() {
    let mut site = BaseUrl::new();
    let own = Own::of(&site.hostile);
    let hostile = &site.hostile;
    let admin = &hostile.admin;
    let path = |template: &str| {
        let route = guildhall::api::routes::all().find(|route| route.template == template);
        own.path(route.unwrap_or_else(|| panic!("no route {template}")).template)
    };
    let model = path("/v1/models/{model_id}");
    let deployment = path("/v1/models/{model_id}/deployments/{deployment_id}");
    hostile.outcome_of(&deployment);
    let job = path("/v1/training_projects/{training_project_id}/jobs/{training_job_id}");
    let group = path("/v1/teams/{team_id}/environment_groups/{env_name}").replace("production", "own");
    admin
        .send(
            "PATCH",
            "/v1/training/capacity",
            Some(json!({ "team_id": hostile.team, "gpu_type": "H100", "max_gpus": 4 })),
        )
        .unwrap();
    admin.send("PATCH", &format!("{deployment}/autoscaling_settings"), Some(json!({ "max_replica": 3 }))).unwrap();
    let settle = json!({ "autoscaling_settings": { "max_replica": 3 } });
    admin.send("PATCH", &format!("{model}/environments/production"), Some(settle.clone())).unwrap();
    let writes: Vec<(&str, String, Value)> = vec![
        ("PATCH", "/v1/users/me".to_owned(), json!({ "name": "Mal" })),
        ("PATCH", "/v1/users/me".to_owned(), json!({ "name": "  Mal " })),
        ("PATCH", "/v1/organizations/me".to_owned(), json!({ "name": "Mallory" })),
        ("PATCH", "/v1/organizations/me".to_owned(), json!({ "teams_enabled": true })),
        ("PATCH", format!("/v1/teams/{}", hostile.team), json!({ "name": "Default" })),
        ("PATCH", format!("/v1/teams/{}", hostile.team), json!({ "icon": null })),
        ("PATCH", path("/v1/users/{user_id}"), json!({ "role": "ADMIN" })),
        ("PATCH", model.clone(), json!({ "name": "own" })),
        ("PATCH", group, json!({ "manage_access": { "is_restricted": true } })),
        ("PATCH", job, json!({ "priority": 0 })),
        (
            "PATCH",
            "/v1/training/capacity".to_owned(),
            json!({ "team_id": hostile.team, "gpu_type": "H100", "max_gpus": 4 }),
        ),
        ("PATCH", format!("{deployment}/autoscaling_settings"), json!({ "max_replica": 3 })),
        ("PATCH", format!("{deployment}/request_backpressure_settings"), json!({ "policy": "QUEUE_ON_FULL" })),
        ("POST", format!("{deployment}/activate"), json!({})),
        ("PATCH", format!("{model}/environments/production"), settle),
        ("PATCH", deployment, json!({ "name": "deployment-1" })),
    ];
    let mut kept = Vec::new();
    for (method, target, body) in &writes {
        let before = site.entries();
        for _ in 0..3 {
            let answer = admin.send(method, target, Some(body.clone())).unwrap();
            assert!(answer.status < 500, "{method} {target}: {}", answer.text());
        }
        let left = site.entries() - before;
        if left > 0 {
            kept.push(format!("{method} {target} {body}: {left}"));
        }
    }
    assert!(kept.is_empty(), "writes that change nothing left entries:\n{}", kept.join("\n"));
    site.assert_lives("writes without change");
}

impl Tenant {
    /// Waits until what stands at this path is under way no longer.
    fn outcome_of(&self, deployment: &str) {
        for _ in 0..200 {
            if self.deployer.get(deployment)["status"] == "ACTIVE" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{deployment} does not become active");
    }
}
