"""The one contract: what a feature is, and how a derived one is computed."""
