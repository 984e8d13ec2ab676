"""Laws of hints: whatever an app says, no session that may not be closed is ended or hidden."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.sidecars import occupancy
from autoscaler.core.drain.pods import is_drained, is_empty
from autoscaler.core.now import Now
from autoscaler.model import Cause, Cordon, Occupancy
from exporter.agent import hinting, pod
from exporter.ledger import Collected, WorkerView
from exporter.observe import PodView, sum_apps
from exporter.port_watch import PortView
from exporter.state import state
from exporter.wire import MOST_SEATS, AppReport, Report, holders, parse
from tests import builders
from tests.exporter.agents import answer, app

DRAIN = builders.policy(drain={"deadline": "1h"}).drain
assert DRAIN is not None
counts = st.integers(0, 50)
hints = st.fixed_dictionaries(
    {}, optional={"busy": counts, "may_close": counts, "costed": counts, "costs": st.floats(0, 50)}
)
sessions = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("connected", "lingering", "blocked", "pending", "live"), counts)
)


def report_of(**said: Any) -> Report | None:
    return parse(json.dumps(answer(apps={"/app": app(**said)})).encode())


def seen(report: Report) -> PodView:
    view = WorkerView(pod.Name("x/0/1/n", "0", 1), True, report, 0.0)
    collected = Collected(2000.0, (view,), served_s=9e5)
    ports = PortView((5006,), open=True, watched=True)
    return PodView(collected, sum_apps([report]), ports, (0, 0), watched_s=9e5)


@given(sessions, hints)
def test_no_hint_makes_a_server_empty_that_would_not_be_so_without_it(
    said: dict[str, Any], hinted: dict[str, Any]
) -> None:
    plain, report = report_of(**said), report_of(**said, **hinted)
    assert plain is not None
    if report is None:  # it claims more than can be, and then counts as a worker that is silent
        assert hinted["costs"] > MOST_SEATS * hinted.get("costed", 0)
        return
    assert holders([report], 0, 0, 0) == holders([plain], 0, 0, 0)
    told = occupancy(json.loads(json.dumps(state(seen(report)))))
    bare = occupancy(json.loads(json.dumps(state(seen(plain)))))
    assert isinstance(told, Occupancy)
    assert replace_hint(told) == bare
    assert not (said.get("live") and is_empty(builders.pod(occupancy=told), DRAIN, Now(2000.0)))


def replace_hint(told: Occupancy) -> Occupancy:
    return told._replace(may_close=0)


@given(
    st.builds(
        Occupancy,
        st.integers(1, 9),
        opening=counts,
        blocked=counts,
        empty_for=st.none(),
        idle_for=st.floats(0, 299),
    ),
    counts,
)
def test_a_pod_with_sessions_that_may_be_closed_is_drained_only_after_they_are(
    told: Occupancy, may_close: int
) -> None:
    hinted = builders.pod(
        routable=False,
        cordon=Cordon(Cause.SCALE_DOWN, builders.LONG_AGO),
        occupancy=told._replace(may_close=may_close),
    )
    now = Now(builders.NOW)
    assert not is_drained(hinted, DRAIN, 9e5, now)
    closed = told._replace(live=0, opening=0, blocked=0, empty_for=9e5)
    assert is_drained(replace(hinted, occupancy=closed), DRAIN, 9e5, now)


@given(counts, counts, st.floats(0, 1e9))
def test_the_seats_taken_are_never_negative_and_count_every_session_without_a_hint(
    connected: int, costed: int, costs: float
) -> None:
    taken = AppReport(connected=connected, costed=costed, costs=costs).seats
    assert taken >= max(0, connected - costed)
    assert taken <= connected + costs
    assert AppReport(connected=connected).seats == connected


class Document:
    """A document with a session, as far as hints look at it. Bokeh refers to the former weakly."""

    def __init__(self) -> None:
        self.session = Session(self)

    @property
    def session_context(self) -> Document:
        return self


class Session:
    def __init__(self, document: Document) -> None:
        self._link = weakref.ref(document)

    @property
    def _document(self) -> Document | None:
        return self._link()


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]),
    st.timedeltas(), st.datetimes(), st.sampled_from([1, 60.0, timedelta(minutes=1)]),
)  # fmt: skip
RIGHT = [
    ("busy_until", 60),
    ("idle", None),
    ("may_close", True),
    ("may_close", False),
    ("costs", 2),
]
wrong = st.tuples(st.sampled_from([*hinting.KINDS, "unknown"]), anything)
calls = st.lists(st.one_of(st.sampled_from(RIGHT), wrong), max_size=8)


@given(calls)
def test_only_who_said_so_last_and_is_not_busy_may_be_closed(said: list[tuple[str, Any]]) -> None:
    document, other = Document(), Document()
    for name, value in said:
        hinting.take(name, value, document)
    words = [value for name, value in said if name == "may_close" and isinstance(value, bool)]
    assert hinting.may_be_closed(document.session) <= (words[-1:] == [True])
    # In this order, because its work may be over by the second question.
    assert not (hinting.may_be_closed(document.session) and hinting.is_busy(document.session))
    found = hinting.hints_of(document.session)
    assert found is None or found.seats is None or 0 < found.seats <= MOST_SEATS
    assert hinting.hints_of(other.session) is None


def test_agent_and_sidecar_agree_on_the_most_seats_of_a_session() -> None:
    assert hinting.MOST_SEATS == MOST_SEATS
