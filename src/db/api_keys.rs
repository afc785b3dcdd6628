//! API keys. The database holds only their hashes.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::error::Error;
use crate::model::{EnvironmentName, KeyName, OrgId, Team, TeamId, Time, UserId};
use crate::policy::{Caller, Category, OrgRole, Person, TeamKey, TeamRole, Who};
use crate::token::{PlainKey, TokenHash};

/// `last_used_at` is exact to this.
const USE_NOTED_EVERY_SECONDS: i64 = 60;

/// Whose key this is, with the roles of this moment, and whether its use should be noted.
///
/// A key that is unknown, revoked, expired, or whose owner has left the organization is no key.
pub fn caller(tx: &Tx, key: &PlainKey) -> Result<(Caller, Use), Error> {
    caller_of_hash(tx, &key.hash())
}

/// The same by the key's prefix: for what was granted to a key earlier and is used now.
pub(super) fn caller_again(tx: &Tx, prefix: &str) -> Result<Caller, Error> {
    let hash: Option<TokenHash> = tx
        .sql
        .prepare_cached("SELECT hash FROM api_key WHERE prefix = :prefix")?
        .query_row(named_params! { ":prefix": prefix }, |row| row.get("hash"))
        .optional()?;
    caller_of_hash(tx, &hash.ok_or(Error::Unauthenticated)?).map(|(caller, _)| caller)
}

fn caller_of_hash(tx: &Tx, hash: &TokenHash) -> Result<(Caller, Use), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT api_key.prefix, api_key.org_id, api_key.category, api_key.user_id, api_key.team_id,
                api_key.last_used_at, org_member.role
         FROM api_key
         LEFT JOIN org_member ON org_member.org_id = api_key.org_id AND org_member.user_id = api_key.user_id
         WHERE api_key.hash = :hash
           AND api_key.revoked_at IS NULL
           AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)",
    )?;
    let found = query.query_row(named_params! { ":hash": hash, ":now": tx.now }, KeyRow::from_row).optional()?;
    let row = found.ok_or(Error::Unauthenticated)?;
    let used = match row.last_used_at {
        Some(last) if last.plus_seconds(USE_NOTED_EVERY_SECONDS) > tx.now => Use::Noted,
        _ => Use::ToNote,
    };
    Ok((row.into_caller(tx)?, used))
}

/// Whether `last_used_at` is recent enough to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Noted,
    ToNote,
}

/// Writes when a key was last used. Time only goes forward here.
pub fn note_use(tx: &Tx, prefix: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE api_key
             SET last_used_at = :now
             WHERE prefix = :prefix AND (last_used_at IS NULL OR last_used_at < :now)",
        )?
        .execute(named_params! { ":prefix": prefix, ":now": tx.now })?;
    Ok(())
}

struct KeyRow {
    prefix: String,
    org_id: OrgId,
    category: String,
    user_id: Option<UserId>,
    team_id: Option<TeamId>,
    last_used_at: Option<Time>,
    role: Option<String>,
}

impl KeyRow {
    fn from_row(row: &rusqlite::Row) -> rusqlite::Result<KeyRow> {
        Ok(KeyRow {
            prefix: row.get(0)?,
            org_id: row.get(1)?,
            category: row.get(2)?,
            user_id: row.get(3)?,
            team_id: row.get(4)?,
            last_used_at: row.get(5)?,
            role: row.get(6)?,
        })
    }

    fn into_caller(self, tx: &Tx) -> Result<Caller, Error> {
        let category = Category::parse(&self.category).ok_or(Error::Unauthenticated)?;
        let who = match (category, self.user_id, self.team_id) {
            (Category::Personal, Some(user_id), _) => {
                let role = self.role.as_deref().and_then(OrgRole::parse).ok_or(Error::Unauthenticated)?;
                let teams = memberships(tx, &self.org_id, &user_id)?;
                Who::Person(Person { user_id, role, teams, prefix: self.prefix })
            }
            (Category::Team(category), _, Some(team_id)) => {
                Who::TeamKey(TeamKey { prefix: self.prefix, team_id, category })
            }
            (Category::ManageApiKeys, _, _) => Who::KeyManager { prefix: self.prefix },
            // The schema holds an owner for a personal key and a team for a team key.
            (Category::Personal, None, _) | (Category::Team(_), _, None) => return Err(Error::Unauthenticated),
        };
        Ok(Caller { org_id: self.org_id, who })
    }
}

