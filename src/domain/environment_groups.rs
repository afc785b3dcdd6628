//! Environments of a team, and who may change them.

use crate::domain::{EnvironmentName, User};

/// An environment of a team, of all its models and Chains.
#[derive(Debug)]
pub struct Group {
    pub name: EnvironmentName,
    /// `None`: it is not restricted.
    pub access: Option<Access>,
}

/// Who may change a restricted environment: those who are granted, and those who always may.
#[derive(Debug)]
pub struct Access {
    /// By e-mail.
    pub users: Vec<User>,
    pub api_key_prefixes: Vec<String>,
}
