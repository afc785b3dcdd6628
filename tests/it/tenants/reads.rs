//! Expensive reads: long lists, requested many times, and searches through all data.

use std::time::Duration;

use serde_json::json;

use super::peer::Peer;
use super::site::{BaseUrl, Tenant};
use crate::deployments::{CODE, CONFIG, tar};

/// Asks this from several connections at once; it is answered or refused, not broken off.
fn ask_at_once(
    peer: &Peer,
    connections: usize,
    times: usize,
    method: &str,
    target: &str,
    body: Option<&serde_json::Value>,
) {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                for _ in 0..times {
                    let reply = peer.send(method, target, body.cloned());
                    let reply = reply.unwrap_or_else(|cause| panic!("{method} {target}: no answer: {cause}"));
                    assert!(reply.status < 500 || reply.status == 503, "{target}: {} {}", reply.status, reply.text());
                }
            });
        }
    });
}

impl BaseUrl {
    /// Copies a row of the hostile tenant's so often, straight in the database: what it takes long to make by requests.
    fn multiply(&mut self, table: &str, unlike: &[(&str, &str)], condition: &str, times: usize) {
        self.edit(|sql| {
            let mut query = sql.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
            let columns: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let value = |column: &String| {
                let changed = unlike.iter().find(|(name, _)| name == column);
                changed.map_or_else(|| format!("it.{column}"), |(_, value)| (*value).to_owned())
            };
            let values: Vec<String> = columns.iter().map(value).collect();
            sql.execute(
                &format!(
                    "WITH RECURSIVE series(at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM series WHERE at < {times})
                     INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} WHERE {condition} LIMIT 1) AS it, series",
                    columns.join(", "),
                    values.join(", ")
                ),
                [],
            )
            .unwrap();
        });
    }
}

#[test]
fn searches_through_everything_keep_nobody_waiting() {
    let mut site = BaseUrl::new();
    let pushed = site.hostile.push("searched", &crate::deployments::whole());
    site.hostile.outcome(&pushed, Duration::from_secs(10));
    let last = "SELECT max(at) FROM deployment_log AS other WHERE other.deployment_id = deployment_log.deployment_id";
    let mine = format!("deployment_id = '{}' AND at = ({last})", pushed.deployment);
    let message = "'line ' || series.at || ' of a log that is long and says nothing that anybody looks for'";
    site.multiply("deployment_log", &[("at", "it.at + series.at"), ("message", message)], &mine, 60_000);
    let org = "org_id = (SELECT id FROM organization WHERE name = 'Mallory')";
    site.multiply("audit", &[("id", "NULL")], org, 40_000);

    let logs = format!("/v1/models/{}/deployments/{}/logs", pushed.model, pushed.deployment);
    let many: Vec<String> = (0..130_000).map(|at| format!("{at}")).collect();
    let some: Vec<String> = (0..20).map(|at| format!("no such thing {at}")).collect();
    for (what, body) in [
        ("130,000 excludes", json!({ "excludes": many })),
        ("20 filters that fit nothing", json!({ "includes": some[..10], "excludes": some[10..] })),
        ("excludes of nothing at all", json!({ "excludes": vec![""; 20] })),
        (
            "one filter that fits nothing",
            json!({ "search_pattern": "no such thing", "limit": 1000, "direction": "asc" }),
        ),
    ] {
        site.beside(what, |hostile| ask_at_once(&hostile.deployer, 4, 2, "POST", &logs, Some(&body)));
    }
    let one: String = format!("{logs}?{}", (0..1200).map(|at| format!("excludes={at}&")).collect::<String>());
    site.beside("1,200 excludes in a query", |hostile| ask_at_once(&hostile.deployer, 4, 2, "GET", &one, None));
    for (what, target) in [
        ("an audit search that fits nothing", "/v1/audit_logs?search=nosuchthinganywhere".to_owned()),
        ("an audit search of many words", format!("/v1/audit_logs?search={}", "no+such+thing+".repeat(400))),
        (
            "an audit list by many people",
            format!("/v1/audit_logs?{}", (0..900).map(|at| format!("user_ids={at}&")).collect::<String>()),
        ),
        ("an audit list of a model", format!("/v1/models/{}/audit_logs?search=nosuchthing", pushed.model)),
    ] {
        site.beside(what, |hostile| ask_at_once(&hostile.admin, 4, 1, "GET", &target, None));
    }
    site.assert_restarts("searches");
}

