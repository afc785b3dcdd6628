//! Is the generated API description compatible with the one that was written by hand? The latter is kept in
//! `data/openapi-before.json`, with one line for each operation and each schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::document;

/// What differs on purpose: why, and where. Everything else must be as it was. Besides, a reply may promise more: that a
/// field is always there, that it is never null, and that a number is not negative.
const INTENDED: &[(&str, &[&str])] = &[
    (
        "the field is always sent, and refusals of a failure carry it",
        &[
            "AWSCredentials.endpoint_url: is required",
            "AWSCredentials.region_name: is required",
            "Error.request_id: is new",
            "Invitation.mail_problem: is new",
        ],
    ),
    (
        "the names that are taken are listed",
        &[
            "CreateTrainingJobCompute.availability_model: is one of \"dedicated\", \"spot\"",
            "RollingDeployConfig.rolling_deploy_strategy: is one of \"REPLICA\"",
            "SearchTrainingJobsRequest.statuses[]: is one of \"TRAINING_JOB_COMPLETED\", \"TRAINING_JOB_CREATED\", \
             \"TRAINING_JOB_DEPLOYING\", \"TRAINING_JOB_DEPLOY_FAILED\", \"TRAINING_JOB_FAILED\", \"TRAINING_JOB_PENDING\", \
             \"TRAINING_JOB_QUEUED\", \"TRAINING_JOB_RUNNING\", \"TRAINING_JOB_STOPPED\"",
            "UpdateRollingDeployConfig.rolling_deploy_strategy: is one of \"REPLICA\"",
            "UpdateTrainingJobRequest.availability_model: is one of \"dedicated\", \"spot\"",
        ],
    ),
    ("an unknown field was refused before too", &["LogsRequest: is closed", "UpdateModelRequest: is closed"]),
    (
        "the field was read before too",
        &[
            "CreateTrainingJobImage.docker_auth.auth_method: is new",
            "CreateTrainingJobImage.docker_auth.aws_assume_role_docker_auth: is new",
            "CreateTrainingJobImage.docker_auth.aws_iam_docker_auth: is new",
            "CreateTrainingJobImage.docker_auth.aws_oidc_docker_auth: is new",
            "CreateTrainingJobImage.docker_auth.gcp_oidc_docker_auth: is new",
            "CreateTrainingJobImage.docker_auth.gcp_service_account_json_docker_auth: is new",
            "CreateTrainingJobImage.docker_auth.registry: is new",
            "CreateTrainingJobImage.docker_auth.registry_secret_docker_auth: is new",
            "CreateTrainingJobRuntime.load_checkpoint_config.checkpoints: is new",
            "CreateTrainingJobRuntime.load_checkpoint_config.download_folder: is new",
            "CreateTrainingJobRuntime.load_checkpoint_config.enabled: is new",
            "CreateTrainingJob.weights[].allow_patterns: is new",
            "CreateTrainingJob.weights[].auth: is new",
            "CreateTrainingJob.weights[].auth_secret_name: is new",
            "CreateTrainingJob.weights[].ignore_patterns: is new",
            "CreateTrainingJob.weights[].mount_location: is new",
            "CreateTrainingJob.weights[].source: is new",
            "PatchOperation.body: is new",
        ],
    ),
    ("it was never sent", &["ListedChainDeployment.labels: is gone", "ListedChainDeployment.region: is gone"]),
    (
        "it was \"an object\" and \"a list\" before, and always held this",
        &[
            "MetricValues.values[][]: is described",
            "UsageSummary.dedicated_usage.breakdown: is new",
            "UsageSummary.dedicated_usage.credits_used: is new",
            "UsageSummary.dedicated_usage.minutes: is new",
            "UsageSummary.dedicated_usage.subtotal: is new",
            "UsageSummary.dedicated_usage.total: is new",
            "UsageSummary.model_apis_usage.breakdown: is new",
            "UsageSummary.model_apis_usage.credits_used: is new",
            "UsageSummary.model_apis_usage.subtotal: is new",
            "UsageSummary.model_apis_usage.total: is new",
            "UsageSummary.training_usage.breakdown: is new",
            "UsageSummary.training_usage.credits_used: is new",
            "UsageSummary.training_usage.minutes: is new",
            "UsageSummary.training_usage.subtotal: is new",
            "UsageSummary.training_usage.total: is new",
        ],
    ),
    (
        "the list was always empty, and training jobs run now",
        &[
            "CacheSummary.file_summaries[].file_type: is new",
            "CacheSummary.file_summaries[].modified: is new",
            "CacheSummary.file_summaries[].path: is new",
            "CacheSummary.file_summaries[].permissions: is new",
            "CacheSummary.file_summaries[].size_bytes: is new",
            "CheckpointFiles.presigned_urls[].last_modified: is new",
            "CheckpointFiles.presigned_urls[].node_rank: is new",
            "CheckpointFiles.presigned_urls[].relative_file_name: is new",
            "CheckpointFiles.presigned_urls[].size_bytes: is new",
            "CheckpointFiles.presigned_urls[].url: is new",
            "StorageMetrics.usage_bytes[].timestamp: is new",
            "StorageMetrics.usage_bytes[].value: is new",
            "TrainingJobCheckpoints.checkpoints[].base_model: is new",
            "TrainingJobCheckpoints.checkpoints[].checkpoint_id: is new",
            "TrainingJobCheckpoints.checkpoints[].checkpoint_type: is new",
            "TrainingJobCheckpoints.checkpoints[].created_at: is new",
            "TrainingJobCheckpoints.checkpoints[].lora_adapter_config: is new",
            "TrainingJobCheckpoints.checkpoints[].size_bytes: is new",
            "TrainingJobCheckpoints.checkpoints[].sync_status: is new",
            "TrainingJobCheckpoints.checkpoints[].training_job_id: is new",
            "TrainingJobMetrics.cpu_memory_usage_bytes[].timestamp: is new",
            "TrainingJobMetrics.cpu_memory_usage_bytes[].value: is new",
            "TrainingJobMetrics.cpu_usage[].timestamp: is new",
            "TrainingJobMetrics.cpu_usage[].value: is new",
        ],
    ),
];

