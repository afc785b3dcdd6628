//! Settings → API Keys: the keys of a team, and one's own. A new key is shown once.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, TeamLink, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::api_keys::{self, Filter};
use crate::db::{Tx, models, teams};
use crate::domain::api_keys::{Holder, Key, KeyKind, Overlap, Terms};
use crate::domain::{EnvironmentName, KeyName, NAMED_MAX, Team, Time};
use crate::error::{Error, quoted};
use crate::policy::keys::KeyMaker;
use crate::policy::{Caller, InOrg, InTeam, TeamAct, TeamCategory};
use crate::token::PlainKey;

#[derive(Template)]
#[template(path = "api_keys.html")]
struct ApiKeys {
    frame: Frame,
    team_keys: Vec<Row>,
    personal_keys: Vec<Row>,
    pager: Pager,
    search: String,
    refusal: Option<String>,
    /// Whether the page is that of the account, which shows one's own keys alone.
    is_account: bool,
    create: Option<Create>,
    rotate: Option<Row>,
    revoke: Option<Row>,
}

#[derive(Clone)]
struct Row {
    prefix: String,
    name: String,
    permission: &'static str,
    narrowed: String,
    created_at: Time,
    last_used_at: Option<Time>,
    expires_at: Option<Time>,
    replaced_by: Option<String>,
    may_change: bool,
}

struct Create {
    /// The teams in which the person may create keys.
    teams: Vec<TeamLink>,
    chosen: String,
    is_team: bool,
    name: String,
    category: String,
    environments: String,
    models: String,
    expires: String,
}

pub fn list_of_team(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::TeamSettings, Some(team.team()))?;
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::CreateApiKeys);
    let (sought, mut found) = (ctx.query("q").to_lowercase(), Vec::new());
    api_keys::list_of_team(tx, team, &Filter { category: None, created_by: None }, |key| {
        found.push(row(&key, refusal.is_none()));
    })?;
    found.retain(|key: &Row| key.name.to_lowercase().contains(&sought) || key.prefix.contains(&sought));
    let own = personal(tx, team.caller())?;
    let all: Vec<Row> = found.iter().chain(&own).cloned().collect();
    let (team_keys, pager) = Pager::of(ctx, found, "team API key");
    html(&ApiKeys {
        team_keys,
        personal_keys: own,
        pager,
        search: ctx.query("q").to_owned(),
        is_account: false,
        create: ctx.shows("create").then(|| create_dialog(tx, team.caller(), Some(team.team()), ctx)).transpose()?,
        rotate: subject(ctx, "rotate", &all),
        revoke: subject(ctx, "revoke", &all),
        refusal,
        frame,
    })
}

/// The account's page of personal keys.
pub fn list_own(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let own = personal(tx, org.caller())?;
    let (personal_keys, pager) = Pager::of(ctx, own.clone(), "API key");
    html(&ApiKeys {
        frame: Frame::new(tx, ctx, Nav::Account, None)?,
        team_keys: Vec::new(),
        personal_keys,
        pager,
        search: String::new(),
        refusal: None,
        is_account: true,
        create: ctx.shows("create").then(|| create_dialog(tx, org.caller(), None, ctx)).transpose()?,
        rotate: subject(ctx, "rotate", &own),
        revoke: subject(ctx, "revoke", &own),
    })
}

fn personal(tx: &Tx, caller: &Caller) -> Result<Vec<Row>, Error> {
    let mut own = Vec::new();
    let filter = Filter { category: Some("PERSONAL"), created_by: None };
    api_keys::list(tx, caller, &filter, |key| {
        if matches!(&key.holder, Holder::Person(owner) if caller.is_person(owner.id.as_str())) {
            own.push(row(&key, true));
        }
    })?;
    Ok(own)
}

fn subject(ctx: &PageContext, dialog: &str, rows: &[Row]) -> Option<Row> {
    let about = ctx.dialog().1;
    rows.iter().find(|row| ctx.shows(dialog) && row.prefix == about && row.may_change).cloned()
}

