{#
History features of every row of `relation`: the stays of the same patient with a smaller encounter_id, never the row
itself or a later one. Defaults (first stay) are those of the contract.

Of an earlier outcome only "within 30 days" is used. The file's NO and >30 say the same here: the patient is back. A
history that tells them apart describes what the file came to know, not the patient (docs/adr/0050-training.md).
#}
{% macro history_expressions() %}
    {{ return({
        "n_prior_stays": "(count(*) over earlier)::integer",
        "n_prior_readmitted_30d": "(count(*) filter (where readmitted = '<30') over earlier)::integer",
        "was_prior_readmitted_30d": "coalesce(last_value(readmitted) over earlier = '<30', false)",
        "prior_stay_days_total": "coalesce(sum(length_of_stay_days) over earlier, 0)::integer",
        "prior_n_inpatient_visits": "coalesce(last_value(n_inpatient_visits) over earlier, 0)",
        "prior_inpatient_visits_max": "coalesce(max(n_inpatient_visits) over earlier, 0)",
        "prior_inpatient_visits_total": "coalesce(sum(n_inpatient_visits) over earlier, 0)::integer",
        "prior_n_emergency_visits": "coalesce(last_value(n_emergency_visits) over earlier, 0)",
        "prior_n_lab_procedures": "coalesce(last_value(n_lab_procedures) over earlier, 0)",
        "prior_length_of_stay_days": "coalesce(last_value(length_of_stay_days) over earlier, 0)",
        "n_prior_emergency_stays": "(count(*) filter (where admission_type_id = 1) over earlier)::integer",
        "prior_n_medications": "coalesce(last_value(n_medications) over earlier, 0)",
        "prior_n_diagnoses": "coalesce(last_value(n_diagnoses) over earlier, 0)",
        "prior_discharge_disposition_id": "coalesce(last_value(discharge_disposition_id) over earlier, 0)",
        "prior_diagnosis_1": "coalesce(last_value(diagnosis_1) over earlier, 'none')"
    }) }}
{% endmacro %}

{% macro history(relation) %}
    select
        {{ relation }}.*,
        {% for name, expression in history_expressions().items() %}{{ expression }} as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ relation }}
    window earlier as (
        partition by patient_nbr order by encounter_id
        rows between unbounded preceding and 1 preceding
    )
{% endmacro %}
