//! Documents that expand: a variable used a thousand times, fragments of fragments, aliases, and lists in lists, for
//! every root field. Any key may send them.

use std::time::{Duration, Instant};

use guildhall::api::graphql::document::Kind;
use guildhall::api::graphql::root_fields::ROOT_FIELDS;
use serde_json::{Value, json};

use super::peer::Peer;
use super::site::{BaseUrl, Tenant};

/// A text for a variable, of a size of its own.
fn variable(bytes: usize) -> Value {
    json!("v".repeat(bytes))
}

/// Sends a document, which is answered whatever it says: in GraphQL, or as too large, or as too much.
fn ask(peer: &Peer, query: &str, variables: &Value) {
    let body = json!({ "query": query, "variables": variables });
    let begun = Instant::now();
    let reply = peer.send("POST", "/graphql/", Some(body));
    let what: String = query.chars().take(90).collect();
    let reply = reply.unwrap_or_else(|cause| panic!("no answer after {:?} to {what}: {cause}", begun.elapsed()));
    assert!(reply.status < 500 || reply.status == 503, "{} to {what}: {}", reply.status, reply.text());
    assert!(begun.elapsed() < Duration::from_secs(10), "{what} took {:?}", begun.elapsed());
}

/// All keys of a tenant that differ in what they may ask.
fn keys(hostile: &Tenant) -> [&Peer; 3] {
    [&hostile.invoker, &hostile.deployer, &hostile.admin]
}

#[test]
fn variables_unfold_in_no_root_field() {
    let mut site = BaseUrl::new();
    let fields: Vec<_> = ROOT_FIELDS.iter().filter(|field| !field.arguments.is_empty()).collect();
    assert!(fields.len() > 10);
    for (at, field) in fields.iter().enumerate() {
        let kind = if field.kind == Kind::Query { "query" } else { "mutation" };
        let uses = [350, 1500, 9000][at % 3];
        let list = |times: usize| format!("[{}]", "$v,".repeat(times));
        let argument = field.arguments[at % field.arguments.len()];
        let document = |value: &str| format!("{kind}($v:String){{ {}({argument}:{value}) {{ id }} }}", field.name);
        let every: String = field.arguments.iter().map(|argument| format!("{argument}:{} ", list(uses / 10))).collect();
        let documents = [
            document(&list(uses)),
            document(&format!("[{}]", format!("[{}],", "$v,".repeat(30)).repeat(uses / 30))),
            document(&format!("{{{}}}", (0..uses.min(4000)).map(|at| format!("a{at}:$v ")).collect::<String>())),
            format!("{kind}($v:String){{ {}({every}) {{ id }} }}", field.name),
            format!(
                "{kind}($v:String){{ {} }}",
                (0..16)
                    .map(|at| format!("a{at}:{}({argument}:{}) {{ id }} ", field.name, list(200)))
                    .collect::<String>()
            ),
        ];
        site.beside(&format!("variables of {}", field.name), |hostile| {
            std::thread::scope(|scope| {
                for (at, document) in documents.iter().enumerate() {
                    let peer = keys(hostile)[at % 3];
                    scope.spawn(move || {
                        let text = variable(if at == 0 { 870_000 } else { 500_000 });
                        ask(peer, document, &json!({ "v": text }));
                    });
                }
            });
        });
    }
    site.assert_restarts("variables");
}

#[test]
fn documents_unfold_in_no_other_way() {
    let mut site = BaseUrl::new();
    let laughs = |levels: usize, times: usize| {
        let spreads = |level: usize| format!("...f{level} ").repeat(times);
        let fragments: String = (0..levels)
            .map(|at| format!("fragment f{at} on Query {{ a{at}: teams {{ id }} {} }}\n", spreads(at + 1)))
            .collect();
        format!("{{ ...f0 }} {fragments} fragment f{levels} on Query {{ teams {{ id name }} }}")
    };
    let long_default = "d".repeat(40_000);
    let circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a ...a }".to_owned();
    let fields: String = (0..150_000).map(|at| format!("a{at}:id ")).collect();
    let documents: Vec<(&str, String, Value)> = vec![
        ("fragments of fragments", laughs(12, 8), json!({})),
        ("two of each fragment", laughs(40, 2), json!({})),
        ("fragments in a circle", circle, json!({})),
        (
            "a long default, used often",
            format!("query($v:String=\"{long_default}\"){{ model(id:[{}]){{ id }} }}", "$v,".repeat(7000)),
            json!({}),
        ),
        (
            "defaults that hold lists",
            format!("query($v:[Int]=[{}]){{ model(id:[{}]){{ id }} }}", "1,".repeat(10_000), "$v,".repeat(9000)),
            json!({}),
        ),
        ("150,000 aliases of a field", format!("{{ teams {{ {fields} }} }}"), json!({})),
        ("one field 200,000 times", format!("{{ teams {{ {} }} }}", "id ".repeat(200_000)), json!({})),
        ("selections in selections", format!("{}id{}", "{ teams ".repeat(50_000), "}".repeat(50_000)), json!({})),
        (
            "lists in lists",
            format!("{{ model(id: {}1{}) {{ id }} }}", "[".repeat(90_000), "]".repeat(90_000)),
            json!({}),
        ),
        ("420,000 numbers", format!("{{ model(id: [{}]) {{ id }} }}", "1 ".repeat(420_000)), json!({})),
        ("a number of 300,000 digits", format!("{{ model(id: {}) {{ id }} }}", "7".repeat(300_000)), json!({})),
        ("40,000 operations", "query q { teams { id } } ".repeat(40_000), json!({})),
        (
            "30,000 fragments",
            (0..30_000).map(|at| format!("fragment g{at} on Query {{ teams {{ id }} }} ")).collect(),
            json!({}),
        ),
        (
            "20,000 variables that nobody uses",
            format!(
                "query({}){{ teams {{ id }} }}",
                (0..20_000).map(|at| format!("$v{at}:String ")).collect::<String>()
            ),
            json!({}),
        ),
        (
            "a variable of 300,000 numbers, used often",
            format!("query($v:[Int]){{ model(id:[{}]){{ id }} }}", "$v,".repeat(3000)),
            json!({ "v": vec![1; 300_000] }),
        ),
        (
            "a variable of objects in lists, used often",
            format!("query($v:[Int]){{ a:model(id:[{0}]){{ id }} b:model(name:[{0}]){{ id }} }}", "$v,".repeat(2000)),
            json!({ "v": vec![json!({ "k": [{}] }); 60_000] }),
        ),
        (
            "lists that are equal, asked for under one name",
            format!("query($v:String){{ {} }}", format!("model(id:[{}]){{ id }} ", "$v,".repeat(400)).repeat(16)),
            json!({ "v": "w".repeat(700_000) }),
        ),
        ("comments and commas", format!("{{ teams {{ id {} }} }}", ",#\n".repeat(250_000)), json!({})),
        ("escapes", format!("{{ model(id: \"{}\") {{ id }} }}", "\\u0001".repeat(140_000)), json!({})),
    ];
    for (what, document, variables) in &documents {
        site.beside(what, |hostile| {
            std::thread::scope(|scope| {
                for peer in keys(hostile) {
                    scope.spawn(|| ask(peer, document, variables));
                }
            });
        });
    }
    site.assert_restarts("documents");
}
