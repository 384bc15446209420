-- One row per eligible encounter of a published batch; the columns are those of the contract beside this file.
with

features as (
    select * from {{ ref('int_encounters__features') }}
),

published as (
    select build_id from {{ ref('stg_ops__published_batches') }}
),

final as (
    select
        {% for name in contract_columns() %}features.{{ adapter.quote(name) }}{{ "," if not loop.last }}
        {% endfor %}
    from features
    inner join published on features._build_id = published.build_id
)

select * from final
