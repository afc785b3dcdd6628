"""The truss command line, unmodified, as a person runs it.

The server is its proxy, so that `api.localhost` needs no name service and any port will do.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path

from guildhall import Caller, Organization

TRUSS = Path(sys.executable).with_name("truss")

# The one self-hosted address that truss knows how to derive a REST address from.
KNOWN_URL = "http://localhost:8000"

SECONDS_MAX = 60
# Until a model runs, environments are made.
RUNNING_SECONDS_MAX = 300
TOUCH_SECONDS = 3
COLUMNS = 200
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ASKED_FOR_A_TEAM = "Team selection required but running in a non-interactive context. Pass --team <name> (available: "
DOWN, ENTER = "\x1b[B", "\r"


def clean_environment(home: Path, **more) -> dict[str, str]:
    """With nothing of whoever runs the tests that truss or its S3 client would take up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BASETEN_", "AWS_"))}
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        # Where its installation has what it calls: ruff, when it makes the code of a chainlet.
        "PATH": os.pathsep.join([str(TRUSS.parent), os.environ["PATH"]]),
        "USER_TRUSSRC_PATH": str(home / ".trussrc"),
        "TRUSS_NO_UPDATE_CHECK": "1",
        "COLUMNS": str(COLUMNS),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def truss(
    home: Path, *arguments, cwd=None, seconds_max=SECONDS_MAX, **environment
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [TRUSS, *arguments],
        env=clean_environment(home, **environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds_max,
    )


def log_in(home: Path, url: str, caller: Caller, team: str | None = None) -> None:
    settings = {"remote_provider": "baseten", "remote_url": url, "api_key": caller.api_key}
    if team is not None:
        settings["team"] = team
    lines = ["[baseten]", *(f"{name} = {value}" for name, value in settings.items())]
    (home / ".trussrc").write_text("\n".join(lines) + "\n")


class Terminal:
    """Where somebody calls truss: with a home of their own, and `team` in its `.trussrc` if they want one."""

    def __init__(
        self,
        organization: Organization,
        caller: Caller,
        home: Path,
        team: str | None = None,
        seconds_max: int = SECONDS_MAX,
    ):
        self.organization, self.caller, self.home, self.seconds_max = organization, caller, home, seconds_max
        home.mkdir(exist_ok=True)
        log_in(home, KNOWN_URL, caller, team)
        # Of the credentials for the source of a Chain, truss drops where they are for.
        (home / ".aws").mkdir(exist_ok=True)
        (home / ".aws" / "config").write_text(f"[default]\nendpoint_url = {KNOWN_URL}\n")

    def __call__(self, *arguments, cwd=None) -> str:
        """What it said. It must succeed."""
        return self.leaves_with(0, *arguments, cwd=cwd)

    def leaves_with(self, code: int, *arguments, cwd=None) -> str:
        """What it said before it left so."""
        ran = self.run(*arguments, cwd=cwd)
        assert ran.returncode == code, (ran.returncode, ran.stdout + ran.stderr)
        return flat(ran.stdout + ran.stderr)

    def run(self, *arguments, cwd=None) -> subprocess.CompletedProcess:
        proxy = self.organization.guildhall.url
        return truss(self.home, *arguments, cwd=cwd, seconds_max=self.seconds_max, http_proxy=proxy)

    def choosing(self, choice: str, among: list[str], *arguments) -> None:
        """Runs it on a terminal proper, where it must ask for one of these, and answers."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        process = subprocess.Popen(
            [TRUSS, *arguments],
            # prompt_toolkit would ask the terminal where its cursor is, and nothing here answers.
            env=self._environment(PROMPT_TOOLKIT_NO_CPR="1", TERM="xterm"),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        screen = Screen(ours)
        try:
            screen.read_until(lambda text: offered(text) == among)
            os.write(ours, (DOWN * among.index(choice) + ENTER).encode())
            screen.read_all()
            assert process.wait(SECONDS_MAX) == 0, screen.text
        finally:
            end(process)
            os.close(ours)

    @contextmanager
    def started(self, *arguments):
        """While it runs, how to wait for what it says."""
        log = self.home / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [TRUSS, *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def until(words: str, times: int = 1, never: str = "Traceback", written: Path | None = None) -> None:
            """Truss says that it watches shortly before it does, so what was `written` is touched until it is seen."""

            def said():
                assert process.poll() is None, f"it left with {process.returncode}: {log.read_text()}"
                text = flat(log.read_text())
                assert never not in text, f"{words!r} was to come, and not {never!r}: {text}"
                if written is not None and time.time() - written.stat().st_mtime > TOUCH_SECONDS:
                    written.touch()
                return text.count(words) >= times

            eventually(said, lambda: f"never {words!r}: {log.read_text()}")

        try:
            yield until
        finally:
            end(process)

    def _environment(self, **more) -> dict[str, str]:
        return clean_environment(self.home, http_proxy=self.organization.guildhall.url, **more)


class Screen:
    """What truss writes to its terminal."""

    def __init__(self, descriptor: int):
        self.descriptor, self.written = descriptor, b""

    @property
    def text(self) -> str:
        return ESCAPE_SEQUENCE.sub("", self.written.decode(errors="replace"))

    def read_until(self, holds) -> None:
        while not holds(self.text):
            assert self._read(), f"it ended with: {self.text}"

    def read_all(self) -> None:
        while self._read():
            pass

    def _read(self) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], SECONDS_MAX)
        assert ready, f"nothing more for {SECONDS_MAX} s: {self.text}"
        try:
            read = os.read(self.descriptor, 1 << 16)
        except OSError:  # what a terminal is read with once its process has ended
            return False
        self.written += read
        return bool(read)


def offered_to(organization: Organization, caller: Caller) -> str:
    """The teams that truss must say the caller has."""
    return ", ".join(sorted(team.name for team in organization.teams_of(caller)))


def offered(text: str) -> list[str]:
    """The choices of the question at the end of a screen: an arrow points at the first."""
    _, arrow, choices = text.rpartition("❯")
    return [line.strip() for line in choices.splitlines() if line.strip()] if arrow else []


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def flat(text: str) -> str:
    """On one line, without the boxes around errors: a terminal's width means nothing here."""
    return " ".join(re.sub("[╭╮╰╯─│]", " ", text).split())


def eventually(holds, otherwise=lambda: "it did not come", seconds_max=SECONDS_MAX):
    """Its first value that is true."""
    end = time.monotonic() + seconds_max
    while not (value := holds()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
    return value


MODEL = "class Model:\n    def predict(self, x):\n        return x\n"


def model_dir(home: Path, name: str, config: str = "", code: str | None = MODEL) -> Path:
    """A model as truss packs it, in a directory of its own."""
    folder = home / name
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model_name: {name}  # kept\npython_version: py311\n{config}")
    (folder / "model" / "__init__.py").write_text("")
    if code is not None:
        (folder / "model" / "model.py").write_text(code)
    return folder


TRAINING = """
from truss_train import definitions

project = definitions.TrainingProject(
    name="{name}",
    job=definitions.TrainingJob(
        image=definitions.Image(base_image="python:3.12"),
        compute=definitions.Compute(accelerator="H100"),
        runtime=definitions.Runtime(
            start_commands=["python train.py"],
            environment_variables={variables},
        ),
    ),
)
"""


def training_config(home: Path, name: str, variables: str = "{}") -> Path:
    """In a directory of its own, which is what truss packs."""
    folder = home / name
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text("print('trains')\n")
    config = folder / "config.py"
    config.write_text(TRAINING.format(name=name, variables=variables))
    return config


CHAIN = """
import random

import truss_chains as chains


class RandInt(chains.ChainletBase):
    async def run_remote(self, max_value: int) -> int:
        return random.randint(1, max_value)


@chains.mark_entrypoint("{name}")
class HelloWorld(chains.ChainletBase):
    {more}

    def __init__(self, rand_int=chains.depends(RandInt, retries=3)) -> None:
        self._rand_int = rand_int

    async def run_remote(self, max_value: int) -> str:
        return "Hello, world! " * await self._rand_int.run_remote(max_value)
"""


def chain_source(home: Path, name: str, more: str = "") -> Path:
    """Of a Chain of two chainlets, in a directory of its own, which is what truss packs."""
    folder = home / name
    folder.mkdir()
    source = folder / "chain.py"
    source.write_text(CHAIN.format(name=name, more=more))
    return source
