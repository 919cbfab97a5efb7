-- What was erased because somebody wanted it, and the tombstones that keep it from coming back. Idempotent.
--
-- A tombstone says nothing of a person: names are digests with a salt of this database, audio is known by its own digest.

-- A table of somebody else under one of these names is left alone, and so is everything else.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (
      values
        ('erasures', array['id', 'state', 'scope', 'certificate']),
        ('erasure_targets', array['erasure_id', 'video_id', 'segment_file']),
        ('erasure_salt', array['one', 'salt']),
        ('erased_audio', array['audio_digest', 'erasure_id']),
        ('erased_names', array['video_key', 'speaker_key', 'start_ms', 'erasure_id'])
    ) as w (name, columns)
  loop
    if to_regclass(wanted.name) is not null and exists (
      select from unnest(wanted.columns) as c (name)
      where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(wanted.name) and a.attname = c.name and not a.attisdropped and a.attnum > 0
      )
    ) then
      raise duplicate_table using
        message = format(
          '%s is not a table of lipika: it lacks some of %s', wanted.name, array_to_string(wanted.columns, ', ')
        ),
        hint = 'Give lipika a database of its own, or rename that table.';
    end if;
  end loop;
end
$$;

create table if not exists erasures (
  id           bigint generated always as identity primary key,
  state        text not null default 'removing' check (state in ('removing', 'done')),
  wanted_key   text not null,
  requested_by text not null,
  started_at   timestamptz not null default now(),
  finished_at  timestamptz,
  scope        jsonb,
  found        jsonb not null default '{}',
  certificate  jsonb,
  constraint erasures_done_keeps_no_names check (state <> 'done' or scope is null)
);
comment on table erasures is 'One row per erasure: who wanted it and what was removed where. Once it is done, no names.';
comment on column erasures.wanted_key is 'Digest of what was to be erased, so that the same order goes on where it was.';
comment on column erasures.scope is 'The names that are erased, while it goes on; null when it is done.';
comment on column erasures.found is 'What there was before anything was removed, by place.';
comment on column erasures.certificate is 'What was removed where and that it is gone, without names.';

create table if not exists erasure_targets (
  erasure_id   bigint not null references erasures on delete cascade,
  video_id     text not null,
  segment_file text not null,
  primary key (erasure_id, video_id, segment_file)
);
comment on table erasure_targets is 'Clips of an erasure that goes on; emptied when it is done.';
comment on column erasure_targets.segment_file is 'Empty: the whole video.';

