//! API keys over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::api_keys::{self, Filter};
use crate::db::{Tx, teams};
use crate::domain::api_keys::{KeyKind, Overlap, Terms};
use crate::domain::{EnvironmentName, KeyName, NAMED_MAX, Team, Time};
use crate::error::Error;
use crate::policy::keys::{KeyMaker, OverKeys};
use crate::policy::{Caller, Category, InTeam, TeamCategory};
use crate::wire;
use crate::wire::api_keys::ROUTES;

pub fn list(tx: &Tx, caller: &Caller, ctx: &RequestContext) -> Result<Reply, Error> {
    let mut list = wire::List::<wire::api_keys::ApiKey>::begin();
    api_keys::list(tx, caller, &filter(caller, ctx)?, |key| list.push(&wire::api_keys::ApiKey::from(&key)))?;
    Ok(Reply::list(list))
}

pub fn list_of_team(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let mut list = wire::List::<wire::api_keys::ApiKey>::begin();
    let filter = filter(team.caller(), ctx)?;
    api_keys::list_of_team(tx, team, &filter, |key| list.push(&wire::api_keys::ApiKey::from(&key)))?;
    Ok(Reply::list(list))
}

pub fn create(tx: &Tx, maker: &KeyMaker, ctx: &RequestContext) -> Result<Reply, Error> {
    let Asked { category, team_id, terms } = Asked::read(tx, ctx)?;
    match category {
        Category::Personal => {
            let (_, person) = maker.caller().as_member()?;
            make(tx, &maker.over(KeyKind::Personal(&person.user_id))?, &terms)
        }
        Category::Team(category) => {
            let named = team_id.map(|team_id| teams::find(tx, &team_id)).transpose()?;
            let team = match named {
                Some(team) => team,
                None => default_team(tx, maker)?,
            };
            make(tx, &maker.over(KeyKind::Team(category, &team))?, &terms)
        }
        Category::ManageApiKeys => make(tx, &maker.over(KeyKind::ManageApiKeys)?, &terms),
    }
}

/// Creates a key of the team that the path names. A caller who may not create keys in this team is refused before the
/// body is read.
pub fn create_in_team(tx: &Tx, maker: &KeyMaker, ctx: &RequestContext) -> Result<Reply, Error> {
    let team = teams::find(tx, ctx.param("team_id"))?;
    maker.in_team(&team)?;
    let Asked { category, team_id, terms } = Asked::read(tx, ctx)?;
    if team_id.is_some_and(|team_id| team_id != team.id.as_str()) {
        return Err(Error::field("team_id", "must be the team of the path, or be left out"));
    }
    match category {
        Category::Team(category) => make(tx, &maker.over(KeyKind::Team(category, &team))?, &terms),
        Category::Personal | Category::ManageApiKeys => {
            let why =
                format!("must not be {} here: such a key is of no team, POST /v1/api_keys makes it", category.as_str());
            Err(Error::field("type", &why))
        }
    }
}

pub fn rotate(tx: &Tx, maker: &KeyMaker, ctx: &RequestContext) -> Result<Reply, Error> {
    let old = api_keys::find(tx, maker.caller(), ctx.param("api_key_prefix"))?;
    let proof = maker.over(old.kind())?;
    let asked: wire::api_keys::RotateApiKey =
        if ctx.request.body.is_empty() { Default::default() } else { ctx.json()? };
    let overlap = Overlap::of_seconds(asked.overlap_seconds.unwrap_or(0))?;
    let rotated = api_keys::rotate(tx, &proof, &old, overlap)?;
    Ok(Reply::ok(&wire::api_keys::RotatedApiKey::new(&rotated, &old.prefix)))
}

pub fn revoke(tx: &Tx, caller: &Caller, ctx: &RequestContext) -> Result<Reply, Error> {
    let prefix = ctx.param("api_key_prefix");
    if prefix != caller.prefix() {
        caller.as_key_maker()?;
    }
    let key = api_keys::find(tx, caller, prefix)?;
    api_keys::revoke(tx, &caller.to_revoke(prefix, key.kind())?, prefix)?;
    Ok(Reply::ok(&wire::api_keys::ApiKeyTombstone { prefix }))
}

