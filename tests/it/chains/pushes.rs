//! Who may push what to which Chain, and what a push must not contain.

use serde_json::json;

use super::{Chainlet, mutation};
use crate::acme::Acme;
use crate::deployments::whole;
use crate::vocabulary::text;

const NEW: &str = "chain_name: \"rag\" team_id: \"research\"";

fn named(chainlet: &Chainlet, name: &'static str) -> Chainlet {
    Chainlet { name, ..chainlet.clone() }
}

#[test]
fn a_push_goes_to_an_environment_that_is_there() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    let staged = acme.push_again(&rag.chain, "environment: \"staging\" deployment_name: \"v2\"");
    assert_eq!(acme.chain_deployment(&rag.chain, &staged)["environment"], "staging");
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str());
}

#[test]
fn an_environment_that_is_not_there_is_told_in_the_code_that_truss_reads() {
    let acme = Acme::new();
    let rag = acme.rag();
    let to_canary = format!("chain_id: \"{}\" environment: \"canary\"", rag.chain);
    acme.push_refused("RESOURCE_NOT_FOUND", "max", &to_canary, &acme.hello("max"));
    let new = "chain_name: \"new\" team_id: \"research\" environment: \"canary\"";
    acme.push_refused("RESOURCE_NOT_FOUND", "max", new, &acme.hello("max"));
    acme.push_chain("max", "chain_name: \"new\" team_id: \"research\" environment: \"production\"");
}

#[test]
fn a_development_deployment_serves_no_environment() {
    let acme = Acme::new();
    let arguments = format!("{NEW} is_draft: true environment: \"production\"");
    let told = acme.push_refused("VALIDATION_ERROR", "max", &arguments, &acme.hello("max"));
    assert!(told.contains("is_draft"), "{told}");
}

#[test]
fn a_chain_keeps_its_team_whatever_a_push_says() {
    let acme = Acme::new();
    let rag = acme.rag();
    let ours = acme.push_chain("ada", &format!("chain_id: \"{}\" team_id: \"inference\"", rag.chain));
    assert_eq!(ours.chain, rag.chain);
    assert_eq!(acme.get("max", &format!("/v1/chains/{}", rag.chain))["deployments_count"], 2);
    for (model, _) in acme.models_of(&ours.id) {
        assert_eq!(acme.get("max", &format!("/v1/models/{model}"))["team_name"], "Research");
    }
    let entry = acme.audit().pop().unwrap();
    assert_eq!((&entry["event_type"], &entry["team_id"]), (&json!("CHAIN_DEPLOYED"), &json!("research")));
}

#[test]
fn another_teams_chain_is_not_there() {
    let acme = Acme::new();
    let rag = acme.rag();
    for arguments in [
        format!("chain_id: \"{}\"", rag.chain),
        format!("chain_id: \"{}\" team_id: \"research\"", rag.chain),
        format!("chain_id: \"{}\" team_id: \"inference\"", rag.chain),
        "chain_id: \"nosuchchain\"".to_owned(),
    ] {
        for who in ["ian", "dora", "fay"] {
            let told = acme.push_refused("NOT_FOUND", who, &arguments, &acme.hello(who));
            assert_eq!(told, "no such Chain", "{who} {arguments}");
        }
    }
    for who in ["ian", "fay"] {
        let told = acme.push_refused("NOT_FOUND", who, NEW, &acme.hello(who));
        assert_eq!(told, "no such team");
    }
}

#[test]
fn who_may_deploy_nowhere_pushes_nothing() {
    let acme = Acme::new();
    let rag = acme.rag();
    let keys = [
        acme.team_key("research", "WORKSPACE_INVOKE"),
        acme.team_key("research", "WORKSPACE_EXPORT_METRICS"),
        acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" })),
    ];
    for who in ["lone"].into_iter().chain(keys.iter().map(String::as_str)) {
        for arguments in [NEW, "chain_name: \"x\"", &format!("chain_id: \"{}\"", rag.chain), "chain_id: \"nothing\""] {
            let told = acme.push_refused("FORBIDDEN", who, arguments, &acme.hello(who));
            let why = if who == "lone" { "no team in which you may deploy" } else { "a key of category WORKSPACE_" };
            assert!(told.contains(why), "{told}");
        }
        let asked = acme.graphql(who, "{ chain_s3_upload_credentials { s3_key } }");
        assert_eq!(asked["errors"][0]["extensions"]["code"], "FORBIDDEN", "{asked}");
    }
}

#[test]
fn a_team_key_pushes_to_its_team() {
    let acme = Acme::new();
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let rag = acme.push_chain(&key, "chain_name: \"rag\"");
    assert_eq!(acme.get("max", &format!("/v1/chains/{}", rag.chain))["team_name"], "Research");
    acme.push_chain(&key, &format!("chain_id: \"{}\"", rag.chain));
    let elsewhere = acme.push_chain("ian", "chain_name: \"rag\"");
    let told = acme.push_refused("NOT_FOUND", &key, &format!("chain_id: \"{}\"", elsewhere.chain), &acme.hello(&key));
    assert_eq!(told, "no such Chain");
}

