{{ config(materialized='ephemeral') }}
-- A rebuild takes the rows that its build took the first time.
select
    build_id, batch_id,
    case when kind <> 'rebuild' then kind when build_id = batch_id then 'batch' else 'correction' end as kind
from {{ source('ops', 'current_build') }}
