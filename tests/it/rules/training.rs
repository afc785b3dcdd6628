//! Training as stored state: jobs of a team's projects, their queue, their secrets and archives, and who may do what.

use guildhall::domain::uploads::BUCKET;
use rusqlite::params;
use serde_json::{Value, json};

use crate::seed::{WORLD, open};
use crate::test_server::{BEGIN, TestServer};
use crate::vocabulary::{By, all, at, by, one, text};

mod queue;

const JOBS: &str = "/v1/training_projects/researchproject/jobs";
const CAPACITY: &str = "/v1/training/capacity";

/// Who is who: max and tess are of research, ian of inference alone, crew of both, ada is an organization admin.
struct Yard {
    server: TestServer,
}

impl Yard {
    /// The world without the jobs that wait in it.
    fn new() -> Yard {
        let server = WORLD.server();
        open(server.data()).execute("DELETE FROM training_job", []).unwrap();
        Yard { server }
    }

    fn by(&self, name: &str) -> By<'_> {
        by(&self.server, name)
    }

    fn ceiling(&self, team: &str, gpus: i64) {
        let body = json!({ "team_id": team, "gpu_type": "H100", "max_gpus": gpus });
        self.by("ada").patch(CAPACITY, body);
    }

    /// A job of research that asks for this many H100; its id.
    fn push(&self, gpus: i64, priority: i64) -> String {
        let body = job(json!({ "compute": h100(gpus), "priority": priority }));
        text(&self.by("max").post(JOBS, body)["training_job"]["id"])
    }

    fn status(&self, id: &str) -> String {
        text(&self.by("max").get(&format!("{JOBS}/{id}"))["training_job"]["current_status"])
    }

    fn stop(&self, id: &str) {
        self.by("max").done("POST", &format!("{JOBS}/{id}/stop"), None);
    }

    /// An upload of the person's, for training.
    fn upload(&self, s3_key: &str, user: &str) {
        self.sql_upload(s3_key, Some(user), WORLD.keys.prefix(user));
    }

    fn sql_upload(&self, s3_key: &str, user: Option<&str>, prefix: &str) {
        open(self.server.data())
            .execute(
                "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, hash, bytes, uploaded_at)
                 VALUES (?1, 'acme', ?2, ?3, zeroblob(32), 10, ?4)",
                params![s3_key, user, prefix, BEGIN],
            )
            .unwrap();
    }

    fn uploads(&self) -> i64 {
        let training = "SELECT count(*) FROM upload WHERE s3_key LIKE 'training/%'";
        open(self.server.data()).query_row(training, [], |row| row.get(0)).unwrap()
    }

    fn lines(&self, id: &str) -> Vec<String> {
        let mut lines = all(&self.by("max").get(&format!("{JOBS}/{id}/logs"))["logs"], "message");
        lines.reverse();
        lines
    }
}

/// A body with these fields beside the image.
fn job(fields: Value) -> Value {
    let mut job = json!({ "image": { "base_image": "python:3.12" } });
    job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "training_job": job })
}

fn h100(gpus: i64) -> Value {
    json!({ "accelerator": { "accelerator": "H100", "count": gpus } })
}

fn archive(s3_key: &str) -> Value {
    job(json!({ "runtime": { "artifacts": [{ "s3_bucket": BUCKET, "s3_key": s3_key }] } }))
}

// ---- what a job is ----

