//! Does a usage summary cover the resources that the caller may see, for the requested days?

use rusqlite::named_params;
use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams};
use crate::test_server::TestServer;
use crate::vocabulary::text;

const OCTOBER: &str = "/v1/billing/usage_summary?start_date=2026-10-01T00:00:00Z&end_date=2026-11-01T00:00:00Z";

/// A day of one resource.
struct Row<'a> {
    day: &'a str,
    kind: &'a str,
    id: &'a str,
    parent: Option<&'a str>,
    team: Option<&'a str>,
    micro_usd: i64,
}

const ROW: Row =
    Row { day: "2026-10-15", kind: "MODEL_DEPLOYMENT", id: "d1", parent: Some("m1"), team: None, micro_usd: 1_000_000 };

impl Org<'_> {
    fn used(&self, row: &Row) {
        self.server
            .sql()
            .execute(
                "INSERT INTO usage (org_id, day, kind, resource_id, resource_name, model_id, model_name, team_id,
                                    team_name, environment, instance_type, minutes, requests, input_tokens,
                                    output_tokens, cached_tokens, micro_usd)
                 VALUES (:org, :day, :kind, :id, :id || ' name', :parent, :parent || ' name', :team, 'Once',
                         'production', 'L4:4x16', 60, 7, 100, 10, 5, :micro_usd)",
                named_params! {
                    ":org": self.id, ":day": row.day, ":kind": row.kind, ":id": row.id, ":parent": row.parent,
                    ":team": row.team, ":micro_usd": row.micro_usd,
                },
            )
            .unwrap();
    }

    fn model(&self, id: &str, team: &str) {
        self.server
            .sql()
            .execute("INSERT INTO model (id, org_id, team_id, name, instance_type, created_at) VALUES (?, ?, ?, ?, 'L4:4x16', 0)", [id, &self.id, team, id])
            .unwrap();
    }

    fn summary(&self, target: &str) -> Value {
        self.get(&self.founder, target).ok()
    }
}

fn dates(summary: &Value) -> Vec<String> {
    let daily = &summary["dedicated_usage"]["breakdown"][0]["daily"];
    daily.as_array().map(|days| days.iter().map(|day| text(&day["date"])).collect()).unwrap_or_default()
}

#[test]
fn each_kind_is_summed_in_its_section() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    org.model("m1", &org.default_team);
    org.used(&ROW);
    org.used(&Row { day: "2026-10-16", micro_usd: 500_000, ..ROW });
    org.used(&Row { kind: "CHAINLET", id: "c1", parent: Some("gone"), micro_usd: 2_000_000, ..ROW });
    org.used(&Row { kind: "TRAINING_JOB", id: "j1", parent: Some("gone"), micro_usd: 4_000_000, ..ROW });
    org.used(&Row { kind: "MODEL_API", id: "a1", parent: None, micro_usd: 8_000_000, ..ROW });
    let summary = org.summary(OCTOBER);
    let day = |date: &str, usd: f64| {
        json!({
            "date": date, "subtotal": usd, "compute_cost": usd, "surcharge_cost": 0.0, "minutes": 60,
            "inference_requests": 7,
        })
    };
    let dedicated = json!({
        "subtotal": 3.5, "credits_used": 0.0, "total": 3.5, "minutes": 180,
        "breakdown": [
            {
                "billable_resource": {
                    "id": "c1", "kind": "CHAINLET", "name": "c1 name", "model_id": null, "model_name": "gone name",
                    "is_deleted": true, "instance_type": "L4:4x16", "environment_name": "production",
                    "chain_metadata": null,
                },
                "subtotal": 2.0, "compute_cost": 2.0, "surcharge_cost": 0.0, "minutes": 60, "inference_requests": 7,
                "daily": [day("2026-10-15", 2.0)],
            },
            {
                "billable_resource": {
                    "id": "d1", "kind": "MODEL_DEPLOYMENT", "name": "d1 name", "model_id": "m1",
                    "model_name": "m1 name", "is_deleted": false, "instance_type": "L4:4x16",
                    "environment_name": "production", "chain_metadata": null,
                },
                "subtotal": 1.5, "compute_cost": 1.5, "surcharge_cost": 0.0, "minutes": 120, "inference_requests": 14,
                "daily": [day("2026-10-15", 1.0), day("2026-10-16", 0.5)],
            },
        ],
    });
    assert_eq!(summary["dedicated_usage"], dedicated);
    let training = &summary["training_usage"];
    assert_eq!((&training["total"], &training["minutes"]), (&json!(4.0), &json!(60)));
    let item = &training["breakdown"][0];
    assert_eq!(item["billable_resource"]["model_name"], "gone name");
    assert_eq!(item["daily"], json!([{ "date": "2026-10-15", "subtotal": 4.0, "minutes": 60 }]));
    let tokens = json!({ "input_tokens": 100, "output_tokens": 10, "cached_input_tokens": 5 });
    let item = &summary["model_apis_usage"]["breakdown"][0];
    assert_eq!(
        (&item["model_name"], &item["model_family"], &item["subtotal"]),
        (&json!("a1 name"), &Value::Null, &json!(8.0))
    );
    for (field, tokens) in tokens.as_object().unwrap() {
        assert_eq!((&item[field], &item["daily"][0][field]), (tokens, tokens));
    }
}

