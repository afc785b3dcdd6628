//! Logs of deployments and training jobs.

use serde_json::Value;

use crate::domain::Time;
use crate::domain::serving::Level;

/// The longest message of a line that a process has printed. The rest of a longer one is cut off.
pub const MESSAGE_BYTES_MAX: usize = 8 << 10;
const REQUEST_ID_BYTES_MAX: usize = 128;
const CUT: &str = "… (cut off)";

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Time,
    pub level: Level,
    pub message: String,
    /// The replica that printed it. `None` for a line of Guildhall.
    pub replica: Option<String>,
    /// The request that the replica answered meanwhile.
    pub request_id: Option<String>,
}

/// What a line says that a process has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    pub level: Level,
    pub message: String,
    pub request_id: Option<String>,
}

impl Printed {
    /// Reads a line of the Truss server, which is a JSON object, or any other line.
    pub fn read(text: &str) -> Printed {
        let text = text.trim_end();
        if let Some(printed) = text.starts_with('{').then(|| Printed::of_json(text)).flatten() {
            return printed;
        }
        Printed { level: level_in(text), message: cut(text), request_id: None }
    }

    fn of_json(text: &str) -> Option<Printed> {
        let line: Value = serde_json::from_str(text).ok()?;
        let mut message = line.get("message")?.as_str()?.to_owned();
        if let Some(more) = line.get("exc_info").and_then(Value::as_str) {
            message = format!("{message}\n{more}");
        }
        let request_id = line.get("request_id").and_then(Value::as_str);
        let request_id = request_id.filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).map(str::to_owned);
        let level = line.get("levelname").or_else(|| line.get("level")).and_then(Value::as_str);
        Some(Printed { level: level.map_or(Level::Info, level_of), message: cut(&message), request_id })
    }
}

/// The level with this name in Python's logging.
fn level_of(name: &str) -> Level {
    match name.to_ascii_uppercase().as_str() {
        "DEBUG" | "TRACE" => Level::Debug,
        "WARNING" | "WARN" => Level::Warning,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        _ => Level::Info,
    }
}

/// The level that a plain line begins with, such as `WARNING:` or `ERROR `; else `INFO`.
fn level_in(text: &str) -> Level {
    let word = text.trim_start_matches(['[', ' ']).split(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default();
    level_of(word)
}

fn cut(text: &str) -> String {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text.replace('\0', "\u{fffd}");
    }
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX - CUT.len());
    format!("{}{CUT}", text[..end].replace('\0', "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_truss_server_keeps_its_level_and_its_request() {
        let read = Printed::read(
            r#"{"asctime": "2026-11-27", "levelname": "WARNING", "message": "slow", "request_id": "r1"}"#,
        );
        let expected = Printed { level: Level::Warning, message: "slow".to_owned(), request_id: Some("r1".to_owned()) };
        assert_eq!(read, expected);
        let failed = Printed::read(r#"{"levelname": "ERROR", "message": "no", "exc_info": "Traceback"}"#);
        assert_eq!((failed.level, failed.message.as_str()), (Level::Error, "no\nTraceback"));
    }

    #[test]
    fn any_other_line_is_its_own_message() {
        for (text, level) in [
            ("hello", Level::Info),
            ("INFO:     started", Level::Info),
            ("WARNING: old", Level::Warning),
            ("[ERROR] broken", Level::Error),
            ("Errors are rare", Level::Info),
            (r#"{"a": 1}"#, Level::Info),
            (r#"{"message": "cut"#, Level::Info),
        ] {
            let printed = Printed { level, message: text.to_owned(), request_id: None };
            assert_eq!(Printed::read(&format!("{text}\n")), printed);
        }
        let long = Printed::read(&"é".repeat(MESSAGE_BYTES_MAX));
        assert!(long.message.len() <= MESSAGE_BYTES_MAX && long.message.ends_with(CUT));
    }
}