#[test]
fn a_job_is_shown_as_it_was_asked_for_and_unknown_fields_are_left_out() {
    let yard = Yard::new();
    let made = yard.by("max").post(
        JOBS,
        json!({ "surprise": 1, "training_job": {
            "image": { "base_image": "python:3.12", "docker_auth": null, "surprise": 1 },
            "compute": { "node_count": 2, "cpu_count": 8, "memory": "64Gi", "availability_model": "spot",
                         "accelerator": { "accelerator": "a100-40gb", "count": 4 }, "surprise": 1 },
            "runtime": { "start_commands": ["python train.py"], "environment_variables": { "A": "b" }, "surprise": 1 },
            "name": "first", "priority": 5, "truss_user_env": { "python_version": "3.12" }, "workspace": {},
            "weights": null,
        } }),
    );
    let made = &made["training_job"];
    assert_eq!(made["name"], "first");
    assert_eq!((&made["node_count"], &made["priority"]), (&json!(2), &json!(5)));
    assert_eq!(made["availability_model"], "spot");
    assert_eq!(made["user"], json!({ "email": "max@example.com" }));
    assert_eq!(made["training_project"], json!({ "id": "researchproject", "name": "tune" }));
    assert_eq!(
        made["instance_type"],
        json!({ "id": "A100_40GB:4:8x64", "name": "A100_40GB:4:8x64", "memory_limit_mib": 64 << 10,
                "millicpu_limit": 8000, "gpu_count": 4, "gpu_type": "A100_40GB",
                "gpu_memory_limit_mib": 40 << 10 })
    );
    let id = text(&made["id"]);
    assert_eq!(&yard.by("tess").get(&format!("{JOBS}/{id}"))["training_job"], made);
    assert_eq!(yard.by("tess").list(JOBS, "training_jobs", "id"), [id.as_str()]);
    let project = yard.by("tess").get("/v1/training_projects/researchproject");
    assert_eq!(&project["training_project"]["latest_job"], made);
    let projects = yard.by("ada").get("/v1/training_projects");
    let own = one(&projects["training_projects"], "id", "researchproject");
    assert_eq!(own["latest_job"]["id"], id);
    let other = one(&projects["training_projects"], "id", "inferenceproject");
    assert_eq!(other["latest_job"], Value::Null);
}

#[test]
fn a_job_of_a_team_key_is_no_person_s() {
    let yard = Yard::new();
    let made = yard.by("manage-all").post(JOBS, job(json!({})));
    assert_eq!(made["training_job"]["user"], json!({ "email": null }), "clients look into it unasked");
    assert_eq!(made["training_job"]["instance_type"]["gpu_type"], Value::Null);
}

#[test]
fn what_a_job_cannot_ask_for_is_refused_and_named() {
    let yard = Yard::new();
    let max = yard.by("max");
    for (fields, named) in [
        (json!({ "compute": { "node_count": 0 } }), "training_job.compute.node_count"),
        (json!({ "compute": { "cpu_count": -1 } }), "training_job.compute.cpu_count"),
        (json!({ "compute": { "memory": "2 elephants" } }), "training_job.compute.memory"),
        (json!({ "compute": { "memory": "9999999999999Ti" } }), "training_job.compute.memory"),
        (json!({ "compute": { "availability_model": "cheap" } }), "training_job.compute.availability_model"),
        (json!({ "compute": h100(0) }), "training_job.compute.accelerator.count"),
        (
            json!({ "compute": { "accelerator": { "accelerator": "H1OO", "count": 1 } } }),
            "training_job.compute.accelerator.accelerator",
        ),
        (json!({ "priority": 1_000_001 }), "training_job.priority"),
        (json!({ "name": "\u{7}" }), "training_job.name"),
        (json!({ "image": { "base_image": " " } }), "training_job.image.base_image"),
        (json!({ "runtime": { "environment_variables": { "A": 5 } } }), "environment_variables"),
        (
            json!({ "runtime": { "artifacts": [{ "s3_bucket": "elsewhere", "s3_key": "training/a" }] } }),
            "training_job.runtime.artifacts[0].s3_bucket",
        ),
    ] {
        assert!(max.refused(400, "POST", JOBS, Some(job(fields))).contains(named), "{named}");
    }
    assert!(max.refused(400, "POST", JOBS, Some(json!({ "training_job": {} }))).contains("image"));
    assert!(max.list(JOBS, "training_jobs", "id").is_empty());
}

// ---- secrets and archives ----

