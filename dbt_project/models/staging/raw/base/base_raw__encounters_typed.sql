{{ config(materialized='ephemeral') }}
-- Types and the contract's names; what has no legal type is empty. Nothing is judged here.
with

corrected as (
    select * from {{ ref('base_raw__encounters_corrected') }}
),

final as (
    select
        _build_id, _batch_id, _source_row, split, raw_row,
        {{ whole_number('encounter_id', 'bigint') }} as encounter_id,
        {{ whole_number('patient_nbr', 'bigint') }} as patient_nbr,
        readmitted, change, diabetesmed,
        {% for name, source in text_columns().items() %}{{ "case when " ~ source ~ " in ('?', 'Unknown/Invalid') then 'unknown' else " ~ source ~ " end" }} as {{ name }},
        {% endfor %}
        {% for name, source in number_columns().items() %}{{ whole_number(source) }} as {{ name }},
        {% endfor %}
        {% for name in code_columns() %}{{ whole_number(name) }} as {{ name }},
        {% endfor %}
        {% for name, source in diagnosis_columns().items() %}{{ icd9(source) }} as {{ name }},
        {% endfor %}
        {% for drug in drug_columns() %}{{ drug }},
        {% endfor %}
        {% for name, flag in flag_columns().items() %}{{ flag[0] }} = '{{ flag[1] }}' as {{ name }},
        {% endfor %}
        row_number() over (partition by encounter_id order by _source_row) as nth_copy
    from corrected
)

select * from final
