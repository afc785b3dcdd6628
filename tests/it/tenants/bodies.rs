//! Requests to every route of the table: bodies that nest, repeat and expand wherever the route accepts something, and
//! queries and heads with many parts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guildhall::api::refusal::Api;
use guildhall::api::route::Route;
use guildhall::api::routes;
use serde_json::{Value, json};

use super::peer::Peer;
use super::site::{BaseUrl, Tenant, text};

/// Ids of the hostile tenant's own things, by the names that templates have for them.
pub struct Own(HashMap<&'static str, String>);

impl Own {
    pub fn of(tenant: &Tenant) -> Own {
        let admin = &tenant.admin;
        let pushed = tenant.push("own", &crate::deployments::whole());
        let project = admin.post("/v1/training_projects", json!({ "training_project": { "name": "own" } }));
        let project = text(&project["training_project"]["id"]);
        let job = json!({ "training_job": { "image": { "base_image": "python" } } });
        let job = admin.post(&format!("/v1/training_projects/{project}/jobs"), job);
        admin.post("/v1/secrets", json!({ "name": "own", "value": "own" }));
        let group = json!({ "name": "own", "manage_access": { "is_restricted": true } });
        admin.post(&format!("/v1/teams/{}/environment_groups", tenant.team), group);
        let invited = json!({ "email": "own@mallory.example", "role": "MEMBER", "teams": [] });
        let invitation = admin.post("/v1/invitations", invited);
        let key = admin.post(&format!("/v1/teams/{}/api_keys", tenant.team), json!({ "type": "WORKSPACE_INVOKE" }));
        let ids = [
            ("team_id", tenant.team.clone()),
            ("model_id", pushed.model),
            ("deployment_id", pushed.deployment),
            ("env_name", "production".to_owned()),
            ("training_project_id", project),
            ("training_job_id", text(&job["training_job"]["id"])),
            ("secret_name", "own".to_owned()),
            ("invitation_id", text(&invitation["id"])),
            ("user_id", text(&admin.get("/v1/users/me")["user_id"])),
            ("api_key_prefix", text(&key["api_key"]).split('.').next().unwrap().to_owned()),
        ];
        Own(ids.into_iter().collect())
    }

    /// The paths of a route about what is its own, or about nothing.
    fn paths(&self, route: &Route) -> Vec<String> {
        route.paths().iter().map(|path| self.path(path)).collect()
    }

    /// A path about what is its own, or about nothing.
    pub fn path(&self, template: &str) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => self.0.get(name).map_or("nothing", String::as_str).to_owned(),
            None => part.to_owned(),
        };
        template.split('/').map(part).collect::<Vec<_>>().join("/")
    }
}

/// What a route takes, by the description that the server gives of itself.
fn described<'d>(document: &'d Value, route: &Route) -> &'d Value {
    &document["paths"][route.template][route.method.to_ascii_lowercase()]
}

/// A body in which this stands wherever the schema has a leaf.
fn fill(document: &Value, schema: &Value, depth: usize, leaf: &str) -> String {
    let resolved = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#')));
    let schema = resolved.unwrap_or(schema);
    let variants = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| schema[word].as_array());
    if let Some(variants) = variants
        && let Some(first) = variants.iter().find(|variant| variant["type"] != "null")
    {
        return fill(document, first, depth, leaf);
    }
    match schema["properties"].as_object() {
        Some(properties) if depth < 4 && !properties.is_empty() => {
            let field = |(name, schema)| format!("{}:{}", json!(name), fill(document, schema, depth + 1, leaf));
            format!("{{{}}}", properties.iter().map(field).collect::<Vec<_>>().join(","))
        }
        _ => leaf.to_owned(),
    }
}

/// Values that are more than they seem, of about this many bytes.
fn values(bytes: usize) -> [String; 9] {
    [
        format!("{}{}", "[".repeat(bytes / 2), "]".repeat(bytes / 2)),
        format!("{}1{}", "{\"a\":".repeat(bytes / 6), "}".repeat(bytes / 6)),
        format!("[{}0]", "0,".repeat(bytes / 2)),
        format!("[{}{{}}]", "{},".repeat(bytes / 3)),
        format!("[{}\"\"]", "\"\",".repeat(bytes / 3)),
        format!("{{{}\"z\":0}}", (0..bytes / 10).map(|at| format!("\"{at:x}\":0,")).collect::<String>()),
        format!("{{{}\"a\":0}}", "\"a\":0,".repeat(bytes / 6)),
        format!("\"{}\"", "\\u0001".repeat(bytes / 6)),
        "9".repeat(bytes),
    ]
}

/// Refused or not, it is answered, and the fault is not the server's.
#[track_caller]
fn assert_answered(what: &str, begun: Instant, reply: std::io::Result<super::peer::Reply>) {
    let reply = reply.unwrap_or_else(|cause| panic!("{what}: no answer after {:?}: {cause}", begun.elapsed()));
    assert!(reply.status < 500 || matches!(reply.status, 501 | 503), "{what}: {} {}", reply.status, reply.text());
    assert!(begun.elapsed() < Duration::from_secs(10), "{what}: it took {:?}", begun.elapsed());
}

