"""The prediction API: serves the production model of the registry and follows it without a
restart.
"""
