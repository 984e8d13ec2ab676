"""How much pods had to do, from a real Prometheus, and the command that makes seats of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.prometheus import loads
from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.loads import PrometheusLoads
from autoscaler.cli import main
from autoscaler.commands import inputs, seats
from autoscaler.model import PodLoad, TargetRef
from autoscaler.policy.metrics import LearnedSeats
from exporter.metrics import LAG_BUCKETS
from tests.builders import policy
from tests.deploy.pages import SEATS_PAGE, blocks
from tests.lab.prometheus_server import PrometheusServer, Series, series

REF = TargetRef("bokeh", "bokeh-app")
POD, OLD = "bokeh-app-5d8f7c9b6d-x2x4z", "bokeh-app-4b8f7c9b6d-q9q9q"
SCRAPE, STEP, HOUR, DAY = 15, 300, 3_600, 86_400
NOW = 1_790_000_100
pytestmark = pytest.mark.slow


def a_day(
    pod: str = POD,
    *,
    busy: float = 0.05,
    name: str = "busy",
    workers: int = 1,
    began: int = NOW - DAY,
    lag: float = 0.001,
    **labels: str,
) -> dict[Series, Any]:
    """What the exporter of a pod reports to which eight users come, one each hour."""

    def of(metric: str, **more: str) -> Series:
        return series(metric, namespace="bokeh", pod=pod, **labels, **more)

    times = range(began, NOW + 1, SCRAPE)
    users = [min(8, (at - began) // HOUR) for at in times]
    total, spent = 0.0, []
    for count in users:
        total += SCRAPE * busy * count * workers
        spent.append(total)
    ticks = [2.0 * (at - began) for at in times]
    samples = {
        of("bokeh_sessions", app="/app", state="connected", quality="exact"): users,
        of(f"bokeh_event_loop_{name}_seconds_total"): spent,
        of("bokeh_workers"): [workers] * len(users),
        of("bokeh_memory_working_set_bytes"): [1e8 + 2e7 * count for count in users],
        of("bokeh_memory_limit_bytes"): [6e8] * len(users),
    }
    for bound in (*LAG_BUCKETS, float("inf")):
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        bucket = of("bokeh_event_loop_lag_seconds_bucket", le=le)
        samples[bucket] = [each if bound >= lag else 0.0 for each in ticks]
    return {each: list(zip(times, values, strict=True)) for each, values in samples.items()}


def read(prometheus: PrometheusServer, ref: TargetRef = REF) -> Mapping[str, Sequence[PodLoad]]:
    settings = PrometheusSettings(prometheus.url, scrape_interval=SCRAPE)
    return PrometheusLoads(settings).loads(ref, NOW, DAY, STEP)


def test_each_load_has_all_that_a_pod_told(prometheus: PrometheusServer) -> None:
    prometheus.push(a_day())
    found = read(prometheus)[POD]
    assert len(found) == DAY // STEP
    last = found[-1]
    assert last.at == NOW - NOW % STEP
    assert last.sessions == 8
    assert last.busy == pytest.approx(0.4, rel=0.02)
    assert (last.memory, last.limit) == (1e8 + 8 * 2e7, 6e8)
    assert last.lag is not None
    assert last.lag < 0.005


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": "cpu"}, 0.4),
        ({"workers": 4}, 0.4),
        ({"busy": 0.5}, 1.0),
    ],
    ids=["an older exporter tells CPU time", "several processes", "more than one CPU"],
)
def test_how_busy_a_pod_was(
    prometheus: PrometheusServer, options: dict[str, Any], expected: float
) -> None:
    prometheus.push(a_day(**options))
    assert read(prometheus)[POD][-1].busy == pytest.approx(expected, rel=0.02)


def test_a_pod_that_is_scraped_twice_counts_once(prometheus: PrometheusServer) -> None:
    for job in ("pods", "services"):
        prometheus.push(a_day(job=job))
    last = read(prometheus)[POD][-1]
    assert (last.sessions, last.memory) == (8, 1e8 + 8 * 2e7)
    assert last.busy == pytest.approx(0.4, rel=0.02)


def test_sessions_that_take_several_seats_count_as_those(prometheus: PrometheusServer) -> None:
    taken = series("bokeh_seats_taken", app="/app", quality="exact", namespace="bokeh", pod=POD)
    prometheus.push({**a_day(), taken: [(at, 20.0) for at in range(NOW - HOUR, NOW + 1, SCRAPE)]})
    loads = read(prometheus)[POD]
    assert loads[-1].sessions == 20
    assert loads[100].sessions == 8


def test_an_exporter_that_tells_sessions_alone_has_loads_without_costs(
    prometheus: PrometheusServer,
) -> None:
    sessions = {key: points for key, points in a_day().items() if ("state", "connected") in key}
    prometheus.push(sessions)
    last = read(prometheus)[POD][-1]
    assert last == PodLoad(last.at, 8.0)


@pytest.mark.parametrize(
    ("most", "ends"),
    [(5 * DAY // STEP, "bcz9"), (2 * DAY // STEP, "bc"), (0.02 * DAY // STEP, "b")],
    ids=["few pods are all read", "half of many", "few of very many"],
)
def test_of_many_pods_some_are_read(
    prometheus: PrometheusServer, monkeypatch: pytest.MonkeyPatch, most: float, ends: str
) -> None:
    names = [f"bokeh-app-5d8f7c9b6d-xxxb{end}" for end in "bcz9"]
    for name in names:
        prometheus.push({k: v for k, v in a_day(name).items() if ("state", "connected") in k})
    monkeypatch.setattr(loads, "MOST_LOADS", most)
    assert set(read(prometheus)) == {name for name in names if name[-1] in ends}


@pytest.mark.parametrize("length", [46, 47, 52, 57, 58, 63])
def test_a_pod_whose_name_was_cut_is_read(prometheus: PrometheusServer, length: int) -> None:
    name = f"release-{'x' * length}"[:length]
    pod = f"{name}-5d8f7c9b6d-"[:58] + "x2x4z"
    prometheus.push({key: v for key, v in a_day(pod).items() if ("state", "connected") in key})
    assert set(read(prometheus, TargetRef("bokeh", name))) == {pod}


def test_another_deployment_has_no_part_in_it(prometheus: PrometheusServer) -> None:
    prometheus.push(a_day("bokeh-app-two-5d8f7c9b6d-x2x4z"))
    assert read(prometheus) == {}


def test_the_policy_of_the_page_learns_its_seats() -> None:
    [text] = blocks(SEATS_PAGE, "yaml")
    learns = policy(**yaml.safe_load(text))
    assert learns.learn == LearnedSeats(first=10, min=5, max=40)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read up to the time of what was pushed."""

    class Clock:
        def now(self) -> float:
            return NOW

    for module in (seats, inputs):
        monkeypatch.setattr(module, "SystemClock", Clock)


