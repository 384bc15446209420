{#
Insert the rows of a code table. dbt's own macro renders a template for every value, a second of processor time for the
1,333 ICD-9 codes at each build; here the placeholders of a row are written once.
#}
{% macro postgres__load_csv_rows(model, agate_table) %}
    {% set columns = get_seed_column_quoted_csv(model, agate_table.column_names) %}
    {% set placeholders = "(" ~ (["%s"] * (agate_table.column_names | length)) | join(", ") ~ ")" %}
    {% set bindings = [] %}
    {% for row in agate_table.rows %}{% do bindings.extend(row) %}{% endfor %}
    {% set sql %}
        insert into {{ this.render() }} ({{ columns }})
        values {{ ([placeholders] * (agate_table.rows | length)) | join(", ") }}
    {% endset %}
    {% do adapter.add_query(sql, bindings=bindings, abridge_sql_log=True) %}
    {{ return(sql) }}
{% endmacro %}
