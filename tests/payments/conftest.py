"""An engine between fakes, and somebody who submits to it."""

import pytest

from tests.fakes.engine import World
from tests.fakes.outbound import Heard


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def heard() -> Heard:
    return Heard()
