//! Calls to running models and Chains: what is called, what becomes of the call, and what is counted.

use std::time::Duration;

use crate::domain::{OrgId, TeamId};

/// How long a call may take, from the end of its head to the last byte of its reply, unless the model says otherwise.
pub const PREDICT_TIMEOUT: Duration = Duration::from_secs(1_200);

/// How many bytes a call may send.
pub const CALL_BODY_BYTES_MAX: u64 = 100_000_000;

/// What a request for a model names, by its host or by the beginning of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// The model with this id.
    Model(String),
    /// The Chain with this id.
    Chain(String),
}

impl Callee {
    /// Reads the first label of a host, such as `model-abc` or `chain-abc`.
    pub fn of_label(label: &str) -> Option<Callee> {
        let (kind, id) = label.split_once('-')?;
        match kind {
            _ if id.is_empty() => None,
            "model" => Some(Callee::Model(id.to_owned())),
            "chain" => Some(Callee::Chain(id.to_owned())),
            _ => None,
        }
    }

    /// Takes `models/ID` or `chains/ID` from the beginning of a path. Returns the rest of the path with it.
    pub fn of_path(path: &[String]) -> Option<(Callee, &[String])> {
        match path {
            [kind, id, rest @ ..] if kind == "models" => Some((Callee::Model(id.clone()), rest)),
            [kind, id, rest @ ..] if kind == "chains" => Some((Callee::Chain(id.clone()), rest)),
            _ => None,
        }
    }
}

/// Which deployment of the model or the Chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The deployment that serves this environment.
    Environment(&'a str),
    Development,
    /// The deployment with this id.
    Deployment(&'a str),
}

/// A call that was allowed, and the deployment that answers it.
#[derive(Clone, Debug)]
pub struct Call {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub model_id: String,
    /// The deployment that answers: for a Chain, that of its entrypoint.
    pub deployment_id: String,
    /// The environment that the deployment serves.
    pub environment: Option<String>,
    /// The prefix of the key that was sent.
    pub caller: String,
    pub asks: Asks,
    /// Whether the deployment must be woken first.
    pub wakes: bool,
}

/// What a call asks of the model's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A prediction.
    Prediction,
    /// A path of the model's own: this many segments at the end of the path that was sent.
    Path { segments: usize },
    /// A websocket.
    Websocket,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMade {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub model_id: String,
    pub deployment_id: String,
    pub environment: Option<String>,
    /// The prefix of the key that was sent.
    pub caller: String,
    /// The status that was answered; 499 if the caller left before there was one.
    pub status: u16,
    pub milliseconds: u64,
    /// Bytes of the bodies in both directions.
    pub bytes: u64,
    pub mode: Mode,
    /// Tokens of the prompt and of the reply, where the model says how many it used.
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

/// Whether the caller waited for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Sync,
    Async,
}

/// The status of a call whose caller left before it was answered.
pub const STATUS_CALLER_LEFT: u16 = 499;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_or_a_path_names_what_is_called() {
        assert_eq!(Callee::of_label("model-abc"), Some(Callee::Model("abc".to_owned())));
        assert_eq!(Callee::of_label("chain-a-b"), Some(Callee::Chain("a-b".to_owned())));
        for other in ["model-", "model", "models-abc", "api", ""] {
            assert_eq!(Callee::of_label(other), None, "{other}");
        }
        let path = ["chains", "abc", "production", "run_remote"].map(str::to_owned);
        assert_eq!(Callee::of_path(&path), Some((Callee::Chain("abc".to_owned()), &path[2..])));
        assert_eq!(Callee::of_path(&path[1..]), None);
    }
}
