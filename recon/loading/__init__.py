"""From a dataset to batches on the network's device."""
