//! Chains: one test for each rule.

mod chainlets;
mod environments;
mod gone;
mod promotion;
mod pushes;
mod recorded;
mod restricted;
mod settings;

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guildhall::domain::serving::Status;
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::deployments::{tar, whole};
use crate::vocabulary::text;

/// A chainlet as it is pushed.
#[derive(Clone)]
pub struct Chainlet {
    pub name: &'static str,
    pub model_name: String,
    pub s3_key: String,
    pub config: Value,
}

/// The mutation that truss sends: `arguments` say to which Chain, and as what.
pub fn mutation(arguments: &str, chainlets: &[Chainlet]) -> String {
    let object = |chainlet: &Chainlet| {
        let Chainlet { name, model_name, s3_key, config } = chainlet;
        let config = BASE64_STANDARD.encode(config.to_string());
        format!(
            "{{name: \"{name}\", oracle: {{model_name: \"{model_name}\", s3_key: \"{s3_key}\",
               encoded_config_str: \"{config}\", semver_bump: \"MINOR\"}}}}"
        )
    };
    let (entrypoint, dependencies) = chainlets.split_first().expect("there is always an entrypoint");
    let dependencies: Vec<String> = dependencies.iter().map(object).collect();
    format!(
        "mutation {{ deploy_chain_atomic({arguments} entrypoint: {} dependencies: [{}])
           {{ chain_deployment {{ id chain {{ id hostname }} }} }} }}",
        object(entrypoint),
        dependencies.join(", ")
    )
}

/// What a push came to: the ids of the Chain and of its deployment.
pub struct Pushed {
    pub chain: String,
    pub id: String,
}

impl Acme {
    /// Chainlets of these names, of whole archives that this caller uploaded.
    pub fn chainlets(&self, who: &str, names: &[&'static str]) -> Vec<Chainlet> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let chainlet = |name: &&'static str| Chainlet {
            name,
            model_name: format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            s3_key: self.uploaded(who, &whole()),
            config: json!({ "model_name": name }),
        };
        names.iter().map(chainlet).collect()
    }

    /// `Hello`, which calls `RandInt`.
    pub fn hello(&self, who: &str) -> Vec<Chainlet> {
        self.chainlets(who, &["Hello", "RandInt"])
    }

    /// Pushes `Hello` and `RandInt`.
    #[track_caller]
    pub fn push_chain(&self, who: &str, arguments: &str) -> Pushed {
        self.push_chainlets(who, arguments, &self.hello(who))
    }

    #[track_caller]
    pub fn push_chainlets(&self, who: &str, arguments: &str, chainlets: &[Chainlet]) -> Pushed {
        let answer = self.graphql(who, &mutation(arguments, chainlets));
        let made = &answer["data"]["deploy_chain_atomic"]["chain_deployment"];
        assert!(made.is_object(), "{answer}");
        Pushed { chain: text(&made["chain"]["id"]), id: text(&made["id"]) }
    }

    /// A new Chain of research, `rag`, whose first deployment serves `production`.
    pub fn rag(&self) -> Pushed {
        let rag = self.push_chain("max", "chain_name: \"rag\" team_id: \"research\"");
        self.run_all();
        rag
    }

    /// A later push of max's to this Chain, by its id.
    #[track_caller]
    pub fn push_again(&self, chain: &str, arguments: &str) -> String {
        self.push_chain("max", &format!("chain_id: \"{chain}\" {arguments}")).id
    }

    /// A push that is refused and writes nothing. Gives the sentence.
    #[track_caller]
    pub fn push_refused(&self, code: &str, who: &str, arguments: &str, chainlets: &[Chainlet]) -> String {
        let before = self.content();
        let answer = self.graphql(who, &mutation(arguments, chainlets));
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{who} {arguments}: {answer}");
        assert_eq!(answer["data"], Value::Null);
        assert_eq!(self.content(), before, "{who} {arguments} was refused and wrote");
        text(&answer["errors"][0]["message"])
    }

    pub fn chain_deployment(&self, chain: &str, id: &str) -> Value {
        self.get("ada", &format!("/v1/chains/{chain}/deployments/{id}"))
    }

    pub fn chain_status(&self, chain: &str, id: &str) -> String {
        text(&self.chain_deployment(chain, id)["status"])
    }

    pub fn chain_at(&self, chain: &str, environment: &str) -> Value {
        self.get("ada", &format!("/v1/chains/{chain}/environments/{environment}"))
    }

    /// The id of what serves an environment of the Chain.
    pub fn serving(&self, chain: &str, environment: &str) -> Value {
        self.chain_at(chain, environment)["current_deployment"]["id"].clone()
    }

    #[track_caller]
    pub fn promote(&self, chain: &str, environment: &str, id: &str) -> Value {
        self.post(
            "max",
            &format!("/v1/chains/{chain}/environments/{environment}/promote"),
            json!({ "deployment_id": id }),
        )
    }

    pub fn chain_environment(&self, chain: &str, name: &str) {
        self.post("ada", &format!("/v1/chains/{chain}/environments"), json!({ "name": name }));
    }

    /// What the models of a Chain's deployment are called and how each stands, by the names of its chainlets.
    pub fn models_of(&self, deployment: &str) -> Vec<(String, String)> {
        let document = format!(
            "{{ chain_deployment(id: \"{deployment}\") {{ chainlets {{ oracle {{ id }} oracle_version {{ id }} }} }} }}"
        );
        let answer = self.graphql("ada", &document);
        let chainlets =
            answer["data"]["chain_deployment"]["chainlets"].as_array().unwrap_or_else(|| panic!("{answer}"));
        chainlets.iter().map(|it| (text(&it["oracle"]["id"]), text(&it["oracle_version"]["id"]))).collect()
    }

    pub fn count(&self, table: &str) -> i64 {
        self.server.sql().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

/// An archive that cannot be built.
fn broken() -> Vec<u8> {
    tar(&[("model/model.py", "")])
}

#[test]
fn the_first_published_deployment_serves_production_and_a_second_serves_nothing() {
    let acme = Acme::new();
    let first = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\"");
    let pushed = acme.chain_deployment(&first.chain, &first.id);
    assert_eq!((&pushed["environment"], &pushed["status"]), (&json!("production"), &json!("BUILDING")));
    let names: Vec<&Value> = pushed["chainlets"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["Hello", "RandInt"], "the entrypoint first");
    acme.run_all();
    assert_eq!(acme.chain_status(&first.chain, &first.id), "ACTIVE");
    let second = acme.push_again(&first.chain, "");
    acme.run_all();
    let second = acme.chain_deployment(&first.chain, &second);
    assert_eq!((&second["environment"], &second["status"]), (&Value::Null, &json!("ACTIVE")));
    assert_eq!(acme.serving(&first.chain, "production"), first.id.as_str());
    let shown = acme.get("max", &format!("/v1/chains/{}", first.chain));
    assert_eq!((&shown["deployments_count"], &shown["team_name"]), (&json!(2), &json!("Research")));
    let listed = acme.get("max", &format!("/v1/chains/{}/deployments", first.chain))["deployments"].clone();
    let ids: Vec<&Value> = listed.as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&second["id"], &json!(first.id)], "the newest first");
}

