"""The list of metrics, the client of the Pushgateway, and logs as JSON lines."""