/// Which way a value goes decides what a client that was made for the older description survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

/// A schema with its references, nulls and `allOf` worked out.
#[derive(Default)]
struct Shape {
    /// The name, if it is the schema of one component.
    component: Option<String>,
    kinds: BTreeSet<String>,
    is_nullable: bool,
    is_closed: bool,
    fields: BTreeMap<String, Value>,
    required: BTreeSet<String>,
    names: Vec<String>,
    /// `format`, `minimum` and what else is said of a plain value.
    facts: BTreeMap<String, Value>,
    items: Option<Value>,
    /// Of an object, the values that have no name of their own.
    values: Option<Value>,
    alternatives: Vec<Value>,
}

impl Shape {
    fn of(schema: &Value, schemas: &Map<String, Value>) -> Shape {
        let mut shape = Shape::default();
        shape.add(schema, schemas);
        shape
    }

    fn add(&mut self, schema: &Value, schemas: &Map<String, Value>) {
        let Some(parts) = schema.as_object() else { return };
        for (key, value) in parts {
            match key.as_str() {
                "$ref" => {
                    self.add(&schemas[component(value)], schemas);
                    self.component = Some(component(value).to_owned());
                }
                "allOf" => {
                    value.as_array().unwrap().iter().for_each(|part| self.add(part, schemas));
                    self.component = None;
                }
                "anyOf" | "oneOf" => self.add_alternatives(value.as_array().unwrap(), schemas),
                "type" => {
                    let kinds = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                    let (nulls, kinds): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| kind == "null");
                    self.is_nullable |= !nulls.is_empty();
                    self.kinds.extend(kinds.iter().map(|kind| kind.as_str().unwrap().to_owned()));
                }
                "properties" => {
                    let fields = value.as_object().unwrap();
                    self.fields.extend(fields.iter().map(|(name, schema)| (name.clone(), schema.clone())));
                }
                "required" => {
                    self.required
                        .extend(value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
                }
                "enum" => self
                    .names
                    .extend(value.as_array().unwrap().iter().filter(|name| !name.is_null()).map(Value::to_string)),
                "items" => self.items = Some(value.clone()),
                "additionalProperties" if value.is_boolean() => self.is_closed |= value == false,
                "additionalProperties" => self.values = Some(value.clone()),
                "description" => {}
                _ => {
                    self.facts.insert(key.clone(), value.clone());
                }
            }
        }
        self.names.sort();
    }

