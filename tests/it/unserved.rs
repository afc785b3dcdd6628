//! Do requests for unsupported features get a clear refusal?

use std::collections::BTreeSet;

use guildhall::api::Listener;
use guildhall::api::refusal::Api;
use guildhall::api::request::Named;
use guildhall::api::route::Route;
use guildhall::api::routes;
use guildhall::domain::calls::Callee;

use serde_json::{Value, json};

use crate::org::{Org, Teams};
use crate::test_server::TestServer;

/// The template with the names of its places taken out.
fn bare(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What a request for this method and path finds.
fn found(server: &TestServer, method: &str, template: &str) -> &'static Route {
    let mut request = server.request(None, method, &bare(template).replace("{}", "something"), Vec::new());
    request.from = Listener::Operator;
    &routes::table().find(&request).unwrap_or_else(|cause| panic!("{method} {template}: {cause}")).route
}

#[test]
fn every_route_of_baseten_is_served_or_says_that_it_is_not() {
    let server = TestServer::empty();
    let lines = include_str!("data/baseten_routes.txt").lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (method, template) = line.split_once(' ').unwrap();
        let paths = found(&server, method, template).paths();
        assert!(paths.iter().any(|path| bare(path) == template), "{line} finds {paths:?}");
        count += 1;
    }
    assert_eq!(count, 260);
}

#[test]
fn no_route_stands_twice_and_none_stands_before_another() {
    let server = TestServer::empty();
    let mut seen = BTreeSet::new();
    for route in routes::all() {
        assert!(seen.insert((route.method, bare(route.template))), "{} {} twice", route.method, route.template);
        let first = found(&server, route.method, route.template);
        assert_eq!((first.method, first.template), (route.method, route.template));
    }
}

#[test]
fn it_names_itself_to_who_has_a_key() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    for route in routes::all().filter(|route| !route.is_served() && route.api == Api::Management) {
        let target = bare(route.template).replace("{}", "something");
        server.send(None, route.method, &target, None).refused(401, "UNAUTHENTICATED");
        let told = server.send(Some(&acme.founder.key), route.method, &target, None).refused(501, "NOT_IMPLEMENTED");
        assert_eq!(told["message"], format!("{} {} is not served here", route.method, route.template));
    }
}

#[test]
fn a_path_that_nobody_has_is_not_there() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    acme.get(&acme.founder, "/v1/nothing").refused(404, "NOT_FOUND");
    let told =
        server.send(Some(&acme.founder.key), "PUT", "/v1/volumes/token", None).refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(told["message"], "this path answers POST only");
}

/// A request for the host of a model.
fn at_model(server: &TestServer, key: Option<&str>, method: &str, target: &str) -> (u16, Value) {
    let mut request = server.request(key, method, target, b"{}".to_vec());
    request.callee = Some(Named::ByHost(Callee::Model("something".to_owned())));
    let reply = server.answer(request);
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn a_route_of_inference_names_itself_in_inferences_own_shape() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    let key = acme.founder.key.as_str();
    let lines = include_str!("data/inference_routes.txt").lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (method, template) = line.split_once(' ').unwrap();
        let route = found(&server, method, template);
        assert_eq!(bare(route.template), template, "{line}");
        let target = template.replace("{}", "something");
        let elsewhere = server.send(Some(key), method, &target, None);
        if route.is_served() {
            assert_eq!(at_model(&server, Some(key), method, &target), (404, json!({ "error": "no such model" })));
            assert_eq!(elsewhere.status, 404);
            assert!(elsewhere.body["error"].as_str().unwrap().contains("/models/ID"), "{:?}", elsewhere.body);
        } else {
            let told = json!({ "error": format!("{method} {} is not served here", route.template) });
            assert_eq!(at_model(&server, Some(key), method, &target), (501, told.clone()));
            assert_eq!((elsewhere.status, elsewhere.body), (501, told));
        }
        for wrong in [None, Some("guild_aaaaaaaa.nothing")] {
            let (status, body) = at_model(&server, wrong, method, &target);
            assert_eq!((status, body.as_object().unwrap().len()), (401, 1), "{body}");
            assert!(body["error"].as_str().unwrap().contains("API key"), "{body}");
        }
        count += 1;
    }
    assert_eq!(count, 32);
    // What nobody has there is told in the same shape; by another method too.
    assert_eq!(at_model(&server, Some(key), "GET", "/nothing"), (404, json!({ "error": "no such route" })));
    let told = json!({ "error": "this path answers POST only" });
    assert_eq!(at_model(&server, Some(key), "GET", "/production/predict"), (405, told));
    let told = server.send(Some(key), "GET", "/nothing", None).refused(404, "NOT_FOUND");
    assert_eq!(told["message"], "no such route");
}

/// Whoever signs in by a device code has no key yet.
#[test]
fn a_route_of_oauth_names_itself_in_oauths_own_shape() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    for path in ["/v1/users/auth/device/authorize", "/v1/users/auth/device/token", "/v1/users/auth/logout"] {
        let told = json!({
            "error": "not_implemented", "error_description": format!("POST {path} is not served here"),
        });
        for key in [None, Some(acme.founder.key.as_str())] {
            let answer = server.send_bytes(key, "POST", path, b"client_id=baseten-cli".to_vec());
            assert_eq!((answer.status, answer.body), (501, told.clone()), "{path}");
        }
        let answer = server.send_bytes(Some("guild_aaaaaaaa.nothing"), "POST", path, Vec::new());
        assert_eq!((answer.status, &answer.body["error"]), (401, &json!("unauthenticated")), "{path}");
    }
}
