//! The entries of the audit log about Chains: one entry for each write, with exactly the fields that the SDK requires.

use serde_json::{Value, json};

use crate::acme::Acme;
use crate::vocabulary::text;

/// Does something, and gives the one entry that it left.
#[track_caller]
fn entry(acme: &Acme, event_type: &str, act: impl FnOnce()) -> Value {
    let before = acme.audit().len();
    act();
    let entry = acme.last_of(before + 1);
    assert_eq!(
        (&entry["event_type"], &entry["team_id"], &entry["actor"]),
        (&json!(event_type), &json!("research"), &json!("max"))
    );
    entry["data"].clone()
}

#[test]
fn each_write_to_a_chain_is_an_entry_with_the_fields_that_the_sdk_requires() {
    let acme = Acme::new();
    let chainlets = acme.hello("max");
    let mut made = None;
    let data = entry(&acme, "CHAIN_DEPLOYED", || {
        made = Some(acme.push_chainlets("max", "chain_name: \"rag\" team_id: \"research\"", &chainlets));
    });
    let rag = made.unwrap();
    let of_chain = json!({ "chain_id": rag.chain, "chain_name": "rag" });
    let of = |id: &str, name: &str, more: Value| {
        let mut data = of_chain.clone();
        let fields = data.as_object_mut().unwrap();
        fields.insert("chain_deployment_id".to_owned(), json!(id));
        fields.insert("chain_deployment_name".to_owned(), json!(name));
        fields.extend(more.as_object().unwrap().clone());
        data
    };
    assert_eq!(data, of(&rag.id, "deployment-1", json!({ "is_primary": true, "publish": true })));
    acme.run_all();

    let mut second = String::new();
    let data = entry(&acme, "CHAIN_DEPLOYED", || second = acme.push_again(&rag.chain, "deployment_name: \"v2\""));
    assert_eq!(data, of(&second, "v2", json!({ "is_primary": false, "publish": true })));
    let mut draft = String::new();
    let data = entry(&acme, "CHAIN_DEPLOYED", || draft = acme.push_again(&rag.chain, "is_draft: true"));
    assert_eq!(data, of(&draft, "development", json!({ "is_primary": false, "publish": false })));
    acme.run_all();

    let environments = format!("/v1/chains/{}/environments", rag.chain);
    let environment = |name: &str, redeploy: bool| {
        json!({ "chain_id": rag.chain, "chain_name": "rag", "environment_name": name, "redeploy_on_promotion": redeploy,
                "ramp_up_while_promoting": false, "ramp_up_duration_seconds": 600 })
    };
    let data = entry(&acme, "CHAIN_ENVIRONMENT_CREATED", || {
        drop(acme.post("max", &environments, json!({ "name": "staging" })))
    });
    assert_eq!(data, environment("staging", false));
    let staging = format!("{environments}/staging");
    let data = entry(&acme, "CHAIN_ENVIRONMENT_UPDATED", || {
        acme.patch("max", &staging, json!({ "promotion_settings": { "redeploy_on_promotion": true } }));
    });
    assert_eq!(data, environment("staging", true));

    let mut promoted = Value::Null;
    let data = entry(&acme, "CHAIN_DEPLOYMENT_PROMOTED", || promoted = acme.promote(&rag.chain, "production", &second));
    assert_eq!(promoted["id"], second.as_str());
    assert_eq!(data, of(&second, "v2", json!({ "environment_name": "production", "environment_id": null })));

    let production = format!("{environments}/production/chainlet_settings");
    let hello = text(&promoted["chainlets"][0]["id"]);
    let before = promoted["chainlets"][0]["autoscaling_settings"].clone();
    let data = entry(&acme, "CHAINLET_AUTOSCALING_SETTINGS_CHANGED", || {
        let update = json!({ "chainlet_name": "Hello", "autoscaling_settings": { "max_replica": 3 } });
        acme.patch("max", &format!("{production}/autoscaling_settings"), json!({ "updates": [update] }));
    });
    let mut expected =
        of(&second, "v2", json!({ "chainlet_name": "Hello", "chainlet_id": hello, "previous_settings": before }));
    expected.as_object_mut().unwrap().extend(before.as_object().unwrap().clone());
    expected["max_replica"] = json!(3);
    assert_eq!(data, expected);
    let data = entry(&acme, "CHAINLET_INSTANCE_TYPE_CHANGED", || {
        let update = json!({ "chainlet_name": "Hello", "instance_type_id": "2x8" });
        acme.post("max", &format!("{production}/instance_types/update"), json!({ "updates": [update] }));
    });
    let named = json!({ "chainlet_name": "Hello", "chainlet_id": hello, "instance_type_name": "2x8" });
    assert_eq!(data, of(&second, "v2", named));

    let at = format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id);
    let data =
        entry(&acme, "CHAIN_DEPLOYMENT_DEACTIVATED", || drop(acme.post("max", &format!("{at}/deactivate"), json!({}))));
    assert_eq!(data, of(&rag.id, "deployment-1", json!({})));
    let data = entry(&acme, "CHAIN_DEPLOYMENT_DELETED", || drop(acme.delete("max", &at)));
    let mut expected = of_chain.clone();
    expected["chain_deployment_id"] = json!(rag.id);
    expected["deployment_name"] = json!("deployment-1");
    assert_eq!(data, expected);
    let data = entry(&acme, "CHAIN_DELETED", || drop(acme.delete("max", &format!("/v1/chains/{}", rag.chain))));
    let mut expected = of_chain.clone();
    expected["chain_deployment_name"] = Value::Null;
    assert_eq!(data, expected);
}

#[test]
fn settings_before_any_deployment_are_one_change_of_the_environment() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    let staging = format!("/v1/chains/{}/environments/staging/chainlet_settings", rag.chain);
    let update = |more: Value| {
        let of = |name: &str| {
            let mut update = more.clone();
            update["chainlet_name"] = json!(name);
            update
        };
        json!({ "updates": [of("Hello"), of("RandInt")] })
    };
    let data = entry(&acme, "CHAIN_ENVIRONMENT_UPDATED", || {
        acme.patch(
            "max",
            &format!("{staging}/autoscaling_settings"),
            update(json!({ "autoscaling_settings": { "max_replica": 2 } })),
        );
    });
    let set = &data["chainlet_settings"];
    assert_eq!((&set[0]["chainlet_name"], &set[1]["chainlet_name"]), (&json!("Hello"), &json!("RandInt")));
    assert_eq!(set[1]["autoscaling_settings"]["max_replica"], 2);
    let data = entry(&acme, "CHAIN_ENVIRONMENT_UPDATED", || {
        acme.post("max", &format!("{staging}/instance_types/update"), update(json!({ "instance_type_id": "2x8" })));
    });
    assert_eq!(data["chainlet_settings"][0], json!({ "chainlet_name": "Hello", "instance_type_name": "2x8" }));
}

#[test]
fn a_chains_own_log_tells_its_entries_to_organization_admins() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.push_chain("max", "chain_name: \"other\" team_id: \"research\"");
    let at = format!("/v1/chains/{}/audit_logs", rag.chain);
    let log = acme.get("ada", &format!("{at}?chain_deployment_ids={}", rag.id));
    assert_eq!(log["items"].as_array().unwrap().len(), 1);
    assert_eq!(log["items"][0]["event_type"], "CHAIN_DEPLOYED");
    assert_eq!(acme.get("ada", &at)["items"].as_array().unwrap().len(), 1);
    acme.refused(403, "max", "GET", &at, None);
    acme.refused(404, "ian", "GET", &at, None);
}
