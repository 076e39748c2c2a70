"""How hard Hypothesis tries: `HYPOTHESIS_PROFILE` is dev, ci (the default under CI) or deep."""

import os

from hypothesis import settings

# No deadline for one example: the machine is shared with the servers under test.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("deep", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
