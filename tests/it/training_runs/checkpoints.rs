//! Checkpoints, which are files that clients list and download, and caches.

use std::os::unix::fs::symlink;

use guildhall::api::Request;

use super::*;

const WRITES: &str = "\
cd $BT_CHECKPOINT_DIR && mkdir step-1 step-2 \
&& echo one > step-1/model.bin && echo '{\"base_model_name_or_path\": \"llama\"}' > step-2/adapter_config.json \
&& ln -s /etc step-3 && ln -s /etc/passwd step-1/passwd";

fn keeps() -> Value {
    json!({ "checkpointing_config": { "enabled": true } })
}

#[test]
fn checkpoints_are_listed_with_their_files_and_links_are_not() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &[WRITES], keeps());
    gym.completed(&job);
    let listed = gym.acme.get("max", &format!("{}/checkpoints", job.path));
    assert_eq!(all(&listed["checkpoints"], "checkpoint_id"), ["step-1", "step-2"]);
    assert_eq!(all(&listed["checkpoints"], "checkpoint_type"), ["full", "lora"]);
    assert_eq!(all(&listed["checkpoints"], "sync_status"), ["COMPLETE", "COMPLETE"]);
    assert_eq!(listed["checkpoints"][0]["size_bytes"], 4);
    assert_eq!(listed["checkpoints"][1]["lora_adapter_config"]["base_model_name_or_path"], "llama");
    assert_eq!(listed["training_job"]["checkpoint_sync_status"], "COMPLETED");
    let files = gym.acme.get("max", &format!("{}/checkpoint_files", job.path));
    assert_eq!(all(&files["presigned_urls"], "relative_file_name"), ["step-1/model.bin", "step-2/adapter_config.json"]);
    assert_eq!((&files["total_count"], &files["next_page_token"]), (&json!(2), &Value::Null));
    let page = gym.acme.get("max", &format!("{}/checkpoint_files?page_size=1", job.path));
    assert_eq!((&page["total_count"], &page["next_page_token"]), (&json!(2), &json!(1)));
    let page = gym.acme.get("max", &format!("{}/checkpoint_files?page_size=1&page_token=1", job.path));
    assert_eq!(all(&page["presigned_urls"], "relative_file_name"), ["step-2/adapter_config.json"]);
    for route in ["checkpoints", "checkpoint_files"] {
        gym.acme.refused(404, "ian", "GET", &format!("{}/{route}", job.path), None);
    }
}

#[test]
fn a_link_leads_to_its_file_until_the_job_is_deleted() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &[WRITES], keeps());
    gym.completed(&job);
    let files = gym.acme.get("max", &format!("{}/checkpoint_files", job.path));
    let url = text(&files["presigned_urls"][0]["url"]);
    let target = url.strip_prefix("http://localhost:8000").expect("links begin with the base URL").to_owned();
    let server = &gym.acme.server;
    let found = || {
        let request: Request = server.request(None, "GET", &target, Vec::new());
        server.answer(request)
    };
    let guildhall::domain::Download::Checkpoint { path, .. } = found().archive.expect("a file") else {
        panic!("{url}")
    };
    assert_eq!(path, "step-1/model.bin");
    gym.acme.delete("max", &job.path);
    assert_eq!(found().status, 404);
}

#[test]
fn checkpoints_are_listed_while_the_job_runs() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &[WRITES, "sleep 1000"], keeps());
    let path = format!("{}/checkpoints", job.path);
    wait_until("its checkpoints", || gym.acme.get("max", &path)["checkpoints"].as_array().unwrap().len() == 2);
    let listed = gym.acme.get("max", &path);
    assert_eq!(all(&listed["checkpoints"], "sync_status"), ["SYNCING", "SYNCING"]);
    assert_eq!(listed["training_job"]["checkpoint_sync_status"], "SYNCING");
    gym.acme.post("max", &format!("{}/stop", job.path), json!({}));
}

