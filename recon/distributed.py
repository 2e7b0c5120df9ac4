"""
The ranks of one training: how a process learns which one it is, and how they act as one.

It works under submitit, `srun`, `torchrun` and alone. Ranks find each other through a TCP store on the first node,
whose port changes with each attempt of a job, so that a requeued one never meets what is left of the one before.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

from recon.heartbeat import heartbeat

if TYPE_CHECKING:
    import torch

_JOIN_TIMEOUT = timedelta(minutes=10)
"""How long the first ranks wait for the last one to start."""

_STEP_TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others in one operation, the evaluation of an epoch included."""

_FAILURE_KEY = "failure"
_CONTACT_LOST = re.compile("gloo|nccl|peer|socket|connection", re.IGNORECASE)


class LostRankError(RuntimeError):
    """Another rank was killed, or its node was lost; this one cannot go on alone."""


class OtherRankError(RuntimeError):
    """Another rank failed; the message is what it said."""


@dataclass(frozen=True)
class Place:
    """Which rank this process is, and where it meets the others."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank among those of this node: it decides which of the node's GPUs is used."""
    host: str = ""
    port: int = 0
    has_store: bool = False
    """Whether this process keeps the store through which the ranks meet."""
    attempt: str = "0"
    """Ranks of different attempts of one job do not meet, whatever is left of the one before."""


def place_in(environment: Mapping[str, str]) -> Place:
    """Return this process's place among the ranks, as the environment of whatever started it says."""
    if "TORCHELASTIC_RUN_ID" in environment:  # torchrun
        return Place(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            host=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
            has_store=environment["RANK"] == "0" and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
            attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )
    if "SUBMITIT_LOCAL_GLOBALID" in environment:
        return Place(
            rank=int(environment["SUBMITIT_LOCAL_GLOBALID"]),
            size=int(environment["SUBMITIT_LOCAL_NTASKS"]),
            local_rank=int(environment["SUBMITIT_LOCAL_LOCALID"]),
            host="127.0.0.1",
            port=_port(environment["SUBMITIT_LOCAL_JOB_ID"]),
            has_store=environment["SUBMITIT_LOCAL_GLOBALID"] == "0",
        )
    # Only in a step are there ranks: a batch script has the job's other variables too.
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        attempt = environment.get("SLURM_RESTART_COUNT", "0")
        return Place(
            rank=int(environment["SLURM_PROCID"]),
            size=int(environment["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(environment["SLURM_LOCALID"]),
            host=first_host(environment["SLURM_STEP_NODELIST"]),
            port=_port(environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"], attempt),
            has_store=environment["SLURM_PROCID"] == "0",
            attempt=attempt,
        )
    return Place()


def first_host(node_list: str) -> str:
    """Return the first node of a list in Slurm's form, such as `gpu[003-005,9],other1`."""
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", node_list).split(",")[0]


def _port(*key: str) -> int:
    """Return a port below those that Linux gives out by itself, the same for all ranks of one attempt."""
    return 12000 + crc32(" ".join(key).encode()) % 20000


@dataclass(frozen=True)
class Ranks:
    """The ranks that train together; alone, every operation returns at once."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: Any = field(default=None, repr=False, compare=False)
    """torch's store through which the ranks met; None alone"""

    @property
    def is_main(self) -> bool:
        """Whether this rank is the one that writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all ranks; each gives as many values."""
        if self.size == 1:
            return list(values)
        import torch
        from torch import distributed

        summed = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(summed)
        return summed.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Return what every rank gave, by rank, on all of them."""
        if self.size == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def claimed(self, num_items: int, name: str) -> Iterator[int]:
        """
        Yield the items that this rank takes, each taken by one rank only; a rank that is done sooner takes more.

        `name` is that of the work, used once: its counter is never set back.
        """
        if self.size == 1:
            yield from range(num_items)
            return
        while (item := self.store.add(f"claimed {name}", 1) - 1) < num_items:
            yield item

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.sum([0.0])


@contextmanager
def joined_ranks(place: Place, device: "torch.device") -> Iterator[Ranks]:
    """
    Join the other ranks while the block works; gloo carries what lies in host memory, NCCL what lies on GPUs.

    Raises
    ------
    OtherRankError, LostRankError
        The block failed here only because another rank failed or vanished. A rank's own error is raised as it is.
    """
    if place.size == 1:
        yield Ranks()
        return
    from torch import distributed

    store: Any = distributed.TCPStore(place.host, place.port, place.size, place.has_store, timeout=_JOIN_TIMEOUT)
    store = distributed.PrefixStore(f"attempt {place.attempt}", store)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=distributed.PrefixStore("ranks", store),
        rank=place.rank,
        world_size=place.size,
        timeout=_STEP_TIMEOUT,
    )
    try:
        # A connection of its own: what another thread waits for in the store does not stop the beat.
        with heartbeat(distributed.PrefixStore("heartbeat", store.clone()), place.rank, place.size):
            yield Ranks(place.rank, place.size, place.local_rank, store)
    except Exception as error:
        _raise_if_of_another_rank(store, place, error)
        raise
    finally:
        distributed.destroy_process_group()


def _raise_if_of_another_rank(store: Any, place: Place, error: Exception) -> None:
    """Let the first rank that fails leave its error for the others, which fail because it is gone."""
    mine = f"rank {place.rank} of {place.size}: {type(error).__name__}: {error}"
    is_lost_contact = isinstance(error, RuntimeError) and _CONTACT_LOST.search(str(error)) is not None
    try:
        first = mine if is_lost_contact and not store.check([_FAILURE_KEY]) else _claim(store, mine)
    except RuntimeError:  # the store has gone with its rank
        first = mine
    if first != mine:
        raise OtherRankError(f"stopped because of {first}") from error
    if is_lost_contact:
        raise LostRankError(
            f"rank {place.rank} of {place.size} lost contact with another rank, which was killed or lost its node; "
            "the last snapshot is whole, and the same command continues from it"
        ) from error


def _claim(store: Any, message: str) -> str:
    return store.compare_set(_FAILURE_KEY, "", message).decode()