#[test]
fn a_job_names_secrets_of_its_project_s_team_alone() {
    let yard = Yard::new();
    let set = |team: &str, name: &str| {
        yard.by("crew").post(&format!("/v1/teams/{team}/secrets"), json!({ "name": name, "value": "v" }));
    };
    set("inference", "elsewhere");
    set("research", "hf-token");
    let named = |name: &str| json!({ "runtime": { "environment_variables": { "K": { "name": name } } } });
    yard.by("crew").post(JOBS, job(named("HF_TOKEN")));
    let refused = yard.by("crew").refused(400, "POST", JOBS, Some(job(named("elsewhere"))));
    assert!(refused.contains("`training_job.runtime.environment_variables.K`"), "{refused}");
    assert!(refused.contains("`elsewhere`") && refused.contains("team \"Research\""), "{refused}");
    let auth = |fields: Value| {
        let mut auth = json!({ "registry": "r", "auth_method": "REGISTRY_SECRET" });
        auth.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "image": { "base_image": "x", "docker_auth": auth } })
    };
    let there = json!({ "name": "hf_token" });
    let away = json!({ "name": "elsewhere" });
    for fields in [
        named("a name that no secret can have"),
        json!({ "weights": [{ "source": "hf://x", "mount_location": "/x", "auth_secret_name": "elsewhere" }] }),
        json!({ "weights": [{ "source": "hf://x", "mount_location": "/x",
                              "auth": { "auth_method": "CUSTOM_SECRET", "auth_secret_name": "elsewhere" } }] }),
        auth(json!({ "registry_secret_docker_auth": { "secret_ref": away } })),
        auth(json!({ "gcp_service_account_json_docker_auth": { "service_account_json_secret_ref": away } })),
        auth(
            json!({ "aws_iam_docker_auth": { "access_key_secret_ref": there, "secret_access_key_secret_ref": away } }),
        ),
    ] {
        assert!(yard.by("ada").refused(400, "POST", JOBS, Some(job(fields))).contains("secret"));
    }
    yard.by("crew").post(JOBS, job(auth(json!({ "registry_secret_docker_auth": { "secret_ref": there } }))));
}

#[test]
fn a_job_begins_with_checkpoints_of_its_own_team_alone() {
    let yard = Yard::new();
    let theirs = yard.by("crew").post("/v1/training_projects/inferenceproject/jobs", job(json!({})));
    yard.by("crew").post("/v1/teams/inference/training_projects", json!({ "training_project": { "name": "theirs" } }));
    let own = yard.by("crew").post(JOBS, job(json!({})));
    let from = |checkpoint: Value| {
        job(json!({ "runtime": { "load_checkpoint_config": { "enabled": true, "checkpoints": [checkpoint] } } }))
    };
    for (field, refused) in [
        ("job_id", json!({ "typ": "x", "job_id": theirs["training_job"]["id"] })),
        ("job_id", json!({ "typ": "x", "job_id": "nosuchjob" })),
        ("project_name", json!({ "typ": "x", "project_name": "theirs" })),
    ] {
        let why = yard.by("crew").refused(400, "POST", JOBS, Some(from(refused)));
        assert!(why.contains(&format!("checkpoints[0].{field}`")) && why.contains("\"Research\""), "{why}");
    }
    yard.by("crew").post(JOBS, from(json!({ "typ": "x", "job_id": own["training_job"]["id"] })));
    yard.by("crew").post(JOBS, from(json!({ "typ": "x", "project_name": "tune" })));
}

#[test]
fn a_job_is_made_of_the_caller_s_own_uploads_for_training() {
    let yard = Yard::new();
    yard.upload("training/ofmax", "max");
    yard.upload("training/oftess", "tess");
    yard.upload("models/ofmax", "max");
    yard.sql_upload("training/ofkey", None, WORLD.keys.prefix("manage-all"));
    for s3_key in ["training/oftess", "models/ofmax", "training/ofkey", "training/nosuchupload", "", "training"] {
        assert_eq!(yard.by("max").refused(404, "POST", JOBS, Some(archive(s3_key))), "no such upload", "{s3_key}");
    }
    yard.by("max").post(JOBS, archive("training/ofmax"));
    yard.by("manage-all").post(JOBS, archive("training/ofkey"));
}

