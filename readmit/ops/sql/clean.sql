-- Database `clean`: views, functions, triggers and rights. Each set-up runs all of it.
-- Tables are in readmit/ops/migrations/clean; foreign tables follow their tables in `raw` (readmit.ops.bootstrap).
revoke all on schema public from public;

-- What the monitor counts. Rows of version 0.1.0 have no mark: they count as they did, without those of load tests. The stay
-- 0 is no stay.
create or replace view ops.clinical_predictions as
select
    request_id, predicted_at, model_name, model_version, features, probability, history,
    nullif(encounter_id, 0) as encounter_id
from ops.predictions
where coalesce(is_clinical, encounter_id is distinct from 0);

-- The decisions that the alias `production` may follow: the last one that took effect, and newer ones under way.
create or replace view ops.decisions_in_force as
select p.promotion_id, p.decision_id, p.model_name, p.challenger_version as version, p.signed_statement
from ops.promotions as p
where
    p.decision <> 'keep'
    and p.signed_statement is not null
    and p.promotion_id >= coalesce(
        (
            select max(done.promotion_id)
            from ops.promotions as done
            inner join ops.promotion_outcomes as o on done.decision_id = o.decision_id
            where done.model_name = p.model_name
        ),
        0
    );

-- What is published among the tables beside the live ones.
create or replace view ops.rebuilt_builds as
select build_id, batch_id from ops.rebuilds where verified_at is not null;

create or replace function ops.forbid_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The one door: `make erase` takes this role, which nobody can log in as. What it may change, its rights say.
    if current_user = 'eraser' and tg_op <> 'TRUNCATE' then
        return null;
    end if;
    raise exception 'ops.% is append-only: % is not allowed', tg_table_name, tg_op;
end
$$;
create or replace trigger append_only
before update or delete or truncate on ops.promotions
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.predictions
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.history_lookups
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.monitor_reports
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.promotion_outcomes
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.corrections
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.object_digests
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.rejected_builds
for each statement execute function ops.forbid_change();
create or replace trigger append_only
before update or delete or truncate on ops.prediction_archives
for each statement execute function ops.forbid_change();

-- `transformer` owns the tables that the next functions delete from. Whatever it could hang on them (a trigger, a rule, a
-- policy) would run with the rights of ops_owner, who may publish. So it writes no functions, and a table that is more
-- than a table is not touched. The lock keeps it a table until the transaction ends.
revoke usage on language sql, plpgsql from public;

