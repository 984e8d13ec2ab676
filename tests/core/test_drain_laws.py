"""Laws of shrinking: whatever happens to the cluster, its users, and the daemon itself.

The real Controller runs on a cluster in memory that keeps count of what must never happen.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.drain.happenings import Histories
from tests.drain.histories import STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=300, stateful_step_count=STEPS, deadline=None)
