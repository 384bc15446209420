-- A row here means: a valid row of the build is not in the features exactly once, or a row that is not valid is.
with

build as (
    select batch_id, build_id from {{ ref('stg_ops__current_build') }}
),

valid as (
    select encounter_id from {{ ref('stg_uci__encounters') }}
    where verdict = 'valid' and _build_id = (select build_id from build)
),

features as (
    select encounter_id, patient_nbr from {{ ref('int_encounters__features') }}
    where _build_id = (select build_id from build) and _batch_id = (select batch_id from build)
)

select coalesce(valid.encounter_id, features.encounter_id) as encounter_id
from valid
full join features on valid.encounter_id = features.encounter_id
cross join (select kind from {{ ref('stg_ops__current_build') }}) as current_kind
where valid.encounter_id is null and current_kind.kind = 'batch' or features.encounter_id is null
