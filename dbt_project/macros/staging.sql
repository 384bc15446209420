{# The row type of RAW as `clean` sees it. Not source(): a unit test puts a CTE there, which is no type. #}
{% macro landing_row() %}raw.encounters{% endmacro %}

{#
The macros *_columns name the columns of the file that the contract's inputs are typed from. They are literals, and the
contract takes them from here (readmit.contract.definition): the API and the form read a file by the same names.
#}

{# The file's name of each categorical feature that is taken over as it stands ('?' becomes unknown). #}
{% macro text_columns() %}
    {{ return({
        "race": "race", "gender": "gender", "age_band": "age", "weight_band": "weight", "payer_code": "payer_code",
        "medical_specialty": "medical_specialty", "max_glucose_serum": "max_glu_serum", "a1c_result": "a1cresult"
    }) }}
{% endmacro %}

{% macro number_columns() %}
    {{ return({
        "length_of_stay_days": "time_in_hospital", "n_lab_procedures": "num_lab_procedures",
        "n_procedures": "num_procedures", "n_medications": "num_medications",
        "n_outpatient_visits": "number_outpatient", "n_emergency_visits": "number_emergency",
        "n_inpatient_visits": "number_inpatient", "n_diagnoses": "number_diagnoses"
    }) }}
{% endmacro %}

{# A flag and the column of the file, with the value that says yes and the one that says no. #}
{% macro flag_columns() %}
    {{ return({"is_medication_changed": ["change", "Ch", "No"]}) }}
{% endmacro %}

{% macro diagnosis_columns() %}
    {{ return({"diagnosis_1": "diag_1", "diagnosis_2": "diag_2", "diagnosis_3": "diag_3"}) }}
{% endmacro %}

{% macro code_columns() %}
    {{ return({
        "admission_type_id": "admission_types", "discharge_disposition_id": "discharge_dispositions",
        "admission_source_id": "admission_sources"
    }) }}
{% endmacro %}

{% macro drug_columns() %}
    {{ return([
        "metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide", "glipizide",
        "glyburide", "tolbutamide", "pioglitazone", "rosiglitazone", "acarbose", "miglitol", "troglitazone",
        "tolazamide", "examide", "citoglipton", "insulin", "glyburide_metformin", "glipizide_metformin",
        "glimepiride_pioglitazone", "metformin_rosiglitazone", "metformin_pioglitazone"
    ]) }}
{% endmacro %}

{# A whole number of as many digits as its type always holds, or null. #}
{% macro whole_number(column, type="integer") -%}
    {%- set digits = {"integer": 9, "bigint": 18}[type] -%}
    case when {{ column }} ~ '^[0-9]{1,{{ digits }}}$' then {{ column }}::{{ type }} end
{%- endmacro %}

{# ICD-9 as the code table writes it: 8 is 008, 250.1 is 250.10 (the file lost zeros); ? is unknown. #}
{% macro icd9(column) -%}
    case
        when {{ column }} = '?' then 'unknown'
        when {{ column }} ~ '^[0-9]{1,2}$' then lpad({{ column }}, 3, '0')
        when {{ column }} ~ '^250\.[0-9]$' then {{ column }} || '0'
        else {{ column }}
    end
{%- endmacro %}

{% macro when_outside(feature, type) %}
    {%- set column = contract_nodes().get(feature) -%}
    {%- if column %}{{ feature }} is null or {{ feature }} not between {{ column.config.meta.min }} and {{ column.config.meta.max }}{% else %}false{% endif -%}
{% endmacro %}