#[test]
fn a_key_narrowed_to_environments_pushes_into_them_alone() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    acme.chain_environment(&rag.chain, "canary");
    let narrowed = json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "environments": ["staging"] });
    let key = acme.make_key("tess", narrowed);
    let credentials = acme.graphql(&key, "{ chain_s3_upload_credentials { s3_key } }");
    assert!(text(&credentials["data"]["chain_s3_upload_credentials"]["s3_key"]).starts_with("chains/"));
    let to = |more: &str| format!("chain_id: \"{}\" {more}", rag.chain);
    let staged = acme.push_chain(&key, &to("environment: \"staging\""));
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "staging"), staged.id.as_str());
    for arguments in [
        to(""),
        to("environment: \"production\""),
        to("environment: \"canary\""),
        to("is_draft: true"),
        "chain_name: \"rag\" is_draft: true".to_owned(),
        "chain_name: \"new\"".to_owned(),
        "chain_name: \"new\" is_draft: true".to_owned(),
        "chain_name: \"new\" environment: \"staging\"".to_owned(),
    ] {
        let told = acme.push_refused("FORBIDDEN", &key, &arguments, &acme.hello(&key));
        assert!(told.contains("narrowed to the environments staging"), "{arguments}: {told}");
    }
    // And what it may do over REST ends there too.
    let at = format!("/v1/chains/{}", rag.chain);
    acme.refused(403, &key, "DELETE", &at, None);
    acme.refused(403, &key, "DELETE", &format!("{at}/deployments/{}", rag.id), None);
    acme.refused(
        403,
        &key,
        "POST",
        &format!("{at}/environments/production/promote"),
        json!({ "deployment_id": staged.id }),
    );
    acme.refused(403, &key, "POST", &format!("{at}/environments"), json!({ "name": "new" }));
    acme.post(&key, &format!("{at}/deployments/{}/deactivate", staged.id), json!({}));
}

#[test]
fn a_chainlet_names_secrets_of_its_chains_team_alone() {
    let acme = Acme::new();
    acme.post("ian", "/v1/teams/inference/secrets", json!({ "name": "hf_token", "value": "hf" }));
    let mut chainlets = acme.hello("max");
    chainlets[1].config = json!({ "secrets": { "hf-token": null, "baseten_chain_api_key": null } });
    let told = acme.push_refused("VALIDATION_ERROR", "max", NEW, &chainlets);
    assert!(told.contains("hf-token") && told.contains("Research"), "{told}");
    acme.post("max", "/v1/teams/research/secrets", json!({ "name": "hf_token", "value": "hf" }));
    acme.push_chainlets("max", NEW, &chainlets);
    // The key by which chainlets call each other is nobody's to set, and a model has none of it.
    let config = json!({ "secrets": { "baseten_chain_api_key": null } });
    let body = json!({ "source": { "name": "llama", "deployment": { "config": config } } });
    acme.refused(400, "max", "POST", "/v1/teams/research/models", body);
}

#[test]
fn an_upload_serves_who_sent_it_for_what_it_was_sent() {
    let acme = Acme::new();
    let rag = acme.rag();
    let to = format!("chain_id: \"{}\"", rag.chain);
    let with_source = |s3_key: &str| format!("{to} original_source_artifact_s3_key: \"{s3_key}\"");
    let of_tess = |purpose: &str| acme.uploaded_for(purpose, "tess", &whole());
    let of_max = |purpose: &str| acme.uploaded_for(purpose, "max", &whole());
    for source in [of_tess("chains"), of_tess("models"), of_max("models"), of_max("training"), "chains/none".to_owned()]
    {
        let told = acme.push_refused("NOT_FOUND", "max", &with_source(&source), &acme.hello("max"));
        assert_eq!(told, "no such upload", "{source}");
    }
    for s3_key in [of_tess("models"), of_max("chains"), of_max("training"), "models/none".to_owned()] {
        let mut chainlets = acme.hello("max");
        chainlets[1].s3_key = s3_key.clone();
        let told = acme.push_refused("NOT_FOUND", "max", &to, &chainlets);
        assert_eq!(told, "no such upload", "{s3_key}");
    }
    // The keys of one person are that person; two keys of a team are two.
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let other = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.push_refused("NOT_FOUND", &other, &to, &acme.hello(&key));
    let second = acme.make_key("max", json!({ "type": "PERSONAL" }));
    acme.push_chainlets(&second, &with_source(&of_max("chains")), &acme.hello("max"));
    // What a Chain's source was is no model's archive.
    let body = json!({ "source": { "kind": "model_archive", "name": "llama", "s3_key": of_max("chains"),
                                   "deployment": { "config": {} } } });
    acme.refused(404, "max", "POST", "/v1/teams/research/models", body);
}

