//! What a person does with a deployment, and what its settings ask for.

use serde_json::json;

use super::{Site, echo};

#[test]
fn a_deployment_sleeps_without_calls_and_wakes_by_one() {
    let site = Site::new();
    let scaling = json!({ "autoscaling_settings": { "min_replica": 0, "scale_down_delay": 0 } });
    let model = site.push("echo", echo(""), scaling);
    site.wait_for(&model, "SCALED_TO_ZERO");
    site.wait_until(&model, "no replica", || site.replicas(&model) == 0);
    let answer = site.call(&model);
    assert_eq!(answer["input"]["word"], "hello");
    site.wait_for(&model, "SCALED_TO_ZERO");
}

#[test]
fn a_deployment_is_deactivated_activated_and_deleted() {
    let site = Site::new();
    let kept = site.push("echo", echo(""), json!({}));
    site.wait_for(&kept, "ACTIVE");
    let other = site.push("other", echo(""), json!({}));
    site.wait_for(&other, "ACTIVE");
    site.done("POST", &format!("{}/deactivate", other.path()), None);
    site.wait_for(&other, "INACTIVE");
    assert_eq!(site.replicas(&other), 0);
    let (status, answer) = site.send("POST", &other.predict(), Some(json!({})));
    assert!((400..600).contains(&status), "{answer}");
    site.done("POST", &format!("{}/activate", other.path()), None);
    site.wait_for(&other, "ACTIVE");
    site.call(&other);
    site.done("DELETE", &format!("/v1/models/{}", other.id), None);
    let (status, _) = site.send("POST", &other.predict(), Some(json!({})));
    assert_eq!(status, 404);
    site.call(&kept);
}

#[test]
fn what_does_not_fit_waits_and_what_never_fits_fails() {
    let site = Site::with(&["--runner-memory-max", "200MiB"]);
    let first = site.push("first", echo(""), json!({}));
    site.wait_for(&first, "ACTIVE");
    let second = site.push("second", echo(""), json!({}));
    site.wait_for_line(&second, "waits to be started");
    assert_eq!(site.status(&second), "DEPLOYING");
    let mut large = echo("");
    large["resources"]["memory"] = json!("1Gi");
    let large = site.push("large", large, json!({}));
    site.wait_for(&large, "DEPLOY_FAILED");
    site.wait_for_line(&large, "--runner-memory-max");
    let mut accelerated = echo("");
    accelerated["resources"]["accelerator"] = json!("H100");
    let accelerated = site.push("accelerated", accelerated, json!({}));
    site.wait_for(&accelerated, "DEPLOY_FAILED");
    site.wait_for_line(&accelerated, "H100");
    site.done("POST", &format!("{}/deactivate", first.path()), None);
    site.wait_for(&second, "ACTIVE");
}

#[test]
fn a_promoted_deployment_takes_over_only_when_it_serves() {
    let site = Site::new();
    let first = site.push("echo", echo(""), json!({}));
    site.wait_for(&first, "ACTIVE");
    let body = json!({ "source": { "kind": "model_archive", "deployment": {
        "config": echo("--never-ready"), "environment_name": "production",
    } } });
    let made = site.done("POST", &format!("/v1/models/{}/deployments", first.id), Some(body));
    let candidate =
        super::Model { id: first.id.clone(), deployment: made["deployment"]["id"].as_str().unwrap().into() };
    site.wait_for(&candidate, "LOADING_MODEL");
    let production = format!("/v1/models/{}/environments/production", first.id);
    let serving = site.done("GET", &production, None);
    assert_eq!(serving["current_deployment"]["id"], json!(first.deployment), "{serving}");
}

#[test]
fn several_replicas_answer_together() {
    let site = Site::with(&["--runner-replicas-max", "2"]);
    let scaling = json!({ "autoscaling_settings": { "min_replica": 2, "max_replica": 4 } });
    let model = site.push("echo", echo("--sleep-ms 300"), scaling);
    site.wait_until(&model, "two replicas", || site.replicas(&model) == 2);
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| site.call(&model))).collect();
        calls.into_iter().for_each(|call| drop(call.join().unwrap()));
    });
    assert!(begun.elapsed() < super::PATIENCE);
    assert_eq!(site.replicas(&model), 2);
}
