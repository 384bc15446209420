-- The contract that the live mart was built with: one row.
create table ops.mart_contract (
    singleton boolean primary key default true check (singleton),
    contract_hash text not null,
    built_at timestamptz not null default clock_timestamp()
);

-- Published builds that are built again for another contract, in the schemas `*_next`. Empty when none is under way.
create table ops.rebuilds (
    build_id text primary key references ops.published_batches (build_id),
    batch_id text not null,
    contract_hash text not null,
    verified_at timestamptz,
    n_rows bigint,
    n_features bigint,
    n_quarantined bigint,
    n_excluded bigint,
    reason text
);
comment on column ops.rebuilds.reason is 'Why the rebuild stopped at this build: a gate or a test rejected it.';

create schema staging_next authorization transformer;
create schema intermediate_next authorization transformer;
create schema marts_next authorization transformer;
create schema quarantine_next authorization transformer;
