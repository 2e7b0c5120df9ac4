"""Learning: from a dataset to a model, a table, a report."""
