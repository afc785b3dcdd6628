//! The description of what is served, made from the table of routes, so that it cannot say more or less than that.
//!
//! Each route's shapes are named here; the shapes stand in `openapi/shapes.json`. What Baseten's interface does not have
//! carries `x-guildhall: true`.

use serde_json::{Map, Value, json};

use crate::api::path_template::parameters;
use crate::api::route::{Origin, Route};

const COMPONENTS: &str = include_str!("openapi/shapes.json");

/// What a route takes and answers, by the names of `shapes.json`, and the parameters of its query.
struct Shapes {
    method: &'static str,
    template: &'static str,
    takes: Option<&'static str>,
    answers: &'static str,
    query: &'static [&'static str],
}

const LOGS_QUERY: &[&str] = &[
    "start_epoch_millis",
    "end_epoch_millis",
    "direction",
    "limit",
    "min_level",
    "replica",
    "request_id",
    "component",
    "search_pattern",
    "includes",
    "excludes",
];

const METRICS_QUERY: &[&str] = &["mode", "start_epoch_millis", "end_epoch_millis", "metrics"];

#[rustfmt::skip]
const SHAPES: &[Shapes] = &[
    read("/v1/organizations/me", "OrganizationInfo", &[]),
    write("PATCH", "/v1/organizations/me", "UpdateOrganizationRequest", "OrganizationInfo"),

    read("/v1/teams", "Teams", &["name"]),
    read("/v1/teams/{team_id}", "Team", &[]),
    write("POST", "/v1/teams", "CreateTeamRequest", "Team"),
    write("PATCH", "/v1/teams/{team_id}", "UpdateTeamRequest", "Team"),
    act("DELETE", "/v1/teams/{team_id}", "Tombstone", &["force"]),

    read("/v1/secrets", "Secrets", &[]),
    write("POST", "/v1/secrets", "UpsertSecretRequest", "Secret"),
    act("DELETE", "/v1/secrets/{secret_name}", "SecretTombstone", &[]),
    read("/v1/teams/{team_id}/secrets", "Secrets", &[]),
    write("POST", "/v1/teams/{team_id}/secrets", "UpsertSecretRequest", "Secret"),
    act("DELETE", "/v1/teams/{team_id}/secrets/{secret_name}", "SecretTombstone", &[]),

    read("/v1/teams/{team_id}/members", "Members", &["include_implicit", "cursor", "limit"]),
    write("POST", "/v1/teams/{team_id}/members", "AddMemberRequest", "Member"),
    queried_write("PATCH", "/v1/teams/{team_id}/members/{user_id}", "UpdateMemberRequest", "UpdatedMember",
                  &["revoke_created_api_keys"]),
    act("DELETE", "/v1/teams/{team_id}/members/{user_id}", "MemberTombstone", &["revoke_created_api_keys"]),

    read("/v1/teams/{team_id}/quotas", "Quotas", &[]),

    read("/v1/users", "Users", &["email", "cursor", "limit"]),
    read("/v1/users/me", "UserInfo", &[]),
    write("PATCH", "/v1/users/me", "UpdateMeRequest", "UserInfo"),
    read("/v1/users/{user_id}", "UserInfo", &[]),
    queried_write("PATCH", "/v1/users/{user_id}", "UpdateUserRequest", "UpdatedUser", &["revoke_created_api_keys"]),
    act("DELETE", "/v1/users/{user_id}", "UserTombstone", &["revoke_created_api_keys"]),
    act("POST", "/v1/users/{user_id}/reset", "PasswordReset", &[]),
    write("POST", "/v1/users/reset", "SetPasswordRequest", "PasswordSet"),
    read("/v1/users/{user_id}/teams", "UserTeams", &["cursor", "limit"]),

    read("/v1/invitations", "Invitations", &["status", "cursor", "limit"]),
    write("POST", "/v1/invitations", "CreateInvitationRequest", "Invitation"),
    act("POST", "/v1/invitations/{invitation_id}/resend", "Invitation", &[]),
    act("DELETE", "/v1/invitations/{invitation_id}", "Tombstone", &[]),
    write("POST", "/v1/invitations/accept", "AcceptInvitationRequest", "AcceptedInvitation"),

    read("/v1/api_keys", "APIKeys", &["type", "created_by_me"]),
    read("/v1/teams/{team_id}/api_keys", "APIKeys", &["type", "created_by_me"]),
    write("POST", "/v1/api_keys", "CreateAPIKeyRequest", "APIKey"),
    write("POST", "/v1/teams/{team_id}/api_keys", "CreateAPIKeyRequest", "APIKey"),
    write("POST", "/v1/api_keys/{api_key_prefix}/rotate", "RotateAPIKeyRequest", "RotatedAPIKey"),
    act("DELETE", "/v1/api_keys/{api_key_prefix}", "APIKeyTombstone", &[]),

    read("/v1/environment_groups", "EnvironmentGroups", &[]),
    read("/v1/environment_groups/{env_name}", "EnvironmentGroup", &[]),
    write("POST", "/v1/environment_groups", "CreateEnvironmentGroupRequest", "EnvironmentGroup"),
    write("PATCH", "/v1/environment_groups/{env_name}", "UpdateEnvironmentGroupRequest", "EnvironmentGroup"),
    read("/v1/teams/{team_id}/environment_groups", "EnvironmentGroups", &[]),
    read("/v1/teams/{team_id}/environment_groups/{env_name}", "EnvironmentGroup", &[]),
    write("POST", "/v1/teams/{team_id}/environment_groups", "CreateEnvironmentGroupRequest", "EnvironmentGroup"),
    write("PATCH", "/v1/teams/{team_id}/environment_groups/{env_name}",
          "UpdateEnvironmentGroupRequest", "EnvironmentGroup"),
    act("DELETE", "/v1/teams/{team_id}/environment_groups/{env_name}", "EnvironmentGroupTombstone", &[]),

    read("/v1/models", "Models", &["name"]),
    read("/v1/teams/{team_id}/models", "Models", &["name"]),
    read("/v1/models/{model_id}", "Model", &[]),
    write("PATCH", "/v1/models/{model_id}", "UpdateModelRequest", "Model"),
    act("DELETE", "/v1/models/{model_id}", "Tombstone", &[]),

    write("POST", "/v1/models", "CreateModelRequest", "CreatedModelDeployment"),
    write("POST", "/v1/teams/{team_id}/models", "CreateModelRequest", "CreatedModelDeployment"),
    write("POST", "/v1/prepare_model_upload", "PrepareModelUploadRequest", "PreparedModelUpload"),

    read("/v1/models/{model_id}/deployments", "Deployments", &["name"]),
    write("POST", "/v1/models/{model_id}/deployments", "CreateDeploymentRequest", "CreatedModelDeployment"),
    read("/v1/models/{model_id}/deployments/development", "Deployment", &[]),
    write("PATCH", "/v1/models/{model_id}/deployments/development/autoscaling_settings",
          "UpdateAutoscalingSettings", "SettingsUpdated"),
    write("POST", "/v1/models/{model_id}/deployments/development/promote", "PromoteRequest", "Deployment"),
    act("POST", "/v1/models/{model_id}/deployments/development/activate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/development/deactivate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/development/retry", "RetriedDeployment", &[]),
    read("/v1/models/{model_id}/deployments/production", "Deployment", &[]),
    write("PATCH", "/v1/models/{model_id}/deployments/production/autoscaling_settings",
          "UpdateAutoscalingSettings", "SettingsUpdated"),
    act("POST", "/v1/models/{model_id}/deployments/production/activate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/production/deactivate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/production/retry", "RetriedDeployment", &[]),
    read("/v1/models/{model_id}/deployments/{deployment_id}", "Deployment", &[]),
    write("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}", "UpdateDeploymentRequest", "Deployment"),
    act("DELETE", "/v1/models/{model_id}/deployments/{deployment_id}", "DeploymentTombstone", &[]),
    write("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings",
          "UpdateAutoscalingSettings", "SettingsUpdated"),
    write("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings",
          "UpdateRequestBackpressureSettings", "RequestBackpressureSettings"),
    write("POST", "/v1/models/{model_id}/deployments/{deployment_id}/promote", "PromoteRequest", "Deployment"),
    act("POST", "/v1/models/{model_id}/deployments/{deployment_id}/activate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/{deployment_id}/deactivate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/deployments/{deployment_id}/retry", "RetriedDeployment", &[]),
    read("/v1/models/{model_id}/deployments/{deployment_id}/config", "DeploymentConfig", &["output_format"]),
    read("/v1/models/{model_id}/deployments/{deployment_id}/download", "DeploymentDownload", &[]),
    read("/v1/models/{model_id}/deployments/{deployment_id}/logs", "Logs", LOGS_QUERY),
    write("POST", "/v1/models/{model_id}/deployments/{deployment_id}/logs", "LogsRequest", "Logs"),
    read("/v1/models/{model_id}/deployments/{deployment_id}/metrics", "Metrics", METRICS_QUERY),
    write("POST", "/v1/models/{model_id}/deployments/{deployment_id}/patches", "CreatePatchRequest", "CreatedPatch"),
    read("/v1/models/{model_id}/deployments/{deployment_id}/patches/state", "PatchesState", &[]),
    act("POST", "/v1/models/{model_id}/deployments/{deployment_id}/patches/sync", "PatchesSynced", &[]),

    read("/v1/models/{model_id}/environments", "Environments", &[]),
    write("POST", "/v1/models/{model_id}/environments", "CreateEnvironmentRequest", "Environment"),
    read("/v1/models/{model_id}/environments/{env_name}", "Environment", &[]),
    write("PATCH", "/v1/models/{model_id}/environments/{env_name}", "UpdateEnvironmentRequest", "EnvironmentUpdated"),
    act("DELETE", "/v1/models/{model_id}/environments/{env_name}", "EnvironmentTombstone", &[]),
    write("POST", "/v1/models/{model_id}/environments/{env_name}/promote", "PromoteToEnvironmentRequest", "Deployment"),
    act("POST", "/v1/models/{model_id}/environments/{env_name}/activate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/environments/{env_name}/deactivate", "Switched", &[]),
    act("POST", "/v1/models/{model_id}/environments/{env_name}/cancel_promotion", "PromotionCanceled", &[]),
    act("POST", "/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion", "Success", &[]),
    act("POST", "/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion", "Success", &[]),
    read("/v1/models/{model_id}/environments/{env_name}/logs", "Logs", LOGS_QUERY),
    read("/v1/models/{model_id}/environments/{env_name}/metrics", "Metrics", METRICS_QUERY),

    read("/v1/chains", "Chains", &[]),
    read("/v1/chains/{chain_id}", "Chain", &[]),
    act("DELETE", "/v1/chains/{chain_id}", "Tombstone", &[]),
    read("/v1/chains/{chain_id}/deployments", "ChainDeployments", &[]),
    read("/v1/chains/{chain_id}/deployments/{chain_deployment_id}", "ChainDeployment", &[]),
    act("DELETE", "/v1/chains/{chain_id}/deployments/{chain_deployment_id}", "ChainDeploymentTombstone", &[]),
    act("POST", "/v1/chains/{chain_id}/deployments/{chain_deployment_id}/deactivate", "Switched", &[]),
    read("/v1/chains/{chain_id}/deployments/{chain_deployment_id}/chainlets/{chainlet_id}/logs", "Logs", LOGS_QUERY),
    read("/v1/chains/{chain_id}/environments", "ListedChainEnvironments", &[]),
    write("POST", "/v1/chains/{chain_id}/environments", "CreateChainEnvironmentRequest", "ChainEnvironment"),
    read("/v1/chains/{chain_id}/environments/{env_name}", "ChainEnvironment", &[]),
    write("PATCH", "/v1/chains/{chain_id}/environments/{env_name}", "UpdateChainEnvironmentRequest",
          "ChainEnvironmentUpdated"),
    write("POST", "/v1/chains/{chain_id}/environments/{env_name}/promote", "PromoteToChainEnvironmentRequest",
          "ChainDeployment"),
    write("PATCH", "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/autoscaling_settings",
          "UpdateChainletAutoscalingRequest", "SettingsUpdated"),
    write("POST", "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/instance_types/update",
          "UpdateChainletInstanceTypesRequest", "ChainletInstanceTypesUpdated"),

    read("/v1/training_projects", "TrainingProjects", &[]),
    read("/v1/training_projects/{training_project_id}", "OneTrainingProject", &[]),
    write("POST", "/v1/training_projects", "UpsertTrainingProjectRequest", "OneTrainingProject"),
    write("POST", "/v1/teams/{team_id}/training_projects", "UpsertTrainingProjectRequest", "OneTrainingProject"),
    act("DELETE", "/v1/training_projects/{training_project_id}", "Tombstone", &[]),

    write("POST", "/v1/training_jobs/search", "SearchTrainingJobsRequest", "TrainingJobs"),
    read("/v1/training_projects/{training_project_id}/jobs", "JobsOfTrainingProject", &[]),
    write("POST", "/v1/training_projects/{training_project_id}/jobs", "CreateTrainingJobRequest", "OneTrainingJob"),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}", "TrainingJobInProject", &[]),
    write("PATCH", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}", "UpdateTrainingJobRequest", "OneTrainingJob"),
    act("DELETE", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}", "TrainingJobTombstone", &[]),
    act("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/stop", "OneTrainingJob", &[]),
    act("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/recreate", "OneTrainingJob", &[]),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs", "Logs", LOGS_QUERY),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/download", "TrainingJobDownload", &[]),
    write("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs", "LogsRequest", "Logs"),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics", "TrainingJobMetrics", &[
        "start_epoch_millis", "end_epoch_millis", "step_seconds",
    ]),
    write("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
          "TrainingJobMetricsRequest", "TrainingJobMetrics"),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoints", "TrainingJobCheckpoints", &[]),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoint_files", "CheckpointFiles", &[
        "page_size", "page_token",
    ]),
    read("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/auth_codes", "AuthCodes", &[]),
    read("/v1/training_projects/{training_project_id}/cache/summary", "CacheSummary", &[]),
    read("/v1/training/jobs/{training_job_id}/queue_context", "QueueContext", &[]),
    read("/v1/training/capacity", "TrainingCapacities", &[]),
    write("PATCH", "/v1/training/capacity", "UpdateTeamTrainingCapacityRequest", "OneTeamTrainingCapacity"),

    read("/v1/blobs/credentials/model", "BlobCredentials", &[]),
    read("/v1/blobs/credentials/train", "BlobCredentials", &[]),

    read("/v1/model_apis", "ModelAPIs", &["cursor", "limit", "added_only"]),
    read("/v1/model_apis/{model_api_name}", "ModelAPI", &[]),

    read("/v1/billing/usage_summary", "UsageSummary", &["start_date", "end_date"]),
    read("/v1/instance_types", "InstanceTypes", &[]),
    read("/v1/instance_type_prices", "InstanceTypePrices", &[]),

    read("/v1/audit_logs", "AuditLog", AUDIT_LOG_QUERY),
    read("/v1/models/{model_id}/audit_logs", "AuditLog", AUDIT_LOG_QUERY),
    read("/v1/chains/{chain_id}/audit_logs", "AuditLog", AUDIT_LOG_QUERY),

    read("/v1/permissions", "Permissions", &[]),
    read("/v1/permissions/explain", "Explanation", &["act", "team_id", "environment", "user_id", "api_key_prefix"]),

    read("/healthz", "Health", &[]),
    read("/readyz", "Health", &[]),
];

