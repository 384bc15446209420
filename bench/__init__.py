"""The measured figures: each module here measures some of those that DESIGN names; `python -m bench` runs them."""
