-- A row here means: `is_on_diabetes_medication`, derived from the drugs, contradicts diabetesMed as the file has it.
with

build as (
    select batch_id, build_id from {{ ref('stg_ops__current_build') }} where kind = 'batch'
),

in_file as (
    select _source_row, diabetesmed from {{ source('raw', 'encounters') }}
    where _batch_id = (select batch_id from {{ ref('stg_ops__current_build') }})
),

-- Both names: with the build's alone, each row would be looked for in every batch of the index of rows.
valid as (
    select encounter_id, _source_row from {{ ref('stg_uci__encounters') }}
    where verdict = 'valid' and _build_id = (select build_id from build) and _batch_id = (select batch_id from build)
),

features as (
    select encounter_id, is_on_diabetes_medication from {{ ref('int_encounters__features') }}
    where _build_id = (select build_id from build) and _batch_id = (select batch_id from build)
)

select features.encounter_id
from features
inner join valid on features.encounter_id = valid.encounter_id
inner join in_file on valid._source_row = in_file._source_row
where features.is_on_diabetes_medication <> (in_file.diabetesmed = 'Yes')
