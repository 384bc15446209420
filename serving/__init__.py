"""The prediction API: serves the production model and follows the registry without a restart."""
