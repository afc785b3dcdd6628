"""`truss train` and `truss loops exec` as a person runs them. Nothing runs here yet: what they leave is state."""

import io
import tarfile
import urllib.error
import urllib.request

import pytest
from baseten.client.managementapi import (
    PatchTeamTrainingGpuCapacityRequest,
    SearchTrainingJobsRequest,
    UpsertSecretRequest,
)

from guildhall import one, refusal
from test_truss import KNOWN_URL, log_in, truss

CONFIG = """
from truss_train import definitions

project = definitions.TrainingProject(
    name="{name}",
    job=definitions.TrainingJob(
        image=definitions.Image(base_image="python:3.12"),
        compute=definitions.Compute(accelerator="{accelerator}"),
        runtime=definitions.Runtime(
            start_commands=["python train.py"],
            environment_variables={variables},
        ),
    ),
)
"""


class Trainer:
    """Somebody at a terminal, with a directory to train from."""

    def __init__(self, acme, caller, home):
        self.acme, self.caller, self.home = acme, caller, home
        home.mkdir(exist_ok=True)
        log_in(home, KNOWN_URL, caller)

    def __call__(self, *arguments):
        """What it printed, on one line: a terminal's width means nothing here."""
        said = self.try_to(*arguments)
        assert said.returncode == 0, said.stdout + said.stderr
        return " ".join((said.stdout + said.stderr).split())

    def try_to(self, *arguments, cwd=None):
        return truss(self.home, *arguments, cwd=cwd, http_proxy=self.acme.guildhall.url)

    def source(self, name, accelerator="H100", variables="{}"):
        """A configuration in a directory of its own, which is what is archived."""
        directory = self.home / name
        directory.mkdir(exist_ok=True)
        (directory / "train.py").write_text("print('trains')\n")
        config = directory / "config.py"
        config.write_text(CONFIG.format(name=name, accelerator=accelerator, variables=variables))
        return config

    def push(self, name, *arguments, **fields):
        """The job that a push made, as the server then shows it to whoever pushed."""
        self("train", "push", str(self.source(name, **fields)), *arguments)
        return latest(self.caller, name)


@pytest.fixture
def trainer(fresh_acme, tmp_path):
    return Trainer(fresh_acme, fresh_acme.member, tmp_path / "home")


def latest(caller, name, team=None):
    projects = caller.api.get_training_projects().training_projects
    project = one(p for p in projects if p.name == name and (team is None or p.team_name == team.name))
    assert project.latest_job is not None
    return project.latest_job


def status(caller, job):
    shown = caller.api.get_training_projects_jobs_training_job_id(
        training_project_id=job.training_project_id, training_job_id=job.id
    )
    return shown.training_job.current_status


def set_ceiling(acme, team, gpus):
    acme.admin.api.patch_training_capacity(
        request=PatchTeamTrainingGpuCapacityRequest(team_id=team.id, gpu_type="H100", max_gpus=gpus)
    )


def test_push_to_a_team_view_and_stop(trainer, fresh_acme):
    team, member = fresh_acme.team, fresh_acme.member
    said = trainer("train", "push", str(trainer.source("kites")), "--team", team.name, "--job-name", "first")
    assert "successfully created" in said
    job = latest(member, "kites")
    assert (job.name, job.user.email, job.current_status) == ("first", member.email, "TRAINING_JOB_DEPLOYING")
    assert (job.instance_type.gpu_type, job.instance_type.gpu_count, job.node_count) == ("H100", 1, 1)
    project = one(p for p in member.api.get_training_projects().training_projects if p.name == "kites")
    assert project.team_name == team.name
    assert fresh_acme.stranger.api.post_training_jobs_search(
        request=SearchTrainingJobsRequest(job_id=job.id)
    ).training_jobs == []

    assert job.id in trainer("train", "view")
    viewed = trainer("train", "view", "--job-id", job.id)
    assert all(word in viewed for word in (job.id, "first", "kites", "TRAINING_JOB_DEPLOYING", member.email))
    assert job.id in trainer("train", "view", "--project-id", project.id)

    assert "stopped" in trainer("train", "stop", "--project-id", project.id, "--job-id", job.id).lower()
    assert status(member, job) == "TRAINING_JOB_STOPPED"
    newest = fresh_acme.admin.http.get("/v1/audit_logs?limit=1").json()["items"][0]
    assert (newest["event_type"], newest["event_data"]["training_job_id"]) == ("TRAINING_JOB_STOPPED", job.id)


