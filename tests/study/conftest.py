"""A study that ran undisturbed."""

import pytest
from tests.study.small import plan, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "undisturbed"
    run(plan(), folder, workers=1)
    return folder
