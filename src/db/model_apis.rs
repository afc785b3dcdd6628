//! Model APIs: the upstreams that the operator has added, which answer for the default teams of all organizations, and
//! the entries of the catalog that an organization has used.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::domain::billing;
use crate::domain::metering::{ModelApiSum, OfModelApi};
use crate::domain::model_apis::{Added, Endpoint, ModelApiCall, Route, Slug, Tokens, Upstream};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::domain::{OrgId, SecretValue};
use crate::error::Error;
use crate::policy::{InTeam, Operator};

/// The Model APIs that the organization has, by name: those that the operator has added, with the time of their last use.
pub fn added(tx: &Tx, team: &InTeam) -> Result<HashMap<String, Added>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name, added_at, last_used_at
         FROM model_api
         WHERE org_id = :org_id
         ORDER BY name",
    )?;
    let rows = query.query_map(named_params! { ":org_id": team.team().org_id }, |row| {
        Ok((row.get("name")?, Added { added_at: row.get("added_at")?, last_used_at: row.get("last_used_at")? }))
    })?;
    let mut added = rows.collect::<Result<HashMap<String, Added>, _>>()?;
    for upstream in upstreams(tx)? {
        let of_upstream = Added { added_at: upstream.created_at, last_used_at: None };
        added.entry(upstream.slug).or_insert(of_upstream);
    }
    Ok(added)
}

/// The upstreams, by name. All callers of Model APIs may know them.
pub fn list(tx: &Tx, _: &InTeam) -> Result<Vec<Upstream>, Error> {
    upstreams(tx)
}

/// The upstreams, by name, for the operator.
pub fn list_for_operator(tx: &Tx, _: &Operator) -> Result<Vec<Upstream>, Error> {
    upstreams(tx)
}

fn upstreams(tx: &Tx) -> Result<Vec<Upstream>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT slug, url, sealed IS NOT NULL AS has_credential, created_at
         FROM model_api_upstream
         ORDER BY slug",
    )?;
    let rows = query.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The call to the Model API of this name.
///
/// # Errors
///
/// [`Error::NotFound`] for a name that no upstream has.
pub fn call(tx: &Tx, team: &InTeam, slug: &str, endpoint: Endpoint) -> Result<ModelApiCall, Error> {
    let mut query = tx.sql.prepare_cached("SELECT id, url, sealed FROM model_api_upstream WHERE slug = :slug")?;
    let found = query.query_row(named_params! { ":slug": slug }, |row| {
        Ok((row.get::<_, String>("id")?, row.get::<_, String>("url")?, row.get::<_, Option<Vec<u8>>>("sealed")?))
    });
    let (id, url, sealed) = found.optional()?.ok_or(Error::NotFound(NO_MODEL))?;
    let open = |sealed: Vec<u8>| {
        let opened = tx.sealer.open_credential(&id, &sealed);
        opened.ok_or_else(|| Error::Defect("a credential does not open under the master key".to_owned()))
    };
    Ok(ModelApiCall {
        org_id: team.team().org_id.clone(),
        team_id: team.team().id.clone(),
        caller: team.caller().prefix().to_owned(),
        route: Route {
            slug: slug.to_owned(),
            url: RemoteUrl::parse("url", &url, PlainHttp::Anywhere)?,
            credential: sealed.map(open).transpose()?,
        },
        endpoint,
    })
}

const NO_MODEL: &str = "Model API: GET /inference/v1/models lists those that there are";

/// Adds an upstream. Every organization's audit log gets an entry.
///
/// # Errors
///
/// [`Error::Conflict`] if there is one of this name.
pub fn add(
    tx: &Tx,
    operator: &Operator,
    slug: &Slug,
    url: &RemoteUrl,
    credential: Option<&SecretValue>,
) -> Result<Upstream, Error> {
    let id = tx.id();
    let sealed = credential.map(|credential| tx.sealer.seal_credential(&mut tx.rng(), &id, credential));
    let inserted = tx
        .sql
        .prepare_cached(
            "INSERT INTO model_api_upstream (slug, id, url, sealed, created_at)
             VALUES (:slug, :id, :url, :sealed, :now)",
        )?
        .execute(named_params! {
            ":slug": slug.as_str(),
            ":id": id,
            ":url": url.to_string(),
            ":sealed": sealed,
            ":now": tx.now,
        });
    match inserted {
        Err(cause) if Error::is_unique_violation(&cause) => {
            return Err(Error::conflict(format!("the Model API {} is there: remove it first", slug.as_str())));
        }
        other => other?,
    };
    record(tx, operator, "MODEL_API_ADDED", slug.as_str())?;
    Ok(Upstream {
        slug: slug.as_str().to_owned(),
        url: url.to_string(),
        has_credential: credential.is_some(),
        created_at: tx.now,
    })
}

