{{ config(materialized='ephemeral') }}
-- The rows of the build as text: all rows of a batch as they arrived, or the corrected rows with their new values.
with

build as (
    select * from {{ ref('stg_ops__current_build') }}
),

-- Scalar subqueries are pushed down to the raw database; a join with a local table is not.
arrived as (
    select * from {{ ref('base_raw__encounters') }}
    where _batch_id = (select batch_id from build)
),

batch as (
    select * from {{ ref('base_raw__batches') }}
    where batch_id = (select batch_id from build)
),

corrected as (
    select new_values.*
    from arrived
    inner join {{ ref('stg_ops__corrections') }} as corrections on arrived._source_row = corrections.source_row
    cross join lateral jsonb_populate_record(
        null::{{ landing_row() }}, to_jsonb(arrived) || corrections.corrected
    ) as new_values
    where corrections.build_id = (select build_id from build)
),

built as (
    select * from arrived
    where (select kind from build) = 'batch'
    union all
    select * from corrected
    where (select kind from build) <> 'batch'
),

final as (
    select built.*, built::{{ landing_row() }} as raw_row, build.build_id as _build_id, batch.split
    from built cross join build cross join batch
)

select * from final