def test_a_team_key_pushes_to_its_one_team_without_naming_it(fresh_acme, tmp_path):
    key = fresh_acme.team_key("WORKSPACE_MANAGE_ALL", name="ci-train")
    job = Trainer(fresh_acme, key, tmp_path / "ci").push("kites")
    assert job.user.email is None
    project = one(p for p in key.api.get_training_projects().training_projects if p.name == "kites")
    assert project.team_name == fresh_acme.team.name


def test_push_the_same_name_to_two_teams(fresh_acme, tmp_path):
    admin = Trainer(fresh_acme, fresh_acme.admin, tmp_path / "admin")
    source = str(admin.source("kites"))
    for team in (fresh_acme.team, fresh_acme.other_team):
        admin("train", "push", source, "--team", team.name)
    unclear = admin.try_to("train", "push", source)
    assert unclear.returncode == 2, unclear.stdout + unclear.stderr
    assert fresh_acme.team.name in unclear.stdout + unclear.stderr
    jobs = [latest(fresh_acme.admin, "kites", team) for team in (fresh_acme.team, fresh_acme.other_team)]
    assert jobs[0].training_project_id != jobs[1].training_project_id
    unknown = admin.try_to("train", "push", source, "--team", "Nowhere")
    assert unknown.returncode != 0 and "Nowhere" in unknown.stdout + unknown.stderr


