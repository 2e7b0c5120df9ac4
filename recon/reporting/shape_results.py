"""What recon.evaluate --out wrote, read for pictures and for the report."""

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from recon.shapes.shape_score import ShapeScore
from recon.shapes.shape_tables import CalibrationRow, ShapeRow

T = TypeVar("T")

SHOWN = ("best", "median", "worst")


def read_table(table: Path) -> list[ShapeRow]:
    """Return the rows of the table; ValueError where it is none."""
    return _typed_rows(table, ShapeRow)


def read_scores(table: Path) -> list[ShapeScore]:
    """Return the scores of each protein, which lie beside the table."""
    return _typed_rows(beside(table, "per_protein"), ShapeScore)


def read_calibration(table: Path) -> list[CalibrationRow]:
    """Return the bins of probability, which lie beside the table."""
    return _typed_rows(beside(table, "calibration"), CalibrationRow)


def num_failures(table: Path) -> int:
    """Return how many proteins are in no row."""
    with beside(table, "failures").open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def beside(table: Path, name: str, suffix: str = ".csv") -> Path:
    """Return the path of a file that lies beside the table."""
    return table.with_name(f"{table.stem}_{name}{suffix}")


def _typed_rows(path: Path, row_class: type[T]) -> list[T]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns: dict[str, Any] = {field.name: field.type for field in fields(row_class)}  # type: ignore[arg-type]
        if missing := sorted(columns.keys() - set(reader.fieldnames or ())):
            raise ValueError(
                f"expected the column {missing[0]} in {path}, found none; write the table with python -m "
                "recon.evaluate --out of this version"
            )
        return [row_class(**{name: kind(row[name]) for name, kind in columns.items()}) for row in reader]