#[test]
fn the_last_job_of_an_archive_takes_it_along() {
    let yard = Yard::new();
    yard.upload("training/ofmax", "max");
    let first = text(&yard.by("max").post(JOBS, archive("training/ofmax"))["training_job"]["id"]);
    let again = yard.by("tess").done("POST", &format!("{JOBS}/{first}/recreate"), None);
    let again = text(&again["training_job"]["id"]);
    yard.by("max").delete(&format!("{JOBS}/{first}"));
    assert_eq!(yard.uploads(), 1, "the other job is made of it");
    yard.by("max").delete(&format!("{JOBS}/{again}"));
    assert_eq!(yard.uploads(), 0);
    yard.upload("training/ofmax", "max");
    yard.by("max").post(JOBS, archive("training/ofmax"));
    yard.by("max").delete("/v1/training_projects/researchproject");
    assert_eq!(yard.uploads(), 0, "a project takes its jobs along");
}

// ---- what is done to a job ----

#[test]
fn only_a_job_that_waits_can_be_changed() {
    let yard = Yard::new();
    yard.ceiling("research", 1);
    let [holds, waits] = [yard.push(1, 0), yard.push(1, 0)];
    let (max, ada) = (yard.by("max"), yard.by("ada"));
    let changed = max.patch(&format!("{JOBS}/{waits}"), json!({ "priority": 7, "availability_model": "spot" }));
    assert_eq!(changed["training_job"]["priority"], 7);
    assert_eq!(changed["training_job"]["availability_model"], "spot");
    let before = ada.events();
    max.patch(&format!("{JOBS}/{waits}"), json!({}));
    max.patch(&format!("{JOBS}/{holds}"), json!({ "priority": null }));
    assert_eq!(ada.events(), before, "nothing was changed");
    let why = max.refused(409, "PATCH", &format!("{JOBS}/{holds}"), Some(json!({ "priority": 1 })));
    assert!(why.contains("TRAINING_JOB_PENDING") && why.contains("TRAINING_JOB_DEPLOYING"), "{why}");
    for (body, named) in [
        (json!({ "priority": 1_000_001 }), "priority"),
        (json!({ "availability_model": "x" }), "availability_model"),
        (json!({ "name": "x" }), "name"),
    ] {
        assert!(max.refused(400, "PATCH", &format!("{JOBS}/{waits}"), Some(body)).contains(named));
    }
}

#[test]
fn stopping_deleting_and_recreating_leave_their_entries() {
    let yard = Yard::new();
    let (max, ada) = (yard.by("max"), yard.by("ada"));
    let before = ada.events();
    let id = yard.push(1, 0);
    yard.stop(&id);
    assert_eq!(yard.status(&id), "TRAINING_JOB_STOPPED");
    assert!(max.refused(409, "POST", &format!("{JOBS}/{id}/stop"), None).contains("TRAINING_JOB_STOPPED"));
    let again = max.done("POST", &format!("{JOBS}/{id}/recreate"), Some(json!({})));
    let again = text(&again["training_job"]["id"]);
    assert_ne!(id, again);
    assert_eq!(
        max.delete(&format!("{JOBS}/{again}")),
        json!({ "id": again, "deleted": true, "training_project_id": "researchproject" })
    );
    max.delete(&format!("{JOBS}/{id}"));
    assert_eq!(
        ada.events_since(before),
        [
            "TRAINING_JOB_CREATED",
            "TRAINING_JOB_STOPPED",
            "TRAINING_JOB_CREATED",
            "TRAINING_JOB_STOPPED",
            "TRAINING_JOB_DELETED",
            "TRAINING_JOB_DELETED"
        ]
    );
    let newest = ada.get("/v1/audit_logs?limit=1")["items"][0].clone();
    assert_eq!(newest["event_data"]["training_job_id"], id);
    assert_eq!(newest["team_id"], "research");
    max.refused(404, "GET", &format!("{JOBS}/{id}"), None);
    yard.ceiling("research", 3);
    let newest = ada.get("/v1/audit_logs?limit=1")["items"][0].clone();
    assert_eq!(newest["event_type"], "TRAINING_CAPACITY_UPDATED");
    assert_eq!((&newest["event_data"]["gpu_type"], &newest["event_data"]["max_gpus"]), (&json!("H100"), &json!(3)));
}