/// Every route that the network reaches. What deletes comes last, so that what the others are about is there.
fn routes() -> Vec<&'static Route> {
    let is_reached =
        |route: &&Route| !route.access.is_operators() && matches!(route.api, Api::Management | Api::GraphQl);
    let mut routes: Vec<&Route> = routes::all().filter(is_reached).collect();
    routes.sort_by_key(|route| route.method == "DELETE");
    routes
}

/// Sends a route all of this from several connections.
fn send_all(peer: &Peer, route: &Route, targets: &[String], bodies: &[String]) {
    std::thread::scope(|scope| {
        for target in targets {
            scope.spawn(move || {
                let what: String = format!("{} {target}", route.method).chars().take(120).collect();
                for body in bodies {
                    let begun = Instant::now();
                    assert_answered(&what, begun, peer.send_bytes(route.method, target, body.as_bytes()));
                }
            });
        }
    });
}

/// By the table: what is not yet in it when this is written is tried too.
#[test]
fn no_route_is_hurt_by_what_it_is_sent() {
    let mut site = BaseUrl::new();
    let own = Own::of(&site.hostile);
    let document = site.neighbour.admin.get("/openapi.json");
    let routes = routes();
    assert!(routes.len() > 150);
    // In groups, so that the neighbour is sampled long enough beside each.
    for (at, group) in routes.chunks(24).enumerate() {
        site.beside(&format!("bodies, from {}", group[0].template), |hostile| {
            for (number, route) in group.iter().enumerate() {
                let schema = &described(&document, route)["requestBody"]["content"]["application/json"]["schema"];
                let leaves = fill(&document, schema, 0, "\u{0}").matches('\u{0}').count().max(1);
                let size = if number % 8 == 0 { 1_000_000 } else { 80_000 };
                let filled = |leaf: String| fill(&document, schema, 0, &leaf);
                let mut bodies: Vec<String> = values(size / leaves).into_iter().map(filled).collect();
                // Not every body is an object, and not every object is one that the route describes.
                bodies.push(values(100_000)[(at + number) % 9].clone());
                if schema.is_null() || !route.is_served() {
                    bodies.truncate(2);
                }
                send_all(&hostile.admin, route, &own.paths(route), &bodies);
            }
        });
    }
    site.assert_restarts("bodies");
}

#[test]
fn no_route_is_hurt_by_its_query_or_its_head() {
    let mut site = BaseUrl::new();
    let own = Own::of(&site.hostile);
    let document = site.neighbour.admin.get("/openapi.json");
    let reads: Vec<&Route> = routes().into_iter().filter(|route| route.method == "GET").collect();
    assert!(reads.len() > 60);
    for group in reads.chunks(40) {
        site.beside(&format!("queries, from {}", group[0].template), |hostile| {
            for route in group {
                let named = described(&document, route)["parameters"].as_array();
                let named = named.into_iter().flatten().filter(|parameter| parameter["in"] == "query");
                let mut names: Vec<&str> = named.filter_map(|parameter| parameter["name"].as_str()).collect();
                names.push("nosuch");
                let fits = |text: &str| text.chars().take(28_000).collect::<String>();
                let each = |value: &str| names.iter().map(|name| format!("{name}={value}&")).collect::<String>();
                let queries = [
                    fits(&each("1").repeat(2000)),
                    fits(&each(&"%25".repeat(9000 / names.len()))),
                    fits(&each("99999999999999999999999999")),
                    fits(&each("-9223372036854775808")),
                ];
                let paths = own.paths(route);
                let targets = paths.iter().flat_map(|path| queries.iter().map(move |query| format!("{path}?{query}")));
                let targets: Vec<String> = targets.collect();
                send_all(&hostile.admin, route, &targets, &[String::new()]);
            }
        });
    }
    site.beside("heads", |hostile| {
        let many = |lines: usize, bytes: usize| {
            (0..lines).map(|at| format!("x-h{at}: {}\r\n", "h".repeat(bytes))).collect::<String>()
        };
        let heads = [
            many(95, 200),
            many(3000, 1),
            many(1, 200_000),
            "cookie: a=b\r\n".repeat(2000),
            format!("user-agent: {}\r\n", "Mozilla/5.0 (".repeat(2000)),
            format!("accept-encoding: {}\r\n", "gzip;q=0.1,".repeat(2500)),
        ];
        for head in &heads {
            for target in ["/v1/teams".to_owned(), "/a".repeat(14_000), format!("/v1/teams/{}", "%41".repeat(9000))] {
                let begun = Instant::now();
                let mut socket = hostile.admin.connect().unwrap();
                let sent = format!("{}connection: close\r\n\r\n", hostile.admin.head("GET", &target, head));
                let _ = std::io::Write::write_all(&mut socket, sent.as_bytes());
                // What is far too large may be cut off without an answer.
                if let Ok(reply) = super::peer::read(&mut socket) {
                    assert_answered("heads", begun, Ok(reply));
                }
            }
        }
    });
    site.assert_restarts("queries");
}
