"""Truss's own Python client, which can be told what its command line cannot."""

import base64
import json
import uuid

import pytest
from truss.remote.baseten.api import BasetenApi
from truss.remote.baseten.auth import ApiKeyCredential, AuthService
from truss.remote.baseten.core import archive_dir, create_chain_atomic, upload_truss
from truss.remote.baseten.custom_types import ChainletDataAtomic, OracleData, TrussUserEnv
from truss.remote.baseten.error import ApiError

ENVIRONMENT = TrussUserEnv(
    truss_client_version="0.18.36", python_version="3.11.7", pydantic_version="2", mypy_version=None, git_info=None
)


class Client:
    """For one caller, with a model's directory to pack."""

    def __init__(self, acme, caller, folder=None, url=None):
        url = url or acme.guildhall.url.replace("127.0.0.1", "localhost")
        self.api = BasetenApi(url, AuthService(ApiKeyCredential(api_key=caller.api_key)))
        self.folder = folder

    def upload(self) -> str:
        with archive_dir(self.folder) as archive:
            return upload_truss(self.api, archive, None)

    def create(self, name, s3_key, **more):
        return self.api.create_model_from_truss(name, s3_key, config(name), "MINOR", ENVIRONMENT, **more)

    def add_version(self, model_id, s3_key):
        return self.api.create_model_version_from_truss(model_id, s3_key, config("any"), "MINOR", ENVIRONMENT)

    def deploy_draft(self, name, s3_key, **more):
        return self.api.create_development_model_from_truss(name, s3_key, config(name), ENVIRONMENT, **more)

    def deploy_chain(self, name, team=None, is_draft=False, environment=None, s3_keys=None, secrets=()):
        """As `truss chains push` does it: it looks whether the Chain is there first."""
        entrypoint, *others = self.chainlets(s3_keys, secrets)
        return create_chain_atomic(
            self.api, name, entrypoint, others, is_draft, ENVIRONMENT, environment, team_id=team and team.id
        )

    def deploy_chain_outright(self, s3_keys, **more):
        entrypoint, *others = self.chainlets(s3_keys)
        return self.api.deploy_chain_atomic(entrypoint, others, ENVIRONMENT, **more)

    def chainlets(self, s3_keys=None, secrets=()) -> list[ChainletDataAtomic]:
        """Their archives are uploaded unless they are given."""
        s3_keys = s3_keys or [self.upload() for _ in CHAINLETS]
        return [
            ChainletDataAtomic(
                name=chainlet,
                oracle=OracleData(
                    model_name=f"{chainlet}-{uuid.uuid4().hex[:8]}",
                    s3_key=s3_key,
                    encoded_config_str=config(chainlet, secrets=dict.fromkeys(secrets)),
                ),
            )
            for chainlet, s3_key in zip(CHAINLETS, s3_keys, strict=True)
        ]


# The first is the entrypoint, as in the source that the command line pushes.
CHAINLETS = ["HelloWorld", "RandInt"]


def config(name, **fields):
    return base64.b64encode(json.dumps({"model_name": name} | fields).encode()).decode()


def refused(call, *arguments, **named) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments, **named)
    return str(caught.value)
