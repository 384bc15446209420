"""The docs site: dbt docs, data docs, data dictionary and model pages."""
