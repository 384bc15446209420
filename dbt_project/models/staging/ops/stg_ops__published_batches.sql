{{ config(materialized='ephemeral') }}
select build_id
from {{ source('ops', 'published_batches') }}
