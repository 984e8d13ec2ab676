"""The commands of the page of the symptoms show the cause of a cordon, on a real API server."""

from __future__ import annotations

from collections.abc import Callable

from tests.deploy.pages import TROUBLE_PAGE, commands, mentioned
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD


def test_the_printed_command_shows_which_pods_are_cordoned_and_why(
    world: World, shell: Callable[[str], str]
) -> None:
    [causes] = [each for each in commands(TROUBLE_PAGE) if "custom-columns" in each]
    [by_hand] = [
        each for each in mentioned(TROUBLE_PAGE) if each.startswith("kubectl -n bokeh label")
    ]
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    world.access.settle(world.namespace, "bokeh-app", 3)
    pod = world.access.core.list_namespaced_pod(world.namespace).items[0].metadata.name
    shell(by_hand.replace("POD", pod).replace("=true", "=false"))
    world.start()
    wait_until(lambda: world.cordoned() > 1, WITHIN, "the daemon to cordon one too")

    rows = {row.split()[0]: row.split()[1:] for row in shell(causes).splitlines()[1:]}

    assert rows[pod] == ["false", "<none>", "<none>"]
    others = [row for name, row in rows.items() if name != pod]
    assert any(row[:2] == ["false", "scale-down"] for row in others)
    assert all(row[0] == "false" or row[1:] == ["<none>", "<none>"] for row in others)

    shell(by_hand.replace("POD", pod))
    labels = world.access.core.read_namespaced_pod(pod, world.namespace).metadata.labels
    assert labels[ROUTABLE] == "true"
    assert "bokeh-app" in shell("kubectl -n bokeh describe deployment bokeh-app")
