"""Ranks, devices, kernels, files, stores, jobs: everything that knows no protein and no network."""
