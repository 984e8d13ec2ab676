"""What a daemon's own `/metrics` says, and which of our alerts would fire if it went on like that.

An alert looks back over minutes, and a test over seconds. So the real Prometheus gets a history
that continues what two looks at the page have in common, at a time of its own, and evaluates the
real expressions on it.
"""

from __future__ import annotations

import itertools
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.staleness import CACHE_FRESH_FOR
from tests.deploy.monitoring import alerts
from tests.lab.prometheus_server import PrometheusServer, series

Labels = tuple[tuple[str, str], ...]
LASTS, SCRAPE = 1_200, 15  # seconds
APART = 2 * LASTS
LONG_AGO = 20 * 86_400
SELECTOR = re.compile(r"(\w+)(?:\{(.*)\})?")
_SLOTS = itertools.count()
DAEMON = {"job": "daemon", "namespace": "bokeh-autoscaler", "pod": "daemon", "instance": "d:1"}


class Name(NamedTuple):
    """Of a series."""

    metric: str
    labels: Labels

    def is_selected(self, selector: str) -> bool:
        """Whether `metric{label="value"}` selects it."""
        found = SELECTOR.fullmatch(selector)
        assert found is not None, selector
        wanted = re.findall(r'(\w+)="([^"]*)"', found[2] or "")
        return self.metric == found[1] and set(wanted) <= set(self.labels)


class Page(NamedTuple):
    """at: when it was read (Unix seconds)."""

    at: float
    values: Mapping[Name, float]

    def total(self, selector: str) -> float | None:
        """Return the sum of the series that are selected; None if there is none."""
        found = [v for name, v in self.values.items() if name.is_selected(selector)]
        return sum(found) if found else None


def read(url: str) -> Page:
    """Read the page. Raises OSError."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    values = {
        Name(each.name, tuple(sorted(each.labels.items()))): each.value
        for each in samples
        if not each.name.endswith("_bucket")
    }
    return Page(time.time(), values)


class Look(NamedTuple):
    """Two looks at one page, and one from before the fault. target: labels of what is scraped."""

    usual: Page
    before: Page
    after: Page
    target: Mapping[str, str] = DAEMON


def firing(prometheus: PrometheusServer, *looks: Look, minutes: int = LASTS // 60) -> set[str]:
    """Return the alerts whose expressions are true after what was seen has lasted for 20 minutes.

    minutes: more of them, if nothing has answered since.
    """
    began = time.time() - LONG_AGO + next(_SLOTS) * APART
    for look in looks:
        names = look.after.values
        prometheus.push({_series(name, look): [*_points(name, look, began)] for name in names})
    at = began + 60 * minutes
    return {name for name, rule in alerts().items() if prometheus.query(rule["expr"], at)}


def _series(name: Name, look: Look) -> Labels:
    """With the labels that Prometheus adds to a target, which yield to those of the page."""
    own = {label: value for label, value in name.labels if value}
    return series(name.metric, **{**look.target, **own})


def _points(name: Name, look: Look, began: float) -> Iterator[tuple[float, float]]:
    before, after = look.before, look.after
    value = after.values[name]
    first = before.values.get(name, 0.0 if name.metric.endswith("_total") else value)
    rate = (value - first) / (after.at - before.at)
    for passed in range(0, LASTS + 1, SCRAPE):
        at = began + passed
        if name.metric.endswith("_total"):
            yield at, value + rate * passed
        elif name.metric.endswith("_timestamp_seconds"):
            yield at, (began if rate == 0 else at) + value - after.at
        elif name.metric.endswith("_cache_age_seconds") and _is_unconfirmed(name, look):
            yield at, value + passed
        else:
            yield at, value


def _is_unconfirmed(name: Name, look: Look) -> bool:
    """Whether a cache grows old because its watch fails.

    It does not if it was confirmed since the fault began, as by a list, or if nothing happens.
    """
    if look.after.values[name] > CACHE_FRESH_FOR:
        return True
    failures = Name("bokeh_autoscaler_watch_failures_total", name.labels)
    usual, after = (page.values.get(failures, 0.0) for page in (look.usual, look.after))
    age, lasted = look.after.values[name], look.after.at - look.usual.at
    grown = age - look.before.values.get(name, 0.0)
    return after > usual and grown > (look.after.at - look.before.at) / 2 and age > lasted / 2
