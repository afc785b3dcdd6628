//! What truss speaks: the root fields, what each needs, and who answers it.
//!
//! The needs are those of the permission tables, and the proofs are those that the routes ask for. A query answers every
//! root field for itself; a mutation does all of its root fields or none.

use std::any::Any;
use std::cell::Cell;

use serde::de::DeserializeOwned;

use crate::api::Request;
use crate::db::{self, Tx};
use crate::domain::Team;
use crate::domain::models::Model;
use crate::error::{Error, quoted};
use crate::policy::{Caller, Deployer, Deployers, InTeam, TeamAct};
use crate::wire;
use crate::wire::graphql::selected::Selected;
use crate::wire::graphql::shape::{Given, Shape};

pub mod document;
pub mod endpoint;

mod chains;
mod checkpoints;
mod instance_types;
mod models;
mod organizations;
mod pushes;
mod teams;
mod uploads;
mod users;
mod watch;

use document::{Kind, Operation};

/// One row of the table.
pub struct RootField {
    pub kind: Kind,
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub answer: Answer,
    /// Reads the arguments on the pool where that is slow; the resolver takes what was read with [`FieldContext::prepared`].
    pub prepare: Option<Prepare>,
}

pub type Prepare = fn(&Selected) -> Result<Box<dyn Any + Send>, Error>;

/// What must hold before the resolver runs. The resolver's type takes the proof, so that a root field cannot name a need
/// and skip it.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Anyone with a key; the resolver shows what is the caller's own.
    Caller(fn(&Tx, &Caller, &FieldContext) -> Result<Given, Error>),
    /// The teams in which the caller may do this; they may be none.
    TeamsFor(TeamAct, fn(&Tx, &[InTeam], &FieldContext) -> Result<Given, Error>),
    /// The teams in which the caller may deploy, if only into some environments. The verb asks about the one that it touches.
    TeamsToDeploy(fn(&Tx, &Deployers, &FieldContext) -> Result<Given, Error>),
    /// Whoever may view the team that owns the model that the argument `id` names.
    Model(fn(&Tx, &InTeam, &Model, &FieldContext) -> Result<Given, Error>),
    /// Whoever may deploy in the team that owns the model that this argument names, if only into some environments.
    ModelToDeploy(&'static str, fn(&Tx, &Deployer, &Model, &FieldContext) -> Result<Given, Error>),
}

#[rustfmt::skip]
pub const ROOT_FIELDS: &[RootField] = &[
    query("organization", &[], Answer::Caller(organizations::show)),
    query("user",         &[], Answer::Caller(users::show)),
    query("teams",        &[], Answer::Caller(teams::list)),

    query("models",        &["all", "team_id", "chainlets_only"], Answer::TeamsFor(TeamAct::View, models::list)),
    query("model",         &["id", "name"], Answer::TeamsFor(TeamAct::View, models::show)),
    query("model_version", &["id"],         Answer::TeamsFor(TeamAct::View, models::show_version)),

    query("truss_validation", &["truss_user_env", "config"], Answer::Caller(pushes::validate)).preparing(pushes::read_validation),
    query("model_s3_upload_credentials", &[], Answer::TeamsToDeploy(uploads::for_model)),
    mutation("create_model_from_truss", &[
        "name", "s3_key", "config", "semver_bump", "truss_user_env", "allow_truss_download", "version_name",
        "environment_name", "deploy_timeout_minutes", "team_id", "user_deploy_metadata", "raw_config",
    ], Answer::TeamsToDeploy(pushes::create_model)).preparing(pushes::read),
    mutation("create_model_version_from_truss", &[
        "model_id", "s3_key", "config", "semver_bump", "truss_user_env", "scale_down_old_production",
        "preserve_env_instance_type", "name", "environment_name", "deploy_timeout_minutes", "user_deploy_metadata",
        "raw_config",
    ], Answer::ModelToDeploy("model_id", pushes::create_version)).preparing(pushes::read),
    mutation("deploy_draft_truss", &[
        "name", "s3_key", "config", "truss_user_env", "allow_truss_download", "deploy_timeout_minutes", "team_id",
        "user_deploy_metadata", "raw_config",
    ], Answer::TeamsToDeploy(pushes::deploy_draft)).preparing(pushes::read),

    query("truss_watch_state", &["id"], Answer::Model(watch::state)),
    mutation("stage_patch_for_draft_truss", &["id", "truss_user_env", "patch"], Answer::ModelToDeploy("id", watch::stage))
        .preparing(watch::read),
    mutation("sync_draft_truss",            &["id", "truss_user_env"],          Answer::ModelToDeploy("id", watch::sync)),

    query("chains",           &["all", "team_id"], Answer::TeamsFor(TeamAct::View, chains::list)),
    query("chain",            &["id"],             Answer::TeamsFor(TeamAct::View, chains::show)),
    query("chain_deployment", &["id"],             Answer::TeamsFor(TeamAct::View, chains::show_deployment)),
    query("chain_s3_upload_credentials", &[],      Answer::TeamsToDeploy(uploads::for_chain)),
    mutation("deploy_chain_atomic", &[
        "chain_id", "chain_name", "environment", "original_source_artifact_s3_key", "team_id", "is_draft",
        "allow_truss_download", "deployment_name", "entrypoint", "dependencies", "truss_user_env",
    ], Answer::TeamsToDeploy(chains::deploy)).preparing(chains::read),

    query("listed_instances", &[], Answer::Caller(instance_types::list)),
    mutation("create_model_version_from_inference_template", &["request"],
             Answer::TeamsFor(TeamAct::Deploy, checkpoints::deploy)),
];

