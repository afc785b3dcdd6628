"""`truss push --watch` and `truss watch`: a development deployment that follows what is written."""

import pytest
from baseten.client.managementapi import GetModelsParams

from guildhall import one
from truss_cli import ASKED_FOR_A_TEAM, MODEL, eventually, model_dir, offered_to

WATCHES, PATCHED = "Watching for changes", "patched successfully"


def development(acme, name):
    model = one(acme.admin.api.get_models(params=GetModelsParams(name=name)).models)

    def active():
        found = acme.admin.api.get_models_deployments_development(model_id=model.id)
        return found if found.status == "ACTIVE" else None

    return eventually(active)


def synced(acme, deployment, times):
    """As many patches are with the server. Truss also says that it patched when it only asks for one again."""
    events = [event for event, _, _ in acme.acts_on(deployment.id)]
    return events.count("MODEL_DEPLOYMENT_PATCHES_SYNCED") >= times


def there_already(acme, name, *teams, is_development=True):
    """A model of that name in these teams."""
    for team in teams:
        acme.admin.make_model(name, team, is_development=is_development)


def test_what_is_written_is_patched_in(busy_acme, at, tmp_path):
    """First beside the push, then with `truss watch`, which finds where that left off."""
    member, folder = busy_acme.member, model_dir(tmp_path, "watched")
    code, helper, config = folder / "model" / "model.py", folder / "model" / "helper.py", folder / "config.yaml"
    with busy_acme.acts() as acts:
        with at(member).started("push", folder, "--watch") as until:
            until(WATCHES)
            deployment = development(busy_acme, "watched")
            code.write_text(MODEL + "# one\n")
            until(PATCHED, written=code)
            eventually(lambda: synced(busy_acme, deployment, 1))
            with config.open("a") as file:
                file.write("environment_variables:\n  A: b\n")
            until(PATCHED, times=2, written=config)
            eventually(lambda: synced(busy_acme, deployment, 2))
        with at(member).started("watch", folder) as until:
            until(WATCHES)
            helper.write_text("# two\n")
            until(PATCHED, written=helper)
            eventually(lambda: synced(busy_acme, deployment, 3))
            code.write_text(MODEL + "# three\n")
            until(PATCHED, times=2, written=code)
            eventually(lambda: synced(busy_acme, deployment, 4))
        assert development(busy_acme, "watched").id == deployment.id
    of_team = ["MODEL_DEPLOYED", *["MODEL_DEPLOYMENT_PATCH_STAGED", "MODEL_DEPLOYMENT_PATCHES_SYNCED"] * 4]
    assert acts == [
        ("ARCHIVE_UPLOADED", member.email, None),
        *((event, member.email, busy_acme.team.name) for event in of_team),
    ]

    ids = ("--model-id", deployment.model_id, "--deployment-id", deployment.id)
    at(member)("download", *ids, "--out-dir", tmp_path / "back")
    for path in ("model/model.py", "model/helper.py", "config.yaml"):
        assert (tmp_path / "back" / path).read_text() == (folder / path).read_text()


def test_a_second_push_takes_the_one_development_deployment(busy_acme, at, tmp_path):
    member, folder = busy_acme.member, model_dir(tmp_path, "redone")
    for code in (MODEL, MODEL + "# again\n"):
        (folder / "model" / "model.py").write_text(code)
        with at(member).started("push", folder, "--watch") as until:
            until(WATCHES)
    [deployments] = busy_acme.deployments("redone").values()
    assert deployments == [("development", member.email)]
    at(member)("push", folder)
    assert busy_acme.deployments("redone") == {
        busy_acme.team.name: [("development", member.email), ("deployment-1", member.email)]
    }


def test_a_patch_that_names_a_secret_of_another_team_is_refused(busy_acme, at, tmp_path):
    admin, team, other = busy_acme.admin, busy_acme.team, busy_acme.other_team
    taken = {secret.name for secret in admin.api.get_teams_secrets(team_id=team.id).secrets}
    secret = next(s.name for s in admin.api.get_teams_secrets(team_id=other.id).secrets if s.name not in taken)
    folder = model_dir(tmp_path, "snatcher")
    with at(admin).started("push", folder, "--watch", "--team", team.name) as until:
        until(WATCHES)
        config = folder / "config.yaml"
        config.write_text(config.read_text() + f"secrets:\n  {secret}: null\n")
        until(f'team "{team.name}" has no secret of that name', never=PATCHED, written=config)
    deployment = development(busy_acme, "snatcher")
    ids = ("--model-id", deployment.model_id, "--deployment-id", deployment.id)
    at(admin)("download", *ids, "--out-dir", tmp_path / "back")
    assert secret not in (tmp_path / "back" / "config.yaml").read_text()


class TestWhichModel:
    """`truss watch` wants one that is there."""

    def test_of_two_teams_without_a_terminal(self, busy_acme, at, tmp_path):
        there_already(busy_acme, "twins", busy_acme.team, busy_acme.other_team)
        said = at(busy_acme.admin).leaves_with(2, "watch", model_dir(tmp_path, "twins"))
        having = ", ".join(sorted([busy_acme.team.name, busy_acme.other_team.name]))
        assert f"{ASKED_FOR_A_TEAM}{having})" in said

    @pytest.mark.parametrize("named", ["by option", "in .trussrc"])
    def test_of_a_team_that_has_none(self, busy_acme, at, tmp_path, named):
        there_already(busy_acme, f"lone-{named[:2]}", busy_acme.other_team)
        folder, team = model_dir(tmp_path, f"lone-{named[:2]}"), busy_acme.team.name
        if named == "by option":
            said = at(busy_acme.admin).leaves_with(1, "watch", folder, "--team", team)
        else:
            said = at(busy_acme.admin, team=team).leaves_with(1, "watch", folder)
        assert f"Model '{folder.name}' not found in team '{team}'." in said

    def test_of_a_team_of_others(self, busy_acme, at, tmp_path):
        there_already(busy_acme, "hidden", busy_acme.team)
        stranger, folder = busy_acme.stranger, model_dir(tmp_path, "hidden")
        assert "Model 'hidden' not found." in at(stranger).leaves_with(1, "watch", folder)
        said = at(stranger).leaves_with(1, "watch", folder, "--team", busy_acme.team.name)
        assert f"does not exist. Available teams: {offered_to(busy_acme, stranger)}" in said

    def test_that_is_not_being_developed(self, busy_acme, at, tmp_path):
        there_already(busy_acme, "settled", busy_acme.team, is_development=False)
        said = at(busy_acme.member).leaves_with(1, "watch", model_dir(tmp_path, "settled"))
        assert "No development model found." in said
