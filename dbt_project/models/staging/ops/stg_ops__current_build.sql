{{ config(materialized='ephemeral') }}
select build_id, batch_id, kind
from {{ source('ops', 'current_build') }}
