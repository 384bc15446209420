"""DDL of the databases `raw` and `clean`, kept as plain SQL and applied by
`readmit.ops.bootstrap`.
"""
