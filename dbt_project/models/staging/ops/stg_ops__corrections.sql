{{ config(materialized='ephemeral') }}
select batch_id, source_row, corrected, released_by, released_at, build_id
from {{ source('ops', 'corrections') }}
