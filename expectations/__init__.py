"""The gates: Great Expectations on what arrived and on what will be published."""
