//! The refusals of acts in a team.

use crate::domain::EnvironmentName;
use crate::error::Error;
use crate::policy::{Standing, TeamAct};

pub(super) fn narrowed(environments: &[EnvironmentName]) -> Error {
    let names: Vec<_> = environments.iter().map(EnvironmentName::as_str).collect();
    Error::Forbidden(format!("this key is narrowed to the environments {} and changes nothing else", names.join(", ")))
}

pub(super) fn refusal(standing: Standing, act: TeamAct) -> Error {
    let what = match standing {
        Standing::Admin | Standing::Member => "the team role",
        Standing::ManageAll | Standing::Invoke | Standing::ExportMetrics | Standing::ManageApiKeys => {
            "a key of category"
        }
    };
    Error::Forbidden(format!("{what} {} does not include \"{}\"", standing.as_str(), act.wording()))
}