fn row(key: &Key, may_change: bool) -> Row {
    let environments = key.environments.iter().flatten().map(EnvironmentName::as_str).collect::<Vec<_>>().join(", ");
    let models = match &key.model_ids {
        None => String::new(),
        Some(ids) => view::plural(&ids.len(), "model"),
    };
    let narrowed = [models, environments].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
    Row {
        prefix: key.prefix.clone(),
        name: key.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        permission: match &key.holder {
            Holder::Person(_) => "Personal",
            Holder::Team(category, _) => permission(*category),
            Holder::Organization => "Manages team API keys",
        },
        narrowed,
        created_at: key.created_at,
        last_used_at: key.last_used_at,
        expires_at: key.expires_at,
        replaced_by: key.replaced_by.clone(),
        may_change,
    }
}

/// What a key of this category may do, in the documents' words.
const fn permission(category: TeamCategory) -> &'static str {
    match category {
        TeamCategory::ManageAll => "Manage and call all team models",
        TeamCategory::Invoke => "Call models",
        TeamCategory::ExportMetrics => "Export model metrics",
    }
}

fn create_dialog(tx: &Tx, caller: &Caller, here: Option<&Team>, ctx: &PageContext) -> Result<Create, Error> {
    let seen = teams::of_organization(tx, caller)?;
    let may = |team: &&Team| caller.in_team(team, TeamAct::CreateApiKeys).is_ok();
    let teams: Vec<TeamLink> = seen.iter().filter(may).map(|team| TeamLink::of(caller, team, false)).collect();
    let chosen = ctx.form.given("team_id").or(here.map(|team| team.id.as_str())).unwrap_or_default().to_owned();
    let of_here = here.is_some() && teams.iter().any(|team| team.id == chosen);
    Ok(Create {
        is_team: ctx.form.given("kind").map_or(of_here, |kind| kind == "team"),
        teams,
        chosen,
        name: ctx.form.text("name").to_owned(),
        category: ctx.form.text("category").to_owned(),
        environments: ctx.form.text("environments").to_owned(),
        models: ctx.form.text("models").to_owned(),
        expires: ctx.form.text("expires").to_owned(),
    })
}

#[derive(Template)]
#[template(path = "api_key_created.html")]
struct Created {
    frame: Frame,
    made: Made,
    base_url: String,
    back: String,
}

/// Creates a personal key or one of a team, and shows it once.
pub fn create(tx: &Tx, maker: &KeyMaker, ctx: &PageContext) -> Result<Reply, Error> {
    let name = Some(ctx.form.text("name").trim()).filter(|name| !name.is_empty());
    let name = name.map(|name| KeyName::parse("name", name)).transpose()?;
    let expires_at = expiry(tx, ctx)?;
    let terms = Terms { name: name.clone(), model_ids: None, environments: None, expires_at };
    let made = match ctx.form.text("kind") {
        "personal" => {
            let (_, person) = maker.caller().as_member()?;
            let proof = maker.over(KeyKind::Personal(&person.user_id))?;
            let key = api_keys::create(tx, &proof, &terms)?;
            Made { key, team: None, permission: "Personal", name, expires_at, rotated: None }
        }
        "team" => {
            let team = teams::find(tx, ctx.form.text("team_id"))?;
            let category = category(ctx.form.text("category"))?;
            let proof = maker.over(KeyKind::Team(category, &team))?;
            let terms = Terms {
                model_ids: model_ids(tx, &maker.in_team(&team)?, category, ctx)?,
                environments: environments(category, ctx)?,
                ..terms
            };
            let key = api_keys::create(tx, &proof, &terms)?;
            Made { key, team: Some(team), permission: permission(category), name, expires_at, rotated: None }
        }
        _ => return Err(Error::Invalid("choose a personal key or a team's key".to_owned())),
    };
    show_once(tx, ctx, made)
}

/// A key that was just made.
struct Made {
    key: PlainKey,
    team: Option<Team>,
    permission: &'static str,
    name: Option<KeyName>,
    expires_at: Option<Time>,
    rotated: Option<Rotation>,
}

/// What a rotation did to the old key.
struct Rotation {
    old_expires_at: Time,
    grants_not_carried_over: Vec<String>,
}

fn show_once(tx: &Tx, ctx: &PageContext, made: Made) -> Result<Reply, Error> {
    let (nav, back) = match &made.team {
        Some(team) => (Nav::TeamSettings, format!("/t/{}/settings/api-keys", team.id)),
        None => (Nav::Account, "/account/api-keys".to_owned()),
    };
    html(&Created {
        frame: Frame::new(tx, ctx, nav, made.team.as_ref())?,
        base_url: ctx.request.base_url.to_string(),
        back,
        made,
    })
}

