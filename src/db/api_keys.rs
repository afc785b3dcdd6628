//! API keys. The database holds only their hashes.

use rusqlite::named_params;
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::key_events::event;
use crate::db::{Tx, endings, environment_groups, ways_in};
use crate::domain::api_keys::{Key, KeyKind, Overlap, Rotated, Terms};
use crate::domain::{EnvironmentName, KeyName, OrgId, Team, Time, UserId};
use crate::error::{Error, quoted};
use crate::policy::Category;
use crate::policy::keys::{Lifetime, OverKeys};
use crate::token::PlainKey;

mod callers;
mod listing;
mod made;

pub(super) use callers::caller_again;
pub use callers::{LastUsed, bearer, caller, note_use, person};
pub use listing::{Filter, find, list, list_of_team};
pub(super) use made::{made_by, settle};

/// Creates an API key and returns its text, which is stored nowhere.
///
/// # Errors
///
/// [`Error::Forbidden`] if the caller's own key expires before the new one would. [`Error::NotFound`] for a model that
/// is not the team's or belongs to a Chain. [`Error::Conflict`] if a key of the same scope that still works has this
/// name (decision 12).
pub fn create(tx: &Tx, keys: &OverKeys, terms: &Terms) -> Result<PlainKey, Error> {
    let lifetime = keys.caller().lifetime(terms.expires_at)?;
    if let (Some(team), Some(model_ids)) = (keys.kind().team(), &terms.model_ids) {
        check_models(tx, team, model_ids)?;
    }
    endings::mark(tx)?; // frees the names of expired keys
    let key = PlainKey::generate(&mut tx.rng());
    keep(tx, keys, &key, terms, lifetime)?;
    record(tx, keys, event(tx, "API_KEY_CREATED", key.prefix())?)?;
    Ok(key)
}

/// Replaces a key by a new one with the same name, models, environments and expiry. The new key also gets the grants of
/// the old one if the caller may grant them.
///
/// The old key works until the overlap ends, or until its own expiry if that is earlier, and keeps its grants until
/// then. A key can be replaced once.
///
/// # Errors
///
/// [`Error::Conflict`] if the old key has been replaced already. [`Error::Forbidden`] if the caller's own key expires
/// before the new one would. [`Error::NotFound`] if the old key is not of this kind or has been revoked.
pub fn rotate(tx: &Tx, keys: &OverKeys, old: &Key, overlap: Overlap) -> Result<Rotated, Error> {
    let lifetime = keys.caller().lifetime(old.expires_at)?;
    if let Some(successor) = &old.replaced_by {
        return Err(Error::conflict(format!("this API key has been replaced by {successor}: rotate that one")));
    }
    let key = PlainKey::generate(&mut tx.rng());
    let overlap_ends_at = tx.now.plus_seconds(overlap.seconds);
    let old_expires_at = old.expires_at.map_or(overlap_ends_at, |expires_at| expires_at.min(overlap_ends_at));
    replace(tx, keys, old, key.prefix(), old_expires_at)?;
    let terms = Terms {
        name: old.name.clone(),
        model_ids: old.model_ids.clone(),
        environments: old.environments.clone(),
        expires_at: old.expires_at,
    };
    keep(tx, keys, &key, &terms, lifetime)?;
    let mut grants_not_carried_over = Vec::new();
    if let Some(team) = keys.kind().team() {
        match keys.may_grant() {
            true => environment_groups::copy_grants(tx, team, &old.prefix, key.prefix())?,
            false => grants_not_carried_over = environment_groups::grants_of(tx, team, &old.prefix)?,
        }
        if old_expires_at == tx.now {
            environment_groups::end_grants(tx, team, &old.prefix)?;
        }
    }
    let mut event = event(tx, "API_KEY_ROTATED", key.prefix())?;
    event.data["replaces"] = json!(old.prefix);
    event.data["old_expires_at"] = json!(old_expires_at);
    if !grants_not_carried_over.is_empty() {
        event.data["grants_not_carried_over"] = json!(grants_not_carried_over);
    }
    record(tx, keys, event)?;
    Ok(Rotated { key, old_expires_at, grants_not_carried_over })
}

/// Revokes a key and its grants at once. A revoked key cannot be restored.
///
/// # Errors
///
/// [`Error::NotFound`] if no key of this kind has the prefix, or if the key has been revoked. [`Error::Conflict`] for a
/// personal key that the organization's admins need: the last working key of an admin, or the last that does not
/// expire.
pub fn revoke(tx: &Tx, keys: &OverKeys, prefix: &str) -> Result<(), Error> {
    match keys.kind() {
        KeyKind::Personal(_) => ways_in::keeping_a_way_in(tx, &keys.caller().org_id, || end(tx, keys, prefix)),
        KeyKind::Team(..) | KeyKind::ManageApiKeys => end(tx, keys, prefix),
    }
}

fn end(tx: &Tx, keys: &OverKeys, prefix: &str) -> Result<(), Error> {
    let revoked = tx
        .sql
        .prepare_cached(
            "UPDATE api_key
             SET revoked_at = :now
             WHERE prefix = :prefix AND org_id = :org_id AND category = :category
               AND user_id IS :user_id AND team_id IS :team_id AND revoked_at IS NULL",
        )?
        .execute(named_params! {
            ":now": tx.now,
            ":prefix": prefix,
            ":org_id": keys.caller().org_id,
            ":category": keys.kind().category().as_str(),
            ":user_id": keys.kind().user_id(),
            ":team_id": keys.kind().team().map(|team| &team.id),
        })?;
    if revoked == 0 {
        return Err(Error::NotFound("API key"));
    }
    if let Some(team) = keys.kind().team() {
        environment_groups::end_grants(tx, team, prefix)?;
    }
    record(tx, keys, event(tx, "API_KEY_DELETED", prefix)?)
}

