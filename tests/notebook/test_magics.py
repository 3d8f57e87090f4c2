"""The magics in a real shell, on a real source and a real target."""

from __future__ import annotations

import re

import pytest

from hwm_magics.errors import ConfigError, HwmError
from hwm_magics.jobs.load_job import LoadJob

