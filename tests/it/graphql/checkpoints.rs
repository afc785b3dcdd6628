//! The requests of truss to deploy a checkpoint of a training job.

use serde_json::{Value, json};

use super::{given, send, sentence};
use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::content;

#[test]
fn instance_types_are_listed_for_anyone_as_truss_asks_for_them() {
    let server = WORLD.server();
    let document = "query Instances { listedInstances: listed_instances { id name millicpuLimit: millicpu_limit
        memoryLimit: memory_limit gpuCount: gpu_count gpuType: gpu_type gpuMemory: gpu_memory default
        displayName: display_name nodeCount: node_count price limitedCapacity: limited_capacity } }";
    let listed = given(&server, "lone", document)["listedInstances"].clone();
    let of = |id: &str| listed.as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
    assert_eq!(
        of("1x2"),
        json!({
            "id": "1x2", "name": "1x2", "millicpuLimit": 1000, "memoryLimit": 2_147_483_648_u64, "gpuCount": 0,
            "gpuType": null, "gpuMemory": null, "default": true, "displayName": "1x2", "nodeCount": 1,
            "price": 0.00058, "limitedCapacity": false,
        })
    );
    let gpu = of("H100:2:52x468");
    assert_eq!((&gpu["gpuType"], &gpu["gpuCount"], &gpu["gpuMemory"]), (&json!("H100"), &json!(2), &json!(81_920)));
}

pub(super) fn deploy(server: &TestServer, who: &str, job: &str, instance_type: &str) -> Value {
    let document = "mutation ($request: CreateModelVersionFromInferenceTemplateRequest!) {
        create_model_version_from_inference_template(request: $request) {
            model_version { id name model_id } truss_config
        }
    }";
    let checkpoint = json!({ "checkpoint": { "training_job_id": job, "checkpoint_name": "checkpoint-1" } });
    let request = json!({
        "metadata": { "oracle_name": "tuned" },
        "weights_sources": [{
            "weight_source_type": "B10_CHECKPOINTING",
            "b10_training_checkpoint_weights_source": checkpoint,
        }],
        "inference_stack": { "stack_type": "VLLM", "environment_variables": [] },
        "instance_type_id": instance_type,
        "dry_run": false,
    });
    send(server, who, json!({ "query": document, "variables": { "request": request } }))
}

#[test]
fn a_checkpoint_is_deployed_of_ones_own_teams_jobs_alone_and_none_is_there_yet() {
    let server = WORLD.server();
    let before = content(&server.sql());
    for who in ["ada", "tess", "max", "crew", "manage-all"] {
        assert_eq!(sentence(&deploy(&server, who, "researchjob", "1x2"), "NOT_FOUND"), "no such checkpoint", "{who}");
    }
    for who in ["lone", "ian", "dora", "fay", "invoke", "metrics", "inference-manage-all", "key-manager"] {
        for job in ["researchjob", "nosuchjob"] {
            assert_eq!(sentence(&deploy(&server, who, job, "1x2"), "NOT_FOUND"), "no such training job", "{who}");
        }
    }
    let refused = sentence(&deploy(&server, "max", "researchjob", "9x9"), "VALIDATION_ERROR");
    assert!(refused.contains("GET /v1/instance_types"), "{refused}");
    assert_eq!(before, content(&server.sql()), "a refused request wrote");
}
