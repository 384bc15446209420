"""Metrics, the Pushgateway and JSON logs."""
