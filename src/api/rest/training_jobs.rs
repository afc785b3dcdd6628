//! Training jobs over HTTP.

use zeroize::Zeroizing;

use crate::api::rest::logs;
use crate::api::{Reply, RequestContext};
use crate::db::training_jobs::{self, checkpoints, queue, running};
use crate::db::{self, Tx, downloads, secrets, teams, training_projects};
use crate::domain::training::{
    Availability, CPUS_MAX, Compute, GPUS_MAX, GpuType, NODES_MAX, NewJob, Priority, memory_mib, within,
};
use crate::domain::training_jobs::{Change, Filter, Job, Order, Sample, StoredFile};
use crate::domain::uploads::BUCKET;
use crate::domain::{NAMED_MAX, ResourceName, SecretName, Time};
use crate::error::{Error, quoted};
use crate::policy::{InOrg, InTeam, MetricsReader, TeamAct};
use crate::wire;
use crate::wire::deployments::{Log, Logs, LogsAsked};
use crate::wire::training_jobs::pushed::{self, CreateTrainingJob, Spec};
use crate::wire::training_jobs::queue::QueueContext;
use crate::wire::training_jobs::{
    AuthCodes, CacheSummary, CheckpointFile, CheckpointFiles, Checkpoints, Download, Metrics, MetricsOf,
    OneTrainingJob, Search, TrainingJob, TrainingJobTombstone, TrainingJobs, UpdateTrainingJob,
};
use crate::wire::training_projects::{JobInProject, JobsOfProject, TrainingProject};

/// The most statuses in a search. A status may be named more than once.
const STATUSES_MAX: usize = 100;
/// The most files of checkpoints in one answer.
const FILES_MAX: i64 = 1000;
/// How many points a series has unless the request names a step.
const POINTS_MAX: i64 = 1000;
/// The last millisecond of the year 9999, which is the last that can be shown.
const MILLIS_MAX: i64 = 253_402_300_799_999;

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let project = training_projects::find(tx, team, ctx.param("training_project_id"))?;
    let filter = Filter { project_id: Some(project.id.clone()), ..Filter::default() };
    let jobs = training_jobs::search(tx, std::slice::from_ref(team), &filter)?;
    Ok(Reply::ok(&JobsOfProject {
        training_project: TrainingProject::new(&project, jobs.first()),
        training_jobs: jobs.iter().map(TrainingJob::from).collect(),
    }))
}

