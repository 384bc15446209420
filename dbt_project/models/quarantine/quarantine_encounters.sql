{{ config(materialized='view', alias='encounters') }}
-- One row per raw row that broke a rule: its raw values, the reasons, and what became of it.
with

-- Read twice: without `not materialized` Postgres would copy the whole table and use no index.
staged as not materialized (
    select * from {{ ref('stg_uci__encounters') }}
),

published as not materialized (
    select build_id from {{ ref('stg_ops__published_batches') }}
),

corrections as (
    select * from {{ ref('stg_ops__corrections') }}
),

refused as (
    select distinct on (_batch_id, _source_row) * from staged
    where verdict = 'quarantined' and _build_id = _batch_id
    order by _batch_id, _source_row
),

released as (
    select staged._batch_id, staged._source_row, corrections.released_at, corrections.released_by, corrections.corrected
    from staged
    inner join published on staged._build_id = published.build_id
    inner join corrections
        on staged._build_id = corrections.build_id and staged._source_row = corrections.source_row
    where staged.verdict <> 'quarantined'
),

final as (
    select
        refused._batch_id, refused._source_row, refused._build_id, refused.encounter_id, refused.patient_nbr,
        refused.reason, refused.raw_values, released.released_at, released.released_by, released.corrected
    from refused
    left join released on refused._batch_id = released._batch_id and refused._source_row = released._source_row
)

select * from final
