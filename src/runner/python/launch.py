"""Starts the unmodified Truss server on a listening Unix socket that the parent process made.

Arguments: the application directory, the server directory, the configuration with its defaults (JSON).
Descriptor 3 is the listening socket. Descriptor 4 is a pipe that carries one JSON object a line:

    {"secrets": {NAME: TEXT}, "dynamic_config": {KEY: VALUE}, "token": TEXT}

The first line is read before anything else happens. A later line replaces all values: a changed secret reaches the
running model. The end of the pipe means that the parent is gone, and ends this process.

Five things of the server are replaced: where secrets are looked up, where dynamic configuration is looked up, the
address that it listens on, a lock that needs a writable /dev/shm, and who may call it.
"""

import hmac
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time

LISTENER, CONTROL = 3, 4
TOKEN_HEADER = b"x-guildhall-token"
# The parent closes a connection that it keeps for later calls, never the server.
KEEP_ALIVE_SECONDS = 24 * 60 * 60
GRACE_SECONDS = 0.5

app, server, config_file = sys.argv[1:4]
for descriptor in (LISTENER, CONTROL):
    os.set_inheritable(descriptor, False)
control = os.fdopen(CONTROL, encoding="utf-8")
dynamic_config = tempfile.mkdtemp(prefix="dynamic-config-")
state = {"secrets": {}, "dynamic_config": {}, "token": ""}


def take(line):
    """Takes over what a line of the control pipe says. A file appears whole or not at all: the server polls it."""
    told = json.loads(line)
    if not told["token"]:
        raise ValueError("the control pipe names no token")
    for key in state["dynamic_config"].keys() - told["dynamic_config"].keys():
        os.unlink(os.path.join(dynamic_config, key))
    for key, value in told["dynamic_config"].items():
        if state["dynamic_config"].get(key) != value:
            unfinished = os.path.join(dynamic_config, "." + key)
            with open(unfinished, "w", encoding="utf-8") as file:
                file.write(value if isinstance(value, str) else json.dumps(value))
            os.replace(unfinished, os.path.join(dynamic_config, key))
    state.update(told)


def follow():
    """Takes over later lines until the pipe ends. What cannot be written is tried again with the next line."""
    try:
        for line in control:
            try:
                take(line)
            except OSError as cause:
                print(f"a new configuration could not be taken over: {cause}", file=sys.stderr, flush=True)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)


def resolve_secret(name, default):
    """Stands in for the file /secrets/NAME, which the server prefers to a variable, and that to the default."""
    found = state["secrets"].get(name)
    return found if found is not None else os.environ.get("TRUSS_SECRET_" + name, default)


def guard(application):
    """Lets in only who knows the token. The model never sees it."""

    async def guarded(scope, receive, send):
        if scope["type"] == "lifespan":
            return await application(scope, receive, send)
        given = b"".join(value for name, value in scope["headers"] if name == TOKEN_HEADER)
        if hmac.compare_digest(given, state["token"].encode()):
            headers = [header for header in scope["headers"] if header[0] != TOKEN_HEADER]
            return await application({**scope, "headers": headers}, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})  # before it is accepted: a 403
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return guarded


def listen_here(config):
    """Makes uvicorn's configuration use our socket, whatever address the server asks for."""

    def configure(application, host=None, port=None, **options):
        uvicorn.Config = config  # a model may run a server of its own
        return config(guard(application), fd=LISTENER, timeout_keep_alive=KEEP_ALIVE_SECONDS, **options)

    return configure


take(control.readline())
threading.Thread(target=follow, name="control", daemon=True).start()
with open(config_file, encoding="utf-8") as file:
    config = json.load(file)

os.chdir(app)
sys.path[:1] = [server, app]
packages = os.path.join(app, config["bundled_packages_dir"])
if os.path.isdir(packages):
    sys.path.append(packages)

# Servers before 0.18 have the folder under its own name. Chains import the two modules by a third one.
shared = "_truss_shared" if os.path.isdir(os.path.join(server, "_truss_shared")) else "shared"
secrets_resolver = importlib.import_module(shared + ".secrets_resolver")
dynamic_config_resolver = importlib.import_module(shared + ".dynamic_config_resolver")
secrets_resolver.SecretsResolver._resolve_secret = staticmethod(resolve_secret)
dynamic_config_resolver.DYNAMIC_CONFIG_MOUNT_DIR = dynamic_config
for module in (secrets_resolver, dynamic_config_resolver):
    sys.modules["truss.templates.shared." + module.__name__.rpartition(".")[2]] = module

lock, multiprocessing.Lock = multiprocessing.Lock, threading.Lock
import truss_server  # noqa: E402
import uvicorn  # noqa: E402

multiprocessing.Lock = lock
uvicorn.Config = listen_here(uvicorn.Config)
truss_server.TrussServer(0, config).start()
