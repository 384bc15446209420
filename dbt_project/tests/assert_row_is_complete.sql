-- A row here means: a feature row of the build lacks its batch, its patient or its label, so training would lose it.
select encounter_id
from {{ ref('int_encounters__features') }}
where
    _build_id = (select build_id from {{ ref('stg_ops__current_build') }})
    and (_batch_id is null or patient_nbr is null or split is null or is_readmitted_30d is null)
