"""A policy file of any kind costs little time and memory: a mistake must not stop the daemon.

Each file is as large as one may be. All are read by one process with a limit of 512 MB of address
space and a minute of CPU; together they take about a second of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.adapters.policies.policy_file import MAX_BYTES
from tests.policies.files import GOOD

CONFIG_MAP = "kind: ConfigMap\ndata:\n  policy.yaml: |\n"
WINDOW = 'schedule: [{from: "08:00", to: "09:00", min: 3, %s: '
ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "b0: &b0 {x: 1}\n" + "".join(
    f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 18)
)
TRIGGER = f"  - {{type: prometheus, metadata: {{query: '{'x' * 900}', threshold: '5'}}}}\n"

# A beginning, what is repeated until the file is full, and an end.
FILES: dict[str, tuple[str, str, str]] = {
    "braces of a template on one line": ("", "{{", ""),
    "percent signs of a template on one line": ("a: [\n", "{%", ""),
    "lines that begin a template": ("", "{{ a\n", ""),
    "a ConfigMap with many targets": (CONFIG_MAP, "    target:\n", ""),
    "a ConfigMap with many metrics": (CONFIG_MAP, "    metrics:\n", ""),
    "lines that seem to tell a kind": ("", "kind: x y\n", ""),
    "digits in place of a duration": (f"{GOOD}interval: ", "9", ""),
    "digits and a unit": (f"{GOOD}interval: ", "9", "s"),
    "units without an end": (f"{GOOD}cooldown: {{up: ", "9d", "}"),
    "digits in place of a percentage": (f"{GOOD}    spare: ", "9", "%"),
    "blanks before a percent sign": (f"{GOOD}    spare: '9", " ", "x%'"),
    "a number in base 60": ("a: 1", ":1", ""),
    "a number in base 60 with a point": ("a: 1", ":1", ".1x"),
    "an exponent of many digits": ("a: 1e", "9", ""),
    "an octal number": ("a: 0", "7", ""),
    "a number with underscores": ("a: 1", "_", ""),
    "a long time zone": (f"{GOOD}{WINDOW % 'timezone'}", "x", "}]"),
    "days without an end": (f"{GOOD}{WINDOW % 'days'}", "mon-", "}]"),
    "unknown keys": (GOOD, "", "".join(f"{'k' * 90}{n}: 1\n" for n in range(1_900))),
    "brackets": ("", "[", ""),
    "keys of keys": ("", "? ", ""),
    "lists of lists": ("", "- ", ""),
    "documents": (GOOD, "---\n", ""),
    "directives": ("", "%a\n", ""),
    "tags": (f"{GOOD}x: ", "!", ""),
    "aliases that unfold to nine to the twelfth": (ALIASES, "", ""),
    "merged mappings that unfold": (MERGES, "", ""),
    "escapes": ('"', "\\x41", '"'),
    "a long query": ("metrics: [{type: prometheus, value: 1, query: '", "(", "'}]"),
    "an object with a long name": ("kind: HorizontalPodAutoscaler\nmetadata: {name: ", "x", "}"),
    "a ScaledObject of many triggers": ("kind: ScaledObject\nspec:\n  triggers:\n", TRIGGER, ""),
    "a list of objects": ("kind: List\nitems: [", "{kind: Deployment},", "]"),
}
READ_ALL = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from autoscaler.adapters.policies.policy_file import read_policy_file
for line in sys.stdin:
    print(json.dumps(read_policy_file(Path(line.rstrip())).messages), flush=True)
"""


def _content(beginning: str, repeated: str, end: str) -> str:
    room = MAX_BYTES - len(beginning) - len(end)
    return beginning + (repeated * (room // len(repeated)) if repeated else "") + end


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is told of each file, as far as the process came."""
    folder = tmp_path_factory.mktemp("policies")
    paths = [folder / f"{number}.yaml" for number, _ in enumerate(FILES)]
    for path, parts in zip(paths, FILES.values(), strict=True):
        path.write_text(_content(*parts))
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input="".join(f"{path}\n" for path in paths),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(FILES, lines, strict=False))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_largest_size_is_refused_in_little_time_and_memory(
    name: str, messages: dict[str, list[str]]
) -> None:
    assert name in messages, "the process ended, out of memory or out of time"
    assert all(line.isprintable() and len(line) < 5_000 for line in messages[name])
    assert messages[name]
