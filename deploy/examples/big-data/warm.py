"""Before the first user: `panel serve --setup` runs this in every process."""

import logging

from big_data.problem import Problem
from big_data.store import MEASURES, store

try:
    store().warm(MEASURES.values())
except Problem as problem:
    logging.getLogger(__name__).warning("%s", problem)  # the page says it too, and tries again
