"""From a request to a probability, without pandas and scikit-learn."""
