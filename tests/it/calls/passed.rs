//! What passes through in both directions, and what does not.

use guildhall::runner::fleet::Server;

use super::model::{Model, reply};
use super::{Site, TOKEN, until};
use crate::seed::WORLD;

#[test]
fn a_prediction_goes_to_the_model_and_comes_back() {
    let site = Site::new();
    let model = Model::new(|seen, connection| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        reply(connection, 200, "x-of-model: yes\r\nset-cookie: a=b\r\n", &format!("[{body}]"))
    });
    site.runs("researchfirst", &model);
    for target in ["/models/researchmodel/production/predict", "/models/researchmodel/predict?a=b%20c"] {
        let answered = site.post("max", target, "{\"x\":1}");
        assert_eq!((answered.status, answered.body.as_str()), (200, "[{\"x\":1}]"), "{answered:?}");
        assert!(
            answered.head.contains("x-of-model: yes") && !answered.head.contains("set-cookie"),
            "{}",
            answered.head
        );
    }
    let seen = model.seen();
    assert_eq!(seen[0].line, "POST /v1/models/model:predict HTTP/1.1");
    assert_eq!(seen[1].line, "POST /v1/models/model:predict?a=b%20c HTTP/1.1");
    assert_eq!(seen[0].header("x-guildhall-token"), Some(TOKEN));
}

#[test]
fn the_host_of_a_model_or_a_chain_names_it_too() {
    let site = Site::new();
    let (model, chain) = (Model::says("\"model\""), Model::says("\"chain\""));
    site.runs("researchfirst", &model);
    site.runs("researchchainfirsthellomodelrun", &chain);
    let key = WORLD.keys.text("max");
    for (host, path, said) in [
        ("model-researchmodel.api.localhost", "/production/predict", "\"model\""),
        ("model-researchmodel.example.com:8000", "/environments/production/predict", "\"model\""),
        ("chain-researchchain.localhost", "/production/run_remote", "\"chain\""),
    ] {
        let mut client = site.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Api-Key {key}\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        let answered = client.reply();
        assert_eq!((answered.status, answered.body.as_str()), (200, said), "{host}");
    }
}

/// Neither the caller's key nor its cookies reach a model, nor what only this server may say.
#[test]
fn a_model_gets_no_credentials() {
    let site = Site::new();
    let model = Model::echo();
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head(
        "POST",
        "max",
        "/models/researchmodel/predict",
        "Cookie: session=stolen\r\nX-Guildhall-Token: forged\r\nX-Baseten-Request-Id: forged\r\nProxy-Authorization: no\r\n\
         Connection: X-Private\r\nX-Private: secret\r\nX-Kept: yes\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n",
    ));
    client.send("2\r\n{}\r\n0\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    let seen = &model.seen()[0];
    let text = format!("{seen:?}");
    for word in [WORLD.keys.text("max"), "stolen", "forged", "secret", "Proxy"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert_eq!((seen.header("x-kept"), seen.header("content-type")), (Some("yes"), Some("application/json")));
    assert_eq!(seen.body, b"{}");
}

#[test]
fn one_request_id_is_sent_down_and_answered() {
    let site = Site::new();
    let model = Model::echo();
    site.runs("researchfirst", &model);
    let answered = site.post("max", "/models/researchmodel/predict", "1");
    let id = model.seen()[0].header("x-baseten-request-id").expect("the model gets it").to_owned();
    assert!(id.len() >= 8 && answered.head.contains(&format!("x-baseten-request-id: {id}\r\n")), "{}", answered.head);
    let refused = site.post("max", "/models/nosuchid/predict", "1");
    assert_eq!(refused.status, 404);
}

/// The model's own errors keep their status, body and headers.
#[test]
fn an_error_of_the_model_is_the_callers() {
    let site = Site::new();
    let more = "x-baseten-error-source: 04\r\nx-baseten-error-code: 600\r\n";
    let model = Model::new(move |_, connection| reply(connection, 500, more, "{\"error\":\"Internal Server Error\"}"));
    site.runs("researchfirst", &model);
    let answered = site.post("max", "/models/researchmodel/predict", "1");
    assert_eq!((answered.status, answered.error().as_str()), (500, "Internal Server Error"));
    assert!(answered.head.contains(more), "{}", answered.head);
}

#[test]
fn a_custom_server_gets_its_own_paths() {
    let site = Site::new();
    let model = Model::echo();
    site.runs_as("researchfirst", &model, Server::Custom { predict_path: "/v1/complete".to_owned() }, 8);
    site.post("max", "/models/researchmodel/predict", "1");
    site.post("max", "/models/researchmodel/production/sync/v1/chat%2Fx/completions?stream=1", "2");
    let mut client = site.client();
    client.send(site.head("GET", "max", "/models/researchmodel/sync/health/", ""));
    assert_eq!(client.reply().status, 200);
    let lines: Vec<_> = model.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines,
        ["POST /v1/complete HTTP/1.1", "POST /v1/chat%2Fx/completions?stream=1 HTTP/1.1", "GET /health/ HTTP/1.1",]
    );
}

/// A connection to the model carries one call after the other.
#[test]
fn connections_are_used_again() {
    let site = Site::new();
    let model = Model::echo();
    site.runs("researchfirst", &model);
    let mut client = site.client();
    for number in 0..20 {
        client.send(site.head("POST", "max", "/models/researchmodel/predict", "Content-Length: 2\r\n"));
        client.send(format!("{number:02}"));
        assert_eq!(client.reply().body, format!("{number:02}"));
    }
    assert_eq!(model.seen().len(), 20);
    assert!(model.ended() < 5, "{} connections", model.ended());
}

#[test]
fn every_call_is_counted() {
    let site = Site::new();
    let model = Model::echo();
    site.runs("researchfirst", &model);
    site.fleet().refuse("researchsecond", "it crashed");
    site.post("invoke", "/models/researchmodel/predict", "12345");
    site.post("max", "/models/researchmodel/environments/preview/predict", "x");
    let counted = || {
        let sql = site.test_server.sql();
        let mut query = sql
            .prepare(
                "SELECT concat_ws(' ', org_id, team_id, model_id, deployment_id, environment, caller), requests, errors, bytes
                 FROM call_minute
                 ORDER BY deployment_id",
            )
            .unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.collect::<Result<Vec<(String, i64, i64, i64)>, _>>().unwrap()
    };
    until("both calls are counted", || counted().len() == 2);
    let (invoke, max) = (WORLD.keys.prefix("invoke"), WORLD.keys.prefix("max"));
    let expected = [
        (format!("acme research researchmodel researchfirst production {invoke}"), 1, 0, 10),
        (format!("acme research researchmodel researchsecond preview {max}"), 1, 1, 0),
    ];
    assert_eq!(counted(), expected);
}
