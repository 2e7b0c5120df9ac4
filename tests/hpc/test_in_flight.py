"""Tasks in flight: in turn on the CPU, on streams of their own on a GPU."""

import numpy as np
import pytest

from hpc.in_flight import NUM_STREAMS, tasks_in_flight


def test_on_the_cpu_tasks_run_in_turn_and_keep_their_errors() -> None:
    order: list[int] = []
    with tasks_in_flight(np) as computing:
        tasks = [computing.submit(order.append, number) for number in range(5)]
        failed = computing.submit(int, "no number")
        assert order == list(range(5))
    assert all(task.result() is None for task in tasks)
    with pytest.raises(ValueError, match="no number"):
        failed.result()


@pytest.mark.gpu
def test_on_a_gpu_each_thread_has_a_stream_of_its_own() -> None:
    import cupy

    def sum_on_own_stream(number: int) -> tuple[int, float]:
        total = float(cupy.arange(1000, dtype=cupy.float64).sum() * number)
        return cupy.cuda.get_current_stream().ptr, total

    with tasks_in_flight(cupy) as computing:
        results = [task.result() for task in [computing.submit(sum_on_own_stream, number) for number in range(40)]]
    assert [total for _, total in results] == [499500.0 * number for number in range(40)]
    streams = {stream for stream, _ in results}
    assert 1 <= len(streams) <= NUM_STREAMS
    assert cupy.cuda.Stream.null.ptr not in streams


@pytest.mark.gpu
def test_device_memory_beyond_the_limit_is_refused() -> None:
    import cupy

    from hpc.array_backend import array_module

    try:
        assert array_module("gpu", memory_limit_gb=0.1) is cupy
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.zeros(int(2e8), dtype=cupy.uint8)
    finally:
        cupy.get_default_memory_pool().set_limit(size=0)
