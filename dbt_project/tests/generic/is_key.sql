-- A row here means: the columns that should name one row are empty, or name several.
{% test is_key(model, columns) %}
select {{ columns | join(", ") }}
from {{ model }}
group by {{ columns | join(", ") }}
having count(*) > 1 or {% for name in columns %}{{ name }} is null{{ " or " if not loop.last }}{% endfor %}
{% endtest %}