    fn add_alternatives(&mut self, parts: &[Value], schemas: &Map<String, Value>) {
        let (nulls, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part["type"] == "null");
        self.is_nullable |= !nulls.is_empty();
        match others[..] {
            [only] => self.add(only, schemas),
            _ => self.alternatives.extend(others.into_iter().cloned()),
        }
    }
}

fn component(reference: &Value) -> &str {
    reference.as_str().and_then(|path| path.rsplit('/').next()).unwrap()
}

/// Compares two descriptions, and collects where they differ.
struct Comparison<'d> {
    before: &'d Map<String, Value>,
    after: &'d Map<String, Value>,
    /// The pairs of schemas that were compared, so that each is told once.
    seen: BTreeSet<(String, String, Way)>,
    found: BTreeSet<String>,
}

impl Comparison<'_> {
    fn tell(&mut self, at: &str, what: &str) {
        self.found.insert(format!("{at}: {what}"));
    }

    fn compare(&mut self, at: &str, before: &Value, after: &Value, way: Way) {
        let (was, is) = (Shape::of(before, self.before), Shape::of(after, self.after));
        match (was.is_nullable, is.is_nullable) {
            (true, false) if way == Way::In => self.tell(at, "may not be null"),
            (false, true) => self.tell(at, "may be null"),
            _ => {}
        }
        match (&was.component, &is.component) {
            (Some(old), Some(new)) => {
                if old != new {
                    self.tell(at, &format!("is {new} and was {old}"));
                }
                if self.seen.insert((old.clone(), new.clone(), way)) {
                    self.compare_shapes(&old.clone(), &was, &is, way);
                }
            }
            _ => self.compare_shapes(at, &was, &is, way),
        }
    }

    fn compare_shapes(&mut self, at: &str, was: &Shape, is: &Shape, way: Way) {
        if was.kinds != is.kinds {
            self.tell(at, &format!("the type is {:?} and was {:?}", is.kinds, was.kinds));
        }
        if was.is_closed != is.is_closed {
            self.tell(at, if is.is_closed { "is closed" } else { "is open" });
        }
        if was.names != is.names {
            self.tell(at, &format!("is one of {}", is.names.join(", ")));
        }
        if was.facts != is.facts && !is_count(was, is) {
            self.tell(at, &format!("{:?}, and was {:?}", is.facts, was.facts));
        }
        self.compare_fields(at, was, is, way);
        for (part, was, is) in [("[]", &was.items, &is.items), ("{}", &was.values, &is.values)] {
            match (was, is) {
                (Some(was), Some(is)) => self.compare(&format!("{at}{part}"), was, is, way),
                (None, None) => {}
                (None, Some(_)) => self.tell(&format!("{at}{part}"), "is described"),
                (Some(_), None) => self.tell(&format!("{at}{part}"), "is no longer described"),
            }
        }
        if was.alternatives.len() != is.alternatives.len() {
            self.tell(at, "has other alternatives");
        }
        for (number, (was, is)) in was.alternatives.iter().zip(&is.alternatives).enumerate() {
            self.compare(&format!("{at}|{number}"), was, is, way);
        }
    }

    fn compare_fields(&mut self, at: &str, was: &Shape, is: &Shape, way: Way) {
        for name in was.fields.keys().chain(is.fields.keys()).collect::<BTreeSet<_>>() {
            let at = format!("{at}.{name}");
            let (Some(before), Some(after)) = (was.fields.get(name), is.fields.get(name)) else {
                self.tell(&at, if is.fields.contains_key(name) { "is new" } else { "is gone" });
                continue;
            };
            match (was.required.contains(name), is.required.contains(name)) {
                (true, false) => self.tell(&at, "is no longer required"),
                // A reply has every field that it may have, if only as null; to say so takes nothing from a client.
                (false, true) if way == Way::Out && Shape::of(before, self.before).is_nullable => {}
                (false, true) => self.tell(&at, "is required"),
                _ => {}
            }
            self.compare(&at, before, after, way);
        }
    }
}

