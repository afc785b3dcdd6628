//! Messages about a body that does not fit its shape: which field is wrong, and what it must be. They never quote the
//! value that was sent, because it may be a secret.

use serde_path_to_error::{Path, Segment};

use crate::error::Error;

/// The maximum number of segments of a path, counted from its end. The rest is known from the shape.
const SEGMENTS_MAX: usize = 12;
const FIELD_NAME_BYTES_MAX: usize = 60;

/// The refusal of a value that serde could not read at this path. `whole` is the name of the whole text.
pub fn refusal(whole: &str, path: &Path, cause: &serde_json::Error) -> Error {
    let segments: Vec<&Segment> = path.iter().collect();
    let path = shown(&segments);
    let subject = if path.is_empty() { whole.to_owned() } else { format!("`{path}`") };
    let words = cause.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let expected = words.rsplit_once(", expected ").map(|(_, expected)| expected);
    if let Some(field) = words.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Error::Invalid(format!("`{}` must be given", joined(&path, field)));
    }
    if words.starts_with("unknown field")
        && let Some((Segment::Map { key }, before)) = segments.split_last()
    {
        return Error::Invalid(unknown_field(&shown(before), key, expected));
    }
    Error::Invalid(match expected {
        Some(expected) if words.starts_with("invalid value: integer") => {
            format!("{subject} must be {}, and this one is out of range", in_words(expected))
        }
        Some(expected) if words.starts_with("invalid ") => format!("{subject} must be {}", in_words(expected)),
        Some(expected) if words.starts_with("unknown variant") => format!("{subject} must be {}", one_of(expected)),
        _ if words.starts_with("must ") => format!("{subject} {words}"),
        // A syntax error. The parser describes it without quoting the text.
        _ => {
            let subject = if cause.is_data() { &subject } else { whole };
            match cause.line() {
                0 => format!("{subject} cannot be read: {words}"),
                line => format!("{subject} cannot be read: {words} at line {line} column {}", cause.column()),
            }
        }
    })
}

/// Whether the text may be shown, because it looks like a field name and not like a secret in the wrong place.
fn is_name(text: &str) -> bool {
    text.len() <= FIELD_NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// A path such as `a.b[0].c`. Its names may come from the client.
fn shown(segments: &[&Segment]) -> String {
    let mut shown = String::new();
    for segment in &segments[segments.len().saturating_sub(SEGMENTS_MAX)..] {
        match segment {
            Segment::Seq { index } => shown.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                shown = joined(&shown, if is_name(name) { name } else { "…" });
            }
            Segment::Unknown => {}
        }
    }
    shown
}

fn joined(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The message about an unknown field. The field is shown if it looks like a name, because clients want to see which
/// one they mistyped.
fn unknown_field(path: &str, name: &str, expected: Option<&str>) -> String {
    let known = expected.map(|expected| format!(": it must be {}", one_of(expected))).unwrap_or_default();
    match (is_name(name), path.is_empty()) {
        (true, true) => format!("unknown field `{name}`{known}"),
        (true, false) => format!("unknown field `{name}`, at `{path}.{name}`{known}"),
        (false, true) => format!("unknown field{known}"),
        (false, false) => format!("unknown field in `{path}`{known}"),
    }
}

/// serde's list of names, which may contain a single name.
fn one_of(expected: &str) -> String {
    expected.strip_prefix("one of ").map_or_else(|| expected.to_owned(), |names| format!("one of {names}"))
}

/// serde's expectation in plain words.
fn in_words(expected: &str) -> &str {
    match expected {
        "string" | "str" | "a borrowed string" => "a string",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, not negative",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "unit" | "null" => "null",
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::wire;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only how it is read matters")]
    struct Shape {
        value: String,
        count: Option<u8>,
        flag: Option<bool>,
        list: Option<Vec<Shape>>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only how it is read matters")]
    enum Kind {
        A,
        B,
    }

    fn refused(body: &str) -> String {
        wire::parse::<Shape>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_told_without_what_was_sent() {
        for (body, told) in [
            (r#"{"value": 123456}"#, "`value` must be a string"),
            (r#"{"value": {"hush": "hush"}}"#, "`value` must be a string"),
            (r#"{"value": null}"#, "`value` must be a string"),
            (r#"{"count": 1}"#, "`value` must be given"),
            (r#"{"value": "", "count": "hush, expected hush"}"#, "`count` must be a whole number, not negative"),
            (
                r#"{"value": "", "count": 123456}"#,
                "`count` must be a whole number, not negative, and this one is out of range",
            ),
            (r#"{"value": "", "flag": "hush"}"#, "`flag` must be true or false"),
            (r#"{"value": "", "list": "hush"}"#, "`list` must be a list"),
            (
                r#"{"value": "", "list": [{"value": "", "list": [{"count": 1}]}]}"#,
                "`list[0].list[0].value` must be given",
            ),
            (r#"{"value": "", "kind": "hush"}"#, "`kind` must be `A` or `B`"),
            (r#"{"value": "", "kind": "a`, expected b"}"#, "`kind` must be `A` or `B`"),
            (
                r#"{"value": "", "more": 1}"#,
                "unknown field `more`: it must be one of `value`, `count`, `flag`, `list`, `kind`",
            ),
            (
                r#"{"value": "", "hu sh`, expected": 1}"#,
                "unknown field: it must be one of `value`, `count`, `flag`, `list`, `kind`",
            ),
            (r#"["hush"]"#, "the body must be an object"),
            (r#""hush""#, "the body must be an object"),
            (r#"{"value": hush}"#, "the body cannot be read: expected value at line 1 column 11"),
        ] {
            let said = refused(body);
            assert_eq!(said, told, "{body}");
            assert!(!said.contains("hush") && !said.contains("123456"), "{said}");
        }
    }
}
