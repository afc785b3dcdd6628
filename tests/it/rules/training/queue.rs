//! The queue: ceilings, order, and what an organization admin is told of them.

use serde_json::{Value, json};

use super::{CAPACITY, JOBS, Yard, all, at, h100, job, text};

#[test]
fn a_job_past_its_team_s_ceiling_waits_and_leaves_by_priority_then_age() {
    let yard = Yard::new();
    yard.ceiling("research", 4);
    let [first, low, high, old, young] = [(4, 0), (1, -1), (4, 9), (2, 1), (2, 1)].map(|(n, p)| yard.push(n, p));
    assert_eq!(yard.status(&first), "TRAINING_JOB_DEPLOYING");
    for waits in [&low, &high, &old, &young] {
        assert_eq!(yard.status(waits), "TRAINING_JOB_PENDING");
    }
    yard.stop(&first);
    assert_eq!(yard.status(&high), "TRAINING_JOB_DEPLOYING");
    assert_eq!(yard.status(&old), "TRAINING_JOB_PENDING");
    yard.by("max").patch(&format!("{JOBS}/{young}"), json!({ "priority": 2 }));
    yard.by("max").delete(&format!("{JOBS}/{high}"));
    assert_eq!([&young, &old].map(|id| yard.status(id)), ["TRAINING_JOB_DEPLOYING"; 2]);
    assert_eq!(yard.status(&low), "TRAINING_JOB_PENDING");
    yard.ceiling("research", 5);
    assert_eq!(yard.status(&low), "TRAINING_JOB_DEPLOYING", "a raised ceiling lets the next one go");
    yard.ceiling("research", 0);
    assert_eq!(yard.status(&low), "TRAINING_JOB_DEPLOYING", "a lowered one stops nothing");
}

#[test]
fn nobody_overtakes_the_head_but_who_could_never_go_holds_up_nobody() {
    let yard = Yard::new();
    yard.ceiling("research", 4);
    let holds = yard.push(3, 0);
    let [head, behind, never, after] = [(2, 5), (1, 0), (5, 9), (1, 0)].map(|(n, p)| yard.push(n, p));
    assert_eq!([&head, &behind, &never, &after].map(|id| yard.status(id)), ["TRAINING_JOB_PENDING"; 4]);
    yard.stop(&head);
    assert_eq!(yard.status(&behind), "TRAINING_JOB_DEPLOYING", "its head is gone");
    assert_eq!(yard.status(&never), "TRAINING_JOB_PENDING");
    yard.stop(&holds);
    assert_eq!(yard.status(&after), "TRAINING_JOB_DEPLOYING");
    assert!(yard.lines(&never)[0].contains("asks for 5 H100"), "{:?}", yard.lines(&never));
}

/// One that could never be deployed kept every stop and push of its team from being done.
#[test]
fn a_job_that_cannot_be_deployed_fails_and_the_next_one_goes() {
    let yard = Yard::new();
    yard.ceiling("research", 1);
    let [first, broken, next] = [(1, 0), (1, 5), (1, 0)].map(|(n, p)| yard.push(n, p));
    let sql = crate::seed::open(yard.server.data());
    sql.execute_batch(&format!(
        "CREATE TRIGGER refuses BEFORE UPDATE OF status ON training_job
         WHEN NEW.id = '{broken}' AND NEW.status = 'TRAINING_JOB_DEPLOYING'
         BEGIN SELECT RAISE(ABORT, 'never'); END"
    ))
    .unwrap();
    yard.stop(&first);
    assert_eq!(yard.status(&broken), "TRAINING_JOB_DEPLOY_FAILED");
    assert_eq!(yard.status(&next), "TRAINING_JOB_DEPLOYING");
}

#[test]
fn a_ceiling_is_of_one_team_and_one_gpu_type() {
    let yard = Yard::new();
    yard.ceiling("research", 0);
    assert_eq!(yard.status(&yard.push(1, 0)), "TRAINING_JOB_PENDING");
    let spot = json!({ "accelerator": { "accelerator": "h100", "count": 1 }, "availability_model": "spot" });
    let l4 = json!({ "accelerator": { "accelerator": "L4", "count": 1 } });
    for (compute, project, status) in [
        (spot, "researchproject", "TRAINING_JOB_PENDING"),
        (l4, "researchproject", "TRAINING_JOB_DEPLOYING"),
        (json!({}), "researchproject", "TRAINING_JOB_DEPLOYING"),
        (h100(8), "inferenceproject", "TRAINING_JOB_DEPLOYING"),
    ] {
        let target = format!("/v1/training_projects/{project}/jobs");
        let made = yard.by("crew").post(&target, job(json!({ "compute": compute })));
        assert_eq!(made["training_job"]["current_status"], status, "{compute} in {project}");
    }
}