#[test]
fn money_is_summed_exactly_and_shown_in_cents() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    for (day, micro_usd) in [("2026-10-15", 4_900), ("2026-10-16", 4_900), ("2026-10-17", 333_333)] {
        org.used(&Row { day, micro_usd, ..ROW });
    }
    let summary = org.summary(OCTOBER);
    assert_eq!(summary["dedicated_usage"]["total"], json!(0.34));
    let daily = summary["dedicated_usage"]["breakdown"][0]["daily"].as_array().unwrap();
    assert_eq!(daily.iter().map(|day| &day["subtotal"]).collect::<Vec<_>>(), [&json!(0.0), &json!(0.0), &json!(0.33)]);
}

#[test]
fn the_team_is_named_where_there_are_several() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::On);
    org.used(&Row { team: Some(&org.default_team), ..ROW });
    let resource = |summary: Value| summary["dedicated_usage"]["breakdown"][0]["billable_resource"].clone();
    let alone = resource(org.summary(OCTOBER));
    assert!(alone.get("team_id").is_none() && alone.get("team_name").is_none(), "{alone}");
    let blue = org.team("Blue");
    org.used(&Row { id: "d2", team: Some("gone"), micro_usd: 9_000_000, ..ROW });
    let summary = org.summary(OCTOBER);
    let gone = resource(summary.clone());
    assert_eq!((&gone["team_id"], &gone["team_name"]), (&json!("gone"), &json!("Once")), "as it was called");
    let there = &summary["dedicated_usage"]["breakdown"][1]["billable_resource"];
    assert_eq!((&there["team_id"], &there["team_name"]), (&json!(org.default_team), &json!("Default")));
    org.delete(&org.founder, &format!("/v1/teams/{blue}")).ok();
    assert!(resource(org.summary(OCTOBER)).get("team_id").is_none());
}

