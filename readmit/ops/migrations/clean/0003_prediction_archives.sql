-- Months of predictions that lie in the object store as Parquet, and no longer in `ops.predictions`.
create table ops.prediction_archives (
    object_key text primary key,
    month date not null,
    n_rows bigint not null check (n_rows >= 0),
    archived_at timestamptz not null default clock_timestamp()
);
comment on column ops.prediction_archives.n_rows is 'Rows of the object: fewer than were archived once a patient was erased.';
