"""Virtual AFM: from structure files to a dataset of occupancy grids and height maps."""

import hpc  # noqa: F401  before the first OpenMP runtime, whose threads it makes wait quietly
