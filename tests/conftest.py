"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import order

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell that has no job control: processes would inherit it and never hear of Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every process of the tests would compile what it imports anew; they are hundreds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

gc.disable()  # what is imported stays: to look through it again and again takes half of the time until the first test

settings.register_profile(
    "meshgen",
    deadline=None,  # tests never measure time
    max_examples=60,
    print_blob=True,  # a failure says how to repeat it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("meshgen")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two a core: half of what the tests do is to wait for processes."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # by how many tests a file has, which says little


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=order.place)


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.Units | None:
    return order.Units(config, log) if config.getoption("dist") == "loadfile" else None
