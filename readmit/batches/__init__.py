"""The life of a batch: claims, loading, builds, verdicts, corrections and the ledger."""
