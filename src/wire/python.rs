//! JSON as Python's `json` module writes it, with `NaN`, `Infinity` and `-Infinity`. These are not valid JSON and
//! become null, as in a configuration that is read from YAML.

use std::borrow::Cow;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use crate::wire::tree::{Budget, Tree};
use crate::wire::yaml::{JSON_BYTES_MAX, NODES_MAX};

/// Reads a value. It can take tens of milliseconds, so call it on the pool.
///
/// # Errors
///
/// The end of a sentence that begins with the name of the text. It never quotes the text.
pub fn read(text: &str) -> Result<Value, String> {
    let text = without_non_finite(text);
    let budget = Budget::new(NODES_MAX, JSON_BYTES_MAX);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = Tree(&budget).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|_| match budget.is_spent() {
        true => format!("must be at most {NODES_MAX} keys and values and {JSON_BYTES_MAX} bytes of JSON"),
        false => "must be JSON, as text".to_owned(),
    })
}

fn without_non_finite(text: &str) -> Cow<'_, str> {
    const NON_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !NON_FINITE[1..].iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (copied, skipped) = match NON_FINITE.iter().find(|word| rest.starts_with(**word)) {
            Some(word) => ("null", word.len()),
            None if first == '"' => {
                let end = string_bytes(rest);
                (&rest[..end], end)
            }
            None => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        read.push_str(copied);
        rest = &rest[skipped..];
    }
    Cow::Owned(read)
}

/// The length of the string at the beginning of this text, including its quotes.
fn string_bytes(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text = r#"{"a": Infinity, "b": [-Infinity, NaN], "c": "NaN \" Infinity", "Infinity": 1}"#;
        assert_eq!(read(text).unwrap(), json!({"a": null, "b": [null, null], "c": "NaN \" Infinity", "Infinity": 1}));
        assert_eq!(read("{\"a\": 1, \"a\": 2}").unwrap(), json!({"a": 2}));
        for broken in ["", "{", "{\"a\": Infinit}", "{\"a\": \"NaN", "{} {}", "{\"a\": \"NaN\\"] {
            assert_eq!(read(broken).unwrap_err(), "must be JSON, as text", "{broken}");
        }
        assert!(read(&format!("[{}1]", "1,".repeat(NODES_MAX))).unwrap_err().contains("at most"));
    }
}
