//! Uploads of archives: their purposes, and what their credentials allow.

use zeroize::Zeroizing;

use crate::domain::{OrgId, TeamId, Time, UserId};

/// The single bucket for uploads, and the region that clients receive.
pub const BUCKET: &str = "guildhall-uploads";
pub const REGION: &str = "us-east-1";

/// The purpose of an upload. The key of the upload begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Model,
    Chain,
    Training,
}

impl Purpose {
    /// The beginning of the keys of such uploads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Model => "models",
            Purpose::Chain => "chains",
            Purpose::Training => "training",
        }
    }

    /// Whether this is the key of an upload with this purpose.
    pub fn owns(self, s3_key: &str) -> bool {
        s3_key.strip_prefix(self.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The credentials that a client needs to upload one archive. Neither `Debug` nor a log shows the secrets.
pub struct Credentials {
    pub s3_key: String,
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    pub session_token: Zeroizing<String>,
}

/// The rights of upload credentials: one upload, by one caller, until a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub s3_key: String,
    pub org_id: OrgId,
    /// The person who requested the credentials. `None` if a team key did.
    pub user_id: Option<UserId>,
    pub api_key_prefix: String,
    pub expires_at: Time,
    /// The team whose key requested the credentials. `None` if a person did.
    pub team_id: Option<TeamId>,
}

impl Grant {
    /// The owner that unfinished uploads are charged to.
    pub fn owner(&self) -> Owner {
        match (&self.team_id, &self.user_id) {
            (Some(team_id), _) => Owner::Team(team_id.clone()),
            (None, user_id) => Owner::Person(user_id.clone().expect("a grant is a team key's or a person's")),
        }
    }
}

/// The team or the person that unfinished uploads are charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Team(TeamId),
    Person(UserId),
}

impl Grant {
    /// Writes the grant as text, which is then encrypted. Each field is one line, because no field can contain a line
    /// break.
    pub fn to_text(&self) -> String {
        let user_id = self.user_id.as_ref().map_or("", UserId::as_str);
        let team_id = self.team_id.as_ref().map_or("", TeamId::as_str);
        let expires_at = self.expires_at.0.to_string();
        [&self.s3_key, self.org_id.as_str(), user_id, team_id, &self.api_key_prefix, &expires_at].join("\n")
    }

    /// Reads the text that [`Grant::to_text`] writes.
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
