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
        "analyze {{ this }}"
    ]
) }}
-- depends_on: {{ ref('icd9_codes') }}, {{ ref('admission_types') }}, {{ ref('admission_sources') }}
-- depends_on: {{ ref('discharge_dispositions') }}
-- One row per eligible stay and build: all stays of every patient that the current build touches.
with

build as (
    select build_id from {{ source('ops', 'current_build') }}
),

-- Read twice: without `not materialized` Postgres would copy the whole table and use no index.
staged as not materialized (
    select * from {{ ref('stg_uci__encounters') }}
),

published as not materialized (
    select build_id from {{ source('ops', 'published_batches') }}
),

touched as (
    select distinct patient_nbr from staged
    where _build_id = (select build_id from build) and verdict <> 'quarantined'
),

stays as (
    select staged.* from touched
    inner join staged on touched.patient_nbr = staged.patient_nbr
    where
        staged.verdict <> 'quarantined'
        and (
            staged._build_id = (select build_id from build)
            or staged._build_id in (select build_id from published)
        )
),

with_history as (
    {{ history('stays') }}
),

final as (
    select
        (select build_id from build) as _build_id,
        with_history.encounter_id,
        with_history.patient_nbr,
        with_history.split,
        with_history._batch_id,
        with_history.readmitted = '<30' as is_readmitted_30d,
        {% for name in contract_columns(['input', 'history']) %}with_history.{{ name }},
        {% endfor %}
        {% for name in contract_columns(['derived']) %}({{ derive(name, 'with_history') }})::{{ contract_nodes()[name].data_type }} as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from with_history
    {{ derive_joins('with_history') }}
    where with_history.verdict = 'valid'
)

select * from final
