"""`truss train` and `truss loops exec` as a person runs them. Nothing runs here yet: what they leave is state."""

import io
import tarfile
import urllib.error
import urllib.request

import pytest
from baseten.client.managementapi import (
    SearchTrainingJobsRequest,
    StopTrainingJobRequest,
    UpsertSecretRequest,
)

from guildhall import one, refusal
from truss_cli import Terminal, training_config


class Trainer(Terminal):
    """Somebody at a terminal who trains."""

    def push(self, name, *arguments):
        """The job that a push made, as the server then shows it to whoever pushed."""
        self("train", "push", training_config(self.home, name), *arguments)
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


def stop(caller, job):
    caller.api.post_training_projects_jobs_stop(
        training_project_id=job.training_project_id, training_job_id=job.id, request=StopTrainingJobRequest()
    )


def test_push_to_a_team_view_and_stop(trainer, fresh_acme):
    team, member = fresh_acme.team, fresh_acme.member
    source = training_config(trainer.home, "kites")
    with fresh_acme.acts() as acts:
        said = trainer("train", "push", source, "--team", team.name, "--job-name", "first")
    assert "successfully created" in said
    assert acts == [
        ("TRAINING_PROJECT_CREATED", member.email, team.name),
        ("ARCHIVE_UPLOADED", member.email, None),
        ("TRAINING_JOB_CREATED", member.email, team.name),
    ]
    job = latest(member, "kites")
    assert (job.name, job.user.email, job.current_status) == ("first", member.email, "TRAINING_JOB_DEPLOYING")
    assert (job.instance_type.gpu_type, job.instance_type.gpu_count, job.node_count) == ("H100", 1, 1)
    project = one(p for p in member.api.get_training_projects().training_projects if p.name == "kites")
    assert project.team_name == team.name
    assert (
        fresh_acme.stranger.api.post_training_jobs_search(
            request=SearchTrainingJobsRequest(job_id=job.id)
        ).training_jobs
        == []
    )

    assert job.id in trainer("train", "view")
    viewed = trainer("train", "view", "--job-id", job.id)
    assert all(word in viewed for word in (job.id, "first", "kites", "TRAINING_JOB_DEPLOYING", member.email))
    assert job.id in trainer("train", "view", "--project-id", project.id)

    assert "stopped" in trainer("train", "stop", "--project-id", project.id, "--job-id", job.id).lower()
    assert status(member, job) == "TRAINING_JOB_STOPPED"
    assert fresh_acme.acts_on(job.id)[-1] == ("TRAINING_JOB_STOPPED", member.email, team.name)


