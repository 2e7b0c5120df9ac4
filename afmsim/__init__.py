"""Virtual AFM: from structure files to a dataset of occupancy grids and height maps."""
