"""One real Slurm cluster for the whole test session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.helpers.slurm_cluster import SlurmCluster, missing_requirements


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    missing = missing_requirements()
    if missing:
        reason = f"no Slurm on this machine: {', '.join(missing)} missing; .ci/install.sh installs it (as root)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with SlurmCluster() as cluster:
        yield cluster
