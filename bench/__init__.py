"""The measured figures and their goals: each module measures some of them.

`python -m bench` runs them.
"""