/// The time at which the new key expires, from the number of days in the form.
fn expiry(tx: &Tx, ctx: &PageContext) -> Result<Option<Time>, Error> {
    const DAY_SECONDS: i64 = 86_400;
    match ctx.form.text("expires") {
        "" => Ok(None),
        "30" => Ok(Some(tx.now.plus_seconds(30 * DAY_SECONDS))),
        "90" => Ok(Some(tx.now.plus_seconds(90 * DAY_SECONDS))),
        "365" => Ok(Some(tx.now.plus_seconds(365 * DAY_SECONDS))),
        _ => Err(Error::field("expires", "must be 30, 90 or 365 days, or empty")),
    }
}

fn category(name: &str) -> Result<TeamCategory, Error> {
    let found = TeamCategory::ALL.iter().find(|category| category.as_str() == name);
    found.copied().ok_or_else(|| Error::Invalid("choose what the key may do".to_owned()))
}

/// The environments to which the form narrows the key.
fn environments(category: TeamCategory, ctx: &PageContext) -> Result<Option<Vec<EnvironmentName>>, Error> {
    let names = listed(ctx.form.text("environments"));
    match category {
        _ if names.is_empty() => Ok(None),
        TeamCategory::Invoke | TeamCategory::ManageAll => {
            let names = names.iter().map(|name| EnvironmentName::parse("environments", name));
            names.collect::<Result<_, _>>().map(Some)
        }
        TeamCategory::ExportMetrics => {
            Err(Error::field("environments", "does not go with a key that exports metrics: leave it empty"))
        }
    }
}

/// The ids of the models to which the form narrows the key. The form has their names.
fn model_ids(tx: &Tx, team: &InTeam, category: TeamCategory, ctx: &PageContext) -> Result<Option<Vec<String>>, Error> {
    let names = listed(ctx.form.text("models"));
    match category {
        _ if names.is_empty() => Ok(None),
        TeamCategory::Invoke | TeamCategory::ExportMetrics => {
            Error::check_count("models", names.len(), NAMED_MAX)?;
            let found = models::list(tx, std::slice::from_ref(team), None)?;
            let id = |name: &&str| {
                let model = found.iter().find(|model| model.name == **name);
                let missing = || Error::Invalid(format!("the team has no model \"{}\"", quoted(name)));
                model.map(|model| model.id.clone()).ok_or_else(missing)
            };
            names.iter().map(id).collect::<Result<_, _>>().map(Some)
        }
        TeamCategory::ManageAll => {
            Err(Error::field("models", "does not go with a key that manages all models: leave it empty"))
        }
    }
}

/// Names in a text, separated by commas.
fn listed(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Replaces a key by a new one with the same terms.
pub fn rotate(tx: &Tx, maker: &KeyMaker, ctx: &PageContext) -> Result<Reply, Error> {
    let old = api_keys::find(tx, maker.caller(), ctx.param("api_key_prefix"))?;
    let proof = maker.over(old.kind())?;
    let seconds = ctx.form.text("overlap_seconds").parse().unwrap_or(-1);
    let rotated = api_keys::rotate(tx, &proof, &old, Overlap::of_seconds(seconds)?)?;
    let shown = row(&old, true);
    let (old_expires_at, grants_not_carried_over) = (rotated.old_expires_at, rotated.grants_not_carried_over);
    let made = Made {
        key: rotated.key,
        team: old.kind().team().cloned(),
        permission: shown.permission,
        name: old.name.clone(),
        expires_at: old.expires_at.filter(|_| old.replaced_by.is_none()),
        rotated: Some(Rotation { old_expires_at, grants_not_carried_over }),
    };
    show_once(tx, ctx, made)
}

pub fn revoke(tx: &Tx, caller: &Caller, ctx: &PageContext) -> Result<Reply, Error> {
    let key = api_keys::find(tx, caller, ctx.param("api_key_prefix"))?;
    api_keys::revoke(tx, &caller.to_revoke(&key.prefix, key.kind())?, &key.prefix)?;
    Ok(match (ctx.form.text("back"), key.kind().team()) {
        ("account", _) | (_, None) => to("/account/api-keys?done=revoked"),
        (_, Some(team)) => to(&format!("/t/{}/settings/api-keys?done=revoked", team.id)),
    })
}
