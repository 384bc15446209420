{{ config(materialized='ephemeral') }}
-- Every stay with what the patient's earlier stays say. Excluded stays count as history.
with

stays as (
    select * from {{ ref('int_encounters__stays') }}
),

final as (
    {{ history('stays') }}
)

select * from final
