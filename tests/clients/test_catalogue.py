"""What is the same for everyone: instance types and their prices, and the Model APIs of the default team."""

from baseten.client.managementapi import GetModelApisParams

from guildhall import refusal


def test_instance_types_and_prices_are_for_everyone(acme):
    types = acme.admin.api.get_instance_types().instance_types
    assert types and len({instance.id for instance in types}) == len(types)
    for caller in (acme.team_admin, acme.member, acme.stranger, acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        assert caller.api.get_instance_types().instance_types == types
        priced = caller.api.get_instance_type_prices().instance_types
        assert [entry.instance_type for entry in priced] == types
        assert all(entry.price > 0 for entry in priced)


def test_a_gpu_has_a_type_and_a_memory(acme):
    for instance in acme.member.api.get_instance_types().instance_types:
        has_gpu = instance.gpu_count > 0
        assert (instance.gpu_type is not None) == has_gpu
        assert (instance.gpu_memory_limit_mib is not None) == has_gpu


def test_models_name_an_instance_type_that_exists(acme):
    names = {instance.name for instance in acme.admin.api.get_instance_types().instance_types}
    for model in acme.admin.api.get_models().models:
        assert model.instance_type_name in names


def test_model_apis_are_listed_and_read(acme):
    everything = acme.admin.api.get_model_apis().items
    assert everything
    for listed in everything:
        assert acme.admin.api.get_model_apis_model_api_name(model_api_name=listed.name) == listed
    added = acme.admin.api.get_model_apis(params=GetModelApisParams(added_only=True)).items
    assert added == [listed for listed in everything if listed.org_details is not None]
    refusal(404, acme.admin.api.get_model_apis_model_api_name, model_api_name="no/such")


def test_pages_of_model_apis_join_to_the_whole_list(acme):
    seen, cursor = [], None
    while True:
        page = acme.admin.api.get_model_apis(params=GetModelApisParams(limit=1, cursor=cursor))
        assert len(page.items) == 1
        seen += page.items
        cursor = page.pagination.cursor
        if not page.pagination.has_more:
            break
    assert seen == acme.admin.api.get_model_apis().items


def test_model_apis_are_the_default_team_s_only(fresh_acme):
    outsider = fresh_acme.without_default_team()
    name = fresh_acme.admin.api.get_model_apis().items[0].name
    refusal(403, outsider.api.get_model_apis)
    refusal(403, outsider.api.get_model_apis_model_api_name, model_api_name=name)
    key = fresh_acme.team.keys["WORKSPACE_MANAGE_ALL"]
    refusal(403, key.api.get_model_apis)
    refusal(403, key.api.get_model_apis_model_api_name, model_api_name=name)
