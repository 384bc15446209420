-- Database `raw`: what arrived, unchanged, and the ledger of what was done with it.
-- It also runs on the tables of an installation that counted no versions yet: what is there stays.
create schema if not exists landing;

create table if not exists landing.encounters (
    _batch_id text not null,
    _source_row bigint not null,
    encounter_id text,
    patient_nbr text,
    race text,
    gender text,
    age text,
    weight text,
    admission_type_id text,
    discharge_disposition_id text,
    admission_source_id text,
    time_in_hospital text,
    payer_code text,
    medical_specialty text,
    num_lab_procedures text,
    num_procedures text,
    num_medications text,
    number_outpatient text,
    number_emergency text,
    number_inpatient text,
    diag_1 text,
    diag_2 text,
    diag_3 text,
    number_diagnoses text,
    max_glu_serum text,
    a1cresult text,
    metformin text,
    repaglinide text,
    nateglinide text,
    chlorpropamide text,
    glimepiride text,
    acetohexamide text,
    glipizide text,
    glyburide text,
    tolbutamide text,
    pioglitazone text,
    rosiglitazone text,
    acarbose text,
    miglitol text,
    troglitazone text,
    tolazamide text,
    examide text,
    citoglipton text,
    insulin text,
    glyburide_metformin text,
    glipizide_metformin text,
    glimepiride_pioglitazone text,
    metformin_rosiglitazone text,
    metformin_pioglitazone text,
    change text,
    diabetesmed text,
    readmitted text,
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
