{{ config(materialized='view', post_hook="grant select on {{ this }} to serving") }}
-- One row per patient: the history features that a next stay would have. Read by patient_nbr, through an index.
with

-- Read twice: without `not materialized` Postgres would copy the whole table and use no index.
staged as not materialized (
    select * from {{ ref('stg_uci__encounters') }}
),

published as not materialized (
    select build_id from {{ ref('stg_ops__published_batches') }}
),

stays as (
    select
        patient_nbr, encounter_id, false as is_next, readmitted, length_of_stay_days, admission_type_id,
        n_medications, n_diagnoses, discharge_disposition_id, diagnosis_1,
        n_inpatient_visits, n_emergency_visits, n_lab_procedures
    from staged
    where verdict <> 'quarantined' and _build_id in (select build_id from published)
    union all
    select distinct
        patient_nbr, 9223372036854775807 as encounter_id, true as is_next, null::text, null::integer, null::integer,
        null::integer, null::integer, null::integer, null::text,
        null::integer, null::integer, null::integer
    from staged
    where verdict <> 'quarantined' and _build_id in (select build_id from published)
),

with_history as (
    {{ history('stays') }}
),

final as (
    -- All of them, the contract's or not: a model in production reads those that it was trained with.
    select patient_nbr{% for name in history_expressions() %}, {{ name }}{% endfor %}
    from with_history
    where is_next
)

select * from final
