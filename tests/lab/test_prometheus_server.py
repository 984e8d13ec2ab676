"""What the tests push into a real Prometheus is what a query gets from it."""

from __future__ import annotations

import pytest

from tests.lab.prometheus_server import PrometheusServer, series

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]
NOW = 1_700_000_000.0  # in the past: Prometheus 3 refuses the future


def test_pushed_samples_come_back_with_their_own_timestamps(prometheus: PrometheusServer) -> None:
    points = [(NOW - 35.25, 3.0), (NOW - 20.0, 4.0), (NOW - 5.5, 7.5)]
    prometheus.push({series("bokeh_sessions", namespace="bokeh", pod="a"): points})
    (found,) = prometheus.query("bokeh_sessions[1m]", NOW)
    assert found["metric"] == {"__name__": "bokeh_sessions", "namespace": "bokeh", "pod": "a"}
    assert [(at, float(value)) for at, value in found["values"]] == points


def test_a_week_of_many_series_is_pushed_at_once_and_in_any_order(
    prometheus: PrometheusServer,
) -> None:
    times = [NOW - 60.0 * minute for minute in range(7 * 24 * 60)]
    for pods in (range(5), range(5, 10)):
        prometheus.push(
            {series("load", pod=str(pod)): [(at, pod) for at in reversed(times)] for pod in pods}
        )
    (total,) = prometheus.query("sum(count_over_time(load[8d]))", NOW)
    assert float(total["value"][1]) == 10 * len(times)


def test_a_second_value_for_the_same_time_fails_with_what_prometheus_says(
    prometheus: PrometheusServer,
) -> None:
    prometheus.push({series("load", pod="a"): [(NOW, 1.0)]})
    with pytest.raises(AssertionError, match=r"refused the samples: .*duplicate"):
        prometheus.push({series("load", pod="a"): [(NOW, 2.0)]})
