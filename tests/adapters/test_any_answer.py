"""Any JSON and any bytes in place of an answer: a pod's `/state` and what Prometheus says."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.http.answers import Reply
from autoscaler.adapters.http.fetching import Page
from autoscaler.adapters.prometheus import rows
from autoscaler.adapters.prometheus.http import PrometheusSession, PrometheusSettings
from autoscaler.adapters.sidecars import _parsed
from autoscaler.errors import MetricsError
from autoscaler.model import Unavailable
from exporter.texts import LONGEST_LINE
from tests.lab.scripted_sidecars import state

EMPTY = state(0, empty_for=90.0)
numbers = st.integers() | st.floats() | st.sampled_from([2**31, 10**400, 1e308, -0.0])
nonsense = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
values = nonsense | st.fixed_dictionaries({"live": nonsense, "ok": nonsense, "pending": nonsense})
states = st.dictionaries(st.sampled_from([*EMPTY, "requests", "mood"]), values).map(
    lambda wrong: {**EMPTY, **wrong}
)
texts = st.binary(max_size=200) | (states | nonsense).map(lambda said: json.dumps(said).encode())


@given(texts, st.sampled_from([200, 200, 200, 204, 503]))
def test_whatever_a_pod_says_is_a_plain_count_or_no_answer(body: bytes, status: int) -> None:
    said = _parsed(Page("127.0.0.1", 1, "/state"), Reply(status, body))

    if isinstance(said, Unavailable):
        assert "\n" not in said.message
        assert len(said.message) < 300
        return
    for count in (said.live, said.opening, said.blocked, said.requests):
        assert 0 <= count < 2**32
        assert isinstance(count, int)
    for age in (said.empty_for, said.idle_for):
        assert age is None or 0 <= age < 1e12


frames = st.fixed_dictionaries(
    {},
    optional={
        "status": st.just("success") | nonsense,
        "error": nonsense,
        "warnings": nonsense,
        "isPartial": nonsense,
        "data": nonsense
        | st.fixed_dictionaries({"result": nonsense}, optional={"resultType": nonsense}),
    },
)
answers = st.binary(max_size=100) | (frames | nonsense).map(lambda each: json.dumps(each).encode())
SESSION = PrometheusSession(PrometheusSettings("http://prometheus:9090"))


@given(answers, st.sampled_from([200, 200, 200, 204, 302, 400, 403, 422, 500]))
def test_whatever_prometheus_answers_is_one_number_or_one_line(body: bytes, code: int) -> None:
    try:
        found = SESSION._checked(Reply(code, body))
    except MetricsError as error:
        message = str(error)
    else:
        said = rows.single(found["data"].get("result")).number
        message = said.message if isinstance(said, Unavailable) else ""
    assert "\n" not in message
    assert len(message) <= LONGEST_LINE
