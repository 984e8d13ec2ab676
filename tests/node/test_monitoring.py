"""What an operator sees of real pods: the dashboard and the rules in the cluster's Prometheus."""

from __future__ import annotations

import pytest

from tests.deploy.monitoring import filled, queries
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.node.shipped import APP, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node]

NEEDS_A_CPU_LIMIT = "Throttled A"  # and the shipped app has none


def test_every_query_of_the_dashboard_and_the_rules_have_answers(shipped: Shipped) -> None:
    asked = {what: filled(query, NAMESPACE, APP) for what, query in queries().items()}
    del asked[NEEDS_A_CPU_LIMIT]
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
