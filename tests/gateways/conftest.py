"""Property tests try the same examples in every run: a red one is red for everybody."""

from hypothesis import settings

settings.register_profile("same-every-time", derandomize=True, deadline=None, database=None, max_examples=200)
settings.load_profile("same-every-time")
