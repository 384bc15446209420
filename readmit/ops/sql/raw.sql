-- Database `raw`: what arrived, unchanged, and the ledger of what was done with it.
-- Every statement can be run again at any time.
revoke all on schema public from public;

create schema if not exists landing;

-- The columns of the source file follow below, from readmit.intake.layout (landing_columns).
create table if not exists landing.encounters (
    _batch_id text not null,
    _source_row bigint not null,
    {landing_columns},
    _loaded_at timestamptz not null default now(),
    primary key (_batch_id, _source_row)
);
create index if not exists encounters_encounter_id on landing.encounters (encounter_id);
create index if not exists encounters_patient_nbr on landing.encounters (patient_nbr);
comment on table landing.encounters is
    'One row per row of a loaded batch, byte for byte as text. Append-only.';

create table if not exists landing.sources (
    source_sha256 text primary key,
    name text not null,
    data_source text not null check (data_source in ('uci', 'file', 'url', 'sample')),
    n_rows bigint not null check (n_rows > 0),
    object_key text not null,
    registered_at timestamptz not null default now(),
    sequence bigint generated always as identity
);
-- An installation of 0.1.0 has no such column; a source that was registered there stays without.
alter table landing.sources add column if not exists source_dialect text;
comment on column landing.sources.source_dialect is
    'How the file writes the table: packing, delimiter, encoding, line end, names and order of columns.';
comment on table landing.sources is 'One row per source file that was read and split into slices, once.';

create table if not exists landing.slices (
    source_sha256 text not null references landing.sources,
    split text not null check (split in ('validation', 'test', 'train')),
    ordinal integer not null check (ordinal > 0),
    batch_id text not null unique,
    first_source_row bigint not null,
    last_source_row bigint not null,
    n_rows bigint not null check (n_rows > 0),
    content_sha256 text not null,
    object_key text not null,
    supersedes text,
    primary key (source_sha256, split, ordinal)
);
create index if not exists slices_content on landing.slices (content_sha256);
comment on table landing.slices is 'One row per planned batch: which rows of which file, and where they lie in S3.';

create table if not exists landing.batches (
    batch_id text primary key,
    split text not null check (split in ('validation', 'test', 'train', 'none')),
    ordinal integer not null,
    first_source_row bigint,
    last_source_row bigint,
    n_rows bigint not null,
    source_sha256 text not null,
    content_sha256 text,
    data_source text not null check (data_source in ('uci', 'file', 'url', 'sample')),
    status text not null check (status in ('refused', 'loaded', 'rejected', 'superseded', 'published')),
    supersedes text,
    n_quarantined bigint,
    n_excluded bigint,
    reason text,
    loaded_at timestamptz,
    published_at timestamptz,
    dag_run_id text,
    constraint batches_refused_holds_nothing check ((status = 'refused') = (split = 'none' and n_rows = 0)),
    constraint batches_no_has_a_reason check (status not in ('refused', 'rejected') or reason is not null)
);
-- The same rows are published at most once, whatever file they come from.
create unique index if not exists batches_published_content on landing.batches (content_sha256)
where status = 'published';
comment on table landing.batches is 'The ledger: one row per batch that was loaded, or file that was refused.';

-- The views below name the columns of claims and are made anew.
drop view if exists landing.overview, landing.open_slices;

create table if not exists landing.claims (
    build_id text primary key,
    dag_run_id text not null,
    claimed_at timestamptz not null default clock_timestamp()
);
-- An installation of 0.1.0 holds claims on batches only.
do $$
begin
    if exists (select from pg_attribute where attrelid = 'landing.claims'::regclass and attname = 'batch_id') then
        alter table landing.claims rename column batch_id to build_id;
    end if;
end
$$;
comment on table landing.claims is 'Leases: which run works on which build, a batch or a correction, and since when.';

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

create or replace function landing.forbid_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'landing.encounters is append-only: % is not allowed', tg_op
        using hint = 'Send the corrected rows as a new batch, or release them from quarantine.';
end
$$;
create or replace trigger append_only
before update or delete or truncate on landing.encounters
for each statement execute function landing.forbid_change();

grant usage on schema landing to loader, transformer, publisher, reader;
grant select, insert on landing.encounters, landing.sources, landing.slices to loader;
grant select, insert on landing.batches to loader;
grant update (status, supersedes, n_quarantined, n_excluded, reason, loaded_at, published_at, dag_run_id)
on landing.batches to loader;
grant select, insert, update, delete on landing.claims to loader;
grant select on landing.encounters to transformer, publisher;
grant select on landing.batches, landing.sources, landing.slices to transformer, publisher, reader;
grant select on landing.open_slices to loader, reader;
grant select on landing.overview to loader, reader;
