//! YAML that clients send: a model's `config.yaml`, read as Python's `yaml.safe_load` reads it and as JSON holds it.
//!
//! Of a key given twice the last counts, aliases and merge keys are expanded, and `.inf` and `.nan`, which JSON cannot hold,
//! become null. What the text expands to is bounded, not only the text.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Of a `config.yaml` as it was written.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;
/// Of what a configuration becomes: mappings, lists, keys and values, those of aliases each time.
pub const NODES_MAX: usize = 50_000;
/// Of what a configuration becomes, as JSON.
const JSON_BYTES_MAX: usize = 4 << 20;
const DEPTH_MAX: usize = 64;

/// Reads a configuration. An empty one is an empty mapping. It takes up to tens of milliseconds: call it on the pool.
///
/// # Errors
/// The end of a sentence that begins with what the text is called, such as `config.yaml`. Nothing of the text is quoted.
pub fn read_config(text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(format!("must be at most {CONFIG_BYTES_MAX} bytes"));
    }
    let budget =
        Budget { nodes_left: Cell::new(NODES_MAX), bytes_left: Cell::new(JSON_BYTES_MAX), is_spent: Cell::new(false) };
    let read =
        serde_saphyr::with_deserializer_from_str_with_options(text, options(), |from| Tree(&budget).deserialize(from));
    match read {
        Ok(Value::Object(config)) => Ok(config),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("must be a mapping, in YAML".to_owned()),
        Err(_) if budget.is_spent.get() => Err(format!(
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

/// Where the parser stopped, without its words: they may quote what stands there.
fn unreadable(cause: &serde_saphyr::Error) -> String {
    match cause.location() {
        Some(at) if at.line() > 0 => format!("cannot be read as YAML: see line {}, column {}", at.line(), at.column()),
        _ => "cannot be read as YAML".to_owned(),
    }
}

/// What may still be built.
struct Budget {
    nodes_left: Cell<usize>,
    bytes_left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Budget {
    /// Pays for one more node, of so many bytes of JSON with what separates it from the next.
    fn spend<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.nodes_left.get().checked_sub(1).zip(self.bytes_left.get().checked_sub(bytes + 1));
        let Some((nodes, bytes)) = left else {
            self.is_spent.set(true);
            return Err(E::custom("the budget is spent"));
        };
        self.nodes_left.set(nodes);
        self.bytes_left.set(bytes);
        Ok(())
    }
}

/// How long a text is in JSON.
fn json_bytes(text: &str) -> usize {
    2 + text
        .bytes()
        .map(|byte| if byte < 0x20 { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) })
        .sum::<usize>()
}

/// Builds a value within the budget.
#[derive(Clone, Copy)]
struct Tree<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(5).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(20).map(|()| Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(20).map(|()| Value::from(value))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64) // as JSON's readers do with numbers of this size
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(24).map(|()| Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.spend(json_bytes(text)).map(|()| Value::from(text))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.0.spend(4).map(|()| Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.spend(2)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.spend(2)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.spend(json_bytes(&key))?;
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
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
            let refused = read_config(&text).err().expect("it is too large");
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
