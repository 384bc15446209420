{{ config(materialized='ephemeral') }}
select build_id
from {{ source('ops', 'rebuilt_builds') if var('schema_suffix', '') else source('ops', 'published_batches') }}
