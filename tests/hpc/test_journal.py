from pathlib import Path

from hpc.journal import Journal, read_journals


def test_entries_come_back_in_the_order_of_runs(tmp_path: Path) -> None:
    for run, number in (("002", 2), ("001", 1)):
        with Journal(tmp_path / run / "rank_0000.jsonl") as journal:
            journal.append({"number": number})
    assert [entry["number"] for entry in read_journals(tmp_path)] == [1, 2]


def test_an_entry_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "001" / "rank_0000.jsonl")
    journal.append({"shard": 7})
    assert list(read_journals(tmp_path)) == [{"shard": 7}]
    journal.close()


def test_a_torn_last_line_is_passed_over_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "001" / "rank_0000.jsonl"
    with Journal(path) as journal:
        journal.append({"shard": 0, "rows": [1, 2, 3]})
        first_length = path.stat().st_size
        journal.append({"shard": 1, "rows": [4, 5, 6]})
    whole = path.read_bytes()
    for length in range(first_length, len(whole) - 2):
        path.write_bytes(whole[:length])
        assert [entry["shard"] for entry in read_journals(tmp_path)] == [0]