fn make(tx: &Tx, keys: &OverKeys, terms: &Terms) -> Result<Reply, Error> {
    let key = api_keys::create(tx, keys, terms)?;
    Ok(Reply::ok(&wire::api_keys::NewApiKey::from(&key)))
}

fn default_team(tx: &Tx, maker: &KeyMaker) -> Result<Team, Error> {
    let team = teams::default(tx, &maker.caller().org_id)?;
    maker.in_default_team(&team)?;
    Ok(team)
}

/// Reads the filter of the list: `?type=` and `?created_by_me=`.
fn filter<'a>(caller: &'a Caller, ctx: &'a RequestContext) -> Result<Filter<'a>, Error> {
    let category = ctx.query("type");
    if category.is_some_and(|name| name != ROUTES && Category::parse(name).is_none()) {
        return Err(Error::field("type", &one_of_the_categories()));
    }
    Ok(Filter { category, created_by: ctx.flag("created_by_me")?.then(|| caller.author()) })
}

fn one_of_the_categories() -> String {
    let names = Category::all().map(Category::as_str);
    format!("must be one of {}", names.join(", "))
}

/// A body that asks for a key, after all of it has been checked.
struct Asked {
    category: Category,
    team_id: Option<String>,
    terms: Terms,
}

impl Asked {
    fn read(tx: &Tx, ctx: &RequestContext) -> Result<Asked, Error> {
        let asked: wire::api_keys::CreateApiKey = ctx.json()?;
        let category = category(&asked.r#type)?;
        if asked.team_id.is_some() && !matches!(category, Category::Team(_)) {
            let why = format!("goes with a team's key: one of type {} is of no team", category.as_str());
            return Err(Error::field("team_id", &why));
        }
        Ok(Asked {
            category,
            team_id: asked.team_id,
            terms: Terms {
                name: asked.name.map(|name| KeyName::parse("name", &name)).transpose()?,
                model_ids: asked.model_ids.map(|ids| model_ids(category, ids)).transpose()?,
                environments: asked.environments.map(|names| environments(category, names)).transpose()?,
                expires_at: asked.expires_at.map(|time| expires_at(tx, &time)).transpose()?,
            },
        })
    }
}

fn category(name: &str) -> Result<Category, Error> {
    if name == ROUTES {
        return Err(Error::field(
            "type",
            "must not be ROUTES: such keys call routes of a gateway, and there is none here",
        ));
    }
    Category::parse(name).ok_or_else(|| Error::field("type", &one_of_the_categories()))
}

fn model_ids(category: Category, ids: Vec<String>) -> Result<Vec<String>, Error> {
    match category {
        Category::Team(TeamCategory::Invoke | TeamCategory::ExportMetrics) => narrowing("model_ids", "model", ids),
        Category::Personal | Category::Team(TeamCategory::ManageAll) | Category::ManageApiKeys => {
            Err(Error::field("model_ids", "goes with WORKSPACE_INVOKE and WORKSPACE_EXPORT_METRICS alone"))
        }
    }
}

fn environments(category: Category, names: Vec<String>) -> Result<Vec<EnvironmentName>, Error> {
    match category {
        Category::Team(TeamCategory::Invoke | TeamCategory::ManageAll) => {
            let names = narrowing("environments", "environment", names)?;
            names.iter().map(|name| EnvironmentName::parse("environments", name)).collect()
        }
        Category::Personal | Category::Team(TeamCategory::ExportMetrics) | Category::ManageApiKeys => {
            Err(Error::field("environments", "goes with WORKSPACE_INVOKE and WORKSPACE_MANAGE_ALL alone"))
        }
    }
}

/// The names to which a key is narrowed, without repetition. An empty list is refused: it must not be mistaken for a
/// key that is not narrowed.
fn narrowing(field: &str, what: &str, mut names: Vec<String>) -> Result<Vec<String>, Error> {
    if names.is_empty() || names.len() > NAMED_MAX {
        let why = format!("must name 1 to {NAMED_MAX} of them: leave it out for every {what}");
        return Err(Error::field(field, &why));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn expires_at(tx: &Tx, time: &str) -> Result<Time, Error> {
    let time = Time::parse("expires_at", time)?;
    if time <= tx.now {
        return Err(Error::field("expires_at", "must be in the future"));
    }
    Ok(time)
}
