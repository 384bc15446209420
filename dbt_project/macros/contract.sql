{# The contract, read from the YAML of the mart: no model repeats it. Empty while dbt parses. #}
{% macro contract_nodes() %}
    {{ return((graph.nodes["model.readmit.fct_encounter_features"].columns if execute else {})) }}
{% endmacro %}

{% macro contract_columns(roles=none) %}
    {% set names = [] %}
    {% for name, column in contract_nodes().items() %}
        {% if roles is none or column.config.meta.role in roles %}{% do names.append(name) %}{% endif %}
    {% endfor %}
    {{ return(names) }}
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

{# Derived features that are looked up in one of these seeds. #}
{% macro lookup_columns(seeds) %}
    {% set names = [] %}
    {% for name, column in contract_nodes().items() if column.config.meta.role == "derived" %}
        {% set rule = column.config.meta.derive %}
        {% if rule.op == "lookup" and rule.seed in seeds %}{% do names.append(name) %}{% endif %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{# Joins that these lookups need: one per feature. #}
{% macro derive_joins(relation, seeds) %}
    {%- for name in lookup_columns(seeds) -%}
        {%- set rule = contract_nodes()[name].config.meta.derive %}
    left join {{ ref(rule.seed) }} as {{ name }}_seed on {{ relation }}.{{ rule.of }} = {{ name }}_seed.code
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
