"""Changes of our own tables: `<database>/<number>_<name>.sql`, numbered from 0001, one transaction
each. `readmit.ops.schema_versions` applies each file once; a file that was released stays as it is.
"""
