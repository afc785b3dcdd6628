"""Training jobs that run: pushed by stock truss, with a checkpoint, a secret and a cache."""

import urllib.request

import pytest
from baseten.client.managementapi import UpsertSecretRequest

from guildhall import one, refusal
from truss_cli import RUNNING_SECONDS_MAX, eventually

# One worker runs them all, so that one server makes their environment once.
pytestmark = pytest.mark.xdist_group("running training")

JOB = """
from truss_train import definitions

project = definitions.TrainingProject(
    name="{name}",
    job=definitions.TrainingJob(
        image=definitions.Image(base_image="python:3.12"),
        compute=definitions.Compute(cpu_count=1, memory="256Mi"),
        runtime=definitions.Runtime(
            start_commands=["python3 train.py", "{second}"],
            environment_variables={{"TOKEN": definitions.SecretReference(name="training_token")}},
            checkpointing_config=definitions.CheckpointingConfig(enabled=True),
            cache_config=definitions.CacheConfig(enabled=True),
        ),
    ),
)
"""
TRAIN = """
import os, pathlib
checkpoint = pathlib.Path(os.environ["BT_CHECKPOINT_DIR"], "checkpoint-1")
checkpoint.mkdir()
(checkpoint / "model.bin").write_text("weights of " + os.environ["TOKEN"])
pathlib.Path(os.environ["BT_PROJECT_CACHE_DIR"], "words").write_text("cached")
print("trained in", os.environ["BT_TRAINING_PROJECT_NAME"])
"""
ENDED = ("TRAINING_JOB_COMPLETED", "TRAINING_JOB_FAILED", "TRAINING_JOB_DEPLOY_FAILED", "TRAINING_JOB_STOPPED")


def push(acme, terminal, name, second="true"):
    """The job when it has ended."""
    token = UpsertSecretRequest(name="training_token", value="the team")
    acme.admin.api.post_teams_secrets(team_id=acme.team.id, request=token)
    folder = terminal.home / name
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "config.py").write_text(JOB.format(name=name, second=second))
    terminal("train", "push", folder / "config.py", "--team", acme.team.name)
    projects = acme.admin.api.get_training_projects().training_projects
    project = one(project for project in projects if project.name == name)

    def ended():
        job = acme.admin.api.get_training_projects_jobs_training_job_id(
            training_project_id=project.id, training_job_id=project.latest_job.id
        ).training_job
        return job if job.current_status in ENDED else None

    return eventually(ended, seconds_max=RUNNING_SECONDS_MAX)


def test_a_job_completes_with_a_checkpoint(running_acme, at_running):
    terminal = at_running(running_acme.member)
    job = push(running_acme, terminal, "kites")
    ids = {"training_project_id": job.training_project_id, "training_job_id": job.id}
    said = terminal("train", "logs", "--job-id", job.id)
    assert job.current_status == "TRAINING_JOB_COMPLETED", said
    assert "trained in kites" in said and "Start command 2 of 2." in said

    api = running_acme.member.api
    checkpoint = one(api.get_training_projects_jobs_checkpoints(**ids).checkpoints)
    assert (checkpoint.checkpoint_id, checkpoint.size_bytes) == ("checkpoint-1", len("weights of the team"))
    file = one(api.get_training_projects_jobs_checkpoint_files(**ids).presigned_urls)
    assert file.relative_file_name == "checkpoint-1/model.bin"
    with urllib.request.urlopen(file.url) as answer:
        assert answer.read() == b"weights of the team"
    assert "checkpoint-1" in terminal("train", "checkpoints", "list", "--job-id", job.id)
    refusal(404, running_acme.stranger.api.get_training_projects_jobs_checkpoints, **ids)
    metrics = running_acme.team_key("WORKSPACE_EXPORT_METRICS")
    refusal(403, metrics.api.get_training_projects_jobs_checkpoints, **ids)


def test_a_job_that_fails_says_why(running_acme, at_running):
    job = push(running_acme, at_running(running_acme.member), "boats", "exit 3")
    assert (job.current_status, job.error_message) == (
        "TRAINING_JOB_FAILED",
        "a start command ended with status 3",
    )
