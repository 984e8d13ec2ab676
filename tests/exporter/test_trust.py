"""Who may answer as an agent or launcher, who may ask one, and where a pod's processes meet."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import collect
from exporter.agent import answer as answering
from exporter.agent import pod
from exporter.agent.pod import Name
from exporter.child_processes import ProcessTree
from exporter.collect import Peers
from exporter.ledger import Ledger
from tests.exporter import stranger
from tests.exporter.agents import Agent, answer, app, patient
from tests.lab.bokeh_servers import PATIENCE, wait_until

needs_root = pytest.mark.skipif(not stranger.IS_ROOT, reason=stranger.NO_ROOT)

BUSY = json.dumps(answer(apps={"/app": app(connected=100, live=100)}))
DRAINING = '{"draining": true}'
# An agent without a server: what it was told is in its answers. Its first report fails.
AGENT = """
import sys, threading
from exporter.agent import answer, pod

told, asked = [], []

def report():
    asked.append(1)
    if len(asked) == 1:
        raise RuntimeError("the first report fails")
    return {"told": told, "padding": "x" * 300_000}

def heed(said, by):
    told.append([said, pod.may_drain(by), by.pid > 0 and pod.may_answer(by)])
    return True

answer.start(3, report, lambda: None, heed)
print("ready", flush=True)
sys.stdin.read()
"""


SAID = [b'{"drain": true}', b'{"arrived": ["a"]}', b"{", b"[" * 9000, b"\n", b"x" * 20000]


@contextmanager
def agent_of(instance: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """An agent in a process of its own, which we are above of."""
    settings = {**os.environ, pod.INSTANCE: instance, **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # of a line that is read here, `communicate` gives what follows
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.communicate(timeout=PATIENCE)


def first_report(name: Name) -> bytes:
    """It fails, so the agent ends the connection without an answer."""
    return collect.ask([name], deadline=PATIENCE)[name]


def asked(name: Name, line: bytes = b"") -> dict[str, Any]:
    """What an agent tells us, who are above it."""

    def whole() -> bytes | None:
        return collect.ask([name], line, deadline=PATIENCE).get(name)

    found: dict[str, Any] = json.loads(wait_until(whole, "an answer"))
    return found


@needs_root
@pytest.mark.parametrize("slot", ["0", pod.LAUNCHER])
def test_what_another_user_of_the_network_says_is_not_there(
    instance: str, slot: str, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = Agent(instance, 1, answer(apps={"/app": app(connected=2, live=2)}))
    ledger = patient(instance)
    says = DRAINING if slot == pod.LAUNCHER else BUSY
    with stranger.listening(f"bokeh-exporter/{instance}/{slot}/1/x", answer=says):
        assert len(pod.listening(instance)) == 2
        for _ in range(3):
            seen = ledger.collect()
            assert [worker.name.slot for worker in seen.workers] == ["1"]
            assert (seen.silent, seen.draining) == (0, False)
            assert seen.reports[0].apps["/app"].live == 2
    honest.die()
    assert capsys.readouterr().err == (
        "bokeh-exporter: ignoring an agent or launcher that runs as user 12345, which is not "
        "trusted; if it belongs to this pod, run both containers as one user or set "
        "--trusted-uids 12345\n"
    )


@needs_root
@pytest.mark.parametrize("uids", ["12345", "1, 12345"])
def test_a_user_that_is_named_is_trusted(
    instance: str, uids: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pod.TRUSTED, uids)
    with stranger.listening(f"bokeh-exporter/{instance}/0/1/x", answer=BUSY):
        assert patient(instance).collect().reports[0].apps["/app"].live == 100


@needs_root
def test_a_name_that_somebody_else_takes_over_is_not_there(instance: str) -> None:
    ledger = patient(instance)
    honest = Agent(instance, 0, answer())
    (worker,) = ledger.collect().workers
    honest.die()
    with stranger.listening(worker.name.text, answer=BUSY):
        assert ledger.collect().workers == ()


@needs_root
def test_a_flood_of_names_hides_nobody(instance: str) -> None:
    peers = patient(instance).peers
    honest = Agent(instance, 5, answer())
    names = [f"bokeh-exporter/{instance}/{n}/1/x" for n in range(800)]
    with stranger.listening(*names, answer=BUSY):
        for _ in range(4):
            found = peers.present()
        assert [name.slot for name in found] == ["5"]
        assert len(peers.ask(found)) == 1
    honest.die()


def test_more_workers_than_any_server_has_keep_none_out_that_is_known(instance: str) -> None:
    peers = Peers(instance)
    known = Agent(instance, 900000, answer())
    assert len(peers.present()) == 1
    others = []
    for slot in range(collect.MOST_PEERS + 10):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.bind(f"\0bokeh-exporter/{instance}/{slot}/1/x")
        other.listen(1)
        others.append(other)
    for _ in range(3):
        found = peers.present()
    assert len(found) == collect.MOST_PEERS
    assert "900000" in {name.slot for name in found}
    for other in others:
        other.close()
    known.die()


@pytest.mark.parametrize("name", ["0/²/x", "0/1", "0/1/x/y", "x/1/a", "-1/1/a", "0/12345678901/a"])
def test_what_is_no_name_of_an_agent_is_nobodys(instance: str, name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(f"\0bokeh-exporter/{instance}/{name}")
        other.listen(1)
        assert pod.listening(instance) == []


def test_a_launcher_hears_its_own_workers_only(instance: str) -> None:
    beside = Agent(instance, 0, answer(apps={"/app": app(live=1)}))  # of our own process's parent
    script = (
        "from exporter.ledger import Ledger; from exporter.child_processes import ProcessTree\n"
        f"print(len(Ledger({instance!r}, ProcessTree().trusts).collect().workers))"
    )
    with agent_of(instance):
        elsewhere = subprocess.check_output([sys.executable, "-c", script], text=True)
        assert elsewhere == "0\n"
        own = Ledger(instance, ProcessTree().trusts).peers.present()
    assert [name.slot for name in own] == ["0", "3"]
    beside.die()


def test_an_agent_is_told_to_drain_by_a_process_above_it_only(instance: str) -> None:
    with agent_of(instance):
        (name,) = pod.listening(instance)
        assert first_report(name) == b""
        line, mine = '{"drain": true}\n', os.geteuid()
        # An agent waits for a line for 0.2 s only, so it is told until its answer confirms it.
        told = wait_until(lambda: asked(name, line.encode())["told"], "it to hear us")
        assert told == [[{"drain": True}, True, True]]
        beside = wait_until(
            lambda: json.loads(stranger.ask(name.text, line, uid=mine))["told"][1:],
            "it to hear who is not above it",
        )
        assert beside == [[{"drain": True}, False, True]]


@needs_root
def test_an_agent_answers_nobody_but_whom_it_trusts_and_the_user_of_our_image(
    instance: str,
) -> None:
    with agent_of(instance) as process:
        (name,) = pod.listening(instance)
        assert stranger.ask(name.text, '{"drain": true}\n') == ""
        wait_until(lambda: stranger.ask(name.text, "", uid=pod.IMAGE_UID), "an answer")
        assert asked(name)["told"] == []
        assert process.poll() is None
    with agent_of(instance, **{pod.TRUSTED: str(stranger.UID)}):
        (name,) = pod.listening(instance)
        wait_until(lambda: stranger.ask(name.text), "an answer")


def test_a_report_that_fails_is_one_line_and_the_next_one_is_answered(instance: str) -> None:
    with agent_of(instance) as process:
        (name,) = pod.listening(instance)
        assert first_report(name) == b""
        assert asked(name)["told"] == []
        _, said = process.communicate(timeout=PATIENCE)
    assert said.count(b"\n") == 1
    assert said.startswith(b"bokeh-exporter: the agent continues after an error: RuntimeError(")


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(SAID)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_bytes_of_a_client_disturb_an_agent(played: Name, said: list[bytes]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, suppress(ConnectionError):
        client.connect(played.address)
        client.sendall(b"".join(said))
    assert isinstance(asked(played)["told"], list)


@pytest.fixture(scope="module")
def played() -> Iterator[Name]:
    instance = f"test-{secrets.token_hex(4)}"
    with agent_of(instance):
        (name,) = pod.listening(instance)
        first_report(name)
        yield name


@contextmanager
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder.mkdir()
    folder.chmod(0o777)
    with monkeypatch.context() as patch:
        patch.setenv(pod.SOCKETS, str(folder))
        yield


def test_where_a_folder_is_mounted_sockets_outside_of_it_are_nobodys(
    instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("/tmp") / f"sockets-{instance}"  # short: a socket's path has 107 bytes
    abstract = Agent(instance, 0, answer())
    with in_folder(folder, monkeypatch):
        assert pod.listening(instance) == []
        with agent_of(instance):
            (name,) = pod.listening(instance)
            assert (name.slot, name.text.startswith(f"{folder}/{instance},3,")) == ("3", True)
            assert Path(name.text).is_socket()
            first_report(name)
            assert asked(name)["told"] == []
            assert Peers(instance).present() == (name,)
        # It has ended, so its file is nobody's, and the next one removes it.
        assert pod.listening(instance) == []
        assert Path(name.text).exists()
        with agent_of(instance):
            assert not Path(name.text).exists()
            assert len(pod.listening(instance)) == 1
        for left in folder.iterdir():
            left.unlink()
    folder.rmdir()
    assert [each.slot for each in pod.listening(instance)] == ["0"]
    abstract.die()


@needs_root
def test_a_folder_is_no_reason_to_trust_another_user(
    instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("/tmp") / f"sockets-{instance}"
    with in_folder(folder, monkeypatch):
        name = f"{folder}/{instance},0,1,x"
        with stranger.listening(name, answer=BUSY):
            assert patient(instance).collect().workers == ()
            monkeypatch.setenv(pod.TRUSTED, str(stranger.UID))
            assert len(patient(instance).collect().workers) == 1
        Path(name).unlink()
    folder.rmdir()


def test_a_folder_that_cannot_be_written_is_told_and_tried_again(
    instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / ("x" * 100)  # too long for a socket
    gone.mkdir()
    monkeypatch.setenv(pod.INSTANCE, instance)
    monkeypatch.setenv(pod.SOCKETS, str(gone))
    with pytest.raises(OSError, match="too long"):
        answering.listen("launcher")
    with agent_of(instance) as process:
        assert process.stderr is not None
        problem = b"the agent continues after an error: OSError('AF_UNIX path too long')"
        assert problem in process.stderr.readline()
        time.sleep(1)
        assert process.poll() is None
        _, said = process.communicate(timeout=PATIENCE)
    assert problem not in said


UID = "0a1b2c3d-1111-2222-3333-444455556666"
ORDINARY = "# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n"
ON_THE_NODE = "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
OVERLAY = "1 2 0:3 / / rw - overlay overlay rw,upperdir=/var/lib/containerd/5/fs\n"


@pytest.mark.parametrize(
    ("hosts", "mount", "name"),
    [
        (ORDINARY, f"/var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts", ""),
        ("127.0.0.1 localhost\n", f"/var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts", ""),
        (ON_THE_NODE, f"/var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts", f"pod-{UID}"),
        (ON_THE_NODE, f"/pods/{UID}/containers/app/5e1 /dev/termination-log", f"pod-{UID}"),
        (ON_THE_NODE, f"/pods/{'0f' * 16}/etc-hosts /etc/hosts", f"pod-{'0f' * 16}"),
        (ON_THE_NODE, "/etc/hosts /etc/hosts", ""),
    ],
    ids=[
        "its own network", "no pod", "the node's network", "by another mount", "a static pod",
        "nothing tells which pod",
    ],
)  # fmt: skip
def test_on_the_nodes_network_a_pod_is_known_by_its_uid(
    tmp_path: Path, hosts: str, mount: str, name: str
) -> None:
    (tmp_path / "hosts").write_text(hosts)
    mounts = OVERLAY + f"9 1 8:1 {mount} rw,relatime - ext4 /dev/sda1 rw\n"
    (tmp_path / "mounts").write_text(mounts)
    assert pod._of_pod(tmp_path / "hosts", tmp_path / "mounts") == name
