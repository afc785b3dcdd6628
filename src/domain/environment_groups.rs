//! Environments of a team, and who may change them.

use crate::domain::{EnvironmentName, User};

/// An environment of a team. It covers all models and Chains of the team.
#[derive(Debug)]
pub struct Group {
    pub name: EnvironmentName,
    /// Who may change the environment. `None`: it is not restricted.
    pub access: Option<Access>,
}

/// Who may change a restricted environment: those who are granted it, and the team admins, who always may.
#[derive(Debug)]
pub struct Access {
    /// Ordered by e-mail address.
    pub users: Vec<User>,
    pub api_key_prefixes: Vec<String>,
}