#[test]
fn a_day_belongs_to_the_window_that_holds_its_midnight() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    for day in ["2026-10-14", "2026-10-15", "2026-10-16", "2026-10-17"] {
        org.used(&Row { day, ..ROW });
    }
    let between = |start: &str, end: &str| {
        dates(&org.summary(&format!("/v1/billing/usage_summary?start_date={start}&end_date={end}")))
    };
    let two = ["2026-10-15", "2026-10-16"];
    assert_eq!(between("2026-10-15T00:00:00Z", "2026-10-17T00:00:00Z"), two);
    assert_eq!(between("2026-10-15T23:59:59.999Z", "2026-10-16T00:00:00.001Z"), two[1..]);
    assert_eq!(between("2026-10-15T00:00:00Z", "2026-10-15T00:00:00.001Z"), two[..1]);
    assert_eq!(between("2026-10-14T00:00:00.001Z", "2026-10-15T00:00:00Z"), [""; 0]);
    assert_eq!(between("2026-10-15T12:00:00Z", "2026-10-15T12:00:01Z"), [""; 0]);
    assert_eq!(between("2026-10-15T02:00:00+02:00", "2026-10-16T20:00:00-04:00"), two, "in any offset");
    // Months as people have them, wherever they live, adjoin and hold each day once.
    for (start, middle, end) in [
        ("2026-10-14T00:00:00-07:00", "2026-10-16T00:00:00-07:00", "2026-10-18T00:00:00-07:00"),
        ("2026-10-14T00:00:00+13:00", "2026-10-15T12:34:56+13:00", "2026-10-18T00:00:00+13:00"),
        ("2026-10-14T00:00:00Z", "2026-10-16T23:59:59.999Z", "2026-10-18T00:00:00Z"),
    ] {
        assert_eq!([between(start, middle), between(middle, end)].concat(), between(start, end), "{middle}");
    }
    assert_eq!(between("2026-10-15T00:00:00", "2026-10-17"), two, "without one it is UTC");
    assert_eq!(between("2026-10-20", "2026-10-21"), [""; 0]);
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    let bad = [
        ("end_date=2026-10-02T00:00:00Z", "`start_date`"),
        ("start_date=2026-10-02T00:00:00Z", "`end_date`"),
        ("start_date=yesterday&end_date=2026-10-02T00:00:00Z", "`start_date`"),
        ("start_date=2026-10-02T00:00:00Z&end_date=", "`end_date`"),
        ("start_date=2026-10-02T00:00:00Z&end_date=2026-10-02T00:00:00Z", "`end_date`"),
        ("start_date=2026-10-02T00:00:00Z&end_date=2026-10-01T00:00:00Z", "`end_date`"),
        ("start_date=2026-10-01T00:00:00Z&end_date=2026-11-01T02:00:00.001Z", "31 days"),
        ("start_date=2025-12-31T23:59:59.999Z&end_date=2026-01-02T00:00:00Z", "2026-01-01"),
    ];
    for (query, named) in bad {
        let target = format!("/v1/billing/usage_summary?{query}");
        let told = org.get(&org.founder, &target).refused(400, "VALIDATION_ERROR");
        assert!(text(&told["message"]).contains(named), "{query}: {told}");
    }
    org.summary("/v1/billing/usage_summary?start_date=2026-01-01T00:00:00Z&end_date=2026-02-01T00:00:00Z");
    // October where clocks are set back in it.
    for (start, end) in [
        ("2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00"),
        ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
        ("2026-10-02T00:00:00-04:00", "2026-11-02T00:00:00-05:00"),
    ] {
        org.summary(&format!("/v1/billing/usage_summary?start_date={start}&end_date={end}"));
    }
}

#[test]
fn organization_admins_alone_see_the_usage_of_their_organization() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::On);
    org.used(&ROW);
    let member = org.person("ada", "MEMBER", json!([{ "team_id": org.default_team, "role": "ADMIN" }]));
    let key = org.key_of("WORKSPACE_MANAGE_ALL", Some(&org.default_team));
    let told = org.get(&member, OCTOBER).refused(403, "FORBIDDEN");
    assert!(text(&told["message"]).contains("Manage billing"), "{told}");
    org.get(&key, OCTOBER).refused(403, "FORBIDDEN");
    org.get(&member, "/v1/billing/usage_summary").refused(403, "FORBIDDEN");
    let globex = Org::new(&server, "globex", Teams::Off);
    let nothing = globex.summary(OCTOBER);
    for section in ["dedicated_usage", "training_usage", "model_apis_usage"] {
        assert_eq!(
            (&nothing[section]["total"], &nothing[section]["breakdown"]),
            (&json!(0.0), &json!([])),
            "{section}"
        );
    }
    let admin: Someone = org.person("grace", "ADMIN", json!([]));
    assert_eq!(org.get(&admin, OCTOBER).ok(), org.summary(OCTOBER));
}
