"""Hypothesis without a deadline: a busy machine is no fault of the example."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
