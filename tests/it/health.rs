//! Does the server say how it is?

use serde_json::json;

use crate::house::House;

#[test]
fn it_lives_and_is_ready_for_anyone() {
    let house = House::empty();
    for target in ["/healthz", "/readyz"] {
        let answered = house.send(None, "GET", target, None);
        assert_eq!((answered.status, answered.body), (200, json!({ "status": "ok" })), "{target}");
    }
}

#[test]
fn a_key_that_does_not_work_is_refused_here_too() {
    let house = House::empty();
    for target in ["/healthz", "/readyz"] {
        house.send(Some("guild_nobodys0.x"), "GET", target, None).refused(401, "UNAUTHENTICATED");
    }
}

#[test]
fn it_is_not_ready_with_a_schema_that_it_does_not_know() {
    let house = House::empty();
    house.sql().execute("UPDATE refinery_schema_history SET version = version + 1000", []).unwrap();
    let refused = house.send(None, "GET", "/readyz", None).refused(503, "UNAVAILABLE");
    assert!(refused["message"].as_str().unwrap().contains("schema"), "{refused}");
    house.send(None, "GET", "/healthz", None).ok();
}

#[test]
fn it_is_not_ready_where_the_database_cannot_be_read() {
    let house = House::empty();
    house.sql().execute_batch("DROP TABLE refinery_schema_history").unwrap();
    let refused = house.send(None, "GET", "/readyz", None).refused(503, "UNAVAILABLE");
    assert!(!refused["message"].as_str().unwrap().contains("refinery"), "the cause is for the log: {refused}");
}