@pytest.fixture
def command(
    prometheus: PrometheusServer, then: None, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`autoscaler seats bokeh/bokeh-app`."""

    def run(*options: str, target: str = str(REF)) -> tuple[int, str, str]:
        code = main(["seats", target, "--prometheus", prometheus.url, *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_command_prints_the_seats_and_what_they_are_made_of(
    prometheus: PrometheusServer, command: Command, tmp_path: Path
) -> None:
    prometheus.push(a_day())
    picture = tmp_path / "seats.html"
    code, said, _ = command("--last", "1d", "--html", str(picture))
    assert code == 0
    assert said.splitlines() == [
        "bokeh/bokeh-app, the last 1d: 14 seats",
        "  at 14 sessions the event loop is busy for 70% of the time",
        "  event loop: 5 % for each session, 0 % without any: 14.0 sessions at 70 %",
        "  memory: 20.1 MB for each session, 100 MB without any: 18.9 sessions at 480 MB",
        "  known from: 156 session-hours of 1 pod, up to 8 sessions in one",
    ]
    page = picture.read_text()
    assert "Seats of bokeh/bokeh-app" in page
    assert not re.search(r"<(script|link)[^>]*https?:", page), "it needs no network"


def test_the_command_prints_json(prometheus: PrometheusServer, command: Command) -> None:
    prometheus.push({**a_day(busy=0.02), **a_day(OLD, busy=0.3, began=NOW - 2 * DAY)})
    code, said, _ = command("--json")
    found = json.loads(said)
    assert code == 0
    assert found["seats"] == 19
    assert found["memory"]["each"] == pytest.approx(2e7, rel=0.02)
    assert found["pods"] == [POD], "of the newest ReplicaSet"


def test_pods_that_are_left_out_are_told_and_can_be_counted(
    prometheus: PrometheusServer, command: Command
) -> None:
    prometheus.push({**a_day(began=NOW - HOUR), **a_day(OLD, began=NOW - DAY)})
    code, said, _ = command("--last", "1d")
    assert code == 1
    first, recorded, last = said.splitlines()
    assert "no seats are known: " in first
    assert recorded == "  recorded: the last 1h of 1 pod"
    assert last == "  left out: 1 pod of earlier ReplicaSets; --all-pods counts them"

    code, said, _ = command("--last", "1d", "--all-pods")
    assert code == 0
    assert "session-hours of 2 pods" in said
    assert "left out" not in said


def test_sessions_that_cost_nothing_have_no_number_of_seats(
    prometheus: PrometheusServer, command: Command
) -> None:
    prometheus.push({k: v for k, v in a_day(busy=0.0).items() if "memory" not in str(k)})
    code, said, _ = command("--last", "1d")
    assert code == 1
    first, *others = said.splitlines()
    assert first.startswith("bokeh/bokeh-app, the last 1d: no seats are known: sessions cost the")
    assert others == [
        "  event loop: 0 % for each session, 0 % without any",
        "  known from: 156 session-hours of 1 pod, up to 8 sessions in one",
        "  no pod has held half as many: begin with 16, and ask again",
    ]
    code, said, _ = command("--json")
    assert (code, json.loads(said)["seats"]) == (1, None)


def test_values_that_nothing_can_have_are_left_out(prometheus: PrometheusServer) -> None:
    prometheus.push({key: [(at, 1e300) for at, _ in points] for key, points in a_day().items()})
    assert not any(read(prometheus).values())


def test_too_little_is_known_of_an_hour(prometheus: PrometheusServer, command: Command) -> None:
    prometheus.push(a_day(began=NOW - 2 * HOUR))
    code, said, _ = command()
    assert code == 1
    assert "no seats are known: " in said


@pytest.mark.parametrize(
    ("seconds", "hours", "recorded"),
    [(45, "0.0", "less than 2m"), (180, "0.4", "the last 3m"), (540, "1.2", "the last 9m")],
)
def test_of_pods_that_are_recorded_since_minutes_it_says_how_long_and_how_much(
    prometheus: PrometheusServer, command: Command, seconds: int, hours: str, recorded: str
) -> None:
    began = NOW - seconds
    prometheus.push({key: [(at, 8.0) for at, _ in v] for key, v in a_day(began=began).items()})

    code, said, _ = command()

    assert code == 1
    first, second = said.splitlines()
    assert first.endswith(f"no seats are known: {hours} session-hours are known, and 6 are needed")
    assert second == f"  recorded: {recorded} of 1 pod"
    assert command("--last", "1h")[1].split(": ", 1)[1] == said.split(": ", 1)[1]


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("bokeh/none", (), "no sessions of bokeh/none, the last 7d are recorded"),
        ("bokeh/bokeh-app", ("--html", "/nowhere/at/all.html"), "set another --html"),
    ],
    ids=["a target that nobody knows", "a file that cannot be written"],
)
def test_what_is_wrong_is_told_in_one_line(
    prometheus: PrometheusServer,
    command: Command,
    target: str,
    options: tuple[str, ...],
    words: str,
) -> None:
    prometheus.push(a_day())
    code, _, said = command(*options, target=target)
    assert code == 2
    assert words in said
    assert said.count("\n") == 1


def text_of(metric: dict[str, int]) -> str:
    """A policy file whose seats are learned within other bounds, or stated."""
    learn = {"first": 10, "min": 5, "max": 40} | metric
    own = metric if "seats" in metric else {"seats": "auto", "learn": learn}
    return str(yaml.safe_dump(policy(metrics=[{"type": "sessions", **own}]).settings))


FIRST = "Learned seats are the first guess: "


@pytest.mark.parametrize(
    ("metric", "began", "options", "simulated", "told"),
    [
        ({}, DAY, (), 14, "Learned from the loads of the last 7d: at 14 sessions the event loop"),
        ({"max": 12}, DAY, (), 12, "Learned from the loads of the last 7d: at 14 sessions"),
        ({}, HOUR, (), 10, f"{FIRST}0.0 session-hours are known, and 6 are needed."),
        ({}, DAY, ("--seats", "6"), 6, "6 seats per pod"),
        ({"seats": 20}, DAY, (), 20, "20 seats per pod"),
    ],
    ids=[
        "seats that pods have shown they can hold",
        "seats within the bounds of the policy",
        "the first guess, if too little is known",
        "seats that are stated",
        "seats of a policy that learns none",
    ],
)
def test_a_simulation_plans_with_the_seats_that_the_daemon_would_have_learned(
    metric: dict[str, int],
    began: int,
    options: tuple[str, ...],
    simulated: int,
    told: str,
    prometheus: PrometheusServer,
    then: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prometheus.push(a_day(began=NOW - began))
    path = tmp_path / "policy.yaml"
    path.write_text(text_of(metric))
    history = ["--prometheus", prometheus.url, "--last", "1d", "--html", str(tmp_path / "report")]

    assert main(["simulate", "--policy", str(path), *history, *options]) == 0
    said = capsys.readouterr().out
    assert f"{simulated} seats per pod" in said
    assert told in said
    assert ("Learned" in said) == told.startswith("Learned")


def test_a_diff_tells_the_settings_of_the_files_and_plans_with_the_learned_seats(
    prometheus: PrometheusServer, then: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus.push(a_day())
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text_of({}))
    new.write_text(text_of({"first": 12, "max": 13}))
    history = ["--prometheus", prometheus.url, "--last", "1d"]

    assert main(["diff", str(old), str(new), *history]) == 0
    said = capsys.readouterr().out
    assert "metrics[0].learn.first: 10 -> 12" in said
    assert "metrics[0].learn.max: 40 -> 13" in said
    assert "old 14, new 13" in said
