-- Files that people drop into an inbox: each version of each is read once.
create table landing.inbox (
    address_sha256 text not null,
    version text not null,
    name text not null,
    folder text,
    file_sha256 text not null,
    source_sha256 text,
    reason text,
    result jsonb,
    received_at timestamptz not null default clock_timestamp(),
    primary key (address_sha256, version),
    constraint inbox_is_registered_or_refused check ((source_sha256 is null) = (reason is not null))
);
comment on table landing.inbox is
    'One row per version of a file in an inbox: the file it was, the source it was registered as or why it was refused, and its result.';
comment on column landing.inbox.folder is 'Folder of this machine that the file lies in; null for the bucket.';
