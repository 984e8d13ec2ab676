"""A value that is wrong is told with its line and path, and with what was expected."""

from __future__ import annotations

import pytest

from autoscaler.adapters.policies import messages
from tests.policies.files import GOOD, edited, problems_of, table

SESSIONS, CPU = "type: sessions\n    seats: 20", "type: cpu\n    utilization: 70%"


def scheduled(values: str, metric: str = SESSIONS) -> str:
    """A policy by one metric, with a window in line 12 that sets these values."""
    window = f'schedule:\n  - {{from: "08:00", to: "18:00", {values}}}\n'
    return edited(SESSIONS, metric) + window


WRONG_VALUES = {
    "a name with a space": (
        edited("dashboards", "My App"),
        '1: name: got "My App", expected lower-case letters, digits and hyphens, such as bokeh-app',
    ),
    "a name that is too long": (
        edited("dashboards", "a" * 128),
        f'1: name: got "{"a" * 39}…", expected at most 127 characters',
    ),
    "a name that is a number": (
        edited("dashboards", "12"),
        "1: name: got 12, expected text in quotes",
    ),
    "a name with a line break": (
        edited("dashboards", r'"a\nb"'),
        r'1: name: got "a\nb", expected lower-case letters, digits and hyphens, such as bokeh-app',
    ),
    "a pause that is neither on nor off": (
        GOOD + "paused: maybe\n",
        '11: paused: got "maybe", expected true or false',
    ),
    "a pause in quotes": (
        GOOD + 'paused: "true"\n',
        '11: paused: got "true", expected true or false',
    ),
    "a pause without a value": (
        GOOD + "paused:\n",
        "11: paused: got nothing, expected true or false",
    ),
    "no target": (
        GOOD.replace("target:\n  namespace: bokeh\n  deployment: bokeh-app\n", ""),
        "1: target: is missing, expected target: {namespace: bokeh, deployment: bokeh-app}",
    ),
    "a target without a deployment": (
        edited("  deployment: bokeh-app\n", ""),
        "2: target.deployment: is missing, expected deployment: bokeh-app",
    ),
    "a target that is a word": (
        edited("target:\n  namespace: bokeh\n  deployment: bokeh-app", "target: bokeh-app"),
        (
            '2: target: got "bokeh-app", expected a mapping,'
            " such as {namespace: bokeh, deployment: bokeh-app}"
        ),
    ),
    "a target without a value": (
        edited("target:\n  namespace: bokeh\n  deployment: bokeh-app", "target:"),
        (
            "2: target: got nothing, expected a mapping,"
            " such as {namespace: bokeh, deployment: bokeh-app}"
        ),
    ),
    "min above max": (
        edited("min: 2", "min: 21"),
        "5: replicas: min (21) is above max (20): expected min <= max",
    ),
    "no replicas at all": (
        edited("min: 2", "min: 0"),
        "6: replicas.min: got 0, expected at least 1",
    ),
    "too many replicas": (
        edited("max: 20", "max: 100001"),
        "7: replicas.max: got 100001, expected at most 100000",
    ),
    "half a replica": (
        edited("max: 20", "max: 2.5"),
        "7: replicas.max: got 2.5, expected a whole number",
    ),
    "a number in quotes": (
        edited("max: 20", 'max: "20"'),
        '7: replicas.max: got "20", expected a whole number without quotes',
    ),
    "a list for a number": (
        edited("max: 20", "max: [20]"),
        "7: replicas.max: got a list, expected a whole number",
    ),
    "no metric": (
        edited("metrics:\n  - type: sessions\n    seats: 20", "metrics: []"),
        "8: metrics: got a list, expected at least one metric",
    ),
    "one metric that is not in a list": (
        edited("  - type: sessions\n    seats: 20", "  type: sessions\n  seats: 20"),
        "8: metrics: got a mapping, expected a list",
    ),
    "a metric that is a word": (
        edited("- type: sessions\n    seats: 20", "- sessions"),
        '9: metrics[0]: got "sessions", expected a mapping, such as {type: cpu, utilization: 70%}',
    ),
    "a metric without a type": (
        edited("- type: sessions\n    seats", "- seats"),
        "9: metrics[0].type: is missing, expected type: sessions, cpu, memory or prometheus",
    ),
    "an unknown type of metric": (
        edited("type: sessions", "type: session"),
        '9: metrics[0].type: got "session", expected sessions, cpu, memory, prometheus',
    ),
    "a type of metric that is a list": (
        edited("type: sessions", "type: [cpu]"),
        "9: metrics[0].type: got a list, expected sessions, cpu, memory, prometheus",
    ),
    "the same metric twice": (
        GOOD + "  - {type: sessions, seats: 10}\n",
        "8: metrics: got a list, expected at most one sessions metric, got 2",
    ),
    "no seats": (
        edited("seats: 20", "seats: 0"),
        "10: metrics[0].seats: got 0, expected at least 1",
    ),
    "negative seats": (
        edited("seats: 20", "seats: -3"),
        "10: metrics[0].seats: got -3, expected at least 1",
    ),
    "spare seats in words": (
        GOOD + "    spare: some\n",
        '11: metrics[0].spare: got "some", expected a percentage, such as 70%',
    ),
    "spare seats as a list": (
        GOOD + "    spare: [10]\n",
        (
            "11: metrics[0].spare: got a list,"
            " expected free seats (10), a share (25%) or {refuse: 0.1%}"
        ),
    ),
    "negative spare seats": (
        GOOD + "    spare: -1\n",
        "11: metrics[0].spare: got -1, expected at least 0",
    ),
    "a refusal target of everyone": (
        GOOD + "    spare:\n      refuse: 100%\n",
        (
            '12: metrics[0].spare.refuse: got "100%",'
            " expected a share above 0% and below 50%, such as 0.1%"
        ),
    ),
    "a utilization as a fraction": (
        GOOD + "  - {type: cpu, utilization: 0.7}\n",
        "11: metrics[1].utilization: got 0.7, expected a percentage, such as 70%",
    ),
    "a utilization with a fraction": (
        GOOD + "  - {type: cpu, utilization: 0.7%}\n",
        (
            '11: metrics[1].utilization: got "0.7%",'
            " expected a whole percentage of at least 1%, such as 70%"
        ),
    ),
    "a query without a target": (
        GOOD + "  - {type: prometheus, query: up}\n",
        "11: metrics[1]: expected exactly one of perReplica and value",
    ),
    "an infinite target of a query": (
        GOOD + "  - {type: prometheus, query: up, value: .inf}\n",
        "11: metrics[1].value: got Infinity, expected a finite number",
    ),
    "an empty query": (
        GOOD + "  - {type: prometheus, query: '', value: 1}\n",
        '11: metrics[1].query: got "", expected at least 1 character',
    ),
    "a duration without a unit": (
        GOOD + "interval: 5\n",
        "11: interval: got 5, expected a duration with its unit, such as 30s, 5m, 4h or 1h30m",
    ),
    "a duration as a fraction": (
        GOOD + "cooldown: {up: 1.5}\n",
        "11: cooldown.up: got 1.5, expected a duration with its unit, such as 30s, 5m, 4h or 1h30m",
    ),
    "an interval of a day": (
        GOOD + "interval: 1d\n",
        '11: interval: got "1d", expected an interval from 1s to 1h',
    ),
    "a drain without a value, which must not mean none": (
        GOOD + "drain:\n",
        "11: drain: got nothing, expected none, {deadline: 4h} or {deadline: never}",
    ),
    "a drain deadline without a unit": (
        GOOD + "drain: {deadline: 4}\n",
        (
            "11: drain.deadline: got 4,"
            " expected a duration with its unit, such as 30s, 5m, 4h or 1h30m, or never"
        ),
    ),
    "a time to tell without a unit": (
        GOOD + "drain: {tell: 60}\n",
        (
            "11: drain.tell: got 60,"
            " expected a duration with its unit, such as 30s, 5m, 4h or 1h30m, or never"
        ),
    ),
    "a hard deadline before the soft one": (
        GOOD + "drain: {deadline: 4h, hardDeadline: 1h}\n",
        "11: drain: hardDeadline (1h) is before deadline (4h): expected deadline <= hardDeadline",
    ),
    "worn pods that could not be emptied": (
        GOOD + "recycle: {age: 24h}\ndrain: none\n",
        "11: recycle: pods are drained before they are recycled: expected no `drain: none`",
    ),
    "pods that are recycled before they have started": (
        GOOD + "recycle: {age: 30s}\n",
        "11: recycle: expected an age of at least 1m",
    ),
    "a fallback that no metric could reach": (
        GOOD + "fallback: {after: 10m, replicas: 21}\n",
        "11: fallback.replicas: got 21, expected at most replicas.max (20)",
    ),
    "a utilization with 400 digits": (
        GOOD + f"  - {{type: cpu, utilization: {'9' * 400}%}}\n",
        (
            f'11: metrics[1].utilization: got "{"9" * 39}…",'
            " expected a percentage of at most 1000000%"
        ),
    ),
    "a tolerance with 400 digits": (
        GOOD + f"behavior: {{scaleUp: {{tolerance: '{'9' * 400}'}}}}\n",
        (
            f'11: behavior.scaleUp.tolerance: got "{"9" * 39}…",'
            " expected a number of at least 0, such as 0.1, or a quantity, such as 100m"
        ),
    ),
    "a duration with an exponent": (
        GOOD + "interval: 1e3s\n",
        '11: interval: got "1e3s", expected a duration with its unit, such as 30s, 5m, 4h or 1h30m',
    ),
    "a negative duration": (
        GOOD + "interval: -5s\n",
        '11: interval: got "-5s", expected a duration with its unit, such as 30s, 5m, 4h or 1h30m',
    ),
    "a duration of a century": (
        GOOD + "cooldown: {down: 36500d}\n",
        '11: cooldown.down: got "36500d", expected a duration of at most 366d',
    ),
    "Arabic digits": (
        edited("max: 20", "max: \u0662\u0660"),
        '7: replicas.max: got "\u0662\u0660", expected a whole number',
    ),
    "full-width digits in a duration": (
        GOOD + "interval: \uff15s\n",
        (
            '11: interval: got "\uff15s",'
            " expected a duration with its unit, such as 30s, 5m, 4h or 1h30m"
        ),
    ),
    "midnight as 24:00": (
        GOOD + 'schedule:\n  - {from: "18:00", to: "24:00", min: 3}\n',
        (
            '12: schedule[0].to: got "24:00",'
            ' expected "00:00" for midnight, also at the end of a day'
        ),
    ),
    "a namespace with a dot": (
        edited("namespace: bokeh", "namespace: bokeh.prod"),
        (
            '3: target.namespace: got "bokeh.prod",'
            " expected lower-case letters, digits and hyphens, such as bokeh-app"
        ),
    ),
    "a Deployment with two dots in a row": (
        edited("deployment: bokeh-app", "deployment: bokeh..app"),
        (
            '4: target.deployment: got "bokeh..app",'
            " expected lower-case letters, digits, hyphens and dots, such as bokeh-app"
        ),
    ),
    "a Deployment of 254 characters": (
        edited("deployment: bokeh-app", f"deployment: {'a' * 254}"),
        f'4: target.deployment: got "{"a" * 39}…", expected at most 253 characters',
    ),
    "a share of a query that is smaller than counted": (
        GOOD + "  - {type: prometheus, query: up, perReplica: 1.0e-320}\n",
        "11: metrics[1].perReplica: got 1e-320, expected at least 0.001",
    ),
    "a target of a query beyond all numbers": (
        GOOD + "  - {type: prometheus, query: up, value: 1.0e+306}\n",
        "11: metrics[1].value: got 1e+306, expected at most 1000000000000000.0",
    ),
    "a query with a variable of Grafana": (
        GOOD + "  - {type: prometheus, query: 'rate(x[$__rate_interval])', value: 1}\n",
        (
            '11: metrics[1].query: got "rate(x[$__rate_interval])",'
            " '[$__rate_interval' is a placeholder, expected PromQL, such as [5m]"
        ),
    ),
    "a query with a variable of Grafana as a label": (
        GOOD + "  - {type: prometheus, query: 'x{app=~\"$app\"}', value: 1}\n",
        (
            r'11: metrics[1].query: got "x{app=~\"$app\"}",'
            " '=~\"$a' is a placeholder, expected PromQL, such as [5m]"
        ),
    ),
    "a window that sets nothing": (
        GOOD + 'schedule:\n  - {from: "08:00", to: "18:00"}\n',
        "12: schedule[0]: expected min, max, spare, placement or drain",
    ),
    "a window whose spare seats are a list": (
        scheduled("spare: [10]"),
        (
            "12: schedule[0].spare: got a list,"
            " expected free seats (10), a share (25%) or {refuse: 0.1%}"
        ),
    ),
    "a window with an unknown key of its spare seats": (
        scheduled("spare: {refuse: 1%, leedTime: 5s}"),
        "12: schedule[0].spare.leedTime: unknown key, did you mean leadTime?",
    ),
    "a window with an unknown placement": (
        scheduled("placement: random"),
        ('12: schedule[0].placement: got "random", expected packed, spread or {minRoutable: 2}'),
    ),
    "a window without drains": (
        scheduled("drain: none"),
        '12: schedule[0].drain: got "none", expected a mapping, such as {deadline: 1h}',
    ),
    "a window with an empty drain": (
        scheduled("drain: {}"),
        "12: schedule[0].drain.deadline: is missing, expected deadline: 1h",
    ),
    "a window that sets what no window may": (
        scheduled("drain: {settle: 5s, deadline: 1h}"),
        "12: schedule[0].drain.settle: unknown key, expected one of deadline",
    ),
    "spare seats in a window of a policy without sessions": (
        scheduled("spare: 10", CPU),
        "12: schedule[0].spare: seats are for sessions: expected a sessions metric",
    ),
    "a placement in a window of a policy without sessions": (
        scheduled("placement: spread", CPU),
        (
            "12: schedule[0].placement: sessions decide where users go:"
            " expected a sessions metric and no `drain: none`"
        ),
    ),
    "a placement in a window of a policy that drains nothing": (
        scheduled("placement: packed") + "drain: none\n",
        (
            "12: schedule[0].placement: sessions decide where users go:"
            " expected a sessions metric and no `drain: none`"
        ),
    ),
    "a deadline in a window of a policy that drains nothing": (
        scheduled("drain: {deadline: 1h}") + "drain: none\n",
        "12: schedule[0].drain.deadline: no pod is drained: expected no `drain: none`",
    ),
    "a deadline in a window after the hard deadline": (
        scheduled("drain: {deadline: 5h}") + "drain: {hardDeadline: 4h}\n",
        "12: schedule[0].drain.deadline: got 5h, expected at most drain.hardDeadline (4h)",
    ),
    "a window without a start": (
        GOOD + 'schedule:\n  - {to: "18:00", min: 3}\n',
        '12: schedule[0].from: is missing, expected from: "08:00"',
    ),
    "days that are none": (
        GOOD + 'schedule:\n  - {days: mon-fry, from: "08:00", to: "18:00", min: 3}\n',
        '12: schedule[0].days: got "mon-fry", expected days such as mon-fri, sat,sun or [mon, wed]',
    ),
    "an empty list of days": (
        GOOD + 'schedule:\n  - {days: [], from: "08:00", to: "18:00", min: 3}\n',
        "12: schedule[0].days: got a list, expected days such as mon-fri, sat,sun or [mon, wed]",
    ),
    "a time zone on Mars": (
        GOOD + 'schedule:\n  - {from: "08:00", to: "18:00", min: 3, timezone: Mars}\n',
        '12: schedule[0].timezone: got "Mars", expected a time zone name, such as Europe/Berlin',
    ),
    "a time zone that is a path": (
        GOOD + 'schedule:\n  - {from: "08:00", to: "18:00", min: 3, timezone: ../../etc}\n',
        (
            '12: schedule[0].timezone: got "../../etc",'
            " expected a time zone name, such as Europe/Berlin"
        ),
    ),
    "a rate policy of an unknown type": (
        GOOD
        + "behavior:\n  scaleDown:\n    policies:\n"
        + "      - {type: Pod, value: 1, periodSeconds: 60}\n",
        '14: behavior.scaleDown.policies[0].type: got "Pod", expected Pods or Percent',
    ),
    "a negative tolerance": (
        GOOD + "behavior: {scaleUp: {tolerance: -0.1}}\n",
        (
            "11: behavior.scaleUp.tolerance: got -0.1,"
            " expected a number of at least 0, such as 0.1, or a quantity, such as 100m"
        ),
    ),
}