create or replace function ops.lock_plain_table(target regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('lock table %s in share row exclusive mode', target);
    if exists (
        select from pg_class as c
        where c.oid = target
            and (c.relkind <> 'r' or c.relhasrules or c.relrowsecurity or c.relhassubclass)
    ) or exists (
        select from pg_trigger as t
        where t.tgrelid = target and not t.tgisinternal
    ) then
        raise exception '% has a trigger, rule, policy or child table: nothing is deleted from it', target;
    end if;
end
$$;

-- Publish a build in one transaction: the switch, and the end of the row versions that it replaces. A rebuild is verified
-- instead: it becomes visible with all the others (ops.finish_rebuild).
-- A build writes all rows of every patient it touches, so an older version of a patient's row is superseded by it.
-- Runs with the rights of ops_owner, who may only delete from intermediate what a published build replaced.
create or replace function ops.publish_build(
    p_build_id text,
    p_batch_id text,
    p_kind text,
    p_n_rows bigint,
    p_n_features bigint,
    p_n_quarantined bigint,
    p_n_excluded bigint
) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    is_new boolean;
    features text := 'intermediate.int_encounters__features';
    staging text := 'staging.stg_uci__encounters';
begin
    if p_kind = 'rebuild' then
        features := 'intermediate_next.int_encounters__features';
        staging := 'staging_next.stg_uci__encounters';
        update ops.rebuilds
        set
            verified_at = clock_timestamp(), n_rows = p_n_rows, n_features = p_n_features,
            n_quarantined = p_n_quarantined, n_excluded = p_n_excluded
        where build_id = p_build_id and verified_at is null;
    else
        insert into ops.published_batches
            (build_id, batch_id, kind, n_rows, n_features, n_quarantined, n_excluded)
        values (p_build_id, p_batch_id, p_kind, p_n_rows, p_n_features, p_n_quarantined, p_n_excluded)
        on conflict (build_id) do nothing;
    end if;
    is_new := found;
    if is_new and to_regclass(features) is not null then
        perform ops.lock_plain_table(features);
        perform ops.lock_plain_table(staging);
        execute format(
            'delete from %1$s as older'
            ' using (select distinct newer.patient_nbr from %1$s as newer where newer._build_id = $1) as touched'
            ' where older.patient_nbr = touched.patient_nbr and older._build_id <> $1',
            features
        ) using p_build_id;
        -- A corrected stay may be excluded now, or be another patient's: then the build has no row of its old patient.
        execute format(
            'delete from %1$s as older using %2$s as staged'
            ' where staged._build_id = $1 and staged.verdict <> ''quarantined'''
            ' and older._batch_id = staged._batch_id and older.encounter_id = staged.encounter_id'
            ' and older._build_id <> $1',
            features, staging
        ) using p_build_id;
        -- What a correction replaces. A row as it was held back stays: quarantine shows it.
        if p_build_id <> p_batch_id then
            execute format(
                'delete from %1$s as replaced using %1$s as staged'
                ' where staged._build_id = $1 and staged.verdict <> ''quarantined'''
                ' and replaced._batch_id = staged._batch_id and replaced._source_row = staged._source_row'
                ' and replaced.verdict <> ''quarantined'' and replaced._build_id <> $1',
                staging
            ) using p_build_id;
        end if;
    end if;
    delete from ops.current_build where build_id = p_build_id;
    return is_new;
end
$$;

-- Remove what dbt made of a build that is not published: every row that carries its `_build_id`, in every layer.
create or replace function ops.discard_build(p_build_id text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    suffix text;
begin
    -- A rebuild has the name of a published build, whose rows stay: its own are in the schemas beside.
    select case when kind = 'rebuild' then '_next' else '' end into strict suffix
    from (select max(kind) as kind from ops.current_build where build_id = p_build_id) as lock;
    if suffix = '' and exists (select from ops.published_batches where build_id = p_build_id) then
        raise exception 'build % is published and stays', p_build_id;
    end if;
    for target in
        select c.oid, n.nspname, c.relname
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        inner join pg_attribute as a on c.oid = a.attrelid
        where n.nspname in ('staging' || suffix, 'intermediate' || suffix, 'quarantine' || suffix)
            and c.relkind = 'r'
            and a.attname = '_build_id'
            and not a.attisdropped
            and has_table_privilege(c.oid, 'delete')
    loop
        perform ops.lock_plain_table(target.oid);
        execute format('delete from %I.%I where _build_id = $1', target.nspname, target.relname) using p_build_id;
    end loop;
    delete from ops.current_build where build_id = p_build_id;
end
$$;

-- The end of a rebuild, in the transaction in which dbt's role puts the tables beside into the place of the live ones.
create or replace function ops.finish_rebuild() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    lock table ops.published_batches, ops.rebuilds in share row exclusive mode;
    if not exists (select from ops.rebuilds) or exists (
        select from ops.published_batches as p
        left join ops.rebuilds as r on p.build_id = r.build_id
        where r.verified_at is null
    ) then
        raise exception 'published builds are not verified under the new contract';
    end if;
    update ops.published_batches as p
    set n_rows = r.n_rows, n_features = r.n_features, n_quarantined = r.n_quarantined, n_excluded = r.n_excluded
    from ops.rebuilds as r
    where p.build_id = r.build_id;
    update ops.mart_contract
    set contract_hash = (select min(contract_hash) from ops.rebuilds), built_at = clock_timestamp();
    delete from ops.rebuilds;
end
$$;

-- A month of predictions goes once the object store has all of it: the archive's rows must be the month's.
create or replace function ops.drop_archived_predictions(
    p_month date, p_object_key text, p_n_rows bigint
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    n_deleted bigint;
begin
    if p_month > current_date - interval '2 months' then
        raise exception 'predictions of % are too young to be dropped', p_month;
    end if;
    delete from ops.predictions
    where predicted_at >= p_month::timestamp at time zone 'UTC'
        and predicted_at < (p_month + interval '1 month') at time zone 'UTC';
    get diagnostics n_deleted = row_count;
    if n_deleted <> p_n_rows then
        raise exception 'the archive has % predictions of %, the table %', p_n_rows, p_month, n_deleted;
    end if;
    insert into ops.prediction_archives (object_key, month, n_rows) values (p_object_key, p_month, p_n_rows);
end
$$;

grant create on schema ops to ops_owner;
alter function ops.lock_plain_table(regclass) owner to ops_owner;
revoke all on function ops.lock_plain_table(regclass) from public;
alter function ops.discard_build(text) owner to ops_owner;
revoke all on function ops.discard_build(text) from public;
grant execute on function ops.discard_build(text) to publisher;
alter function ops.publish_build(text, text, text, bigint, bigint, bigint, bigint) owner to ops_owner;
alter function ops.finish_rebuild() owner to ops_owner;
revoke create on schema ops from ops_owner;
revoke all on function ops.finish_rebuild() from public;
grant execute on function ops.finish_rebuild() to transformer;
grant select, update on ops.published_batches, ops.mart_contract to ops_owner;
grant select, update, delete on ops.rebuilds to ops_owner;
revoke all on function ops.publish_build(text, text, text, bigint, bigint, bigint, bigint) from public;
grant execute on function ops.publish_build(text, text, text, bigint, bigint, bigint, bigint) to publisher;
grant usage on schema ops, staging, intermediate, quarantine, staging_next, intermediate_next, quarantine_next to ops_owner;
grant select, insert on ops.published_batches to ops_owner;
grant select, delete on ops.current_build to ops_owner;

-- An erasure deletes what dbt built of a patient, and counts the published builds anew, as ops_owner may.
grant ops_owner to eraser;
grant select, delete on ops.predictions to eraser;
grant select, insert, update (n_rows) on ops.prediction_archives to eraser;
grant create on schema ops to eraser;
alter function ops.drop_archived_predictions(date, text, bigint) owner to eraser;
revoke create on schema ops from eraser;
revoke all on function ops.drop_archived_predictions(date, text, bigint) from public;
grant execute on function ops.drop_archived_predictions(date, text, bigint) to publisher;
grant select, update (patient_nbr) on ops.history_lookups to eraser;
grant select, update (corrected) on ops.corrections to eraser;

-- Who may see which schema.
grant usage on schema ops to transformer, publisher, serving, reader;
grant usage on schema marts to trainer, serving, reader;
grant usage on schema quarantine to reader;
grant usage on schema raw to transformer, publisher, reader;

grant select on raw.encounters to transformer, publisher;
grant select on raw.batches, raw.sources to transformer, publisher, reader;
grant select on ops.current_build, ops.published_batches, ops.corrections, ops.rebuilds, ops.rebuilt_builds to transformer;
grant select, insert, update on ops.mart_contract to publisher;
grant select, insert, update, delete on ops.rebuilds to publisher;
grant select on ops.rebuilt_builds to publisher;
grant select, insert, update, delete on ops.current_build to publisher;
grant select on
ops.corrections, ops.rejected_builds, ops.promotions, ops.promotion_outcomes, ops.monitor_reports
to publisher;
-- The number and the time of a record are the database's: who could write them could put a record before another one.
-- Until 0.2.0 the roles could.
revoke insert on
ops.corrections, ops.rejected_builds, ops.promotions, ops.promotion_outcomes, ops.monitor_reports
from publisher;
grant insert (batch_id, source_row, corrected, released_by, build_id) on ops.corrections to publisher;
grant insert (build_id, reason) on ops.rejected_builds to publisher;
grant insert (
    decision, model_name, challenger_version, production_version, challenger_score, production_score, gain, gain_low,
    gain_high, metric, data_fingerprint, contract_hash, git_sha, actor, reason, evidence, decision_id, signed_statement
) on ops.promotions to publisher;
grant insert (decision_id) on ops.promotion_outcomes to publisher;
grant insert (model_name, model_version, n_requests, verdict, evidence) on ops.monitor_reports to publisher;
grant select on ops.decisions_in_force to serving;
grant select on ops.published_batches, ops.predictions, ops.prediction_archives, ops.object_digests to publisher;
grant insert (object_key, sha256) on ops.object_digests to publisher, eraser;
grant insert on ops.predictions to serving;
revoke insert on ops.history_lookups from serving;
grant insert (caller, patient_nbr, request_id, outcome) on ops.history_lookups to serving;
grant select on all tables in schema ops to reader;

-- Tables that dbt makes later: these rights come with them (dbt's own `grants` would take them away again).
-- serving reads one model only, the patient history: that model grants it itself (post-hook).
-- Tables in the schemas `*_next` take them along into the live ones.
alter default privileges for role transformer in schema marts, marts_next grant select on tables to trainer, reader;
alter default privileges for role transformer in schema quarantine, quarantine_next grant select on tables to reader;
alter default privileges for role transformer
in schema staging, intermediate, quarantine, staging_next, intermediate_next, quarantine_next
grant select, delete on tables to ops_owner;
grant select on all tables in schema marts to trainer, reader;
grant select on all tables in schema quarantine to reader;
grant select, delete on all tables in schema staging, intermediate, quarantine to ops_owner;

-- A function in a view runs with the rights of the role that reads the view, and `publisher` may publish. So it reads nothing
-- that `transformer` owns; 0.1.0 let it.
alter default privileges for role transformer in schema staging, intermediate, quarantine, marts
revoke select on tables from publisher;
revoke select on all tables in schema staging, intermediate, quarantine, marts from publisher;
revoke usage on schema staging, intermediate, quarantine, marts from publisher;
