//! External endpoints: servers elsewhere that a configuration names instead of code.
//!
//! ```yaml
//! model_metadata:
//!   guildhall:
//!     endpoint:
//!       url: https://inference.internal:8443/v1
//!       headers: {Authorization: "Bearer ${{ secrets.vllm_token }}"}
//!       health_path: /health
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::{SecretName, SecretValue};
use crate::error::quoted;

const HEADERS_MAX: usize = 50;
const HEADER_BYTES_MAX: usize = 8 << 10;
const URL_BYTES_MAX: usize = 2048;
/// Headers that Guildhall sets itself.
const RESERVED: &[&str] =
    &["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade", "keep-alive"];

/// An external endpoint as its configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub headers: Vec<(String, Template)>,
    /// The path that answers 2xx while the endpoint works. Without one, the endpoint is not checked.
    pub health_path: Option<String>,
}

/// A text in which secrets of the team are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Secret(SecretName),
}

impl Endpoint {
    /// The endpoint that a configuration names, if it names one.
    ///
    /// # Errors
    ///
    /// A sentence that names the field that cannot be read.
    pub fn of_config(config: &Map<String, Value>) -> Result<Option<Endpoint>, String> {
        let ours = config.get("model_metadata").and_then(|metadata| metadata.get("guildhall"));
        let Some(given) = ours.and_then(|ours| ours.get("endpoint")).filter(|given| !given.is_null()) else {
            return Ok(None);
        };
        let given = given.as_object().ok_or("must be an object with a `url`")?;
        if let Some(unknown) = given.keys().find(|name| !["url", "headers", "health_path"].contains(&name.as_str())) {
            return Err(format!("has the unknown field `{}`: it takes url, headers and health_path", quoted(unknown)));
        }
        let url = given.get("url").and_then(Value::as_str).ok_or("must have a text as `url`")?;
        if url.len() > URL_BYTES_MAX {
            return Err(format!("has a `url` of more than {URL_BYTES_MAX} bytes"));
        }
        let health_path = match given.get("health_path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) if is_path(path) => Some(path.clone()),
            Some(_) => return Err("must have a path that begins with `/` as `health_path`".to_owned()),
        };
        Ok(Some(Endpoint { url: url.to_owned(), headers: headers(given.get("headers"))?, health_path }))
    }

    /// The headers with the values of these secrets, which are given by [`SecretName::lookup`].
    ///
    /// # Errors
    ///
    /// A sentence that names a secret that is not there, or one whose value cannot be in a header.
    pub fn headers_with(&self, secrets: &BTreeMap<String, SecretValue>) -> Result<Vec<(String, String)>, String> {
        let filled = self.headers.iter().map(|(name, value)| Ok((name.clone(), value.fill(secrets)?)));
        filled.collect()
    }
}

fn headers(given: Option<&Value>) -> Result<Vec<(String, Template)>, String> {
    let given = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(given) => given.as_object().ok_or("must have an object of texts as `headers`")?,
    };
    if given.len() > HEADERS_MAX {
        return Err(format!("has more than {HEADERS_MAX} headers"));
    }
    let header = |(name, value): (&String, &Value)| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) || RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("names the header \"{}\", which cannot be set", quoted(name)));
        }
        let text = value.as_str().filter(|text| is_header_value(text));
        let text =
            text.ok_or_else(|| format!("has a value of the header \"{}\" that is no line of text", quoted(name)))?;
        Ok((name.clone(), Template::parse(text)?))
    };
    given.iter().map(header).collect()
}

fn is_header_value(text: &str) -> bool {
    text.len() <= HEADER_BYTES_MAX && text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Template {
    /// Reads a text with secrets, written as `${{ secrets.NAME }}`.
    ///
    /// # Errors
    ///
    /// A sentence, if something else stands between `${{` and `}}`.
    pub fn parse(text: &str) -> Result<Template, String> {
        let wrong = || "must name secrets as `${{ secrets.NAME }}`".to_owned();
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, named)) = rest.split_once("${{") {
            let (named, after) = named.split_once("}}").ok_or_else(wrong)?;
            let name = named.trim().strip_prefix("secrets.").ok_or_else(wrong)?;
            let name = SecretName::parse(name).map_err(|_| wrong())?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Secret(name));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    fn fill(&self, secrets: &BTreeMap<String, SecretValue>) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Secret(name) => {
                    let value = secrets.get(&name.lookup()).ok_or_else(|| {
                        format!(
                            "its headers name the secret `{}`, which the team does not have: set it",
                            quoted(name.as_str())
                        )
                    })?;
                    filled.push_str(value.expose());
                }
            }
        }
        let is_line = is_header_value(&filled);
        is_line.then_some(filled).ok_or_else(|| "its headers would not be lines of text: change the secret".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(endpoint: Value) -> Result<Option<Endpoint>, String> {
        let config = json!({ "model_metadata": { "guildhall": { "endpoint": endpoint } } });
        Endpoint::of_config(config.as_object().unwrap())
    }

    fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretValue> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretValue::parse((*value).to_owned()).unwrap()))
            .collect()
    }

    #[test]
    fn headers_take_the_secrets_that_are_there() {
        let endpoint = read(json!({
            "url": "https://host/v1",
            "headers": { "Authorization": "Bearer ${{ secrets.token }}", "X-Plain": "a${{secrets.b}}c" },
            "health_path": "/health",
        }));
        let endpoint = endpoint.unwrap().unwrap();
        let filled = endpoint.headers_with(&secrets(&[("token", "t0k3n"), ("b", "B")])).unwrap();
        let expected = [("Authorization", "Bearer t0k3n"), ("X-Plain", "aBc")];
        assert_eq!(filled, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(endpoint.headers_with(&secrets(&[("b", "B")])).unwrap_err().contains("`token`"));
        let broken = endpoint.headers_with(&secrets(&[("token", "two\r\nlines"), ("b", "B")])).unwrap_err();
        assert!(broken.contains("lines of text") && !broken.contains("two"), "{broken}");
    }

    #[test]
    fn what_cannot_be_an_endpoint_is_refused() {
        assert_eq!(read(Value::Null), Ok(None));
        for wrong in [
            json!("https://host"),
            json!({}),
            json!({ "url": 1 }),
            json!({ "url": "https://host", "heders": {} }),
            json!({ "url": "https://host", "headers": ["a"] }),
            json!({ "url": "https://host", "headers": { "Host": "other" } }),
            json!({ "url": "https://host", "headers": { "two words": "x" } }),
            json!({ "url": "https://host", "headers": { "A": "x\ny" } }),
            json!({ "url": "https://host", "headers": { "A": "${{ env.HOME }}" } }),
            json!({ "url": "https://host", "headers": { "A": "${{ secrets.x" } }),
            json!({ "url": "https://host", "health_path": "health" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