#[test]
fn recreating_asks_again_for_what_the_job_names() {
    let yard = Yard::new();
    let max = yard.by("max");
    max.post("/v1/teams/research/secrets", json!({ "name": "hf", "value": "v" }));
    let made = max.post(
        JOBS,
        job(json!({ "name": "n", "priority": 3, "compute": h100(2),
                    "runtime": { "environment_variables": { "K": { "name": "hf" } } } })),
    );
    let recreate = format!("{JOBS}/{}/recreate", text(&made["training_job"]["id"]));
    let again = yard.by("tess").done("POST", &recreate, None);
    for field in ["name", "priority", "instance_type", "training_project"] {
        assert_eq!(again["training_job"][field], made["training_job"][field], "{field}");
    }
    assert_eq!(again["training_job"]["user"]["email"], "tess@example.com");
    max.delete("/v1/teams/research/secrets/hf");
    assert!(yard.by("tess").refused(400, "POST", &recreate, None).contains("`hf`"));
}

#[test]
fn a_search_finds_what_the_caller_sees() {
    let yard = Yard::new();
    yard.ceiling("research", 1);
    let [first, second] = [yard.push(1, 0), yard.push(1, 0)];
    let theirs = yard.by("crew").post("/v1/training_projects/inferenceproject/jobs", job(json!({})));
    let theirs = text(&theirs["training_job"]["id"]);
    let found =
        |name: &str, body: Value| all(&yard.by(name).post("/v1/training_jobs/search", body)["training_jobs"], "id");
    assert_eq!(found("ada", json!({})), [theirs.clone(), second.clone(), first.clone()], "newest first");
    assert_eq!(found("max", json!({})), [second.clone(), first.clone()]);
    assert_eq!(found("ian", json!({})), [theirs.as_str()]);
    assert_eq!(found("inference-manage-all", json!({})), [theirs.as_str()]);
    assert!(found("fay", json!({})).is_empty() && found("lone", json!({})).is_empty());
    let nulls = json!({ "statuses": null, "project_id": null, "job_id": null,
                        "order_by": [{ "field": "created_at", "order": "asc" }] });
    assert_eq!(found("crew", nulls), [first.clone(), second.clone(), theirs.clone()]);
    assert_eq!(found("crew", json!({ "statuses": ["TRAINING_JOB_PENDING"] })), [second.as_str()]);
    assert_eq!(found("crew", json!({ "project_id": "inferenceproject" })), [theirs.as_str()]);
    assert_eq!(found("crew", json!({ "job_id": first })), [first.as_str()]);
    assert!(found("max", json!({ "job_id": theirs })).is_empty(), "what is not theirs to see is not there");
    assert!(found("crew", json!({ "job_id": theirs, "project_id": "researchproject" })).is_empty());
    for (body, named) in [
        (json!({ "statuses": ["RUNNING"] }), "statuses"),
        (json!({ "order_by": [{ "field": "name", "order": "asc" }] }), "order_by"),
        (json!({ "order_by": [{ "field": "created_at", "order": "up" }] }), "order_by"),
        (json!({ "status": "TRAINING_JOB_PENDING" }), "status"),
    ] {
        let why = yard.by("crew").refused(400, "POST", "/v1/training_jobs/search", Some(body));
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn a_job_is_looked_up_in_its_project_and_team() {
    let yard = Yard::new();
    let own = yard.push(1, 0);
    let other = yard
        .by("crew")
        .post("/v1/teams/research/training_projects", json!({ "training_project": { "name": "another" } }));
    let other = text(&other["training_project"]["id"]);
    for project in ["inferenceproject", &other] {
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/recreate"), ("GET", "/logs")]
        {
            let target = format!("/v1/training_projects/{project}/jobs/{own}{rest}");
            assert_eq!(yard.by("crew").refused(404, method, &target, None), "no such training job");
        }
    }
    assert_eq!(yard.by("ian").refused(404, "GET", &format!("{JOBS}/{own}"), None), "no such training project");
}

// ---- logs and the rest ----

#[test]
fn a_log_says_that_nothing_runs_and_is_paged_by_its_milliseconds() {
    let yard = Yard::new();
    yard.ceiling("research", 1);
    let first = yard.push(1, 0);
    let id = yard.push(1, 0);
    yard.stop(&first);
    yard.stop(&id);
    let lines = yard.lines(&id);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("the ceiling of team \"Research\" is 1 H100"), "{lines:?}");
    assert!(lines[1].contains("No trainer is attached to this installation"), "{lines:?}");
    assert_eq!(lines[2], "Stopped.");
    let page = |start: i64, body: Value| {
        let mut asked = json!({ "start_epoch_millis": start, "end_epoch_millis": start + 7_200_000, "direction": "asc",
                                "limit": 1 });
        asked.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        yard.by("max").post(&format!("{JOBS}/{id}/logs"), asked)["logs"].clone()
    };
    let (mut start, mut paged) = (BEGIN.0, Vec::new());
    while let Some(line) = page(start, json!({})).get(0) {
        let millis = text(&line["timestamp"]).parse::<i64>().unwrap() / 1_000_000;
        assert!(line.as_object().unwrap().contains_key("replica"));
        paged.push(text(&line["message"]));
        start = millis + 1;
    }
    assert_eq!(paged, lines, "pages of one line, until an empty one");
    assert_eq!(page(BEGIN.0, json!({ "min_level": "WARNING", "limit": 10 })), json!([]));
    assert_eq!(page(BEGIN.0, json!({ "min_level": "INFO", "limit": 10 })).as_array().unwrap().len(), 3);
    let newest = yard.by("max").get(&format!("{JOBS}/{id}/logs?limit=1"))["logs"][0]["message"].clone();
    assert_eq!(newest, "Stopped.");
    yard.server.now.set(at(3600));
    assert_eq!(yard.by("max").get(&format!("{JOBS}/{id}/logs"))["logs"], json!([]), "30 minutes back by itself");
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "direction=up",
        "min_level=info",
        "start_epoch_millis=5&end_epoch_millis=4",
        "start_epoch_millis=0&end_epoch_millis=604800001",
        "start_epoch_millis=-9223372036854775808",
    ] {
        let why = yard.by("max").refused(400, "GET", &format!("{JOBS}/{id}/logs?{query}"), None);
        assert!(why.contains(query.split('=').next().unwrap()), "{query}: {why}");
    }
    yard.by("max").get(&format!("{JOBS}/{id}/logs?start_epoch_millis=0&end_epoch_millis=604800000"));
}