/// Whether all that is new is that a number is not negative.
fn is_count(was: &Shape, is: &Shape) -> bool {
    let mut facts = is.facts.clone();
    facts.remove("maximum");
    facts.remove("minimum").is_some_and(|minimum| minimum == 0) && was.facts == facts
}

#[test]
fn the_generated_description_is_compatible_with_the_one_before() {
    let before: Value = serde_json::from_str(include_str!("../data/openapi-before.json")).expect("it is JSON");
    let after = document();
    let mut comparison = Comparison {
        before: before["schemas"].as_object().unwrap(),
        after: after["components"]["schemas"].as_object().unwrap(),
        seen: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    for (route, was) in before["paths"].as_object().unwrap() {
        let (method, template) = route.split_once(' ').unwrap();
        let is = &after["paths"][template][method.to_lowercase()];
        if !is.is_object() {
            comparison.tell(route, "is gone");
            continue;
        }
        compare_operations(&mut comparison, route, was, is);
    }
    let found = &comparison.found;
    let intended: BTreeSet<String> =
        INTENDED.iter().flat_map(|(_, places)| *places).map(|place| (*place).to_owned()).collect();
    let unexpected: Vec<&String> = found.difference(&intended).collect();
    assert!(unexpected.is_empty(), "{} differences:\n{unexpected:#?}", unexpected.len());
    let missing: Vec<&String> = intended.difference(found).collect();
    assert!(missing.is_empty(), "listed, and no difference: {missing:#?}");
}

fn compare_operations(comparison: &mut Comparison, route: &str, was: &Value, is: &Value) {
    assert_eq!(is["operationId"], was["id"], "{route}");
    if is["description"] != was["description"] {
        comparison.tell(route, &format!("{} and was {}", is["description"], was["description"]));
    }
    assert_eq!(is["x-guildhall"] == true, was["ours"] == true, "{route}");
    assert_eq!(is["security"].is_array(), was["open"] == true, "{route}");
    let parameters = is["parameters"].as_array().unwrap();
    let of = |place: &'static str| parameters.iter().filter(move |parameter| parameter["in"] == place);
    let path: Vec<&Value> = of("path").map(|parameter| &parameter["name"]).collect();
    assert_eq!(
        path,
        was["path"].as_array().map(|names| names.iter().collect::<Vec<_>>()).unwrap_or_default(),
        "{route}"
    );
    assert!(of("path").all(|parameter| parameter["required"] == true), "{route}");
    assert!(of("query").all(|parameter| parameter["required"] == false), "{route}");
    let query: Map<String, Value> = of("query")
        .map(|parameter| (parameter["name"].as_str().unwrap().to_owned(), parameter["schema"].clone()))
        .collect();
    assert_eq!(query, was["query"].as_object().cloned().unwrap_or_default(), "{route}");
    let schema = |content: &Value| content["content"]["application/json"]["schema"].clone();
    let reference =
        |name: &Value| serde_json::json!({ "$ref": format!("#/components/schemas/{}", name.as_str().unwrap()) });
    match (is.get("requestBody"), was.get("takes")) {
        (None, None) => {}
        (Some(body), Some(name)) => {
            comparison.compare(&format!("{route} body"), &reference(name), &schema(body), Way::In);
        }
        _ => comparison.tell(route, "takes a body, or no longer does"),
    }
    let (reply, refusal) = (schema(&is["responses"]["200"]), schema(&is["responses"]["default"]));
    comparison.compare(&format!("{route} reply"), &reference(&was["answers"]), &reply, Way::Out);
    comparison.compare(&format!("{route} refusal"), &reference(&Value::from("Error")), &refusal, Way::Out);
}
