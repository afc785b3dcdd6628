"""Names as truss spells them: it compares exactly, and finds none that came back otherwise."""

import unicodedata

import pytest
from baseten.client.managementapi import GetModelsParams

from guildhall import one
from truss_cli import model_dir


def named(acme, name):
    return one(acme.admin.api.get_models(params=GetModelsParams(name=name)).models)


def names(acme, model):
    return sorted(deployment.name for deployment in acme.admin.api.get_models_deployments(model_id=model.id).deployments)


@pytest.mark.parametrize(
    ("spelled", "shown"),
    [('"trail "', "trail"), (f'"{unicodedata.normalize("NFD", "café-model")}"', "café-model")],
    ids=["a blank behind it", "decomposed"],
)
def test_a_model_is_pushed_again_however_it_is_spelled(busy_acme, at, tmp_path, spelled, shown):
    folder = model_dir(tmp_path, "spelled")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("spelled", spelled))
    truss = at(busy_acme.member)
    for count in (1, 2, 3):
        truss("push", folder, "--publish", "--wait")
        assert len(names(busy_acme, named(busy_acme, shown))) == count


def test_a_deployment_name_that_is_taken_gets_the_time_behind_it(busy_acme, at, tmp_path):
    folder = model_dir(tmp_path, "named-twice")
    truss = at(busy_acme.member)
    for _ in range(3):
        truss("push", folder, "--publish", "--deployment-name", "blue")
    first, *others = names(busy_acme, named(busy_acme, "named-twice"))
    assert first == "blue" and len(set(others)) == 2
    assert all(name.startswith("blue.") and name.removeprefix("blue.").isdigit() for name in others)
