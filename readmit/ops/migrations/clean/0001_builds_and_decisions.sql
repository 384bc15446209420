-- Database `clean`: the schemas of dbt's layers, and what decides which of their rows are visible.
-- It also runs on the tables of an installation that counted no versions yet: what is there stays.
create schema if not exists ops;
create schema if not exists staging authorization transformer;
create schema if not exists intermediate authorization transformer;
create schema if not exists marts authorization transformer;
create schema if not exists quarantine authorization transformer;

-- The build lock: what dbt builds now. One row, or none when nothing is being built.
create table if not exists ops.current_build (
    singleton boolean primary key default true check (singleton),
    build_id text not null,
    batch_id text not null,
    kind text not null check (kind in ('batch', 'correction', 'rebuild')),
    set_at timestamptz not null default clock_timestamp()
);

-- The switch: a build is visible once it stands here. A batch has exactly one row of kind 'batch'.
create table if not exists ops.published_batches (
    build_id text primary key,
    batch_id text not null,
    kind text not null check (kind in ('batch', 'correction', 'rebuild')),
    published_at timestamptz not null default clock_timestamp(),
    n_rows bigint,
    n_features bigint,
    n_quarantined bigint,
    n_excluded bigint,
    constraint published_batches_build_of_a_batch check ((kind = 'batch') = (build_id = batch_id))
);
create index if not exists published_batches_batch_id on ops.published_batches (batch_id);

-- An installation of 0.1.0 called a correction `release` and knew no rebuild.
do $$
declare
    outdated record;
begin
    for outdated in
        select conrelid::regclass as builds, conname
        from pg_constraint
        where conrelid in ('ops.current_build'::regclass, 'ops.published_batches'::regclass)
            and contype = 'c' and pg_get_constraintdef(oid) like '%release%'
    loop
        execute format('alter table %s drop constraint %I', outdated.builds, outdated.conname);
        execute format('update %s set kind = ''correction'' where kind = ''release''', outdated.builds);
        execute format(
            'alter table %s add constraint %I check (kind in (''batch'', ''correction'', ''rebuild''))',
            outdated.builds, outdated.conname
        );
    end loop;
end
$$;

-- Corrections that a gate or a test of dbt has rejected. Batches have their verdict in the ledger.
create table if not exists ops.rejected_builds (
    build_id text primary key,
    reason text not null,
    rejected_at timestamptz not null default clock_timestamp()
);

create table if not exists ops.corrections (
    correction_id bigint generated always as identity primary key,
    batch_id text not null,
    source_row bigint not null,
    corrected jsonb not null default '{}' check (jsonb_typeof(corrected) = 'object'),
    released_by text not null,
    released_at timestamptz not null default clock_timestamp(),
    build_id text not null
);
create index if not exists corrections_row on ops.corrections (batch_id, source_row);
create index if not exists corrections_build on ops.corrections (build_id);

create table if not exists ops.predictions (
    request_id uuid primary key,
    predicted_at timestamptz not null,
    model_name text not null,
    model_version text not null,
    run_id text not null,
    contract_hash text not null,
    features jsonb not null,
    probability double precision not null check (probability between 0 and 1),
    risk text not null,
    threshold double precision,
    patient_nbr text,
    encounter_id bigint,
    history text not null
);
create index if not exists predictions_predicted_at on ops.predictions (predicted_at);
create index if not exists predictions_encounter_id on ops.predictions (encounter_id) where encounter_id is not null;

-- Who asked, and whether the answer was about the care of a patient (the key's scope).
alter table ops.predictions add column if not exists caller text;
alter table ops.predictions add column if not exists is_clinical boolean;

-- Who read which patient's history: written by the statement that reads it (serving/history.py).
create table if not exists ops.history_lookups (
    lookup_id bigint generated always as identity primary key,
    looked_up_at timestamptz not null default clock_timestamp(),
    caller text not null,
    patient_nbr bigint not null,
    request_id uuid not null,
    outcome text not null check (outcome in ('found', 'none'))
);
create index if not exists history_lookups_patient on ops.history_lookups (patient_nbr, looked_up_at);

create table if not exists ops.promotions (
    promotion_id bigint generated always as identity primary key,
    decided_at timestamptz not null default clock_timestamp(),
    decision text not null check (decision in ('promote', 'keep', 'rollback')),
    model_name text not null,
    challenger_version text,
    production_version text,
    challenger_score double precision,
    production_score double precision,
    gain double precision,
    gain_low double precision,
    gain_high double precision,
    metric text not null,
    data_fingerprint text,
    contract_hash text,
    git_sha text,
    actor text not null,
    reason text not null,
    evidence jsonb not null default '{}'
);

-- What a decision was about, signed (readmit/inference/signatures.py), and that it took effect: a decision is recorded before
-- the registry follows it.
alter table ops.promotions add column if not exists decision_id uuid unique;
alter table ops.promotions add column if not exists signed_statement text;
alter table ops.promotions drop constraint if exists promotions_decision_check;
alter table ops.promotions add constraint promotions_decision_check
check (decision in ('promote', 'keep', 'rollback', 'adopt'));

create table if not exists ops.promotion_outcomes (
    decision_id uuid primary key references ops.promotions (decision_id),
    finished_at timestamptz not null default clock_timestamp()
);

-- What the monitor found each time: drift of requests, and realised performance when outcomes are known.
create table if not exists ops.monitor_reports (
    report_id bigint generated always as identity primary key,
    made_at timestamptz not null default clock_timestamp(),
    model_name text not null,
    model_version text not null,
    n_requests bigint not null,
    verdict text not null check (verdict in ('drift', 'no drift', 'too few')),
    evidence jsonb not null
);
