"""From a source file to batches: download, checks, split and slices."""