const fn query(name: &'static str, arguments: &'static [&'static str], answer: Answer) -> RootField {
    RootField { kind: Kind::Query, name, arguments, answer, prepare: None }
}

const fn mutation(name: &'static str, arguments: &'static [&'static str], answer: Answer) -> RootField {
    RootField { kind: Kind::Mutation, name, arguments, answer, prepare: None }
}

impl RootField {
    const fn preparing(self, prepare: Prepare) -> RootField {
        RootField { prepare: Some(prepare), ..self }
    }
}

// Bounds of an answer, all root fields together.
/// What is read from the database for it: models, deployments, Chains, chainlets.
const ROWS_MAX: usize = 50_000;
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What an answer may still take.
struct Left {
    rows: Cell<usize>,
    bytes: Cell<usize>,
}

impl Left {
    fn new() -> Left {
        Left { rows: Cell::new(ROWS_MAX), bytes: Cell::new(ANSWER_BYTES_MAX) }
    }
}

fn too_much() -> Error {
    Error::Invalid(format!(
        "the answer would be more than {ROWS_MAX} rows or {ANSWER_BYTES_MAX} bytes: ask for one team, one model or fewer fields"
    ))
}

/// A root field on its row: what resolvers ask for what was sent.
pub struct FieldContext<'d> {
    selected: &'d Selected,
    /// The request that brought the document.
    pub request: &'d Request,
    left: &'d Left,
}

impl FieldContext<'_> {
    /// The arguments. What cannot be read as the shape is refused with the argument's name.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.selected.read()
    }

    /// What was read of the arguments on the pool. Ask once, after the checks that need none of it and before anything is
    /// written.
    fn prepared<T: 'static>(&self) -> Result<T, Error> {
        self.selected.prepared.take()
    }

    /// Counts rows that were read for this field.
    fn count(&self, rows: usize) -> Result<(), Error> {
        self.left.rows.set(self.left.rows.get().checked_sub(rows).ok_or_else(too_much)?);
        Ok(())
    }

    fn id(&self, argument: &str) -> Result<&str, Error> {
        let id = self.selected.argument(argument).and_then(serde_json::Value::as_str);
        id.ok_or_else(|| Error::field(argument, "must be given, as text"))
    }

    /// The team of the model that this argument names. One that nobody has and one that the caller does not see are told
    /// in the same words.
    fn owner(&self, tx: &Tx, caller: &Caller, argument: &str) -> Result<Team, Error> {
        let team = db::resources::team_of(tx, db::resources::Kind::Model, self.id(argument)?)?;
        team.filter(|team| caller.standing_in(team).is_some()).ok_or(Error::NotFound("model"))
    }

    /// Whether this field of what is given is selected.
    fn wants(&self, field: &str) -> bool {
        self.selected.fields.iter().any(|selected| selected.name == field)
    }

    /// Whether this field is selected, however deep.
    fn wants_anywhere(&self, field: &str) -> bool {
        fn has(selected: &Selected, field: &str) -> bool {
            selected.fields.iter().any(|inner| inner.name == field || has(inner, field))
        }
        has(self.selected, field)
    }

    /// Gives what is selected of the shape.
    pub fn give(&self, shape: &impl Shape) -> Result<Given, Error> {
        let bytes_left = self.left.bytes.get();
        let given = Given::select(shape, self.selected, bytes_left)?;
        self.left.bytes.set(bytes_left.checked_sub(given.as_json().len()).ok_or_else(too_much)?);
        Ok(given)
    }
}

/// The root fields that get as far as to what is read on the pool. Those that are refused before, for which there is nothing
/// to read, are refused again when they are carried out.
pub fn to_prepare<'o>(
    tx: &Tx,
    caller: &Caller,
    operation: &'o Operation,
    request: &Request,
    table: &'static [RootField],
) -> Vec<(&'o Selected, Prepare)> {
    let left = Left::new();
    let admitted = |selected: &'o Selected| {
        let prepare = find(operation.kind, selected, table).ok()?.prepare?;
        let tried = answer(tx, caller, operation.kind, &FieldContext { selected, request, left: &left }, table);
        matches!(tried, Err(Error::Unread)).then_some((selected, prepare))
    };
    operation.fields.iter().filter_map(admitted).collect()
}

