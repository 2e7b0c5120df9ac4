"""Learning: from a dataset to a model, a table, a report."""

import hpc  # noqa: F401  before the first OpenMP runtime, whose threads it makes wait quietly
