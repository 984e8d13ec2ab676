"""Build every image that the tests on a node need, where this machine can have a node.

`python -m tests.lab.node_images` does so outside of the node, whose network reaches no package
index. It says in one line why there can be no node, and exits with 0 then.
"""

from __future__ import annotations

import sys

from tests.lab.build import COREDNS, KUBERNETES, NODE, build
from tests.lab.go import BuildError
from tests.lab.images import EXAMPLES, our_image, pause_image
from tests.lab.real_node import problem
from tests.lab.stack import archives


def main() -> int:
    try:
        if reason := problem():
            raise BuildError(reason)
        for component in (KUBERNETES, NODE, COREDNS):
            build(component)
    except BuildError as error:
        print(f"NO KUBERNETES NODE: {error}; SKIPPED: its images", file=sys.stderr)
        return 0
    try:
        print(pause_image(), *archives(), *map(our_image, EXAMPLES), sep="\n")
    except BuildError as error:  # ours to mend, so nothing to skip for
        print(f"NO IMAGES for the node: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
