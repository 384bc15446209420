{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    pre_hook="{% if is_incremental() %}delete from {{ this }} where _build_id = (select build_id from ops.current_build){% endif %}",
    post_hook=[
        "create unique index if not exists stg_encounters_once on {{ this }} (_build_id, _source_row)",
        "drop index if exists {{ this.schema }}.stg_encounters_build",
        "create index if not exists stg_encounters_patient on {{ this }} (patient_nbr)",
        "create index if not exists stg_encounters_encounter on {{ this }} (encounter_id)",
        "create index if not exists stg_encounters_row on {{ this }} (_batch_id, _source_row)",
        "create index if not exists stg_encounters_quarantined on {{ this }} (_batch_id) where verdict = 'quarantined'",
        "analyze {{ this }} (_build_id, _batch_id, _source_row, encounter_id, patient_nbr, verdict)"
    ]
) }}
-- One row per raw row of a build with its verdict. The rules for rows stand here and nowhere else.
with

typed as (
    select * from {{ ref('base_raw__encounters_typed') }}
),

published as (
    select build_id from {{ ref('stg_ops__published_batches') }}
),

-- Reasons name columns as the file does: that is where they are corrected.
judged as (
    select
        typed.*,
        array_remove(array[
            case when (typed.encounter_id > 0) is not true then 'encounter_id is not a number' end,
            case when (typed.patient_nbr > 0) is not true then 'patient_nbr is not a number' end,
            case when typed.encounter_id is not null and typed.nth_copy > 1 then 'encounter_id stands twice in the batch' end,
            case when exists (
                select 1 from {{ this if is_incremental() else '(select null::bigint as encounter_id, null::text as verdict, null::text as _build_id, null::text as _batch_id, null::bigint as _source_row where false)' }} as known
                inner join published on known._build_id = published.build_id
                where
                    known.encounter_id = typed.encounter_id
                    and known.verdict <> 'quarantined'
                    -- A correction of a published row takes its place.
                    and (known._batch_id, known._source_row) <> (typed._batch_id, typed._source_row)
            ) then 'encounter_id is published already' end,
            {% for name, column in text_columns().items() %}case when ({{ is_allowed('typed.' ~ name, name) }}) is not true then '{{ column }} is not a known value' end,
            {% endfor %}
            {% for drug in drug_columns() %}case when ({{ is_allowed('typed.' ~ drug, drug) }}) is not true then '{{ drug }} is not a known value' end,
            {% endfor %}
            {% for name, column in number_columns().items() %}case when {{ when_outside(name) }} then '{{ column }} is not a number in range' end,
            {% endfor %}
            {% for name in code_columns() %}case when {{ name }}_seed.code is null then '{{ name }} is not a known code' end,
            {% endfor %}
            {% for i in (1, 2, 3) %}case when icd{{ i }}.code is null then 'diag_{{ i }} is not a known code' end,
            {% endfor %}
            case when (typed.change in ('Ch', 'No')) is not true then 'change is not a known value' end,
            case when (typed.readmitted in ('NO', '<30', '>30')) is not true then 'readmitted is not a known value' end,
            case when typed.diabetesmed is distinct from case when {% for drug in drug_columns() %}typed.{{ drug }} <> 'No'{{ " or " if not loop.last }}{% endfor %} then 'Yes' else 'No' end
                then 'diabetesMed contradicts the drugs' end
        ], null) as reasons,
        discharge_disposition_id_seed.is_excluded
    from typed
    {% for name, seed in code_columns().items() %}
    left join {{ ref(seed) }} as {{ name }}_seed on typed.{{ name }} = {{ name }}_seed.code
    {% endfor %}
    {% for i in (1, 2, 3) %}
    left join {{ ref('icd9_codes') }} as icd{{ i }} on typed.diagnosis_{{ i }} = icd{{ i }}.code
    {% endfor %}
),

final as (
    select
        _build_id, _batch_id, _source_row, split, encounter_id, patient_nbr, readmitted,
        case when reasons <> '{}' then 'quarantined' when is_excluded then 'excluded' else 'valid' end as verdict,
        case when reasons <> '{}' then array_to_string(reasons, '; ') when is_excluded then 'expired or hospice' end
            as reason,
        case when reasons <> '{}' then to_jsonb(raw_row) end as raw_values,
        {% for name in text_columns() %}{{ name }}, {% endfor %}
        {% for name in number_columns() %}{{ name }}, {% endfor %}
        {% for name in code_columns() %}{{ name }}, {% endfor %}
        {% for drug in drug_columns() %}{{ drug }}, {% endfor %}
        diagnosis_1, diagnosis_2, diagnosis_3, is_medication_changed
    from judged
)

select * from final