MAPPINGS = {
    "replicas": edited("replicas:\n  min: 2\n  max: 20", "replicas: many"),
    "behavior": GOOD + "behavior: many\n",
    "behavior.scaleUp": GOOD + "behavior: {scaleUp: many}\n",
    "behavior.scaleDown": GOOD + "behavior: {scaleDown: many}\n",
    "behavior.scaleUp.policies[0]": GOOD + "behavior: {scaleUp: {policies: [many]}}\n",
    "cooldown": GOOD + "cooldown: many\n",
    "schedule[0]": GOOD + "schedule: [many]\n",
    "fallback": GOOD + "fallback: many\n",
    "metrics[0].learn": edited("seats: 20", "seats: auto\n    learn: many"),
}


@pytest.mark.parametrize(
    ("path", "text"), [pytest.param(*case, id=case[0]) for case in MAPPINGS.items()]
)
def test_a_word_where_a_mapping_belongs_is_told_with_an_example(write, path, text):
    (problem,) = problems_of(write(text))
    assert f'{path}: got "many", expected a mapping, such as {{' in problem


def test_a_mapping_without_an_example_is_told_with_its_keys(write, monkeypatch):
    monkeypatch.delitem(messages._MAPPINGS, "learn")
    (problem,) = problems_of(write(MAPPINGS["metrics[0].learn"]))
    assert problem.endswith(': got "many", expected a mapping with first, min, max')


@pytest.mark.parametrize(("text", "problem"), table(WRONG_VALUES))
def test_a_wrong_value_is_told_with_its_line_and_path(write, text, problem):
    assert problems_of(write(text)) == [problem]
