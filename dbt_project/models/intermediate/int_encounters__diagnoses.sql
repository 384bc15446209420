{{ config(materialized='ephemeral') }}
-- depends_on: {{ ref('icd9_codes') }}
-- Eligible stays with the groups and sections of their diagnoses, after the ICD-9 code table.
with

stays as (
    select * from {{ ref('int_encounters__history') }}
    where verdict = 'valid'
),

final as (
    select
        {% for name in lookup_columns(['icd9_codes']) %}({{ derive(name, 'stays') }})::{{ contract_nodes()[name].data_type }} as {{ name }},
        {% endfor %}
        stays.*
    from stays
    {{ derive_joins('stays', ['icd9_codes']) }}
)

select * from final
