{# The schema is the layer's name: staging, intermediate, marts, quarantine. A rebuild for another contract fills schemas beside them. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}{{ var("schema_suffix", "") }}
{%- endmacro %}