#[test]
fn what_only_a_run_would_bring_is_empty() {
    let yard = Yard::new();
    let id = yard.push(1, 0);
    let max = yard.by("max");
    let metrics = max.get(&format!("{JOBS}/{id}/metrics?step_seconds=60"));
    assert_eq!(metrics["training_job"]["id"], id);
    assert_eq!(
        (&metrics["cpu_usage"], &metrics["gpu_utilization"], &metrics["ephemeral_storage"], &metrics["cache"]),
        (&json!([]), &json!({}), &json!({ "usage_bytes": [], "utilization": [] }), &Value::Null)
    );
    assert_eq!(max.done("POST", &format!("{JOBS}/{id}/metrics"), None), max.get(&format!("{JOBS}/{id}/metrics")));
    for query in ["start_epoch_millis=2&end_epoch_millis=1", "step_seconds=0"] {
        max.refused(400, "GET", &format!("{JOBS}/{id}/metrics?{query}"), None);
    }
    assert_eq!(max.get(&format!("{JOBS}/{id}/checkpoints"))["checkpoints"], json!([]));
    assert_eq!(
        max.get(&format!("{JOBS}/{id}/checkpoint_files?page_size=1000&page_token=0")),
        json!({ "presigned_urls": [], "next_page_token": null, "total_count": 0 })
    );
    assert!(max.refused(400, "GET", &format!("{JOBS}/{id}/checkpoint_files?page_size=0"), None).contains("page_size"));
    assert_eq!(max.get(&format!("{JOBS}/{id}/auth_codes")), json!({ "auth_codes": [] }));
    let cache = max.get("/v1/training_projects/researchproject/cache/summary");
    assert_eq!((&cache["project_id"], &cache["file_summaries"]), (&json!("researchproject"), &json!([])));
}
