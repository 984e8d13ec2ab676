"""What an operator sees of real pods: the dashboard and the rules in the cluster's Prometheus."""

from __future__ import annotations

import pytest

from tests.deploy.monitoring import filled, queries
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.node.shipped import APP, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(300)]

# What we ship has neither.
CPU_LIMIT, PRICE = "bokeh_cpu_throttled_periods_total", "bokeh_autoscaler_replica_hour_price"


def test_every_query_of_the_dashboard_and_the_rules_have_answers(shipped: Shipped) -> None:
    asked = {
        what: filled(query, NAMESPACE, APP)
        for what, query in queries().items()
        if CPU_LIMIT not in query and PRICE not in query
    }
    asked["a recording"] = "namespace_deployment:bokeh_sessions_connected:sum"
    open_questions = dict(asked)

    def all_answered() -> bool:
        for what, query in list(open_questions.items()):
            if shipped.prometheus(query) is not None:
                del open_questions[what]
        return not open_questions

    (user,) = shipped.join()
    try:
        wait_until(all_answered, SOON, "answers")
    except AssertionError as error:
        raise AssertionError(f"{error}: {open_questions}") from None
    finally:
        shipped.users.leave(user)
