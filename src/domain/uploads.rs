//! Uploads of archives: what one is for, and what its credentials allow.

use zeroize::Zeroizing;

use crate::domain::{OrgId, TeamId, Time, UserId};

/// The one bucket that uploads go to, and the region that clients are told.
pub const BUCKET: &str = "guildhall-uploads";
pub const REGION: &str = "us-east-1";

/// What an upload is for; its key begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Model,
    Chain,
    Training,
}

impl Purpose {
    /// What keys of such uploads begin with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Model => "models",
            Purpose::Chain => "chains",
            Purpose::Training => "training",
        }
    }

    /// Whether this is the key of an upload for it.
    pub fn owns(self, s3_key: &str) -> bool {
        s3_key.strip_prefix(self.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// What a client needs to send one archive. Neither `Debug` nor a log shows its secrets.
pub struct Credentials {
    pub s3_key: String,
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    pub session_token: Zeroizing<String>,
}

/// What credentials allow: one upload, by one caller, until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub s3_key: String,
    pub org_id: OrgId,
    /// The person who asked; `None` where a team key did.
    pub user_id: Option<UserId>,
    pub api_key_prefix: String,
    pub expires_at: Time,
    /// The team whose key asked; `None` where a person did.
    pub team_id: Option<TeamId>,
}

impl Grant {
    /// Who is charged for what is in progress.
    pub fn owner(&self) -> Owner {
        match (&self.team_id, &self.user_id) {
            (Some(team_id), _) => Owner::Team(team_id.clone()),
            (None, user_id) => Owner::Person(user_id.clone().expect("a grant is a team key's or a person's")),
        }
    }
}

/// Whom something in progress is charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Team(TeamId),
    Person(UserId),
}

impl Grant {
    /// As text to be sealed: one field a line, since no field can hold a line break.
    pub fn to_text(&self) -> String {
        let user_id = self.user_id.as_ref().map_or("", UserId::as_str);
        let team_id = self.team_id.as_ref().map_or("", TeamId::as_str);
        let expires_at = self.expires_at.0.to_string();
        [&self.s3_key, self.org_id.as_str(), user_id, team_id, &self.api_key_prefix, &expires_at].join("\n")
    }

    /// Reads what [`Grant::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Grant> {
        let [s3_key, org_id, user_id, team_id, api_key_prefix, expires_at] = text.split('\n').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some(Grant {
            s3_key: s3_key.to_owned(),
            org_id: OrgId(org_id.to_owned()),
            user_id: (!user_id.is_empty()).then(|| UserId(user_id.to_owned())),
            team_id: (!team_id.is_empty()).then(|| TeamId(team_id.to_owned())),
            api_key_prefix: api_key_prefix.to_owned(),
            expires_at: Time(expires_at.parse().ok()?),
        })
    }
}
