-- A row here means: rows of the batch were lost or doubled between RAW and staging.
with

build as (
    select batch_id, build_id from {{ ref('stg_ops__current_build') }} where kind = 'batch'
),

in_raw as (
    select count(*) as n_rows from {{ source('raw', 'encounters') }}
    where _batch_id = (select batch_id from {{ ref('stg_ops__current_build') }})
),

in_staging as (
    select count(*) as n_rows from {{ ref('stg_uci__encounters') }}
    where _build_id = (select build_id from {{ ref('stg_ops__current_build') }})
)

select in_raw.n_rows as n_raw, in_staging.n_rows as n_staging
from build cross join in_raw cross join in_staging
where in_raw.n_rows <> in_staging.n_rows
