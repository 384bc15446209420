{# The contract, read from the YAML of the mart: no model repeats it. Empty while dbt parses. #}
{% macro contract_nodes() %}
    {{ return((graph.nodes["model.readmit.fct_encounter_features"].columns if execute else {})) }}
{% endmacro %}

{% macro contract_columns(roles=none) %}
    {% set found = [] %}
    {% for name, column in contract_nodes().items() %}
        {% if roles is none or column.config.meta.role in roles %}{% do found.append(name) %}{% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{% macro sql_literal(value) %}
    {%- if value is boolean or value is number -%}{{ value }}{%- else -%}'{{ value | replace("'", "''") }}'{%- endif -%}
{% endmacro %}

{% macro sql_literals(values) %}
    {%- for value in values -%}{{ sql_literal(value) | trim }}{{ ", " if not loop.last }}{%- endfor -%}
{% endmacro %}

{# Is `column` one of the values that the contract allows? Text columns of the file, before casting. #}
{% macro is_allowed(expression, feature) %}
    {%- set column = contract_nodes().get(feature) -%}
    {%- if not column -%}true
    {%- else -%}{{ expression }} in ({{ sql_literals(column.config.meta["values"]) }})
    {%- endif -%}
{% endmacro %}

{# Joins that the lookups of the contract need: one per feature. #}
{% macro derive_joins(relation) %}
    {%- for name, column in contract_nodes().items() if column.config.meta.role == "derived" -%}
        {%- set rule = column.config.meta.derive -%}
        {%- if rule.op == "lookup" %}
    left join {{ ref(rule.seed) }} as {{ name }}_seed on {{ relation }}.{{ rule.of }} = {{ name }}_seed.code
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

{# `config.meta.derive` as SQL; readmit.contract.derivation evaluates the same declaration. #}
{% macro derive(name, relation) %}
    {%- set column = contract_nodes()[name] -%}
    {%- set rule = column.config.meta.derive -%}
    {%- set parts = [] -%}
    {%- if rule.op == "lookup" -%}
        coalesce({{ name }}_seed.{{ adapter.quote(rule["get"]) }}, {{ sql_literal(rule.otherwise) | trim }})
    {%- else -%}
        {%- for source in rule.of -%}
            {%- set field = relation ~ "." ~ source -%}
            {%- if rule.op == "sum" -%}{%- do parts.append(field) -%}
            {%- else -%}
                {%- if "in" in rule -%}{%- set test = field ~ " in (" ~ sql_literals(rule["in"]) ~ ")" -%}
                {%- elif "not_in" in rule -%}{%- set test = field ~ " not in (" ~ sql_literals(rule["not_in"]) ~ ")" -%}
                {%- else -%}{%- set test = field ~ " = " ~ (sql_literal(rule["equals"]) | trim) -%}
                {%- endif -%}
                {%- do parts.append("(" ~ test ~ ")" ~ ("::integer" if rule.op == "count" else "")) -%}
            {%- endif -%}
        {%- endfor -%}
        {{ parts | join(" or " if rule.op == "any" else " + ") }}
    {%- endif -%}
{% endmacro %}
