-- What the object store must hold under a key: training and the gates verify the bytes that they read.
create table ops.object_digests (
    digest_id bigint generated always as identity primary key,
    object_key text not null,
    sha256 text not null,
    recorded_at timestamptz not null default clock_timestamp()
);
create index object_digests_key on ops.object_digests (object_key, digest_id);
comment on table ops.object_digests is
    'The sha256 of snapshots and profiles, written before the object; the last row of a key counts.';
-- Objects that the store has had since before this row are read without a digest. A restore adds one.
insert into ops.object_digests (object_key, sha256) values ('', '');
