"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell that has no job control: processes would inherit it and never hear of Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "meshgen",
    deadline=None,  # tests never measure time
    max_examples=60,
    print_blob=True,  # a failure says how to repeat it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("meshgen")
