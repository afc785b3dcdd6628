//! The names of API keys and environments.

use crate::error::Error;

pub const KEY_NAME_BYTES_MAX: usize = 64;
pub const ENVIRONMENT_NAME_BYTES_MAX: usize = 40;

/// The name of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    pub fn parse(field: &str, text: &str) -> Result<KeyName, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > KEY_NAME_BYTES_MAX || !text.chars().all(allowed) {
            let why = format!("must be 1 to {KEY_NAME_BYTES_MAX} lower-case letters, digits or hyphens");
            return Err(Error::field(field, &why));
        }
        Ok(KeyName(text.to_owned()))
    }

    /// Wraps a name that was checked before it was stored.
    pub(crate) fn stored(text: String) -> KeyName {
        KeyName(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an environment. It is used in host names. `development` is not an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    pub fn parse(field: &str, text: &str) -> Result<EnvironmentName, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let well_formed = !text.is_empty()
            && text.len() <= ENVIRONMENT_NAME_BYTES_MAX
            && text.chars().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !well_formed {
            let why = format!(
                "must be 1 to {ENVIRONMENT_NAME_BYTES_MAX} lower-case letters, digits or hyphens, with no hyphen at either end"
            );
            return Err(Error::field(field, &why));
        }
        if text == "development" {
            return Err(Error::field(field, "must not be `development`: the development deployment is no environment"));
        }
        Ok(EnvironmentName(text.to_owned()))
    }

    /// Wraps a name that was checked before it was stored.
    pub(crate) fn stored(text: String) -> EnvironmentName {
        EnvironmentName(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
