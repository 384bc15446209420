-- `clean` sees `raw` through postgres_fdw, read-only. Server and user mappings come from readmit.ops.bootstrap.
create schema if not exists raw;

create foreign table if not exists raw.encounters (
    _batch_id text,
    _source_row bigint,
    {landing_columns},
    _loaded_at timestamptz
) server raw_server options (schema_name 'landing', table_name 'encounters');

create foreign table if not exists raw.batches (
    batch_id text,
    split text,
    ordinal integer,
    first_source_row bigint,
    last_source_row bigint,
    n_rows bigint,
    source_sha256 text,
    content_sha256 text,
    data_source text,
    status text,
    supersedes text,
    n_quarantined bigint,
    n_excluded bigint,
    reason text,
    loaded_at timestamptz,
    published_at timestamptz,
    dag_run_id text
) server raw_server options (schema_name 'landing', table_name 'batches');

create foreign table if not exists raw.sources (
    source_sha256 text,
    name text,
    data_source text,
    n_rows bigint,
    object_key text,
    registered_at timestamptz
) server raw_server options (schema_name 'landing', table_name 'sources');

grant usage on schema raw to transformer, publisher, reader;
grant select on raw.encounters to transformer, publisher;
grant select on raw.batches, raw.sources to transformer, publisher, reader;
