"""Run a command (a shell, without one) beside a real two-node Slurm cluster that lives as long as the command.

python -m tests.helpers.slurm_shell [COMMAND ...]
"""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.slurm_cluster import SlurmCluster, missing_requirements


def main(command: list[str]) -> int:
    """Start the cluster, run the command with `SLURM_CONF` set, and return its exit status."""
    missing = missing_requirements()
    if missing:
        sys.stderr.write(f"no Slurm here: {', '.join(missing)} missing; as root, .ci/install.sh installs it\n")
        return 3
    with SlurmCluster() as cluster:
        return subprocess.run(command or ["bash"], env=cluster.env).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
