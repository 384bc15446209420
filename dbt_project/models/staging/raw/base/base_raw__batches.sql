{{ config(materialized='ephemeral') }}
select batch_id, split
from {{ source('raw', 'batches') }}
