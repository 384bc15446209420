-- Files that grow: the rows of a file are known, changed, or those of its slices.
alter table landing.sources add column n_known bigint not null default 0 check (n_known >= 0);
alter table landing.sources add column n_changed bigint not null default 0 check (n_changed >= 0);
comment on column landing.sources.n_known is 'Rows that an earlier file has brought; they are in no slice.';
comment on column landing.sources.n_changed is
    'Rows of a known stay with other values: proposals, in no slice. n_rows = n_known + n_changed + rows of the slices.';

create table landing.row_digests (
    encounter_key text not null,
    digest uuid not null,
    batch_id text not null,
    source_row bigint not null
);
comment on table landing.row_digests is
    'One row per row of a slice: the first half of the sha256 of its canonical form, by which later files recognise it.';

-- What is in RAW already, in the canonical form of readmit/intake/canonical.py: quotes only where a value needs them.
insert into landing.row_digests
select
    case
        when btrim(encounter_id, E' \t\x0b\x0c') ~ '^[0-9]+$'
            then ltrim(btrim(encounter_id, E' \t\x0b\x0c'), '0')
        else ''
    end,
    left(encode(sha256(convert_to(line, 'UTF8')), 'hex'), 32)::uuid,
    _batch_id,
    _source_row
from (
    select
        _batch_id,
        _source_row,
        encounter_id,
        (
            select string_agg(
                case when value ~ '[",]' then '"' || replace(value, '"', '""') || '"' else value end, ',' order by n
            )
            from unnest(array[
            encounter_id, patient_nbr, race, gender, age, weight, admission_type_id, discharge_disposition_id,
            admission_source_id, time_in_hospital, payer_code, medical_specialty, num_lab_procedures,
            num_procedures, num_medications, number_outpatient, number_emergency, number_inpatient, diag_1,
            diag_2, diag_3, number_diagnoses, max_glu_serum, a1cresult, metformin, repaglinide, nateglinide,
            chlorpropamide, glimepiride, acetohexamide, glipizide, glyburide, tolbutamide, pioglitazone,
            rosiglitazone, acarbose, miglitol, troglitazone, tolazamide, examide, citoglipton, insulin,
            glyburide_metformin, glipizide_metformin, glimepiride_pioglitazone, metformin_rosiglitazone,
            metformin_pioglitazone, change, diabetesmed, readmitted
            ]) with ordinality as fields (value, n)
        ) as line
    from landing.encounters
) as arrived;
create index row_digests_encounter on landing.row_digests (encounter_key);

create table landing.proposals (
    proposal_id bigint generated always as identity primary key,
    source_sha256 text not null,
    source_row bigint not null,
    batch_id text not null,
    batch_row bigint not null,
    encounter_key text not null,
    digest uuid not null,
    new_values jsonb not null,
    state text not null default 'open' check (state in ('open', 'accepted', 'dismissed')),
    build_id text,
    decided_by text,
    decided_at timestamptz,
    proposed_at timestamptz not null default clock_timestamp(),
    constraint proposals_decision_has_a_name check ((state = 'open') = (decided_by is null and decided_at is null)),
    constraint proposals_accepted_has_a_build check ((state = 'accepted') = (build_id is not null))
);
create index proposals_encounter on landing.proposals (encounter_key);
comment on table landing.proposals is
    'A row of a later file with other values than the same stay has in RAW (batch_id, batch_row); a person accepts or dismisses it.';

create table landing.downloads (
    address_sha256 text primary key,
    file_sha256 text not null,
    etag text,
    last_modified text,
    fetched_at timestamptz not null default clock_timestamp()
);
comment on table landing.downloads is
    'What was registered last from an address, and by what its server recognises that version.';
