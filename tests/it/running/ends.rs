//! Models that fail, crash, hang, or print without end.

use serde_json::json;

use super::{Site, echo};

#[test]
fn what_ends_before_it_is_ready_has_failed_whatever_its_exit_code() {
    let site = Site::new();
    for (name, command) in [("zero", "exit 0"), ("one", "echo no weights >&2; exit 1")] {
        let mut config = echo("");
        config["docker_server"]["start_command"] = json!(command);
        let model = site.push(name, config, json!({}));
        site.wait_for(&model, "FAILED");
        site.wait_for_line(&model, "before it was ready");
        let (status, answer) = site.send("POST", &model.predict(), Some(json!({})));
        assert!(status >= 400, "{answer}");
    }
}

#[test]
fn what_has_nothing_to_run_cannot_be_built() {
    let site = Site::new();
    let model = site.push("empty", json!({}), json!({}));
    site.wait_for(&model, "BUILD_FAILED");
    site.wait_for_line(&model, "no archive was uploaded");
}

#[test]
fn a_crash_is_mended_and_its_neighbour_does_not_notice() {
    let site = Site::new();
    let neighbour = site.push("neighbour", echo(""), json!({}));
    site.wait_for(&neighbour, "ACTIVE");
    site.wait_for_line(&neighbour, "listening");
    let replica = site.replica(&neighbour);
    let model = site.push("echo", echo("--exit-after-ms 3000"), json!({}));
    site.wait_for(&model, "ACTIVE");
    site.wait_for(&model, "UNHEALTHY");
    site.wait_for_line(&model, "another is started");
    site.wait_for(&model, "ACTIVE");
    site.call(&neighbour);
    assert_eq!(site.replica(&neighbour), replica);
}

#[test]
fn what_is_never_ready_delays_nobody_and_can_be_stopped() {
    let site = Site::new();
    let hanging: Vec<_> =
        (0..3).map(|number| site.push(&format!("hanging-{number}"), echo("--never-ready"), json!({}))).collect();
    let team = site.done("POST", "/v1/teams", Some(json!({ "name": "others" })));
    let path = format!("/v1/teams/{}/models", team["id"].as_str().unwrap());
    let model = site.push_to(&path, "echo", echo(""), json!({}));
    site.wait_for(&model, "ACTIVE");
    site.wait_for(&hanging[0], "LOADING_MODEL");
    site.done("POST", &format!("{}/deactivate", hanging[0].path()), None);
    site.wait_for(&hanging[0], "INACTIVE");
}

#[test]
fn what_a_model_prints_is_in_its_log_and_can_be_found() {
    let site = Site::new();
    let mut config = echo("");
    let command = r#"echo '{"levelname": "WARNING", "message": "from json", "request_id": "r1"}'; echo plain; exec "$GUILDHALL_PROGRAM" echo"#;
    config["docker_server"]["start_command"] = json!(command);
    let model = site.push("echo", config, json!({}));
    site.wait_for(&model, "ACTIVE");
    site.wait_for_line(&model, "plain");
    site.wait_for_line(&model, "from json");
    let found = |filter: &str| {
        let logs = site.done("GET", &format!("{}/logs?{filter}", model.path()), None)["logs"].clone();
        logs.as_array().unwrap().clone()
    };
    let of_request = found("request_id=r1");
    assert_eq!(of_request.len(), 1, "{of_request:?}");
    assert_eq!((&of_request[0]["level"], &of_request[0]["message"]), (&json!("WARNING"), &json!("from json")));
    let replica = of_request[0]["replica"].as_str().expect("a replica printed it").to_owned();
    assert!(found(&format!("replica={replica}")).iter().all(|line| line["replica"] == json!(replica)));
    assert!(found("min_level=ERROR").is_empty());
}

#[test]
fn an_external_endpoint_is_watched_and_gets_its_secrets() {
    let site = Site::new();
    site.set_secret("token", "s3cret");
    // A server of this machine that the test itself starts.
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_guildhall"))
        .args(["echo", "--port", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.take().unwrap()), &mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("it says where").to_owned();
    let endpoint = json!({
        "url": url,
        "headers": { "X-Token": "Bearer ${{ secrets.token }}" },
        "health_path": "/health",
    });
    let config = json!({ "model_metadata": { "guildhall": { "endpoint": endpoint } } });
    let model = site.push("endpoint", config, json!({}));
    site.wait_for(&model, "ACTIVE");
    let answer = site.done("POST", &model.predict(), Some(json!({ "show_headers": true })));
    assert!(answer.to_string().contains("Bearer s3cret"), "{answer}");
    other.kill().unwrap();
    other.wait().unwrap();
    site.wait_for(&model, "UNHEALTHY");
    for url in ["http://169.254.169.254/latest", "http://example.com/"] {
        let config = json!({ "model_metadata": { "guildhall": { "endpoint": { "url": url } } } });
        let refused = site.push(&format!("refused{}", url.len()), config, json!({}));
        site.wait_until(&refused, "a failure", || site.status(&refused).ends_with("FAILED"));
    }
}
