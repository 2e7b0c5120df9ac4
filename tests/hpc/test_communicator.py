import pytest

from hpc.communicator import RankCountError, SerialCommunicator, check_rank_count, on_main_rank
from tests.helpers.ranks import run_ranks

COUNT = """
import sys
from hpc.communicator import open_communicator
communicator = open_communicator()
counters = communicator.shared_counters(2)
claimed = []
while (number := counters.add(0, 1)) < 200:
    claimed.append(number)
counters.add(1, len(claimed))
everything = communicator.gather(claimed)
total = counters.add(1, 0)
communicator.barrier()
counters.close()
if communicator.rank == 0:
    assert sorted(sum(everything, [])) == list(range(200)), everything
    sys.stdout.write(f"{communicator.size} ranks, local size {communicator.local_size}\\n")
"""

RAISE_ON_MAIN = """
import sys
from hpc.communicator import on_main_rank, open_communicator
communicator = open_communicator()
def refuse():
    raise ValueError("no such folder")
try:
    on_main_rank(communicator, refuse)
except ValueError as error:
    sys.stdout.write(f"rank {communicator.rank}: {error}\\n")
"""


@pytest.mark.mpi
@pytest.mark.parametrize("num_ranks", [0, 1, 2, 4])
def test_every_number_is_claimed_by_exactly_one_rank(num_ranks: int) -> None:
    result = run_ranks(num_ranks, "-c", COUNT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{max(num_ranks, 1)} ranks, local size {max(num_ranks, 1)}"


@pytest.mark.mpi
def test_an_error_on_rank_0_is_raised_on_all_ranks() -> None:
    result = run_ranks(3, "-c", RAISE_ON_MAIN)
    assert sorted(result.stdout.splitlines()) == [f"rank {rank}: no such folder" for rank in range(3)]


def test_a_result_on_the_main_rank_is_everyones() -> None:
    assert on_main_rank(SerialCommunicator(), lambda: 42) == 42


def test_a_plugin_that_makes_every_task_rank_0_of_1_is_refused() -> None:
    under_srun = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}
    with pytest.raises(RankCountError, match="srun started 8 tasks, but MPI sees 1"):
        check_rank_count(1, under_srun)
    check_rank_count(8, under_srun)


def test_ranks_of_mpiexec_inside_a_job_are_not_counted_against_slurm() -> None:
    check_rank_count(4, {"SLURM_NTASKS": "1"})
    check_rank_count(4, {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "HYDI_CONTROL_FD": "5"})