/// Carries out an operation with the root fields of a table, and answers in GraphQL's shape.
///
/// An error is a failure of ours: no root field is to blame, and nothing was done.
pub fn execute(
    tx: &Tx,
    caller: &Caller,
    operation: &Operation,
    request: &Request,
    table: &[RootField],
) -> Result<Vec<u8>, Error> {
    let left = Left::new();
    let answer = |selected| answer(tx, caller, operation.kind, &FieldContext { selected, request, left: &left }, table);
    match operation.kind {
        Kind::Query => each(operation, answer),
        Kind::Mutation => all_or_nothing(tx, operation, answer),
    }
}

fn each<'o>(operation: &'o Operation, answer: impl Fn(&'o Selected) -> Result<Given, Error>) -> Result<Vec<u8>, Error> {
    let (mut data, mut failures) = (Vec::new(), Vec::new());
    for selected in &operation.fields {
        let given = match answer(selected) {
            Ok(given) => Some(given),
            Err(error) => {
                failures.push(wire::graphql::Failure::of_field(&selected.key, &told(error)?));
                None
            }
        };
        data.push((selected.key.as_str(), given));
    }
    Ok(wire::graphql::answer(Some(&data), &failures))
}

fn all_or_nothing<'o>(
    tx: &Tx,
    operation: &'o Operation,
    answer: impl Fn(&'o Selected) -> Result<Given, Error>,
) -> Result<Vec<u8>, Error> {
    let done = tx.attempt(|| {
        let fields = operation.fields.iter().map(|selected| match answer(selected) {
            Ok(given) => Ok((selected.key.as_str(), Some(given))),
            Err(error) => Err((selected.key.as_str(), error)),
        });
        fields.collect::<Result<Vec<_>, _>>()
    })?;
    match done {
        Ok(data) => Ok(wire::graphql::answer(Some(&data), &[])),
        Err((key, error)) => Ok(wire::graphql::answer(None, &[wire::graphql::Failure::of_field(key, &told(error)?)])),
    }
}

/// What the client is told about; the rest is ours.
fn told(error: Error) -> Result<Error, Error> {
    match error {
        Error::Internal(_) | Error::Defect(_) | Error::StorageFull => Err(error),
        // It was refused when it was to be read, and is not any more.
        Error::Unread => Ok(Error::Unavailable("what this is about has just changed: send it again")),
        told => Ok(told),
    }
}

fn answer(tx: &Tx, caller: &Caller, kind: Kind, ctx: &FieldContext, table: &[RootField]) -> Result<Given, Error> {
    let FieldContext { selected, .. } = *ctx;
    let of = selected.of.as_deref().filter(|of| *of != kind.as_str());
    if let Some(of) = of {
        let of = quoted(of);
        return Err(Error::Invalid(format!("`... on {of}` does not fit here: this is `{}`", kind.as_str())));
    }
    if selected.name == "__typename" {
        return ctx.give(&kind.as_str());
    }
    let row = find(kind, selected, table)?;
    match row.answer {
        Answer::Caller(resolver) => resolver(tx, caller, ctx),
        Answer::TeamsFor(act, resolver) => {
            let teams = db::teams::of_organization(tx, caller)?;
            let proofs: Vec<InTeam> = teams.iter().filter_map(|team| caller.in_team(team, act).ok()).collect();
            resolver(tx, &proofs, ctx)
        }
        Answer::TeamsToDeploy(resolver) => {
            let teams = db::teams::of_organization(tx, caller)?;
            resolver(tx, &caller.to_deploy_in_any(&teams)?, ctx)
        }
        Answer::Model(resolver) => {
            let team = ctx.owner(tx, caller, "id")?;
            let proof = caller.in_team(&team, TeamAct::View)?;
            resolver(tx, &proof, &db::models::find(tx, &proof, ctx.id("id")?)?, ctx)
        }
        Answer::ModelToDeploy(argument, resolver) => {
            let team = ctx.owner(tx, caller, argument)?;
            let proof = caller.to_deploy(&team)?;
            resolver(tx, &proof, &db::models::find(tx, &proof, ctx.id(argument)?)?, ctx)
        }
    }
}

fn find<'t>(kind: Kind, selected: &Selected, table: &'t [RootField]) -> Result<&'t RootField, Error> {
    let name = &selected.name;
    let missing = || format!("there is no {} named `{}` here", kind.as_str().to_lowercase(), quoted(name));
    let row = table.iter().find(|row| row.name == name).ok_or_else(|| Error::Invalid(missing()))?;
    if row.kind != kind {
        let (is, not) = (row.kind.as_str().to_lowercase(), kind.as_str().to_lowercase());
        return Err(Error::Invalid(format!("`{name}` is a {is}, not a {not}: begin the document with `{is}`")));
    }
    let unknown = selected.arguments.iter().find(|(argument, _)| !row.arguments.contains(&argument.as_str()));
    match unknown.map(|(argument, _)| quoted(argument)) {
        None => Ok(row),
        Some(unknown) if row.arguments.is_empty() => {
            Err(Error::Invalid(format!("`{name}` takes no arguments: leave `{unknown}` out")))
        }
        Some(unknown) => {
            let known: Vec<String> = row.arguments.iter().map(|argument| format!("`{argument}`")).collect();
            Err(Error::Invalid(format!("`{name}` has no argument `{unknown}`: it takes {}", known.join(", "))))
        }
    }
}
