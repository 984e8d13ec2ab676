"""A notice reaches the users of an app that runs as another user than its sidecar."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.shipped import shipped
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.adoption.app import Choices, app_of, seen_in
from autoscaler.adoption.plan import adopt
from autoscaler.model import Unavailable
from exporter.agent import pod
from exporter.tokens import TokenFile
from tests import builders
from tests.adoption import apps
from tests.exporter import stranger
from tests.exporter.notice_pages import PLAIN, TOKEN
from tests.lab.bokeh_servers import EXPORTER, Served, free_port, served, wait_until
from tests.lab.websocket_user import Users

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not stranger.IS_ROOT, reason=stranger.NO_ROOT),
]
NOTICE = {"kind": "tell", "text": "A new version comes", "seconds": 60}
# The user of the app, and what the operator says of it to `autoscaler init`.
ADOPTED: Mapping[str, tuple[int, int | None]] = {
    "root by the image, which nobody says": (0, None),
    "root by the image, which the operator says": (0, 0),
    "another user by the image, which the operator says": (12345, 12345),
    "our user by the image, which nobody says": (pod.IMAGE_UID, None),
}


def written(user: int | None) -> tuple[dict[str, str], int]:
    """The app's variables that `init` writes, and the user as whom its sidecar runs."""
    choices = Choices(user=user)
    adoption = adopt(app_of(seen_in(apps.app(), None, None), choices), choices, shipped())
    spec: Any = adoption.deployment["spec"]["template"]["spec"]
    sidecar = next(each for each in spec["initContainers"] if each["name"] == "exporter")
    variables = {each["name"]: each["value"] for each in spec["containers"][0].get("env", ())}
    return variables, sidecar["securityContext"].get("runAsUser", pod.IMAGE_UID)


@contextmanager
def serving(
    app_user: int, sidecar_user: int, variables: Mapping[str, str], *of_sidecar: str
) -> Iterator[tuple[Served, HttpSidecars]]:
    """The app and its sidecar as these users, and the daemon's client of the sidecar."""
    folder = Path(tempfile.mkdtemp())  # every user may read it, unlike pytest's own
    folder.chmod(0o755)
    (folder / "app.py").write_text(PLAIN)
    (folder / "token").write_text(TOKEN)
    port = free_port()
    command = [sys.executable, "-m", "bokeh", "serve", "app.py", "--port", str(port)]
    launch = [*as_user(app_user, variables), *EXPORTER]
    beside = [*as_user(sidecar_user, dict(pair.split("=") for pair in of_sidecar)), *EXPORTER]
    own = {"HOME": str(folder), "BOKEH_EXPORTER_TOKEN_FILE": str(folder / "token")}
    try:
        with served(
            folder, command, port=port, environment=own, launcher=launch, beside=beside
        ) as server:
            server.token = TOKEN
            server.wait_workers(1)
            sidecar_port = int(server.sidecar_url.rpartition(":")[2])
            yield server, HttpSidecars(sidecar_port, TokenFile(folder / "token"))
    finally:
        shutil.rmtree(folder)


def as_user(uid: int, variables: Mapping[str, str]) -> list[str]:
    """The words before a command by which it runs as this user, with these variables.

    It may still read every file, because Python may be in a folder that only root may read.
    """
    read = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *read]
    return [*user, "env", *(f"{name}={value}" for name, value in variables.items())]


def told(sidecars: HttpSidecars) -> int | Unavailable:
    [answer] = sidecars.notify([builders.pod(ip="127.0.0.1")], NOTICE).values()
    return answer


def assert_read(server: Served, sidecars: HttpSidecars) -> None:
    with Users() as users:
        user = users.join(server.url)
        wait_until(lambda: server.connected() == 1, "the user")
        assert server.state()["quality"] == "exact"
        assert told(sidecars) == 1
        wait_until(lambda: NOTICE["text"] in "".join(user.texts), "the text at the user")


@pytest.mark.parametrize("case", ADOPTED)
def test_users_of_an_app_that_init_adopted_read_it(case: str) -> None:
    app_user, said = ADOPTED[case]
    variables, sidecar_user = written(said)

    with serving(app_user, sidecar_user, variables) as (server, sidecars):
        assert_read(server, sidecars)


def test_users_of_an_app_read_it_if_app_and_sidecar_trust_each_others_user() -> None:
    trusting = f"{pod.TRUSTED}=12345"
    ours = {pod.TRUSTED: str(pod.IMAGE_UID)}
    with serving(12345, pod.IMAGE_UID, ours, trusting) as (server, sidecars):
        assert_read(server, sidecars)


def test_an_app_that_does_not_trust_the_sidecar_shows_nothing_and_the_fix_is_named() -> None:
    with serving(0, pod.IMAGE_UID, {}) as (_, sidecars):
        answer = told(sidecars)

    assert isinstance(answer, Unavailable)
    assert "1 of 1 workers did not take the notice" in answer.message
    assert f"set {pod.TRUSTED} in the app's container" in answer.message