const AUDIT_LOG_QUERY: &[&str] = &[
    "cursor",
    "limit",
    "direction",
    "search",
    "event_type_groups",
    "user_ids",
    "deployment_ids",
    "chain_deployment_ids",
    "environment_names",
    "sources",
    "team_ids",
    "start_epoch_millis",
    "end_epoch_millis",
];

const fn read(template: &'static str, answers: &'static str, query: &'static [&'static str]) -> Shapes {
    Shapes { method: "GET", template, takes: None, answers, query }
}

const fn write(method: &'static str, template: &'static str, takes: &'static str, answers: &'static str) -> Shapes {
    Shapes { method, template, takes: Some(takes), answers, query: &[] }
}

/// A write with parameters in its query.
const fn queried_write(
    method: &'static str,
    template: &'static str,
    takes: &'static str,
    answers: &'static str,
    query: &'static [&'static str],
) -> Shapes {
    Shapes { method, template, takes: Some(takes), answers, query }
}

/// A write without a body.
const fn act(
    method: &'static str,
    template: &'static str,
    answers: &'static str,
    query: &'static [&'static str],
) -> Shapes {
    Shapes { method, template, takes: None, answers, query }
}

/// The description of these routes, OpenAPI 3.1.
pub fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for shapes in SHAPES {
        let is_described =
            |route: &&Route| route.method == shapes.method && route.paths().iter().any(|path| path == shapes.template);
        if let Some(route) = routes.iter().find(is_described) {
            let path = paths.entry(shapes.template).or_insert_with(|| json!({}));
            path[route.method.to_lowercase()] = operation(route, shapes);
        }
    }
    let components: Value = serde_json::from_str(COMPONENTS).expect("the shapes are part of this program");
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Guildhall", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "An API key; `Api-Key <key>` is taken too." },
            },
        },
        "security": [{ "key": [] }],
    })
}

