{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    pre_hook="{% if is_incremental() %}delete from {{ this }} where _build_id = (select build_id from ops.current_build){% endif %}",
    post_hook=[
        "create unique index if not exists int_features_key on {{ this }} (encounter_id, _build_id)",
        "create index if not exists int_features_patient on {{ this }} (patient_nbr)",
        "create index if not exists int_features_build on {{ this }} (_build_id)",
        "create index if not exists int_features_batch on {{ this }} (_batch_id)",
        "analyze {{ this }} (_build_id, _batch_id, encounter_id, patient_nbr, split)"
    ]
) }}
-- depends_on: {{ ref('admission_types') }}, {{ ref('admission_sources') }}, {{ ref('discharge_dispositions') }}
-- One row per eligible stay and build: all stays of every patient that the current build touches.
with

stays as (
    select * from {{ ref('int_encounters__diagnoses') }}
),

final as (
    select
        stays._current_build_id as _build_id,
        stays.encounter_id,
        stays.patient_nbr,
        stays.split,
        stays._batch_id,
        stays.readmitted = '<30' as is_readmitted_30d,
        {% set diagnoses = lookup_columns(['icd9_codes']) -%}
        {% for name in contract_columns(['input', 'history']) %}stays.{{ name }},
        {% endfor %}
        {% for name in contract_columns(['derived']) %}{{ "stays." ~ name if name in diagnoses else "(" ~ derive(name, 'stays') ~ ")::" ~ contract_nodes()[name].data_type }} as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from stays
    {{ derive_joins('stays', ['admission_types', 'admission_sources', 'discharge_dispositions']) }}
)

select * from final
