-- Database `raw`: views, functions, triggers and rights. Each set-up runs all of it.
-- Tables are in readmit/ops/migrations/raw.
revoke all on schema public from public;

-- The views are made anew: their columns may have changed.
drop view if exists landing.overview, landing.open_slices;

-- A slice is open while nothing has been decided about it and its rows are not published under another name.
create or replace view landing.open_slices as
select
    slices.batch_id,
    slices.content_sha256,
    claims.dag_run_id as holder,
    claims.claimed_at,
    row_number() over work_order as queue_position,
    row_number() over (
        partition by slices.content_sha256
        order by
            sources.sequence, array_position(array['validation', 'test', 'train'], slices.split), slices.ordinal
    ) as copy
from landing.slices
inner join landing.sources on slices.source_sha256 = sources.source_sha256
left join landing.batches on slices.batch_id = batches.batch_id
left join landing.claims on slices.batch_id = claims.build_id
where
    (batches.batch_id is null or batches.status = 'loaded')
    and slices.n_erased < slices.n_rows
    and not exists (
        select from landing.batches as published
        where published.content_sha256 = slices.content_sha256 and published.status = 'published'
    )
window work_order as (
    order by sources.sequence, array_position(array['validation', 'test', 'train'], slices.split), slices.ordinal
);
comment on view landing.open_slices is
    'One row per batch that waits or is in work, in order of work; `copy` > 1 waits for an equal one before it.';

create or replace view landing.overview as
select
    slices.batch_id,
    slices.n_rows,
    case
        when batches.status is not null then batches.status
        when open_slices.holder is not null then 'claimed'
        when open_slices.batch_id is not null then 'waiting'
        when slices.n_erased = slices.n_rows then 'erased'
        else 'published elsewhere'
    end as status,
    batches.n_quarantined,
    batches.n_excluded,
    sources.data_source,
    coalesce(batches.supersedes, slices.supersedes) as supersedes,
    batches.reason,
    row_number() over (
        order by sources.sequence, array_position(array['validation', 'test', 'train'], slices.split), slices.ordinal
    ) as queue_position
from landing.slices
inner join landing.sources on slices.source_sha256 = sources.source_sha256
left join landing.batches on slices.batch_id = batches.batch_id
left join landing.open_slices on slices.batch_id = open_slices.batch_id
union all
select batch_id, n_rows, status, n_quarantined, n_excluded, data_source, supersedes, reason, null as queue_position
from landing.batches
where status = 'refused';
comment on view landing.overview is 'One row per batch that was planned and per file that was refused.';

-- A row as it stands now: what its batch brought, or what was accepted instead of it last. Rows of rejected batches are not known:
-- a corrected file brings them again. What waits for a decision, or was dismissed, need not be proposed again.
create or replace view landing.known_rows as
with live_rows as (
    select
        row_digests.encounter_key,
        row_digests.digest,
        row_digests.batch_id,
        row_digests.source_row as batch_row,
        0 as version,
        coalesce(batches.status = 'published', false) as is_published
    from landing.row_digests
    left join landing.batches on row_digests.batch_id = batches.batch_id
    where batches.batch_id is null or batches.status in ('loaded', 'published')
    union all
    select
        proposals.encounter_key,
        proposals.digest,
        proposals.batch_id,
        proposals.batch_row,
        proposals.proposal_id as version,
        coalesce(batches.status = 'published', false) as is_published
    from landing.proposals
    left join landing.batches on proposals.batch_id = batches.batch_id
    where batches.batch_id is null or batches.status in ('loaded', 'published')
)

select encounter_key, digest, batch_id, batch_row, is_published
from live_rows
where not exists (
    select from landing.proposals as newer
    where newer.batch_id = live_rows.batch_id
        and newer.batch_row = live_rows.batch_row
        and newer.encounter_key = live_rows.encounter_key
        and newer.state = 'accepted'
        and newer.proposal_id > live_rows.version
);
comment on view landing.known_rows is 'One row per row that an export may hold again without saying anything new.';

create or replace function landing.forbid_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The one door: `make erase` takes this role, which nobody can log in as.
    if current_user = 'eraser' and tg_op = 'DELETE' then
        return null;
    end if;
    raise exception 'landing.encounters is append-only: % is not allowed', tg_op
        using hint = 'Send the corrected rows as a new batch, or release them from quarantine.';
end
$$;
create or replace function landing.forbid_deletion() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'landing.% is a record: % is not allowed', tg_table_name, tg_op;
end
$$;
create or replace trigger append_only
before update or delete or truncate on landing.encounters
for each statement execute function landing.forbid_change();

create or replace trigger append_only
before delete or truncate on landing.erasures
for each statement execute function landing.forbid_deletion();

grant usage on schema landing to loader, transformer, publisher, reader, eraser;
grant select, delete on landing.encounters to eraser;
grant select, update (n_erased, content_sha256) on landing.slices, landing.batches to eraser;
grant select, insert, update (finished_at, removed) on landing.erasures to eraser;
grant select, delete on landing.proposals to eraser;
grant select, update (name, reason, result) on landing.inbox to eraser;
grant update (reason) on landing.batches to eraser;
grant select, update (name) on landing.sources to eraser;
grant select, update (encounter_key, digest) on landing.row_digests to eraser;
grant select (patient_hash, key_check) on landing.erasures to loader;
grant select, insert on landing.encounters, landing.sources, landing.slices to loader;
grant select, insert on landing.batches to loader;
grant update (status, supersedes, n_quarantined, n_excluded, reason, loaded_at, published_at, dag_run_id)
on landing.batches to loader;
grant select, insert, update, delete on landing.claims to loader;
grant select on landing.encounters to transformer, publisher;
grant select on landing.batches, landing.sources, landing.slices to transformer, publisher, reader;
grant select on landing.open_slices to loader, reader;
grant select on landing.overview to loader, reader;
grant select, insert on landing.row_digests to loader;
grant select, insert on landing.proposals to loader;
grant update (state, build_id, decided_by, decided_at) on landing.proposals to loader;
grant select, insert, update on landing.downloads to loader;
grant select on landing.known_rows to loader;
grant select, insert, update on landing.inbox to loader;
grant select on landing.inbox to reader;
grant select on landing.proposals to publisher, reader;