#[test]
fn a_deployment_of_another_chain_is_not_there() {
    let acme = Acme::new();
    let rag = acme.rag();
    let other = acme.push_chain("max", "chain_name: \"other\" team_id: \"research\"");
    let theirs = acme.push_chain("ian", "chain_name: \"rag\" team_id: \"inference\"");
    let hello = text(&acme.chain_deployment(&rag.chain, &rag.id)["chainlets"][0]["id"]);
    for chain in [&other.chain, &theirs.chain] {
        let who = if *chain == theirs.chain { "ian" } else { "max" };
        let at = format!("/v1/chains/{chain}/deployments/{}", rag.id);
        acme.refused(404, who, "GET", &at, None);
        acme.refused(404, who, "DELETE", &at, None);
        acme.refused(404, who, "POST", &format!("{at}/deactivate"), None);
        acme.refused(404, who, "GET", &format!("{at}/chainlets/{hello}/logs"), None);
        let body = json!({ "deployment_id": rag.id });
        acme.refused(404, who, "POST", &format!("/v1/chains/{chain}/environments/production/promote"), body);
    }
    acme.refused(404, "ian", "GET", &format!("/v1/chains/{}/deployments", rag.chain), None);
    let of_a_sibling = format!("/v1/chains/{}/deployments/{}/chainlets/{hello}/logs", other.chain, other.id);
    acme.refused(404, "max", "GET", &of_a_sibling, None);
}

#[test]
fn a_chain_has_one_development_deployment_which_every_push_replaces() {
    let acme = Acme::new();
    let one = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\" is_draft: true");
    acme.run_all();
    let before = acme.models_of(&one.id);
    let uploads = acme.count("upload");
    let two = acme.push_chainlets(
        "max",
        "chain_name: \"rag\" team_id: \"research\" is_draft: true",
        &acme.chainlets("max", &["Hello", "Other"]),
    );
    assert_eq!((&one.chain, &one.id), (&two.chain, &two.id));
    let shown = acme.chain_deployment(&two.chain, &two.id);
    assert_eq!((&shown["status"], &shown["environment"]), (&json!("BUILDING"), &Value::Null));
    assert_eq!(shown["chainlets"][1]["name"], "Other");
    for (model, _) in &before {
        acme.refused(404, "max", "GET", &format!("/v1/models/{model}"), None);
    }
    assert_eq!((acme.count("model"), acme.count("deployment"), acme.count("upload")), (2, 2, uploads));
    assert_eq!(acme.get("max", "/v1/chains")["chains"][0]["deployments_count"], 1);
    assert_eq!(acme.serving(&two.chain, "production"), Value::Null);
}

