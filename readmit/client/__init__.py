"""The client of the prediction API."""