def test_logs_say_that_nothing_runs(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    said = trainer("train", "logs", "--job-id", job.id)
    assert "No trainer is attached to this installation" in said
    trainer("train", "stop", "--project-id", job.training_project_id, "--job-id", job.id)
    tail = trainer("train", "logs", "--job-id", job.id, "--tail")
    assert "No trainer is attached" in tail and "Stopped." in tail


def test_metrics_of_a_job_that_was_stopped(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    trainer("train", "stop", "--project-id", job.training_project_id, "--job-id", job.id)
    assert "metrics" in trainer("train", "metrics", "--job-id", job.id).lower()
    metrics = fresh_acme.member.api.get_training_projects_jobs_metrics(
        training_project_id=job.training_project_id, training_job_id=job.id
    )
    assert metrics.training_job.id == job.id and metrics.cpu_usage == [] and metrics.per_node_metrics == []


def test_recreate_and_download(trainer, fresh_acme, tmp_path):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    said = trainer("train", "recreate", "--job-id", job.id)
    again = latest(fresh_acme.member, "kites")
    assert again.id != job.id and again.id in said

    into = tmp_path / "into"
    trainer("train", "download", "--job-id", again.id, "--target-directory", str(into))
    assert (into / f"kites_{again.id}" / "train.py").read_text() == "print('trains')\n"
    trainer("train", "download", "--job-id", job.id, "--target-directory", str(into), "--no-unzip")
    with tarfile.open(into / f"kites_{job.id}.tgz") as archive:
        assert {"config.py", "train.py"} <= {member.name.removeprefix("./") for member in archive}


def test_a_download_link_needs_no_key_and_cannot_be_guessed(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    ids = {"training_project_id": job.training_project_id, "training_job_id": job.id}
    link = one(fresh_acme.member.api.get_training_projects_jobs_download(**ids).artifact_presigned_urls)
    with urllib.request.urlopen(link) as answer:
        names = tarfile.open(fileobj=io.BytesIO(answer.read())).getnames()
    assert any(name.endswith("train.py") for name in names)
    other = link[:-1] + ("0" if link[-1] != "0" else "1")
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(other)
    assert missing.value.code == 404
    refusal(404, fresh_acme.stranger.api.get_training_projects_jobs_download, **ids)


def test_capacity_keeps_jobs_waiting(trainer, fresh_acme, tmp_path):
    team = fresh_acme.team
    boss = Trainer(fresh_acme, fresh_acme.admin, tmp_path / "boss")
    said = boss("train", "capacity", "update", "--team", team.name, "--gpu-type", "H100", "--capacity", "1")
    assert f"Updated {team.name}'s H100 capacity to 1." in said
    refused = trainer.try_to(
        "train", "capacity", "update", "--team", team.name, "--gpu-type", "H100", "--capacity", "9"
    )
    assert refused.returncode == 1

    holds = trainer.push("kites", "--team", team.name)
    said = trainer("train", "push", str(trainer.source("kites")), "--team", team.name, "--priority", "1")
    assert "pending" in said
    waits = latest(fresh_acme.member, "kites")
    assert [status(fresh_acme.member, job) for job in (holds, waits)] == [
        "TRAINING_JOB_DEPLOYING",
        "TRAINING_JOB_PENDING",
    ]
    held = one(c for c in fresh_acme.member.api.get_training_capacity().team_gpu_capacities if c.gpu_type == "H100")
    assert (held.team_name, held.limit, held.usage_count) == (team.name, 1, 1)
    assert team.name in trainer("train", "capacity", "view")

    trainer("train", "update", "--job-id", waits.id, "--priority", "5")
    shown = fresh_acme.member.api.get_training_projects_jobs_training_job_id(
        training_project_id=waits.training_project_id, training_job_id=waits.id
    )
    assert shown.training_job.priority == 5
    context = fresh_acme.admin.api.get_training_jobs_queue_context(training_job_id=waits.id)
    assert [active.training_job_id for active in context.active_at_submit] == [holds.id]
    trainer("train", "stop", "--project-id", holds.training_project_id, "--job-id", holds.id)
    assert status(fresh_acme.member, waits) == "TRAINING_JOB_DEPLOYING"


def test_a_secret_of_another_team_is_refused_and_named(fresh_acme, tmp_path):
    admin = Trainer(fresh_acme, fresh_acme.admin, tmp_path / "admin")
    fresh_acme.admin.api.post_teams_secrets(
        team_id=fresh_acme.other_team.id, request=UpsertSecretRequest(name="kite-token", value="v")
    )
    source = str(admin.source("kites", variables='{"TOKEN": definitions.SecretReference(name="kite-token")}'))
    refused = admin.try_to("train", "push", source, "--team", fresh_acme.team.name)
    said = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0 and "kite-token" in said and fresh_acme.team.name in said
    admin("train", "push", source, "--team", fresh_acme.other_team.name)


def loops_exec(trainer, directory, *arguments):
    """It archives the directory in which it is called."""
    directory.mkdir(exist_ok=True)
    (directory / "client.py").write_text("print('trains')\n")
    return trainer.try_to("loops", "exec", *arguments, "--", "python", "client.py", cwd=directory)


def test_loops_exec_makes_its_team_a_key_once(fresh_acme, tmp_path):
    team = fresh_acme.team
    lead = Trainer(fresh_acme, fresh_acme.team_admin, tmp_path / "lead")
    name = f"truss-team-{team.id}-exec-api-key"
    keys = set()
    for _ in range(2):
        done = loops_exec(lead, tmp_path / "orchestra", "--team", team.name, "--output", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        secrets = lead.caller.api.get_teams_secrets(team_id=team.id).secrets
        assert one(secret for secret in secrets if secret.name == name).team_name == team.name
        live = [key for key in fresh_acme.admin.api.get_api_keys().keys if key.name == name]
        keys.add(one(live).prefix)
        assert one(live).team_name == team.name and one(live).type == "WORKSPACE_MANAGE_ALL"
    assert len(keys) == 1, "the second run finds the secret of the first"
    jobs = lead.caller.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs
    assert [job.training_project.name for job in jobs] == ["orchestra", "orchestra"]
    assert {job.user.email for job in jobs} == {lead.caller.email}
    assert not fresh_acme.stranger.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs


def test_loops_exec_checks_the_secrets_of_its_team_first(fresh_acme, tmp_path):
    lead = Trainer(fresh_acme, fresh_acme.team_admin, tmp_path / "lead")
    refused = loops_exec(
        lead, tmp_path / "orchestra", "--team", fresh_acme.team.name, "--secret", "TOKEN=no-such-secret"
    )
    assert refused.returncode != 0 and "no-such-secret" in refused.stdout + refused.stderr
    names = {project.name for project in lead.caller.api.get_training_projects().training_projects}
    assert "orchestra" not in names


def test_a_member_who_may_make_no_keys_still_pushes_with_loops_exec(trainer, fresh_acme, tmp_path):
    """Team keys are made by team admins; truss then warns and goes on without one."""
    done = loops_exec(trainer, tmp_path / "orchestra", "--team", fresh_acme.team.name)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    assert "could not provision" in said and "Job created!" in said
    assert latest(fresh_acme.member, "orchestra").current_status == "TRAINING_JOB_DEPLOYING"


def test_what_only_a_run_would_bring_is_empty_for_truss_too(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    trainer("train", "cache", "summarize", "kites")
    urls = trainer.try_to("train", "get_checkpoint_urls", "--job-id", job.id)
    assert urls.returncode != 0 and "No checkpoints found" in urls.stdout + urls.stderr
    trainer("train", "checkpoints", "list", "--job-id", job.id, "-o", "json")
    trainer("train", "isession", "--job-id", job.id)


def test_a_workstation_is_a_job_too(trainer, fresh_acme):
    trainer("train", "workstation", "--team", fresh_acme.team.name, "--accelerator", "h100", "--gpu-count", "2")
    jobs = fresh_acme.member.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs
    assert (one(jobs).instance_type.gpu_count, one(jobs).user.email) == (2, fresh_acme.member.email)