#[test]
fn names_are_unique_among_the_chains_of_a_team_and_free_elsewhere() {
    let acme = Acme::new();
    let rag = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\"");
    let again = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\"");
    assert_eq!(again.chain, rag.chain, "a push of a name that is there goes to that");
    let theirs = acme.push_chain("ian", "chain_name: \"rag\" team_id: \"inference\"");
    assert_ne!(rag.chain, theirs.chain);
    acme.create("max", "research", "rag");
    acme.create("max", "research", "mistral");
    acme.push_chain("max", "chain_name: \"mistral\" team_id: \"research\"");
    let listed = |who: &str| -> Vec<String> {
        let listed = acme.get(who, "/v1/chains");
        listed["chains"].as_array().unwrap().iter().map(|it| text(&it["name"])).collect()
    };
    assert_eq!(listed("max").len(), 2);
    assert_eq!(listed("ian"), ["rag"]);
    assert_eq!(listed("ada").len(), 3);
}

#[test]
fn a_deployment_stands_as_its_chainlet_that_is_worst_off_or_furthest_behind() {
    use Status::{
        Active, BuildFailed, BuildStopped, Building, Deactivating, DeployFailed, Deploying, Failed, Inactive,
        LoadingModel, ScaledToZero, Unhealthy, Updating, WakingUp,
    };
    let table: &[(&[Status], Status)] = &[
        (&[Active], Active),
        (&[Active, Active], Active),
        (&[Active, Building], Building),
        (&[Deploying, Active], Deploying),
        (&[Active, LoadingModel], LoadingModel),
        (&[LoadingModel, Deploying, Building], Building),
        (&[WakingUp, Active], WakingUp),
        (&[Updating, Active], Updating),
        (&[Unhealthy, Active], Unhealthy),
        (&[Unhealthy, Building], Building),
        (&[ScaledToZero, ScaledToZero], ScaledToZero),
        (&[ScaledToZero, Active], Active),
        (&[ScaledToZero, WakingUp], WakingUp),
        (&[Inactive, Inactive], Inactive),
        (&[Inactive, Active], Inactive),
        (&[Deactivating, Inactive], Deactivating),
        (&[Inactive, ScaledToZero], Inactive),
        (&[BuildFailed, Active], BuildFailed),
        (&[Building, BuildFailed], BuildFailed),
        (&[DeployFailed, Inactive], DeployFailed),
        (&[BuildStopped, Building], BuildStopped),
        (&[Failed, BuildFailed], Failed),
    ];
    for (parts, whole) in table {
        assert_eq!(Status::of_parts(parts.iter().copied()), *whole, "{parts:?}");
        assert_eq!(Status::of_parts(parts.iter().rev().copied()), *whole, "{parts:?} the other way round");
    }
    for status in Status::ALL {
        assert_eq!(Status::of_parts([*status]), *status, "one chainlet");
    }
}

#[test]
fn each_chainlet_has_a_log_of_its_own() {
    let acme = Acme::new();
    let rag = acme.rag();
    let at = format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id);
    let chainlets = acme.get("max", &at)["chainlets"].clone();
    for (place, (model, deployment)) in acme.models_of(&rag.id).iter().enumerate() {
        let logs = format!("{at}/chainlets/{}/logs?direction=asc", text(&chainlets[place]["id"]));
        let of_chainlet = acme.get("max", &logs);
        assert_eq!(
            of_chainlet,
            acme.get("max", &format!("/v1/models/{model}/deployments/{deployment}/logs?direction=asc"))
        );
        let lines: Vec<String> =
            of_chainlet["logs"].as_array().unwrap().iter().map(|it| text(&it["message"])).collect();
        assert!(lines.iter().any(|line| line.contains("serves the environment \"production\"")), "{lines:?}");
        assert_eq!(acme.get("max", &format!("{logs}&limit=1"))["logs"].as_array().unwrap().len(), 1);
        acme.refused(400, "max", "GET", &format!("{logs}&min_level=LOUD"), None);
    }
    acme.refused(404, "max", "GET", &format!("{at}/chainlets/nosuchchainlet/logs"), None);
}