/// An upload whose description is long, deployed often: one document could ask for all of it many times.
#[test]
fn lists_of_much_are_bounded_in_what_they_hold() {
    let mut site = BaseUrl::new();
    let files: Vec<String> = (0..5000).map(|at| format!("data/{at}-{}", "f".repeat(80))).collect();
    let mut entries = vec![("config.yaml", CONFIG), ("model/model.py", CODE)];
    entries.extend(files.iter().map(|name| (name.as_str(), "")));
    let archive = tar(&entries);
    let s3_key = site.hostile.uploaded(&archive);
    let pushed = site.hostile.push_upload("large", &s3_key);
    let outcome = site.hostile.outcome(&pushed, Duration::from_secs(10));
    assert_eq!(outcome, "ACTIVE");
    let source = json!({ "kind": "model_archive", "s3_key": s3_key, "deployment": { "config": {} } });
    for _ in 0..80 {
        let target = format!("/v1/models/{}/deployments", pushed.model);
        let answer = site.hostile.deployer.send("POST", &target, Some(json!({ "source": source }))).unwrap();
        assert!(matches!(answer.status, 200 | 429), "{} {}", answer.status, answer.text());
    }
    let settled = |hostile: &Tenant| {
        let listed = hostile.deployer.get(&format!("/v1/models/{}/deployments", pushed.model));
        let listed = listed["deployments"].as_array().unwrap().clone();
        listed.iter().all(|deployment| deployment["status"] != "BUILDING")
    };
    let begun = std::time::Instant::now();
    while !settled(&site.hostile) && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let aliases = |field: &str| (0..16).map(|at| format!("a{at}:{field} ")).collect::<String>();
    let versions = "versions { id truss_signature truss_hash }";
    let documents = [
        ("models by 16 aliases", aliases(&format!("models {{ models {{ id {versions} }} }}"))),
        ("a model by 16 aliases", aliases(&format!("model(id:\"{}\") {{ model {{ {versions} }} }}", pushed.model))),
        (
            "one list by 12 aliases of its fields",
            format!("models {{ models {{ {} }} }}", (0..12).map(|at| format!("b{at}:{versions} ")).collect::<String>()),
        ),
        (
            "one text by 100 aliases",
            format!(
                "models {{ models {{ versions {{ {} }} }} }}",
                (0..100).map(|at| format!("c{at}:truss_signature ")).collect::<String>()
            ),
        ),
    ];
    for (what, fields) in documents {
        let body = json!({ "query": format!("{{ {fields} }}") });
        site.beside(what, |hostile| ask_at_once(&hostile.deployer, 4, 1, "POST", "/graphql/", Some(&body)));
        // The same, and nobody reads it.
        site.beside(&format!("{what}, uncollected"), |hostile| {
            let sockets: Vec<_> = (0..30)
                .filter_map(|_| {
                    let lines = format!("content-length: {}\r\n\r\n{body}", body.to_string().len());
                    let mut socket = hostile.deployer.connect().ok()?;
                    let request = hostile.deployer.head("POST", "/graphql/", &lines);
                    std::io::Write::write_all(&mut socket, request.as_bytes()).ok()?;
                    Some(socket)
                })
                .collect();
            std::thread::sleep(Duration::from_secs(1));
            drop(sockets);
        });
    }
    for target in [
        format!("/v1/models/{}/deployments", pushed.model),
        "/v1/models".to_owned(),
        format!("/v1/models/{}/deployments/{}/config", pushed.model, pushed.deployment),
    ] {
        site.beside(&target.clone(), |hostile| ask_at_once(&hostile.deployer, 6, 3, "GET", &target, None));
    }
    site.assert_restarts("lists");
}