fn operation(route: &Route, shapes: &Shapes) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let content = |name: &str| json!({ "application/json": { "schema": reference(name) } });
    let in_path = parameters(shapes.template).map(|name| parameter(name, "path", true));
    let in_query = shapes.query.iter().map(|name| parameter(name, "query", false));
    let mut operation = json!({
        "operationId": operation_id(route.method, shapes.template),
        "description": route.access.to_string(),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done.", "content": content(shapes.answers) },
            "default": { "description": "Refused; the message says why and what to do.", "content": content("Error") },
        },
    });
    if let Some(takes) = shapes.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(takes) });
    }
    if route.access.is_open() {
        operation["security"] = json!([]);
    }
    if route.origin == Origin::Ours {
        operation["x-guildhall"] = json!(true);
    }
    operation
}

fn parameter(name: &str, place: &str, required: bool) -> Value {
    let schema = if place == "query" { of_query(name) } else { json!({ "type": "string" }) };
    json!({ "name": name, "in": place, "required": required, "schema": schema })
}

/// What a parameter of a query holds: it goes by its name, which means the same on every route.
fn of_query(name: &str) -> Value {
    match name {
        "limit" | "page_size" => json!({ "type": "integer", "minimum": 1 }),
        "page_token" => json!({ "type": "integer", "minimum": 0 }),
        "start_epoch_millis" | "end_epoch_millis" | "step_seconds" => json!({ "type": "integer" }),
        "force" | "include_implicit" | "added_only" | "created_by_me" | "revoke_created_api_keys" => {
            json!({ "type": "boolean" })
        }
        "chain_deployment_ids"
        | "deployment_ids"
        | "environment_names"
        | "event_type_groups"
        | "excludes"
        | "includes"
        | "metrics"
        | "sources"
        | "team_ids"
        | "user_ids" => {
            json!({ "type": "array", "items": { "type": "string" } }) // the parameter is repeated
        }
        _ => json!({ "type": "string" }),
    }
}

/// The method and the words of the path: `get_v1_teams_team_id_secrets`.
fn operation_id(method: &str, template: &str) -> String {
    let words = template.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_lowercase(), |id, word| id + "_" + word)
}
