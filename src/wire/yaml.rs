//! YAML that clients send: a model's `config.yaml`. It is read like Python's `yaml.safe_load` reads it, and returned as
//! JSON.
//!
//! If a key is given twice, the last one counts. Aliases and merge keys are expanded. `.inf` and `.nan`, which are not
//! valid JSON, become null. The size of the expanded value is limited, not only the size of the text.

use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};

use crate::wire::tree::{Budget, Tree};

/// The maximum size of the text of a `config.yaml`.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;
/// The maximum number of nodes of a configuration: mappings, lists, keys and values. Those of an alias count at each
/// use.
pub const NODES_MAX: usize = 50_000;
/// The maximum size of a configuration as JSON.
pub const JSON_BYTES_MAX: usize = 4 << 20;
const DEPTH_MAX: usize = 64;

/// Reads a configuration. An empty text is an empty mapping. It can take tens of milliseconds, so call it on the pool.
///
/// # Errors
///
/// The end of a sentence that begins with the name of the text, such as `config.yaml`. It never quotes the text.
pub fn read_config(text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(format!("must be at most {CONFIG_BYTES_MAX} bytes"));
    }
    let budget = Budget::new(NODES_MAX, JSON_BYTES_MAX);
    let read =
        serde_saphyr::with_deserializer_from_str_with_options(text, options(), |from| Tree(&budget).deserialize(from));
    match read {
        Ok(Value::Object(config)) => Ok(config),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("must be a mapping, in YAML".to_owned()),
        Err(_) if budget.is_spent() => Err(format!(
            "is too large as YAML: with its aliases it must be at most {NODES_MAX} keys and values and {JSON_BYTES_MAX} bytes of JSON"
        )),
        Err(cause) => Err(unreadable(&cause)),
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * NODES_MAX,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_aliases: NODES_MAX,
            max_anchors: NODES_MAX,
            max_recorded_anchor_events: 4 * NODES_MAX,
            max_recorded_anchor_bytes: 4 * JSON_BYTES_MAX,
            max_total_scalar_bytes: CONFIG_BYTES_MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 4 * NODES_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        legacy_octal_numbers: true,
        null_as_string: true,
        with_snippet: false,
    }
}

/// Where the parser stopped. The parser's own message is not used, because it may quote the text.
fn unreadable(cause: &serde_saphyr::Error) -> String {
    match cause.location() {
        Some(at) if at.line() > 0 => format!("cannot be read as YAML: see line {}, column {}", at.line(), at.column()),
        _ => "cannot be read as YAML".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        Value::Object(read_config(text).unwrap())
    }

    #[test]
    fn it_is_read_as_python_reads_it() {
        assert_eq!(read(""), json!({}));
        assert_eq!(read("a: 1\nb: 2\na: 3\n"), json!({"a": 3, "b": 2}), "the last of a key counts");
        assert_eq!(read("a: {x: 1, x: 2}"), json!({"a": {"x": 2}}));
        assert_eq!(read("a: .inf\nb: -.inf\nc: .nan\n"), json!({"a": null, "b": null, "c": null}));
        assert_eq!(read("1: a\ntrue: b\n"), json!({"1": "a", "true": "b"}));
        assert_eq!(
            read("a: &x {p: 1}\nb: *x\nc: {<<: *x, q: 2}\n"),
            json!({"a": {"p": 1}, "b": {"p": 1}, "c": {"p": 1, "q": 2}})
        );
        assert_eq!(read("a: yes\nb: off\nc: 1_000\nd: 010\ne: 0o10\n")["a"], json!(true));
        assert_eq!(read("a: 18446744073709551616"), json!({"a": 18446744073709551616.0}));
    }

    #[test]
    fn what_it_expands_to_is_bounded() {
        let long = format!("a: &x {}\nb:\n{}", "y".repeat(100_000), " - *x\n".repeat(1000));
        let laughs: String =
            (1..20).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(","))).collect();
        let nodes = format!("a: [{}]", "1,".repeat(240_000));
        let deep = format!("a: {}", "[".repeat(5000));
        let escaped = format!("a: &x \"{}\"\nb: [*x, *x, *x, *x, *x]", "\\u0001".repeat(170_000));
        for text in [long, format!("l0: &l0 1\n{laughs}"), nodes, deep, escaped] {
            let refused = read_config(&text).expect_err("it is too large");
            assert!(refused.len() < 200 && !refused.contains("yyy"), "{refused}");
        }
        assert!(read_config(&"a".repeat(CONFIG_BYTES_MAX + 1)).unwrap_err().contains("1048576"));
    }

    #[test]
    fn a_large_one_is_read() {
        let text: String = (0..20_000).map(|n| format!("key{n}: some value of it\n")).collect();
        assert_eq!(read_config(&text).unwrap().len(), 20_000);
    }

    #[test]
    fn nothing_is_quoted() {
        for text in [
            "a: canary: b",
            "canary",
            "- canary",
            "a: [canary",
            "\"canary",
            "a: !!int canary",
            "a: *canary",
            "? canary\n  b",
        ] {
            if let Err(refused) = read_config(text) {
                assert!(!refused.contains("canary"), "{text}: {refused}");
            }
        }
        assert_eq!(read_config("a: 1\nb: [").unwrap_err(), "cannot be read as YAML: see line 2, column 4");
    }
}
