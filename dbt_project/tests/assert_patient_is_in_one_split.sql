-- A row here means: a patient of this build stands in two splits, so test rows would leak into training.
select patient_nbr
from {{ ref('int_encounters__features') }}
where _build_id = (select build_id from {{ ref('stg_ops__current_build') }})
group by patient_nbr
having count(distinct split) > 1