fn memberships(tx: &Tx, org_id: &OrgId, user_id: &UserId) -> Result<Vec<(TeamId, TeamRole)>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT team_id, role
         FROM team_member
         WHERE org_id = :org_id AND user_id = :user_id
         ORDER BY team_id",
    )?;
    let mut rows = query.query(named_params! { ":org_id": org_id, ":user_id": user_id })?;
    let mut teams = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(role) = TeamRole::parse(row.get_ref(1)?.as_str().unwrap_or_default()) {
            teams.push((row.get(0)?, role));
        }
    }
    Ok(teams)
}

/// A key to be made. Whoever fills this in has asked `policy` whether it may be.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub category: Category,
    pub owner: Owner<'a>,
    pub name: Option<&'a KeyName>,
    /// `None`: every model of the team, also those to come.
    pub model_ids: Option<&'a [String]>,
    /// `None`: every environment.
    pub environments: Option<&'a [EnvironmentName]>,
    pub expires_at: Option<Time>,
    /// A person's id or a key's prefix; `None` for the operator.
    pub created_by: Option<&'a str>,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    Person(&'a OrgId, &'a UserId),
    Team(&'a Team),
    Organization(&'a OrgId),
}

/// Makes a key and keeps its hash. The key itself is in the answer and nowhere else.
///
/// A name that is taken in its scope (decision 12) and a model of another team are the caller's to tell.
pub(super) fn insert(tx: &Tx, new: &NewKey<'_>) -> Result<PlainKey, rusqlite::Error> {
    let key = PlainKey::generate(&mut tx.dice());
    let (org_id, user_id, team_id) = match new.owner {
        Owner::Person(org_id, user_id) => (org_id, Some(user_id), None),
        Owner::Team(team) => (&team.org_id, None, Some(&team.id)),
        Owner::Organization(org_id) => (org_id, None, None),
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO api_key (hash, prefix, org_id, category, user_id, team_id, name, narrowed_to_models,
                                  narrowed_to_environments, created_by, created_at, expires_at)
             VALUES (:hash, :prefix, :org_id, :category, :user_id, :team_id, :name, :narrowed_to_models,
                     :narrowed_to_environments, :created_by, :now, :expires_at)",
        )?
        .execute(named_params! {
            ":hash": key.hash(),
            ":prefix": key.prefix(),
            ":org_id": org_id,
            ":category": new.category.as_str(),
            ":user_id": user_id,
            ":team_id": team_id,
            ":name": new.name.map(KeyName::as_str),
            ":narrowed_to_models": new.model_ids.is_some(),
            ":narrowed_to_environments": new.environments.is_some(),
            ":created_by": new.created_by,
            ":now": tx.now,
            ":expires_at": new.expires_at,
        })?;
    let mut narrow = tx.sql.prepare_cached(
        "INSERT INTO api_key_model (prefix, model_id, org_id, team_id)
         VALUES (:prefix, :model_id, :org_id, :team_id)",
    )?;
    for model_id in new.model_ids.unwrap_or_default() {
        narrow.execute(named_params! {
            ":prefix": key.prefix(), ":model_id": model_id, ":org_id": org_id, ":team_id": team_id,
        })?;
    }
    let mut narrow = tx.sql.prepare_cached(
        "INSERT INTO api_key_environment (prefix, environment)
         VALUES (:prefix, :environment)",
    )?;
    for environment in new.environments.unwrap_or_default() {
        narrow.execute(named_params! { ":prefix": key.prefix(), ":environment": environment.as_str() })?;
    }
    Ok(key)
}
