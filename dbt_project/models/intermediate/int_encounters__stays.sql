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

-- Every version of the rows of the build: a corrected stay may have had another patient before.
own as (
    select _batch_id, _source_row, _build_id, patient_nbr from staged
    where _build_id = (select build_id from build) and verdict <> 'quarantined'
),

touched as (
    select patient_nbr from own
    union distinct
    -- A stay that a correction moves had another patient before.
    select replaced.patient_nbr
    from own
    inner join staged as replaced on own._batch_id = replaced._batch_id and own._source_row = replaced._source_row
    where own._build_id <> own._batch_id and replaced.verdict <> 'quarantined'
),

final as (
    select staged.*, (select build_id from build) as _current_build_id
    from touched
    inner join staged on touched.patient_nbr = staged.patient_nbr
    left join own as replacing
        on staged._batch_id = replacing._batch_id
            and staged._source_row = replacing._source_row
            and staged._build_id <> replacing._build_id
    where
        staged.verdict <> 'quarantined'
        and (
            staged._build_id = (select build_id from build)
            or staged._build_id in (select build_id from published)
        )
        -- Publishing a correction removes what it replaces (ops.publish_build); until then both stand here.
        and replacing._build_id is null
)

select * from final
