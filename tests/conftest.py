"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "meshgen",
    deadline=None,  # tests never measure time
    max_examples=60,
    print_blob=True,  # a failure says how to repeat it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("meshgen")
