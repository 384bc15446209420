{{ config(materialized='ephemeral') }}
-- All stays of every patient that the build touches: its own rows and published ones, excluded ones too.
with

build as (
    select build_id from {{ ref('stg_ops__current_build') }}
),

-- Read twice: without `not materialized` Postgres would copy the whole table and use no index.
staged as not materialized (
    select * from {{ ref('stg_uci__encounters') }}
),

published as not materialized (
    select build_id from {{ ref('stg_ops__published_batches') }}
),

touched as (
    select distinct patient_nbr from staged
    where _build_id = (select build_id from build) and verdict <> 'quarantined'
),

final as (
    select staged.*, (select build_id from build) as _current_build_id
    from touched
    inner join staged on touched.patient_nbr = staged.patient_nbr
    where
        staged.verdict <> 'quarantined'
        and (
            staged._build_id = (select build_id from build)
            or staged._build_id in (select build_id from published)
        )
)

select * from final