#[test]
fn nodes_count_and_deleting_a_project_frees_what_its_jobs_held() {
    let yard = Yard::new();
    yard.ceiling("research", 8);
    let mut compute = h100(4);
    compute["node_count"] = json!(2);
    yard.by("max").post(JOBS, job(json!({ "compute": compute })));
    let elsewhere = yard
        .by("max")
        .post("/v1/teams/research/training_projects", json!({ "training_project": { "name": "another" } }));
    let jobs = format!("/v1/training_projects/{}/jobs", text(&elsewhere["training_project"]["id"]));
    let waits = yard.by("max").post(&jobs, job(json!({ "compute": h100(1) })));
    assert_eq!(waits["training_job"]["current_status"], "TRAINING_JOB_PENDING");
    yard.by("max").delete("/v1/training_projects/researchproject");
    let waits = yard.by("max").get(&format!("{jobs}/{}", text(&waits["training_job"]["id"])));
    assert_eq!(waits["training_job"]["current_status"], "TRAINING_JOB_DEPLOYING");
}

#[test]
fn capacity_is_set_by_organization_admins_and_seen_by_who_sees_the_team() {
    let yard = Yard::new();
    let set = json!({ "team_id": "research", "gpu_type": "h100", "max_gpus": 4 });
    for name in ["tess", "max", "lone", "manage-all", "key-manager"] {
        yard.by(name).refused(403, "PATCH", CAPACITY, Some(set.clone()));
    }
    let answered = yard.by("ada").patch(CAPACITY, set.clone());
    let mut expected = json!({
        "team_id": "research", "team_name": "Research", "gpu_type": "H100", "baseline": 0, "limit": 4,
        "usage_count": 0, "dedicated_usage_count": 0, "spot_usage_count": 0,
    });
    assert_eq!(answered["team_gpu_capacity"], expected);
    yard.push(3, 0);
    yard.by("max").post(
        JOBS,
        job(json!({ "compute": {
        "accelerator": { "accelerator": "H100", "count": 1 }, "availability_model": "spot" } })),
    );
    yard.push(1, 0);
    expected["usage_count"] = json!(4);
    expected["dedicated_usage_count"] = json!(3);
    expected["spot_usage_count"] = json!(1);
    for name in ["max", "manage-all", "ada"] {
        let seen = yard.by(name).get(CAPACITY);
        assert_eq!(seen, json!({ "gpu_capacities": [], "team_gpu_capacities": [expected] }), "{name}");
    }
    for name in ["ian", "lone", "fay"] {
        assert_eq!(yard.by(name).get(CAPACITY)["team_gpu_capacities"], json!([]), "{name}");
    }
    for (field, value) in [("gpu_type", json!("H101")), ("max_gpus", json!(-1)), ("surprise", json!(1))] {
        let mut body = set.clone();
        body[field] = value;
        assert!(yard.by("ada").refused(400, "PATCH", CAPACITY, Some(body)).contains(field));
    }
    for team in ["abroad", "nosuchteam"] {
        let body = json!({ "team_id": team, "gpu_type": "H100", "max_gpus": 4 });
        assert_eq!(yard.by("ada").refused(404, "PATCH", CAPACITY, Some(body)), "no such team");
    }
}

#[test]
fn the_queue_context_tells_an_organization_admin_what_stood_in_the_way() {
    let yard = Yard::new();
    yard.ceiling("research", 4);
    let [holds, ahead, late, target] = [(4, 0), (1, 3), (1, -1), (2, 0)].map(|(n, p)| yard.push(n, p));
    let context = |id: &str| yard.by("ada").get(&format!("/v1/training/jobs/{id}/queue_context"));
    let seen = context(&target);
    assert_eq!((&seen["gpu_type"], &seen["requested_gpus"]), (&json!("H100"), &json!(2)));
    assert_eq!((&seen["released_at"], &seen["pending_seconds"]), (&Value::Null, &Value::Null));
    assert_eq!(all(&seen["active_at_submit"], "training_job_id"), [holds.as_str()]);
    assert_eq!(seen["active_at_submit"][0]["status_at_submit"], "TRAINING_JOB_DEPLOYING");
    assert_eq!(all(&seen["pending_ahead_at_submit"], "training_job_id"), [ahead.as_str()], "not {late}");
    assert_eq!(seen["team_capacity"]["max_gpus"], 4);
    yard.server.now.set(at(90));
    yard.stop(&holds);
    let seen = context(&target);
    assert_eq!((&seen["released_at"], &seen["pending_seconds"]), (&json!(at(90)), &json!(90)));
    assert_eq!(all(&seen["active_at_submit"], "training_job_id"), [holds.as_str()], "as it was then");
    let mine: Vec<_> = seen["events"].as_array().unwrap().iter().filter(|e| e["training_job_id"] == target).collect();
    let statuses: Vec<_> = mine.iter().map(|event| text(&event["status"])).collect();
    assert_eq!(statuses, ["TRAINING_JOB_PENDING", "TRAINING_JOB_CREATED", "TRAINING_JOB_DEPLOYING"]);
    assert!(all(&seen["events"], "status").contains(&"TRAINING_JOB_STOPPED".to_owned()));
    let of_nothing = yard.by("max").post(JOBS, job(json!({})));
    let seen = context(&text(&of_nothing["training_job"]["id"]));
    assert_eq!((&seen["gpu_type"], &seen["pending_seconds"]), (&json!(""), &json!(0)));
    yard.by("tess").refused(403, "GET", &format!("/v1/training/jobs/{target}/queue_context"), None);
    yard.by("fay").refused(404, "GET", &format!("/v1/training/jobs/{target}/queue_context"), None);
}