#[test]
fn a_push_that_cannot_be_read_names_the_argument() {
    let acme = Acme::new();
    let hello = acme.hello("max");
    let many: Vec<Chainlet> = (0..101).map(|n| Chainlet { model_name: format!("m{n}"), ..hello[0].clone() }).collect();
    let twice = [hello[0].clone(), named(&hello[1], "Hello")];
    let no_name = [hello[0].clone(), named(&hello[1], "")];
    let no_model_name = [Chainlet { model_name: String::new(), ..hello[0].clone() }];
    let no_instance = [Chainlet { config: json!({ "resources": { "accelerator": "Z80" } }), ..hello[0].clone() }];
    for (arguments, chainlets, named) in [
        (NEW, &many[..], "dependencies"),
        (NEW, &twice, "Hello"),
        (NEW, &no_name, "name"),
        (NEW, &no_model_name, "model_name"),
        (NEW, &no_instance, "config.resources"),
        ("chain_name: \"\"", &hello, "chain_name"),
        ("chain_id: \"x\" chain_name: \"y\"", &hello, "chain_id"),
        ("team_id: \"research\"", &hello, "chain_id"),
        (&format!("{NEW} deployment_name: \"a b\""), &hello, "deployment_name"),
        (&format!("{NEW} environment: \"UP\""), &hello, "environment"),
        (&format!("{NEW} truss_user_env: \"[]\""), &hello, "truss_user_env"),
        (&format!("{NEW} surprise: 1"), &hello, "surprise"),
    ] {
        let told = acme.push_refused("VALIDATION_ERROR", "max", arguments, chainlets);
        assert!(told.contains(named), "{arguments}: {told}");
    }
    for encoded in ["no base 64!", "bm8ganNvbg==", "WzFd", "/w=="] {
        let document = mutation(NEW, &hello);
        let start = document.find("encoded_config_str: \"").unwrap() + "encoded_config_str: \"".len();
        let end = start + document[start..].find('"').unwrap();
        let document = format!("{}{encoded}{}", &document[..start], &document[end..]);
        let before = acme.content();
        let answer = acme.graphql("max", &document);
        assert!(text(&answer["errors"][0]["message"]).contains("encoded_config_str"), "{encoded}: {answer}");
        assert_eq!(acme.content(), before);
    }
    let hundred: Vec<Chainlet> = many[..100]
        .iter()
        .enumerate()
        .map(|(n, it)| Chainlet { name: Box::leak(format!("c{n}").into_boxed_str()), ..it.clone() })
        .collect();
    let made = acme.push_chainlets("max", NEW, &hundred);
    assert_eq!(acme.models_of(&made.id).len(), 100);
}

#[test]
fn a_name_that_a_model_of_the_team_has_makes_no_chainlet() {
    let acme = Acme::new();
    acme.create("max", "research", "llama");
    let mut chainlets = acme.hello("max");
    chainlets[1].model_name = "llama".to_owned();
    let told = acme.push_refused("CONFLICT", "max", NEW, &chainlets);
    assert!(told.contains("llama"), "{told}");
}

#[test]
fn of_two_pushes_of_the_same_new_chain_at_once_one_makes_it_and_both_go_to_it() {
    let acme = Acme::new();
    let requests: Vec<_> = (0..2)
        .map(|_| {
            let body = json!({ "query": mutation(NEW, &acme.hello("max")) }).to_string().into_bytes();
            acme.server.request(Some(acme.key("max")), "POST", "/graphql/", body)
        })
        .collect();
    for answer in acme.server.send_at_once(requests) {
        assert!(answer.body.get("errors").is_none(), "{}", answer.body);
    }
    assert_eq!((acme.count("chain"), acme.count("chain_deployment"), acme.count("chainlet")), (1, 2, 4));
}

#[test]
fn of_two_pushes_to_the_development_deployment_at_once_the_later_stands() {
    let acme = Acme::new();
    let requests: Vec<_> = (0..2)
        .map(|_| {
            let document = mutation(&format!("{NEW} is_draft: true"), &acme.hello("max"));
            let body = json!({ "query": document }).to_string().into_bytes();
            acme.server.request(Some(acme.key("max")), "POST", "/graphql/", body)
        })
        .collect();
    for answer in acme.server.send_at_once(requests) {
        assert!(answer.body.get("errors").is_none(), "{}", answer.body);
    }
    assert_eq!((acme.count("chain"), acme.count("chain_deployment"), acme.count("chainlet")), (1, 1, 2));
    assert_eq!((acme.count("model"), acme.count("deployment")), (2, 2));
}

#[test]
fn archives_come_back_unless_the_push_said_otherwise() {
    let acme = Acme::new();
    let open = acme.push_chain("max", NEW);
    let closed = acme.push_chain("max", "chain_name: \"closed\" allow_truss_download: false");
    acme.run_all();
    let download = |pushed: &str| {
        let (model, deployment) = &acme.models_of(pushed)[0];
        acme.send("max", "GET", &format!("/v1/models/{model}/deployments/{deployment}/download"), None).status
    };
    assert_eq!((download(&open.id), download(&closed.id)), (200, 403));
}