def test_logs_say_that_nothing_runs(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    said = trainer("train", "logs", "--job-id", job.id)
    assert "No trainer is attached to this installation" in said
    stop(fresh_acme.member, job)
    tail = trainer("train", "logs", "--job-id", job.id, "--tail")
    assert "No trainer is attached" in tail and "Stopped." in tail


def test_metrics_of_a_job_that_was_stopped(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    stop(fresh_acme.member, job)
    assert "metrics" in trainer("train", "metrics", "--job-id", job.id).lower()
    metrics = fresh_acme.member.api.get_training_projects_jobs_metrics(
        training_project_id=job.training_project_id, training_job_id=job.id
    )
    assert metrics.training_job.id == job.id and metrics.cpu_usage == [] and metrics.per_node_metrics == []


def test_recreate_and_download(trainer, fresh_acme, tmp_path):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    with fresh_acme.acts() as acts:
        said = trainer("train", "recreate", "--job-id", job.id)
    assert acts == [("TRAINING_JOB_CREATED", fresh_acme.member.email, fresh_acme.team.name)]
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
    with fresh_acme.acts() as acts:
        said = boss("train", "capacity", "update", "--team", team.name, "--gpu-type", "H100", "--capacity", "1")
    assert acts == [("TRAINING_CAPACITY_UPDATED", boss.caller.email, team.name)]
    assert f"Updated {team.name}'s H100 capacity to 1." in said
    with fresh_acme.unchanged():
        for who in (trainer, Trainer(fresh_acme, fresh_acme.team_admin, tmp_path / "lead")):
            asked = ("--team", team.name, "--gpu-type", "H100", "--capacity", "9")
            said = who.leaves_with(1, "train", "capacity", "update", *asked)
            assert "Manage teams" in said

    holds = trainer.push("kites", "--team", team.name)
    said = trainer("train", "push", training_config(trainer.home, "kites"), "--team", team.name, "--priority", "1")
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
    stop(fresh_acme.member, holds)
    assert status(fresh_acme.member, waits) == "TRAINING_JOB_DEPLOYING"


def test_a_secret_of_another_team_is_refused_and_named(fresh_acme, tmp_path):
    admin = Trainer(fresh_acme, fresh_acme.admin, tmp_path / "admin")
    fresh_acme.admin.api.post_teams_secrets(
        team_id=fresh_acme.other_team.id, request=UpsertSecretRequest(name="kite-token", value="v")
    )
    variables = '{"TOKEN": definitions.SecretReference(name="kite-token")}'
    source = training_config(admin.home, "kites", variables=variables)
    said = admin.leaves_with(1, "train", "push", source, "--team", fresh_acme.team.name)
    assert f'names the secret `kite-token`, and team "{fresh_acme.team.name}" has none of that name' in said
    project = one(p for p in admin.caller.api.get_training_projects().training_projects if p.name == "kites")
    assert project.latest_job is None, "truss makes the project before it asks for the job"
    admin("train", "push", source, "--team", fresh_acme.other_team.name)
    assert latest(fresh_acme.admin, "kites", fresh_acme.other_team).user.email == fresh_acme.admin.email


def loops_exec(trainer, directory, *arguments, code=0):
    """It archives the directory in which it is called."""
    directory.mkdir(exist_ok=True)
    (directory / "client.py").write_text("print('trains')\n")
    command = ("loops", "exec", *arguments, "--", "python", "client.py")
    return trainer.leaves_with(code, *command, cwd=directory)


def test_loops_exec_makes_its_team_a_key_once(fresh_acme, tmp_path):
    team = fresh_acme.team
    lead = Trainer(fresh_acme, fresh_acme.team_admin, tmp_path / "lead")
    name = f"truss-team-{team.id}-exec-api-key"
    keys, done = set(), []
    for _ in range(2):
        with fresh_acme.acts() as acts:
            loops_exec(lead, tmp_path / "orchestra", "--team", team.name, "--output", "json")
        done += acts
        secrets = lead.caller.api.get_teams_secrets(team_id=team.id).secrets
        assert one(secret for secret in secrets if secret.name == name).team_name == team.name
        live = [key for key in fresh_acme.admin.api.get_api_keys().keys if key.name == name]
        keys.add(one(live).prefix)
        assert one(live).team_name == team.name and one(live).type == "WORKSPACE_MANAGE_ALL"
    assert len(keys) == 1, "the second run finds the secret of the first"
    jobs = lead.caller.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs
    assert [job.training_project.name for job in jobs] == ["orchestra", "orchestra"]
    assert {job.user.email for job in jobs} == {lead.caller.email}
    first, later = ["API_KEY_CREATED", "SECRET_UPDATED", "TRAINING_PROJECT_CREATED"], ["TRAINING_PROJECT_UPDATED"]
    pushed = ["ARCHIVE_UPLOADED", "TRAINING_JOB_CREATED"]
    assert [what for what, _, _ in done] == [*first, *pushed, *later, *pushed]
    assert {(by, where) for what, by, where in done if what != "ARCHIVE_UPLOADED"} == {(lead.caller.email, team.name)}
    assert not fresh_acme.stranger.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs


def test_loops_exec_checks_the_secrets_of_its_team_first(fresh_acme, tmp_path):
    lead = Trainer(fresh_acme, fresh_acme.team_admin, tmp_path / "lead")
    asked = ("--team", fresh_acme.team.name, "--secret", "TOKEN=no-such-secret")
    with fresh_acme.unchanged():
        said = loops_exec(lead, tmp_path / "orchestra", *asked, code=2)
    assert "no-such-secret" in said


def test_a_member_who_may_make_no_keys_still_pushes_with_loops_exec(trainer, fresh_acme, tmp_path):
    """Team keys are made by team admins; truss then warns and goes on without one."""
    said = loops_exec(trainer, tmp_path / "orchestra", "--team", fresh_acme.team.name)
    assert "could not provision" in said and "Job created!" in said
    assert latest(fresh_acme.member, "orchestra").current_status == "TRAINING_JOB_DEPLOYING"


def test_what_only_a_run_would_bring_is_empty_for_truss_too(trainer, fresh_acme):
    job = trainer.push("kites", "--team", fresh_acme.team.name)
    trainer("train", "cache", "summarize", "kites")
    said = trainer.leaves_with(1, "train", "get_checkpoint_urls", "--job-id", job.id)
    assert "No checkpoints found" in said
    trainer("train", "checkpoints", "list", "--job-id", job.id, "-o", "json")
    trainer("train", "isession", "--job-id", job.id)


def test_a_workstation_is_a_job_too(trainer, fresh_acme):
    trainer("train", "workstation", "--team", fresh_acme.team.name, "--accelerator", "h100", "--gpu-count", "2")
    jobs = fresh_acme.member.api.post_training_jobs_search(request=SearchTrainingJobsRequest()).training_jobs
    assert (one(jobs).instance_type.gpu_count, one(jobs).user.email) == (2, fresh_acme.member.email)