create table if not exists erasure_salt (
  one  boolean primary key default true check (one),
  salt text not null
);
comment on table erasure_salt is 'What names are digested with. No role reads it.';
insert into erasure_salt (salt) values (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
on conflict do nothing;

create table if not exists erased_audio (
  audio_digest text primary key,
  erasure_id   bigint not null
);
create index if not exists erased_audio_of on erased_audio (erasure_id);
comment on table erased_audio is 'Tombstones: digests of audio that is not sent, packed or exported again.';

create table if not exists erased_names (
  video_key   text not null,
  speaker_key text not null default '',
  start_ms    integer not null default 0,
  end_ms      integer not null default 2147483647,
  erasure_id  bigint not null,
  primary key (video_key, speaker_key, start_ms, end_ms)
);
comment on table erased_names is 'Tombstones: videos, speakers of videos and stretches of these, by digests of their names.';
comment on column erased_names.video_key is 'lipika_video_key of the video.';
comment on column erased_names.speaker_key is 'lipika_speaker_key of the speaker; empty: the whole video.';
comment on column erased_names.start_ms is 'On the video''s clock.';

alter table erasures enable row level security;
alter table erasure_targets enable row level security;
alter table erasure_salt enable row level security;
alter table erased_audio enable row level security;
alter table erased_names enable row level security;

-- ------------------------------------------------------------------------------------------------ names and digests

create or replace function lipika_video_key(p_video_id text) returns text
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select encode(sha256(convert_to(salt || E'\n' || p_video_id, 'UTF8')), 'hex') from erasure_salt
$$;

create or replace function lipika_speaker_key(p_video_key text, p_speaker text) returns text
language sql immutable parallel safe set search_path = pg_catalog, public, pg_temp as $$
  select encode(sha256(convert_to(p_video_key || E'\n' || p_speaker, 'UTF8')), 'hex')
$$;

-- The speaker that a file's name says; null where it is no such name.
create or replace function lipika_speaker_of(p_file text) returns text
language sql immutable parallel safe set search_path = pg_catalog, public, pg_temp as $$
  select substring(p_file from '^(.+?)_[0-9]{5,10}_[0-9]{5,10}(?:\.[A-Za-z0-9]+)?$')
$$;

-- True if a file is of this speaker and of a part of this stretch, in ms; null where it is no such name.
create or replace function lipika_is_of(p_file text, p_speaker text, p_start_ms integer, p_end_ms integer) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, public, pg_temp as $$
  select lipika_speaker_of(p_file) = p_speaker and (
    p_start_ms is null or cut[1]::bigint * 10 < p_end_ms and p_start_ms < cut[2]::bigint * 10
  )
  from regexp_match(p_file, '_([0-9]{5,10})_([0-9]{5,10})(?:\.[A-Za-z0-9]+)?$') as cut
$$;

-- What a worker asks before it reads a video: what of it is erased.
create or replace function lipika_erased_of(p_video_id text)
returns table (video_key text, speaker_key text, start_ms integer, end_ms integer)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select n.video_key, n.speaker_key, n.start_ms, n.end_ms from erased_names n
  where n.video_key = lipika_video_key(p_video_id)
$$;

-- Which of these videos are erased as a whole.
create or replace function lipika_erased_videos(p_video_ids text[]) returns table (video_id text, erasure_id bigint)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
  if not exists (select from erased_names) then
    return;
  end if;
  return query
  select v.id, n.erasure_id from unnest(p_video_ids) as v (id)
  join erased_names n on n.video_key = lipika_video_key(v.id) and n.speaker_key = '';
end
$$;

-- Which of these digests are of erased audio.
create or replace function lipika_erased_audio(p_digests text[]) returns table (audio_digest text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select e.audio_digest from erased_audio e where e.audio_digest = any(p_digests)
$$;

-- The beginnings of all digests since an erasure, for a worker to hold in memory: a hit is asked for in full.
create or replace function lipika_erased_since(p_erasure bigint) returns table (erasure_id bigint, beginning text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select e.erasure_id, left(e.audio_digest, 16) from erased_audio e where e.erasure_id >= p_erasure
$$;

-- True if a text has the name of a video that is erased, or of a clip of an erased speaker of this video.
create or replace function lipika_names_erased(p_video_id text, p_text text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if not exists (select from erased_names) then
    return false;
  end if;
  return exists (
    select from (
      select distinct word[1] as word
      from regexp_matches(left(p_text, 20000), '[^\s''",;()\[\]{}<>/\\]+', 'g') as word
    ) w
    cross join lateral (
      values (w.word), (rtrim(w.word, '.:!?')), (split_part(w.word, ':', 1)), (regexp_replace(w.word, '(_transcribed)?\.tar.*$', ''))
    ) as said (name)
    join erased_names n on n.video_key = lipika_video_key(said.name) and n.speaker_key = ''
  ) or p_video_id is not null and exists (
    select from regexp_matches(left(p_text, 20000), '([^\s''",;()\[\]{}<>/\\:]+?)_[0-9]{5,10}_[0-9]{5,10}', 'g') as name
    join erased_names n on n.video_key = lipika_video_key(p_video_id)
      and n.speaker_key = lipika_speaker_key(n.video_key, name[1])
  );
end
$$;

-- ------------------------------------------------------------------------------------------------ removing

-- Rows of results, with what the sums say of them. Locks of sums in the order in which writes of results take them.
create or replace function lipika_erase_results(p_video_ids text[], p_segment_files text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  gone bigint;
begin
  with removed as (
    delete from transcription_results r
    using unnest(p_video_ids, p_segment_files) as w (video_id, segment_file)
    where r.video_id = w.video_id and r.segment_file = w.segment_file
    returning r.*
  ), counted as (
    insert into quality_rollup as q (
      hour, language, worker_id, clips, transcribed, no_speech, failed, asr_eligible, tts_clean, tts_expressive,
      lang_mismatch, scored, score_sum, duration_ms, cost_usd
    )
    select date_trunc('hour', created_at), coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown'),
      worker_id, -count(*), -sum((status = 'transcribed')::int), -sum((status = 'no_speech')::int),
      -sum((status = 'failed')::int), -sum(asr_eligible::int), -sum(tts_clean_eligible::int),
      -sum(tts_expressive_eligible::int), -sum(coalesce(lang_mismatch_flag, false)::int),
      -sum((quality_score is not null)::int), -sum(coalesce(quality_score, 0)), -sum(duration_ms), -sum(cost_usd)
    from removed
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (hour, language, worker_id) do update set
      clips = q.clips + excluded.clips, transcribed = q.transcribed + excluded.transcribed,
      no_speech = q.no_speech + excluded.no_speech, failed = q.failed + excluded.failed,
      asr_eligible = q.asr_eligible + excluded.asr_eligible, tts_clean = q.tts_clean + excluded.tts_clean,
      tts_expressive = q.tts_expressive + excluded.tts_expressive,
      lang_mismatch = q.lang_mismatch + excluded.lang_mismatch, scored = q.scored + excluded.scored,
      score_sum = q.score_sum + excluded.score_sum, duration_ms = q.duration_ms + excluded.duration_ms,
      cost_usd = q.cost_usd + excluded.cost_usd
  )
  select count(*) into gone from removed;
  return gone;
end
$$;

-- ------------------------------------------------------------------------------------------------ nothing comes back

-- Whoever writes late: rows of erased audio go as they come. One look at an empty table where nothing was ever erased.
create or replace function lipika_drop_erased_results() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from erased_audio) then
    perform lipika_erase_results(array_agg(i.video_id), array_agg(i.segment_file))
    from rows_in i join erased_audio e on e.audio_digest = i.audio_digest
    having count(*) > 0;
  end if;
  return null;
end
$$;

create or replace function lipika_drop_erased_audio() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from erased_audio) then
    execute format(
      'delete from %I t using erased_audio e where t.audio_digest = e.audio_digest'
      ' and e.audio_digest in (select audio_digest from rows_in)', tg_table_name
    );
  end if;
  return null;
end
$$;

create or replace function lipika_drop_erased_videos() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from erased_names) then
    delete from video_queue q using rows_in i, erased_names n
    where q.video_id = i.video_id and n.video_key = lipika_video_key(i.video_id) and n.speaker_key = '';
  end if;
  return null;
end
$$;

create or replace function lipika_drop_erased_canary_clips() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from erased_names) then
    delete from canary_clips c using rows_in i, erased_names n
    where (c.run_id, c.arm, c.video_id, c.segment_file) = (i.run_id, i.arm, i.video_id, i.segment_file)
      and n.video_key = lipika_video_key(i.video_id)
      and n.speaker_key in ('', lipika_speaker_key(n.video_key, coalesce(lipika_speaker_of(i.segment_file), '')));
  end if;
  return null;
end
$$;

create or replace function lipika_hide_erased_error() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.video_id is not null and exists (select from lipika_erased_videos(array[new.video_id]))
    or lipika_names_erased(new.video_id, new.message || ' ' || new.traceback) then
    new.video_id := null;
    new.message := '(erased)';
    new.traceback := '(erased)';
  end if;
  return new;
end
$$;

create or replace function lipika_hide_erased_of_worker() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.current_video_id is not null and exists (select from lipika_erased_videos(array[new.current_video_id])) then
    new.current_video_id := null;
  end if;
  if new.last_error is distinct from old.last_error and lipika_names_erased(new.current_video_id, new.last_error) then
    new.last_error := '(erased)';
  end if;
  return new;
end
$$;

create or replace function lipika_hide_erased_of_batch() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from erased_names) then
    new.video_ids := array(
      select id from unnest(new.video_ids) with ordinality as v (id, place)
      where id not in (select e.video_id from lipika_erased_videos(new.video_ids) e)
      order by place
    );
  end if;
  return new;
