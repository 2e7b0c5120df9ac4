"""Orientations and offsets of views: search, joint refinement, what they are compared with."""
