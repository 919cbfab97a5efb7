-- Limits of speech rates that the fleet has learned from its own corpus, the same for every worker; and whose turn it is to
-- learn the next. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('calibrations', 'id, simulated, version, content'),
      ('calibration_turns', 'simulated, token, looks')
    ) as ours (name, columns)
    where to_regclass(name) is not null and exists (
      select from unnest(string_to_array(columns, ', ')) as wanted
      where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(name) and a.attname = wanted and not a.attisdropped and a.attnum > 0
      )
    )
  loop
    raise duplicate_table using
      message = format('%s is not a table of lipika: it lacks some of %s', foreign_table.name, foreign_table.columns),
      hint = 'Give lipika a database of its own, or rename that table.';
  end loop;
end
$$;

create table if not exists calibrations (
  id         bigint generated always as identity primary key,
  simulated  boolean not null,
  version    text not null,
  made_by    text not null,
  clips      jsonb not null,
  content    text not null,
  created_at timestamptz not null default now()
);
comment on table calibrations is 'One row per calibration of the rate limits; the newest one is in force.';
comment on column calibrations.simulated is 'Learned from made-up answers: in force for those alone.';
comment on column calibrations.version is 'Digest of the limits, as validator_version of a result has it.';
comment on column calibrations.made_by is 'Worker that learned it, or person.';
comment on column calibrations.clips is 'Sound clips that each language''s limits rest on.';
comment on column calibrations.content is 'The limits, as lipika calibrate --out writes them.';
create index if not exists calibrations_newest on calibrations (simulated, id desc);

create table if not exists calibration_turns (
  simulated  boolean primary key,
  worker_id  text,
  token      uuid,
  expires_at timestamptz,
  language   text,
  clips      bigint,
  looks      jsonb not null default '{}'
);
comment on table calibration_turns is 'Who learns limits at the moment, and what has been looked at: one worker at a time.';
comment on column calibration_turns.expires_at is 'From then on any worker may take the turn.';
comment on column calibration_turns.clips is 'Transcribed clips of the language when the turn was taken.';
comment on column calibration_turns.looks is
  'By language: clips there were at the last look, when that was, and whether it gave limits.';

alter table calibrations enable row level security;
alter table calibration_turns enable row level security;

-- Videos that were worked on, in an order that has nothing to do with what they are: its front is a fair sample.
create index if not exists video_queue_sample on video_queue (left(md5(video_id), 8)) where claimed_by is not null;

-- ------------------------------------------------------------------------------------------------ functions

-- A language that is due, if there is one and nobody is at work: it is the caller's until the lease runs out. Counted in
-- counters that a trigger keeps: 13 languages, some rows each. A language is due with p_least clips; again with ten
-- times those its limits were learned from; and where a look gave none, with a quarter more, or after an hour.
create or replace function lipika_calibration_turn(
  p_worker_id text, p_key text, p_simulated boolean, p_languages text[], p_least bigint, p_lease_seconds double precision
) returns table (language text, token uuid)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
  due record;
begin
  if (p_least >= 1 and p_lease_seconds between 0 and 86400 and cardinality(p_languages) <= 100) is not true then
    raise check_violation using message = 'a turn is for one clip or more, of 100 languages, for a day at most';
  end if;
  if not lipika_is_worker(p_worker_id, p_key) or exists (
    select from calibration_turns t where t.simulated = p_simulated and t.expires_at > now()
  ) then
    return;
  end if;
  select counted.language, counted.clips into due
  from (
    select c.language, sum(c.clips)::bigint as clips
    from clip_counts c
    where c.language = any(p_languages) and c.kind = 'status' and c.key = 'transcribed'
    group by c.language
  ) counted
  left join calibration_turns t on t.simulated = p_simulated
  cross join lateral (select t.looks -> counted.language as look) known
  where counted.clips >= p_least and (
    look is null
    or (look ->> 'learned')::boolean and counted.clips >= 10 * (look ->> 'clips')::bigint
    or not (look ->> 'learned')::boolean and (
      counted.clips >= 1.25 * (look ->> 'clips')::bigint
      or (look ->> 'at')::timestamptz < now() - interval '1 hour'
    )
  )
  order by counted.clips desc, counted.language
  limit 1;
  if not found then
    return;
  end if;
  return query
  insert into calibration_turns as t (simulated, worker_id, token, expires_at, language, clips)
  values (
    p_simulated, p_worker_id, gen_random_uuid(), now() + make_interval(secs => p_lease_seconds), due.language, due.clips
  )
  on conflict (simulated) do update set
    worker_id = excluded.worker_id, token = excluded.token, expires_at = excluded.expires_at,
    language = excluded.language, clips = excluded.clips
  where t.expires_at is null or t.expires_at <= now()
  returning t.language, t.token;
end
$$;

-- The end of a turn, with new limits or, where there was too little to learn from, without. False: the turn has gone to
-- somebody else, or a newer calibration is there than the one that this one goes on from.
create or replace function lipika_end_calibration(
  p_simulated boolean, p_token uuid, p_after bigint, p_version text, p_clips jsonb, p_content text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  turn record;
begin
  if (
    p_content is null
    or length(p_content) <= 100000 and length(p_version) <= 100 and length(p_clips::text) <= 10000
  ) is not true then
    raise check_violation using message = 'that is no calibration';
  end if;
  select t.worker_id, t.language, t.clips into turn
  from calibration_turns t where t.simulated = p_simulated and t.token = p_token and t.expires_at > now()
  for update;
  if not found or p_after is distinct from (
    select max(c.id) from calibrations c where c.simulated = p_simulated
  ) then
    update calibration_turns t set token = null, expires_at = null
    where t.simulated = p_simulated and t.token = p_token;
    return false;
  end if;
  if p_content is not null then
    insert into calibrations (simulated, version, made_by, clips, content)
    values (p_simulated, p_version, turn.worker_id, p_clips, p_content);
  end if;
  update calibration_turns t
  set token = null, expires_at = null, looks = looks || jsonb_build_object(turn.language, jsonb_build_object(
    'clips', turn.clips, 'at', now(), 'learned', p_content is not null
  ))
  where t.simulated = p_simulated;
  return true;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table calibrations', 'table calibration_turns', 'sequence calibrations_id_seq',
    'function lipika_calibration_turn(text, text, boolean, text[], bigint, double precision)',
    'function lipika_end_calibration(boolean, uuid, bigint, text, jsonb, text)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
end
$$;

-- Who may work may calibrate, and who may read results may read these; roles.sql need not be run again before the next
-- start of a worker.
do $$
declare
  grantee text;
  relation regclass;
  function regprocedure;
begin
  for grantee, relation in
    select rolname, read.relation from pg_roles
    join (values
      ('lipika_worker', 'calibrations'::regclass),
      ('lipika_reader', 'calibrations'), ('lipika_reader', 'calibration_turns')
    ) as read (role, relation) on rolname = read.role
  loop
    continue when not has_table_privilege(grantee, 'transcription_results', 'select');
    execute format('grant select on %s to %I', relation, grantee);
    if not exists (select from pg_policy where polrelid = relation and polname = grantee) then
      execute format('create policy %I on %s for select to %I using (true)', grantee, relation, grantee);
    end if;
    continue when grantee <> 'lipika_worker';
    foreach function in array array[
      'lipika_calibration_turn(text, text, boolean, text[], bigint, double precision)'::regprocedure,
      'lipika_end_calibration(boolean, uuid, bigint, text, jsonb, text)'::regprocedure
    ] loop
      execute format('grant execute on function %s to lipika_worker', function);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000400', 'calibrations') on conflict do nothing;
