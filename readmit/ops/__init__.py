"""Set-up, backup and readiness of the services."""
