"""Views, functions, triggers and rights of the databases `raw` and `clean`, as plain SQL.
`readmit.ops.bootstrap` runs both files at each set-up, after the migrations.
"""