/// A key to be created. The code that fills this in has checked with `policy` that the caller may create it.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub category: Category,
    pub owner: Owner<'a>,
    pub name: Option<&'a KeyName>,
    /// `None`: every model of the team, including later ones.
    pub model_ids: Option<&'a [String]>,
    /// `None`: every environment.
    pub environments: Option<&'a [EnvironmentName]>,
    pub lifetime: Lifetime,
    /// A person's id or a key's prefix. `None` for the operator.
    pub created_by: Option<&'a str>,
}

/// The owner of a key.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    Person(&'a OrgId, &'a UserId),
    Team(&'a Team),
    Organization(&'a OrgId),
}

/// Creates a key, stores its hash and returns its text, which is stored nowhere.
///
/// Returns the database's error as it is. The calling code must explain a name that is taken in its scope (decision 12)
/// and a model of another team.
pub(super) fn insert(tx: &Tx, new: &NewKey<'_>) -> Result<PlainKey, rusqlite::Error> {
    let key = PlainKey::generate(&mut tx.rng());
    insert_as(tx, &key, new)?;
    Ok(key)
}

fn insert_as(tx: &Tx, key: &PlainKey, new: &NewKey<'_>) -> Result<(), rusqlite::Error> {
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
            ":expires_at": new.lifetime.ends_at(),
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
    Ok(())
}

/// Makes a key end at `ends_at`, now or later, and frees its name.
fn replace(tx: &Tx, keys: &OverKeys, old: &Key, by: &str, ends_at: Time) -> Result<(), Error> {
    let (revoked_at, expires_at) =
        if ends_at == tx.now { (Some(tx.now), old.expires_at) } else { (None, Some(ends_at)) };
    let replaced = tx
        .sql
        .prepare_cached(
            "UPDATE api_key
             SET replaced_by = :by, revoked_at = :revoked_at, expires_at = :expires_at
             WHERE prefix = :prefix AND org_id = :org_id AND category = :category
               AND user_id IS :user_id AND team_id IS :team_id AND revoked_at IS NULL",
        )?
        .execute(named_params! {
            ":by": by,
            ":revoked_at": revoked_at,
            ":expires_at": expires_at,
            ":prefix": old.prefix,
            ":org_id": keys.caller().org_id,
            ":category": keys.kind().category().as_str(),
            ":user_id": keys.kind().user_id(),
            ":team_id": keys.kind().team().map(|team| &team.id),
        })?;
    if replaced == 0 { Err(Error::NotFound("API key")) } else { Ok(()) }
}

/// Refuses ids that are not models of the team.
fn check_models(tx: &Tx, team: &Team, model_ids: &[String]) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM model
         WHERE org_id = :org_id AND team_id = :team_id AND id = :id AND chain_id IS NULL",
    )?;
    for id in model_ids {
        if !query.exists(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":id": id })? {
            return Err(Error::NotFound("model"));
        }
    }
    Ok(())
}

/// Stores a key according to the proof and the terms. A name that is taken is an [`Error::Conflict`].
fn keep(tx: &Tx, keys: &OverKeys, key: &PlainKey, terms: &Terms, lifetime: Lifetime) -> Result<(), Error> {
    let owner = match keys.kind() {
        KeyKind::Personal(user_id) => Owner::Person(&keys.caller().org_id, user_id),
        KeyKind::Team(_, team) => Owner::Team(team),
        KeyKind::ManageApiKeys => Owner::Organization(&keys.caller().org_id),
    };
    let new = NewKey {
        category: keys.kind().category(),
        owner,
        name: terms.name.as_ref(),
        model_ids: terms.model_ids.as_deref(),
        environments: terms.environments.as_deref(),
        lifetime,
        created_by: Some(keys.caller().author()),
    };
    match (insert_as(tx, key, &new), &terms.name) {
        (Err(cause), Some(name)) if Error::is_unique_violation(&cause) => Err(name_taken(name)),
        (kept, _) => Ok(kept?),
    }
}

pub(super) fn name_taken(name: &KeyName) -> Error {
    Error::conflict(format!(
        "an API key named \"{}\" exists: choose another name or revoke that key first",
        quoted(name.as_str())
    ))
}

fn record(tx: &Tx, keys: &OverKeys, event: Event) -> Result<(), Error> {
    let caller = keys.caller();
    audit::record(tx, Actor::Caller(caller), &caller.org_id, keys.kind().team(), event)
}

/// The environments that a narrowed key is narrowed to.
fn environments(tx: &Tx, prefix: &str) -> Result<Vec<EnvironmentName>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT environment
         FROM api_key_environment
         WHERE prefix = :prefix
         ORDER BY environment",
    )?;
    let rows = query.query_map(named_params! { ":prefix": prefix }, |row| row.get("environment"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The models that a narrowed key is narrowed to, without deleted ones.
fn models(tx: &Tx, prefix: &str) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT model_id
         FROM api_key_model
         WHERE prefix = :prefix
         ORDER BY model_id",
    )?;
    let rows = query.query_map(named_params! { ":prefix": prefix }, |row| row.get("model_id"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
