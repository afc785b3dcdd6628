//! Finds the caller of a key. Roles are read in the current transaction; a key does not hold them.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::db::api_keys::{environments, models};
use crate::db::memo::{KnownKey, Memo};
use crate::domain::api_keys::{Holder, Key};
use crate::domain::{OrgId, TeamId, Time, UserId};
use crate::error::Error;
use crate::policy::{Caller, Category, Credential, OrgRole, Person, TeamKey, TeamRole, Who};
use crate::token::{PlainKey, TokenHash};

/// The precision of `last_used_at`.
const USE_NOTED_EVERY_SECONDS: i64 = 60;

/// The caller of a key, with the roles of the current transaction, and whether `last_used_at` must be updated.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a key that is unknown, revoked or expired, or whose owner has left the organization.
pub fn caller(tx: &Tx, key: &PlainKey) -> Result<(Caller, LastUsed), Error> {
    caller_of_hash(tx, &key.hash())
}

/// The caller of the key with this prefix, with the roles of the current transaction. Used when a grant that was made
/// to a key earlier is redeemed.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a key that is unknown, revoked or expired, or whose owner has left the organization.
pub(in crate::db) fn caller_again(tx: &Tx, prefix: &str) -> Result<Caller, Error> {
    let hash: Option<TokenHash> = tx
        .sql
        .prepare_cached("SELECT hash FROM api_key WHERE prefix = :prefix")?
        .query_row(named_params! { ":prefix": prefix }, |row| row.get("hash"))
        .optional()?;
    caller_of_hash(tx, &hash.ok_or(Error::Unauthenticated)?).map(|(caller, _)| caller)
}

fn caller_of_hash(tx: &Tx, hash: &TokenHash) -> Result<(Caller, LastUsed), Error> {
    let KnownKey { caller, last_used_at } = Memo::key(tx.memo, hash, || key_of_hash(tx, hash))?;
    if caller.key_ends_at.is_some_and(|ends_at| ends_at <= tx.now) {
        tx.found_ended();
        return Err(Error::Unauthenticated);
    }
    let used = match last_used_at {
        Some(last) if last.plus_seconds(USE_NOTED_EVERY_SECONDS) > tx.now => LastUsed::Recent,
        _ => LastUsed::Stale,
    };
    Ok((caller, used))
}

/// The key with this hash, even if it has expired.
fn key_of_hash(tx: &Tx, hash: &TokenHash) -> Result<KnownKey, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT api_key.prefix, api_key.org_id, api_key.category, api_key.user_id, api_key.team_id,
                api_key.last_used_at, org_member.role, api_key.narrowed_to_environments, api_key.narrowed_to_models,
                api_key.expires_at
         FROM api_key
         LEFT JOIN org_member ON org_member.org_id = api_key.org_id AND org_member.user_id = api_key.user_id
         WHERE api_key.hash = :hash AND api_key.revoked_at IS NULL",
    )?;
    let found = query.query_row(named_params! { ":hash": hash }, KeyRow::from_row).optional()?;
    let row = found.ok_or(Error::Unauthenticated)?;
    let last_used_at = row.last_used_at;
    Ok(KnownKey { caller: row.into_caller(tx)?, last_used_at })
}

/// Whether `last_used_at` is recent enough to be kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastUsed {
    Recent,
    Stale,
}

/// Updates when a key was last used. The stored time never goes back.
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

/// A member of the organization as a [`Caller`], to check what they may do. No key is needed for this.
///
/// # Errors
///
/// [`Error::NotFound`] if the person is not a member of the organization.
pub fn person(tx: &Tx, org_id: &OrgId, user_id: &str) -> Result<Caller, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user_id, role
         FROM org_member
         WHERE org_id = :org_id AND user_id = :user_id",
    )?;
    let found = query
        .query_row(named_params! { ":org_id": org_id, ":user_id": user_id }, |row| {
            Ok((row.get::<_, UserId>("user_id")?, row.get::<_, String>("role")?))
        })
        .optional()?;
    let (user_id, role) = found.ok_or(Error::NotFound("user"))?;
    let role = OrgRole::parse(&role).expect("the schema holds no other role");
    let teams = memberships(tx, org_id, &user_id)?;
    let who = Who::Person(Person { user_id, role, teams, prefix: String::new(), credential: Credential::Nothing });
    Ok(Caller { org_id: org_id.clone(), who, key_ends_at: None })
}

/// The [`Caller`] that a key stands for, to check what the key may do.
///
/// # Errors
///
/// [`Error::NotFound`] for a personal key whose owner is not a member of the organization.
pub fn bearer(tx: &Tx, key: &Key) -> Result<Caller, Error> {
    let prefix = key.prefix.clone();
    let who = match &key.holder {
        Holder::Person(owner) => return person(tx, &key.org_id, owner.id.as_str()),
        Holder::Team(category, team) => {
            let environments = key.environments.clone();
            let models = key.model_ids.clone();
            Who::TeamKey(TeamKey { prefix, team_id: team.id.clone(), category: *category, environments, models })
        }
        Holder::Organization => Who::KeyManager { prefix },
    };
    Ok(Caller { org_id: key.org_id.clone(), who, key_ends_at: key.expires_at })
}

struct KeyRow {
    prefix: String,
    org_id: OrgId,
    category: String,
    user_id: Option<UserId>,
    team_id: Option<TeamId>,
    last_used_at: Option<Time>,
    role: Option<String>,
    narrowed_to_environments: bool,
    narrowed_to_models: bool,
    expires_at: Option<Time>,
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
            narrowed_to_environments: row.get(7)?,
            narrowed_to_models: row.get(8)?,
            expires_at: row.get(9)?,
        })
    }

    fn into_caller(self, tx: &Tx) -> Result<Caller, Error> {
        let category = Category::parse(&self.category).ok_or(Error::Unauthenticated)?;
        let who = match (category, self.user_id, self.team_id) {
            (Category::Personal, Some(user_id), _) => {
                let role = self.role.as_deref().and_then(OrgRole::parse).ok_or(Error::Unauthenticated)?;
                let teams = memberships(tx, &self.org_id, &user_id)?;
                Who::Person(Person { user_id, role, teams, prefix: self.prefix, credential: Credential::Key })
            }
            (Category::Team(category), _, Some(team_id)) => {
                let environments =
                    if self.narrowed_to_environments { Some(environments(tx, &self.prefix)?) } else { None };
                let models = if self.narrowed_to_models { Some(models(tx, &self.prefix)?) } else { None };
                Who::TeamKey(TeamKey { prefix: self.prefix, team_id, category, environments, models })
            }
            (Category::ManageApiKeys, _, _) => Who::KeyManager { prefix: self.prefix },
            // The schema guarantees an owner for a personal key and a team for a team key.
            (Category::Personal, None, _) | (Category::Team(_), _, None) => return Err(Error::Unauthenticated),
        };
        Ok(Caller { org_id: self.org_id, who, key_ends_at: self.expires_at })
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
