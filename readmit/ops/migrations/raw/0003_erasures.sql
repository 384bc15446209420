-- Erasure of a patient: rows in RAW + erased rows = rows of the batch, and later files are searched for the patient.
alter table landing.slices add column n_erased bigint not null default 0
constraint slices_erased_rows check (n_erased between 0 and n_rows);
alter table landing.batches add column n_erased bigint not null default 0
constraint batches_erased_rows check (n_erased between 0 and n_rows);
comment on column landing.slices.n_erased is
    'Rows of erased patients: they are in `n_rows`, and neither in the stored slice nor in `content_sha256`.';
comment on column landing.batches.n_erased is 'Rows of erased patients: RAW holds n_rows - n_erased rows of the batch.';

create table landing.erasures (
    erasure_id bigint generated always as identity primary key,
    patient_hash text not null,
    key_check text not null,
    erased_by text not null,
    begun_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    removed jsonb
);
comment on table landing.erasures is
    'The record of each `make erase`, with a keyed hash of the patient: intake leaves out the rows of whoever stands here.';
comment on column landing.erasures.key_check is 'A hash by which another READMIT_ERASURE_KEY is noticed.';
comment on column landing.erasures.removed is 'How much was removed, by kind; empty until the erasure has ended.';
