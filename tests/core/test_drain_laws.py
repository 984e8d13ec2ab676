"""Laws of shrinking: whatever happens to the cluster, its users, and the daemon itself.

The real Controller runs on a cluster in memory that keeps count of what must never happen.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.drain.happenings import Histories
from tests.drain.histories import STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
HISTORIES = 100  # new ones in every run; `python -m tests.drain.histories` makes 2,000
TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None)
