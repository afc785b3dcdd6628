//! The running models of the demo: `guildhall echo` as a custom server in two teams, each with a secret of its team.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use crate::wire::fixtures::{LoadedOrganization, LoadedPerson};

const MODEL: &str = "echo";
const SECRET: &str = "greeting_key";
/// The teams that get a model.
const TEAMS: [&str; 2] = ["Research", "Inference"];
const ACTIVE_WITHIN: Duration = Duration::from_secs(120);
const ASKS_EVERY: Duration = Duration::from_millis(100);

/// A model of the demo.
struct Model {
    team: &'static str,
    id: String,
    deployment_id: String,
}

/// Deploys the models, calls them, and returns what the demo prints about them. `url` is the address for people.
///
/// # Errors
///
/// Why a model does not run, as a sentence.
pub fn run(server: SocketAddr, url: &str, organizations: &[LoadedOrganization]) -> Result<String, String> {
    let organization = organizations
        .iter()
        .find(|organization| TEAMS.iter().all(|team| organization.teams.iter().any(|known| known.name == *team)))
        .ok_or("no organization of the demo has the teams for it")?;
    let admin = organization.people.iter().find(|person| person.role == "ADMIN").ok_or("nobody is an admin")?;
    let client = Client { server, key: &admin.api_key };
    let mut models = Vec::new();
    for team in TEAMS {
        let known = organization.teams.iter().find(|known| known.name == team).ok_or("a team is missing")?;
        models.push(deploy(&client, team, &known.team_id)?);
    }
    let mut hashes = Vec::new();
    for model in &models {
        wait(&client, model)?;
        let path = format!("/models/{}/environments/production/predict", model.id);
        let answer = client.ask("POST", &path, &json!({ "hello": model.team }))?;
        hashes.push(answer["secret_sha256"].as_str().unwrap_or("no secret").to_owned());
    }
    let later = format!("/models/{}/environments/production/async_predict", models[0].id);
    let asked = client.ask("POST", &later, &json!({ "model_input": { "hello": "later" } }))?;
    let request_id = asked["request_id"].as_str().unwrap_or_default().to_owned();
    let member = organization.people.iter().find(|person| is_only_in(person, TEAMS[0]));
    Ok(page(url, admin, member, &models, &hashes, &request_id))
}

fn deploy(client: &Client, team: &'static str, team_id: &str) -> Result<Model, String> {
    let value = format!("{:032x}", rand::random::<u128>());
    client.ask("POST", &format!("/v1/teams/{team_id}/secrets"), &json!({ "name": SECRET, "value": value }))?;
    let config = json!({
        "model_name": MODEL,
        "docker_server": {
            "start_command": format!("\"$GUILDHALL_PROGRAM\" echo --secret {SECRET} --log-calls"),
            "server_port": 8080,
            "predict_endpoint": "/predict",
            "readiness_endpoint": "/health",
            "liveness_endpoint": "/health",
        },
        "secrets": { SECRET: null },
        "resources": { "cpu": "1", "memory": "256Mi" },
    });
    // JSON is YAML.
    let deployment = json!({ "config": config, "raw_config": config.to_string() });
    let source = json!({ "kind": "model_archive", "name": MODEL, "deployment": deployment });
    let made = client.ask("POST", &format!("/v1/teams/{team_id}/models"), &json!({ "source": source }))?;
    let id = |what: &str| made[what]["id"].as_str().map(str::to_owned).ok_or(format!("the answer names no {what}"));
    Ok(Model { team, id: id("model")?, deployment_id: id("deployment")? })
}

/// Waits until a model is active.
fn wait(client: &Client, model: &Model) -> Result<(), String> {
    let path = format!("/v1/models/{}/deployments/{}", model.id, model.deployment_id);
    let begun = Instant::now();
    loop {
        let status = client.ask("GET", &path, &Value::Null)?["status"].as_str().unwrap_or_default().to_owned();
        if status == "ACTIVE" {
            return Ok(());
        }
        if status.ends_with("FAILED") || begun.elapsed() > ACTIVE_WITHIN {
            let logs = client.ask("GET", &format!("{path}/logs?limit=5"), &Value::Null)?;
            let lines = logs["logs"].as_array().into_iter().flatten();
            let lines: Vec<_> = lines.filter_map(|line| line["message"].as_str()).collect();
            return Err(format!("the model of {} is {status}: {}", model.team, lines.join("; ")));
        }
        std::thread::sleep(ASKS_EVERY);
    }
}

fn is_only_in(person: &LoadedPerson, team: &str) -> bool {
    person.role != "ADMIN" && matches!(&person.teams[..], [only] if only.name == team)
}

fn page(
    url: &str,
    admin: &LoadedPerson,
    member: Option<&LoadedPerson>,
    models: &[Model],
    hashes: &[String],
    request_id: &str,
) -> String {
    let key = super::variable(&admin.name);
    let post = |options: &str, path: &str, body: &str| {
        format!("\x20 curl -s{options} -X POST -H \"Authorization: Bearer ${key}\" {url}{path} -d '{body}'\n")
    };
    let get = |key: &str, path: &str| format!("\x20 curl -s -H \"Authorization: Bearer ${key}\" \"{url}{path}\"\n");
    let mut page = format!(
        "\nModels of two teams run. Both read the secret \"{SECRET}\" of their own team and answer its SHA-256:\n\n"
    );
    for (model, hash) in models.iter().zip(hashes) {
        page.push_str(&format!("\x20 # {}: {hash}\n", model.team));
        page.push_str(&post("", &path(model, "predict"), &format!("{{\"hello\": \"{}\"}}", model.team)));
    }
    let [first, other] = [&models[0], &models[1]];
    page.push_str("\nAn answer in pieces, as the model makes them:\n\n");
    page.push_str(&post("N", &path(first, "predict"), "{\"stream\": true, \"chunks\": 5, \"chunk_ms\": 300}"));
    page.push_str("\nA call that is carried out later, and one that was carried out already:\n\n");
    page.push_str(&post("", &path(first, "async_predict"), "{\"model_input\": {\"hello\": \"later\"}}"));
    page.push_str(&get(&key, &format!("/models/{}/async_request/{request_id}", first.id)));
    page.push_str("\nWhat the model printed, and what the organization used in the last month:\n\n");
    page.push_str(&get(&key, &format!("/v1/models/{}/deployments/{}/logs", first.id, first.deployment_id)));
    page.push_str(&format!(
        "\x20 curl -s -H \"Authorization: Bearer ${key}\" -G {url}/v1/billing/usage_summary \\\n\
         \x20   -d start_date=$(date -u -d '30 days ago' +%FT00:00:00Z) -d end_date=$(date -u +%FT%TZ)\n"
    ));
    if let Some(member) = member {
        let name = super::variable(&member.name);
        page.push_str(&format!(
            "\n{} is in {} alone, so for {} this model does not exist:\n\n",
            member.name, first.team, name
        ));
        page.push_str(&format!(
            "\x20 curl -s -X POST -H \"Authorization: Bearer ${name}\" {url}{} -d '{{}}'\n",
            path(other, "predict")
        ));
    }
    page
}

fn path(model: &Model, what: &str) -> String {
    format!("/models/{}/environments/production/{what}", model.id)
}
