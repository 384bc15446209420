{# The schema is the layer's name: staging, intermediate, marts, quarantine. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