end
$$;

do $$
declare
  thing record;
begin
  for thing in
    select * from (
      values
        ('transcription_results', 'lipika_drop_erased_results'), ('transcription_answers', 'lipika_drop_erased_audio'),
        ('audit_clips', 'lipika_drop_erased_audio'), ('transcription_edits', 'lipika_drop_erased_audio'),
        ('edited_clips', 'lipika_drop_erased_audio'), ('transcription_voters', 'lipika_drop_erased_audio'),
        ('video_queue', 'lipika_drop_erased_videos'), ('canary_clips', 'lipika_drop_erased_canary_clips')
    ) as t (relation, does)
  loop
    if not exists (
      select from pg_trigger where tgrelid = to_regclass(thing.relation) and tgname = 'erased_insert'
    ) then
      execute format(
        'create trigger erased_insert after insert on %I referencing new table as rows_in for each statement'
        ' execute function %I()', thing.relation, thing.does
      );
    end if;
  end loop;
  -- A result whose audio becomes another.
  if not exists (
    select from pg_trigger where tgrelid = 'transcription_results'::regclass and tgname = 'erased_update'
  ) then
    create trigger erased_update after update on transcription_results referencing new table as rows_in
    for each statement execute function lipika_drop_erased_results();
  end if;
  if not exists (select from pg_trigger where tgrelid = 'worker_errors'::regclass and tgname = 'erased_error') then
    create trigger erased_error before insert on worker_errors
    for each row execute function lipika_hide_erased_error();
  end if;
  if not exists (select from pg_trigger where tgrelid = 'transcription_batches'::regclass and tgname = 'erased_batch') then
    create trigger erased_batch before insert on transcription_batches
    for each row execute function lipika_hide_erased_of_batch();
  end if;
  if not exists (select from pg_trigger where tgrelid = 'workers'::regclass and tgname = 'erased_worker') then
    create trigger erased_worker before update of current_video_id, last_error on workers
    for each row when (
      new.current_video_id is distinct from old.current_video_id or new.last_error is distinct from old.last_error
    ) execute function lipika_hide_erased_of_worker();
  end if;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table erasures', 'table erasure_targets', 'table erasure_salt', 'table erased_audio', 'table erased_names',
    'sequence erasures_id_seq', 'function lipika_video_key(text)', 'function lipika_speaker_key(text, text)', 'function lipika_speaker_of(text)',
    'function lipika_is_of(text, text, integer, integer)',
    'function lipika_erased_of(text)', 'function lipika_erased_videos(text[])', 'function lipika_erased_audio(text[])',
    'function lipika_erased_since(bigint)', 'function lipika_names_erased(text, text)', 'function lipika_erase_results(text[], text[])',
    'function lipika_drop_erased_results()', 'function lipika_drop_erased_audio()', 'function lipika_drop_erased_videos()',
    'function lipika_drop_erased_canary_clips()', 'function lipika_hide_erased_error()',
    'function lipika_hide_erased_of_worker()', 'function lipika_hide_erased_of_batch()'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
end
$$;

-- Workers ask what is erased; roles.sql need not be run again before their next start.
do $$
declare
  grantee text;
begin
  for grantee in
    select rolname from pg_roles where rolname in ('lipika_worker', 'lipika_dashboard')
      and has_table_privilege(rolname, 'transcription_results', 'select')
  loop
    execute format('grant execute on function lipika_erased_of(text) to %I', grantee);
    execute format('grant execute on function lipika_erased_videos(text[]) to %I', grantee);
    execute format('grant execute on function lipika_erased_audio(text[]) to %I', grantee);
    execute format('grant execute on function lipika_erased_since(bigint) to %I', grantee);
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261130001100', 'erase') on conflict do nothing;