/// Removes an upstream. Every organization's audit log gets an entry.
///
/// # Errors
///
/// [`Error::NotFound`] for a name that no upstream has.
pub fn remove(tx: &Tx, operator: &Operator, slug: &str) -> Result<(), Error> {
    let removed = tx
        .sql
        .prepare_cached("DELETE FROM model_api_upstream WHERE slug = :slug")?
        .execute(named_params! { ":slug": slug })?;
    if removed == 0 {
        return Err(Error::NotFound("Model API"));
    }
    record(tx, operator, "MODEL_API_REMOVED", slug)
}

/// Adds what calls used to the sums of this minute, to the bill of this day, and to the time of the last use.
pub(super) fn add_usage(tx: &Tx, minute: i64, of: &OfModelApi, sum: &ModelApiSum) -> Result<(), Error> {
    let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Tokens { input, output, cached } = sum.tokens;
    let added = tx
        .sql
        .prepare_cached(
            "INSERT INTO model_api_minute (org_id, minute, slug, caller, team_id, requests, errors, milliseconds,
                                           input_tokens, output_tokens, cached_tokens)
             SELECT org_id, :minute, :slug, :caller, id, :requests, :errors, :milliseconds, :input, :output, :cached
             FROM team
             WHERE org_id = :org_id AND id = :team_id
             ON CONFLICT (org_id, minute, slug, caller) DO UPDATE SET
                 requests = requests + excluded.requests,
                 errors = errors + excluded.errors,
                 milliseconds = milliseconds + excluded.milliseconds,
                 input_tokens = input_tokens + excluded.input_tokens,
                 output_tokens = output_tokens + excluded.output_tokens,
                 cached_tokens = cached_tokens + excluded.cached_tokens",
        )?
        .execute(named_params! {
            ":minute": minute,
            ":slug": of.slug,
            ":caller": of.caller,
            ":requests": stored(sum.requests),
            ":errors": stored(sum.errors),
            ":milliseconds": stored(sum.milliseconds),
            ":input": stored(input),
            ":output": stored(output),
            ":cached": stored(cached),
            ":org_id": of.org_id,
            ":team_id": of.team_id,
        })?;
    if added == 0 {
        return Ok(()); // the organization is gone
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO usage (org_id, day, kind, resource_id, resource_name, team_id, team_name, requests,
                                input_tokens, output_tokens, cached_tokens, micro_usd)
             SELECT org_id, :day, 'MODEL_API', :slug, :slug, id, name, :requests, :input, :output, :cached, :micro_usd
             FROM team
             WHERE org_id = :org_id AND id = :team_id
             ON CONFLICT (org_id, day, kind, resource_id) DO UPDATE SET
                 requests = requests + excluded.requests,
                 input_tokens = input_tokens + excluded.input_tokens,
                 output_tokens = output_tokens + excluded.output_tokens,
                 cached_tokens = cached_tokens + excluded.cached_tokens,
                 micro_usd = micro_usd + excluded.micro_usd",
        )?
        .execute(named_params! {
            ":day": billing::day(tx.now),
            ":slug": of.slug,
            ":requests": stored(sum.requests),
            ":input": stored(input),
            ":output": stored(output),
            ":cached": stored(cached),
            ":micro_usd": sum.tokens.micro_usd(&of.slug),
            ":org_id": of.org_id,
            ":team_id": of.team_id,
        })?;
    tx.sql
        .prepare_cached(
            "INSERT INTO model_api (org_id, name, added_at, last_used_at)
             VALUES (:org_id, :slug, :now, :now)
             ON CONFLICT (org_id, name) DO UPDATE SET last_used_at = excluded.last_used_at",
        )?
        .execute(named_params! { ":org_id": of.org_id, ":slug": of.slug, ":now": tx.now })?;
    Ok(())
}

fn record(tx: &Tx, operator: &Operator, event_type: &'static str, slug: &str) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached("SELECT id FROM organization ORDER BY id")?;
    let org_ids = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<OrgId>, _>>()?;
    for org_id in org_ids {
        let event = Event::new(event_type, json!({ "model_api_name": slug }));
        audit::record(tx, Actor::Operator(operator), &org_id, None, event)?;
    }
    Ok(())
}

fn from_row(row: &Row) -> rusqlite::Result<Upstream> {
    Ok(Upstream {
        slug: row.get("slug")?,
        url: row.get("url")?,
        has_credential: row.get("has_credential")?,
        created_at: row.get("created_at")?,
    })
}
