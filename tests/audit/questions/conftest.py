import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def room() -> ModuleType:
    """The helpers of `sitting.py`: a small sitting, and what every answer has to hold."""
    spec = importlib.util.spec_from_file_location("audit_sitting", Path(__file__).with_name("sitting.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
