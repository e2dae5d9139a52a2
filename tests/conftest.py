"""Settings for all tests."""

import os

# Before torch is loaded: its threads must not spin while they wait, two test processes share
# the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# The machines that run the tests are shared; how long one example takes says nothing.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")