#[test]
fn a_job_begins_with_a_checkpoint_of_its_team_that_it_cannot_change() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let first = gym.push("max", &project, &[WRITES], keeps());
    gym.completed(&first);
    let load =
        |checkpoint: Value| json!({ "load_checkpoint_config": { "enabled": true, "checkpoints": [checkpoint] } });
    let named = json!({ "typ": "baseten_named_checkpoint", "job_id": first.id, "checkpoint_name": "step-1" });
    let reads =
        "cat $BT_LOAD_CHECKPOINT_DIR/step-1/model.bin; echo two > $BT_LOAD_CHECKPOINT_DIR/step-1/model.bin; true";
    let job = gym.push("max", &project, &[reads], load(named.clone()));
    gym.completed(&job);
    assert!(gym.log(&job).contains(&"one".to_owned()), "{:?}", gym.log(&job));
    let kept = gym.folder("research").join("checkpoints").join(&first.id).join("step-1/model.bin");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "one\n");
    let latest = load(json!({ "typ": "baseten_latest_checkpoint", "project_name": "kites" }));
    gym.completed(&gym.push("max", &project, &["ls $BT_LOAD_CHECKPOINT_DIR/step-*"], latest));
    let missing = load(json!({ "typ": "baseten_named_checkpoint", "job_id": first.id, "checkpoint_name": "step-9" }));
    let job = gym.push("max", &project, &["true"], missing);
    let why = text(&gym.wait_for(&job, "TRAINING_JOB_DEPLOY_FAILED")["error_message"]);
    assert!(why.contains("no checkpoint"), "{why}");
}

#[test]
fn caches_are_shared_within_the_project_and_the_team_alone() {
    let gym = Gym::new();
    let cache = || json!({ "cache_config": { "enabled": true } });
    let (kites, boats) = (gym.project("max", "research", "kites"), gym.project("max", "research", "boats"));
    let abroad = gym.project("ian", "inference", "kites");
    let writes = "echo project > $BT_PROJECT_CACHE_DIR/file; echo team > $BT_TEAM_CACHE_DIR/file";
    let shows = "cat $BT_PROJECT_CACHE_DIR/file $BT_TEAM_CACHE_DIR/file 2>/dev/null; true";
    gym.completed(&gym.push("max", &kites, &[writes], cache()));
    for (who, project, expected) in
        [("max", &kites, vec!["project", "team"]), ("max", &boats, vec!["team"]), ("ian", &abroad, vec![])]
    {
        let job = gym.push(who, project, &[shows], cache());
        gym.completed(&job);
        let seen: Vec<_> =
            gym.log(&job).into_iter().filter(|line| ["project", "team"].contains(&line.as_str())).collect();
        assert_eq!(seen, expected);
    }
    let summary = gym.acme.get("max", &format!("/v1/training_projects/{kites}/cache/summary"));
    assert_eq!(all(&summary["file_summaries"], "path"), ["file"]);
    gym.acme.refused(404, "ian", "GET", &format!("/v1/training_projects/{kites}/cache/summary"), None);
}

#[test]
fn a_job_reads_nothing_of_other_jobs_teams_or_the_server() {
    let gym = Gym::new();
    let (kites, abroad) = (gym.project("max", "research", "kites"), gym.project("ian", "inference", "kites"));
    gym.completed(&gym.push("ian", &abroad, &[WRITES], keeps()));
    gym.completed(&gym.push("max", &kites, &[WRITES], keeps()));
    let data = gym.acme.server.data().display().to_string();
    let spy = format!(
        "for path in {data}/guildhall.db {data}/master.key {data}/archives {data}/runner/training/inference \
         {data}/runner/training/research/checkpoints; do cat $path/* $path 2>/dev/null | grep -q . && echo read $path; \
         ls $path >/dev/null 2>&1 && [ -d $path ] && echo listed $path; done; true"
    );
    let job = gym.push("max", &kites, &[&spy], Value::Null);
    gym.completed(&job);
    let seen: Vec<_> =
        gym.log(&job).into_iter().filter(|line| line.starts_with("read") || line.starts_with("listed")).collect();
    assert_eq!(seen, Vec::<String>::new());
    // A link that somebody puts there later is not followed either.
    let folder = gym.folder("research").join("checkpoints").join(&job.id);
    std::fs::create_dir_all(&folder).unwrap();
    symlink("/etc", folder.join("step-1")).unwrap();
    assert!(training::open_inside(&folder, "step-1/passwd").is_err());
}