pub fn search(tx: &Tx, teams: &[InTeam], ctx: &RequestContext) -> Result<Reply, Error> {
    let filter = filter(ctx.json_or_default()?)?;
    let jobs = training_jobs::search(tx, teams, &filter)?;
    Ok(Reply::ok(&TrainingJobs { training_jobs: jobs.iter().map(TrainingJob::from).collect() }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    let project = training_projects::find(tx, team, &job.project.id)?;
    let latest = training_jobs::latest(tx, std::slice::from_ref(team))?;
    Ok(Reply::ok(&JobInProject {
        training_project: TrainingProject::new(&project, latest.get(&project.id)),
        training_job: TrainingJob::from(&job),
    }))
}

pub fn create(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let project_id = ctx.param("training_project_id");
    let asked = ctx.json::<CreateTrainingJob>()?.training_job;
    let new = new_job(tx, team, &asked)?;
    let job = training_jobs::create(tx, team, project_id, &new, &s3_keys(&asked)?)?;
    Ok(Reply::ok(&OneTrainingJob { training_job: TrainingJob::from(&job) }))
}

/// Creates a job from an earlier one. Everything is checked again, because what the earlier job needs may have been
/// deleted since.
pub fn recreate(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let before = find(tx, team, ctx)?;
    let asked: Spec = wire::parse(training_jobs::spec(tx, team, &before)?.as_bytes())?;
    let new = new_job(tx, team, &asked)?;
    let job = training_jobs::recreate(tx, team, &before, &new)?;
    Ok(Reply::ok(&OneTrainingJob { training_job: TrainingJob::from(&job) }))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    let asked: UpdateTrainingJob = ctx.json()?;
    let change = Change {
        priority: asked.priority.map(|priority| Priority::parse("priority", priority)).transpose()?,
        availability: asked.availability_model,
    };
    let job = training_jobs::update(tx, team, &job, &change)?;
    Ok(Reply::ok(&OneTrainingJob { training_job: TrainingJob::from(&job) }))
}

pub fn stop(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = training_jobs::stop(tx, team, &find(tx, team, ctx)?)?;
    Ok(Reply::ok(&OneTrainingJob { training_job: TrainingJob::from(&job) }))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    training_jobs::delete(tx, team, &job)?;
    Ok(Reply::ok(&TrainingJobTombstone::of(&job)))
}

pub fn logs(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    lines(tx, &job, &logs::asked_by_query(ctx)?)
}

/// Lists logs of a job; the filters are in the body.
pub fn logs_by_body(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    lines(tx, &job, &ctx.json_or_default()?)
}

pub fn metrics(tx: &Tx, reader: &MetricsReader, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = measured(tx, reader, ctx)?;
    let asked = MetricsOf {
        start_epoch_millis: logs::number(ctx, "start_epoch_millis")?,
        end_epoch_millis: logs::number(ctx, "end_epoch_millis")?,
        step_seconds: logs::number(ctx, "step_seconds")?,
    };
    series(tx, &job, &asked)
}

/// Shows metrics of a job; the parameters are in the body.
pub fn metrics_by_body(tx: &Tx, reader: &MetricsReader, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = measured(tx, reader, ctx)?;
    series(tx, &job, &ctx.json_or_default()?)
}

pub fn list_checkpoints(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    Ok(Reply::ok(&Checkpoints::of(&job, &checkpoints::list(tx, team, &job)?)))
}

/// Lists files of the checkpoints of a job, each with a link that works without a key.
pub fn checkpoint_files(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    let size = logs::number(ctx, "page_size")?.unwrap_or(FILES_MAX);
    let size = within("page_size", size, 1..=i64::MAX)?.min(FILES_MAX);
    let offset = within("page_token", logs::number(ctx, "page_token")?.unwrap_or(0), 0..=i64::MAX)?;
    let page = checkpoints::files(tx, team, &job, offset, size)?;
    let next = offset as u64 + page.files.len() as u64;
    let shown = |file: &'_ StoredFile| {
        let link = downloads::grant_checkpoint_file(tx, team, &job, &file.path);
        format!("{}/downloads/{}", ctx.request.base_url, link.as_str())
    };
    let files = page.files.iter().map(|file| CheckpointFile {
        url: shown(file),
        relative_file_name: &file.path,
        node_rank: 0,
        size_bytes: file.size_bytes,
        last_modified: file.modified_at,
    });
    Ok(Reply::ok(&CheckpointFiles {
        presigned_urls: files.collect(),
        next_page_token: (next < page.total).then_some(next),
        total_count: page.total,
    }))
}

/// Creates links to the archives of a job, one for each archive. The links work without a key.
pub fn download(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let links = downloads::grant_for_job(tx, team, &find(tx, team, ctx)?)?;
    let url = |link: &Zeroizing<String>| format!("{}/downloads/{}", ctx.request.base_url, link.as_str());
    Ok(Reply::ok(&Download { artifact_presigned_urls: links.iter().map(url).collect() }))
}

/// Lists the codes of a job's sessions. Only jobs that run have sessions, so the list is empty.
pub fn auth_codes(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    find(tx, team, ctx)?;
    Ok(Reply::ok(&AuthCodes::default()))
}

/// Summarizes the cache of a project, as it was when its last job ended.
pub fn cache_summary(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let project = training_projects::find(tx, team, ctx.param("training_project_id"))?;
    let files = checkpoints::cached(tx, team, &project.id)?;
    Ok(Reply::ok(&CacheSummary::of(&project.id, &files, tx.now)))
}

pub fn queue_context(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let teams = teams::of_organization(tx, org.caller())?;
    let teams = org.caller().in_all(&teams, TeamAct::View)?;
    let context = queue::context(tx, &teams, ctx.param("training_job_id"))?;
    Ok(Reply::ok(&QueueContext::from(&context)))
}

fn find(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Job, Error> {
    training_jobs::find(tx, team, ctx.param("training_project_id"), ctx.param("training_job_id"))
}

// ---- what a request asks for ----

/// Checks everything that a job asks for. What the job names must belong to the team.
fn new_job(tx: &Tx, team: &InTeam, asked: &Spec) -> Result<NewJob, Error> {
    if asked.image.base_image.trim().is_empty() {
        return Err(Error::field("training_job.image.base_image", "must name an image"));
    }
    let new = NewJob {
        name: asked.name.as_deref().map(|name| ResourceName::parse("training_job.name", name)).transpose()?,
        priority: Priority::parse("training_job.priority", asked.priority.unwrap_or(0))?,
        compute: compute(asked.compute.as_ref().unwrap_or(&pushed::Compute::default()))?,
        spec: asked.to_json(),
    };
    check_secrets(tx, team, asked)?;
    check_checkpoints(tx, team, asked)?;
    Ok(new)
}

fn compute(asked: &pushed::Compute) -> Result<Compute, Error> {
    let gpus = match &asked.accelerator {
        None => None,
        Some(asked) => Some((
            GpuType::parse_any_case("training_job.compute.accelerator.accelerator", &asked.accelerator)?,
            within("training_job.compute.accelerator.count", asked.count, 1..=GPUS_MAX)?,
        )),
    };
    Ok(Compute {
        nodes: within("training_job.compute.node_count", asked.node_count.unwrap_or(1), 1..=NODES_MAX)?,
        cpus: within("training_job.compute.cpu_count", asked.cpu_count.unwrap_or(1), 1..=CPUS_MAX)?,
        memory_mib: memory_mib("training_job.compute.memory", asked.memory.as_deref().unwrap_or("2Gi"))?,
        gpus,
        availability: asked.availability_model.unwrap_or(Availability::Dedicated),
    })
}

/// Checks the secrets that a job names. They must belong to the team of the project, even if the caller sees other
/// secrets.
fn check_secrets(tx: &Tx, team: &InTeam, asked: &Spec) -> Result<(), Error> {
    let secrets = asked.secrets();
    if secrets.len() > NAMED_MAX {
        return Err(Error::field("training_job", &format!("must name at most {NAMED_MAX} secrets")));
    }
    for (field, name) in secrets {
        let is_there = match SecretName::parse(name) {
            Ok(name) => secrets::exists(tx, team, &name)?,
            Err(_) => false, // no secret can have such a name
        };
        if !is_there {
            let why = format!(
                "names the secret `{}`, and team \"{}\" has none of that name: set it there first",
                quoted(name),
                team.team().name
            );
            return Err(Error::field(&format!("training_job.{}", quoted(&field)), &why));
        }
    }
    Ok(())
}

/// Checks the checkpoints with which a job begins. They must belong to jobs and projects of the job's own team.
fn check_checkpoints(tx: &Tx, team: &InTeam, asked: &Spec) -> Result<(), Error> {
    let field = "training_job.runtime.load_checkpoint_config.checkpoints";
    Error::check_count(field, asked.checkpoints().len(), NAMED_MAX)?;
    for (place, checkpoint) in asked.checkpoints().iter().enumerate() {
        let field = |name| format!("training_job.runtime.load_checkpoint_config.checkpoints[{place}].{name}");
        let of_team = |what| format!("must be a training {what} of team \"{}\", as this one is", team.team().name);
        if let Some(job_id) = &checkpoint.job_id
            && !training_jobs::exists(tx, team, job_id)?
        {
            return Err(Error::field(&field("job_id"), &of_team("job")));
        }
        if let Some(name) = &checkpoint.project_name
            && !training_projects::is_named(tx, team, name)?
        {
            return Err(Error::field(&field("project_name"), &of_team("project")));
        }
    }
    Ok(())
}

fn s3_keys(asked: &Spec) -> Result<Vec<String>, Error> {
    let artifacts = asked.artifacts();
    Error::check_count("training_job.runtime.artifacts", artifacts.len(), NAMED_MAX)?;
    if let Some(place) = artifacts.iter().position(|artifact| artifact.s3_bucket != BUCKET) {
        let field = format!("training_job.runtime.artifacts[{place}].s3_bucket");
        return Err(Error::field(&field, "must be the bucket of the credentials: GET /v1/blobs/credentials/train"));
    }
    Ok(artifacts.iter().map(|artifact| artifact.s3_key.clone()).collect())
}

fn filter(asked: Search) -> Result<Filter, Error> {
    Error::check_count("statuses", asked.statuses.as_ref().map_or(0, Vec::len), STATUSES_MAX)?;
    let order = match asked.order_by.as_deref() {
        None | Some([]) => Order::NewestFirst,
        Some([by, ..]) if by.field != "created_at" => {
            return Err(Error::field("order_by[0].field", "must be created_at"));
        }
        Some([by]) => match by.order.as_str() {
            "asc" => Order::OldestFirst,
            "desc" => Order::NewestFirst,
            _ => return Err(Error::field("order_by[0].order", "must be asc or desc")),
        },
        Some(_) => return Err(Error::field("order_by", "must name one order")),
    };
    Ok(Filter { project_id: asked.project_id, job_id: asked.job_id, statuses: asked.statuses, order })
}

// ---- logs and metrics ----

fn measured(tx: &Tx, reader: &MetricsReader, ctx: &RequestContext) -> Result<Job, Error> {
    db::metrics::job(tx, reader, ctx.param("training_project_id"), ctx.param("training_job_id"))
}

fn lines(tx: &Tx, job: &Job, asked: &LogsAsked) -> Result<Reply, Error> {
    let lines = db::logs::list_of_job(tx, &job.id, &logs::filter(tx.now, asked)?)?;
    Ok(Reply::ok(&Logs { logs: lines.iter().map(Log::from).collect() }))
}

fn series(tx: &Tx, job: &Job, asked: &MetricsOf) -> Result<Reply, Error> {
    let bounded = |field, millis: Option<i64>| millis.map(|millis| within(field, millis, 0..=MILLIS_MAX)).transpose();
    let start = bounded("start_epoch_millis", asked.start_epoch_millis)?;
    let end = bounded("end_epoch_millis", asked.end_epoch_millis)?;
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(Error::field("start_epoch_millis", "must not be after end_epoch_millis"));
    }
    let step = asked.step_seconds.map(|step| within("step_seconds", step, 1..=i64::MAX)).transpose()?;
    let (start, end) = (start.map_or(job.created_at, Time), end.map_or(tx.now, Time));
    let samples = running::samples(tx, job, start, end)?;
    Ok(Reply::ok(&Metrics::of(job, &thinned(&samples, start, end, step))))
}

/// One sample of each step, the last of it. Without a step, as many as a chart can show.
fn thinned(samples: &[Sample], start: Time, end: Time, step_seconds: Option<i64>) -> Vec<Sample> {
    let step = step_seconds.map_or((end.0 - start.0) / POINTS_MAX, |seconds| seconds.saturating_mul(1000)).max(1);
    let mut kept: Vec<Sample> = Vec::new();
    for sample in samples {
        match kept.last_mut().filter(|last| (last.at.0 - start.0) / step == (sample.at.0 - start.0) / step) {
            Some(last) => *last = *sample,
            None => kept.push(*sample),
        }
    }
    kept
}
