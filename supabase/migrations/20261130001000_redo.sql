-- Clips that are to be asked for again: an order with the clips that it chose, how far it is, and whose turn it is to ask for
-- an audio. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('redos', 'id, query, asked, keep_both, holder'),
      ('redo_clips', 'redo_id, video_id, segment_file, usd'),
      ('redo_turns', 'audio_digest, way, holder')
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

create table if not exists redos (
  id               bigint generated always as identity primary key,
  query            text not null,
  most             integer,
  asked            jsonb not null default '{}',
  keep_both        boolean not null default false,
  state            text not null default 'queued' check (state in ('queued', 'running', 'done', 'failed', 'dropped')),
  note             text not null default '',
  ordered_by       text not null,
  ordered_at       timestamptz not null default clock_timestamp(),
  holder           text,
  lease_expires_at timestamptz,
  started_at       timestamptz,
  ended_at         timestamptz
);
comment on table redos is 'Orders to ask for clips again. Which clips is settled when the order is given.';
comment on column redos.query is 'The choice, as the query of the page Clips; or of one clip: clip=VIDEO/FILE.';
comment on column redos.most is 'No more clips than this were to be chosen; null: as many as one order may hold.';
comment on column redos.asked is 'Settings that the clips are asked with, by name; others are those of who carries it out.';
comment on column redos.keep_both is 'A new answer never becomes the result: it is kept aside.';
comment on column redos.state is
  'queued (or stopped half way: anybody may go on) | running, until lease_expires_at | done | failed (note) | dropped.';

create table if not exists redo_clips (
  redo_id      bigint not null references redos (id) on delete cascade,
  video_id     text not null,
  segment_file text not null,
  audio_digest text not null,
  duration_ms  integer not null,
  state        text not null default 'waiting' check (state in (
    'waiting', 'answered', 'replaced', 'kept', 'already', 'person', 'failed', 'no_audio', 'gone'
  )),
  usd          double precision not null default 0,
  note         text not null default '',
  primary key (redo_id, video_id, segment_file)
);
comment on table redo_clips is 'One row per clip of an order.';
comment on column redo_clips.state is
  'waiting | answered (stored, not weighed yet) | replaced (the new answer is the result) | kept (it is kept aside) | already '
  '(the result was asked for in this way) | person (whose word stands) | failed (no answer) | no_audio | gone.';
comment on column redo_clips.usd is 'US dollars that this order has paid for the clip.';

create table if not exists redo_turns (
  audio_digest text not null,
  way          text not null,
  holder       text not null,
  expires_at   timestamptz not null,
  primary key (audio_digest, way)
);
comment on table redo_turns is 'Audios that a redo asks for at this moment: another waits, and finds the answer.';
create index if not exists redo_turns_of_holder on redo_turns (holder);

alter table redos enable row level security;
alter table redo_clips enable row level security;
alter table redo_turns enable row level security;

-- ------------------------------------------------------------------------------------------------ functions

create or replace function lipika_order_redo(p_order jsonb, p_videos text[], p_clips text[])
returns table (id bigint, clips bigint)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- An order with its clips. A person's word stands, and what lies in no result archive cannot be asked for: such clips are
-- settled at once. Nothing is ordered where none of the clips is there.
#variable_conflict use_column
declare
  new_id bigint;
  filled bigint;
begin
  insert into redos (query, most, asked, keep_both, ordered_by)
  select o.query, o.most, o.asked, o.keep_both, o.ordered_by
  from jsonb_to_record(p_order) as o (query text, most integer, asked jsonb, keep_both boolean, ordered_by text)
  returning redos.id into new_id;
  insert into redo_clips (redo_id, video_id, segment_file, audio_digest, duration_ms, state)
  select new_id, video_id, segment_file, audio_digest, duration_ms, state
  from lipika_redo_candidates(p_videos, p_clips);
  get diagnostics filled = row_count;
  if filled = 0 then
    delete from redos where redos.id = new_id;
    return;
  end if;
  return query select new_id, filled;
end
$$;

create or replace function lipika_redo_candidates(p_videos text[], p_clips text[])
returns table (
  video_id text, segment_file text, audio_digest text, duration_ms integer, language_hint text, state text
)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select r.video_id, r.segment_file, r.audio_digest, r.duration_ms, coalesce(r.expected_language_hint, ''),
    case
      when r.text_source <> 'model' or exists (
        select from edited_clips e
        where e.video_id = r.video_id and e.segment_file = r.segment_file and e.edit_id is not null
      ) then 'person'
      when q.output_key is null then 'no_audio'
      else 'waiting'
    end
  from (select distinct * from unnest(p_videos, p_clips) as u (video_id, segment_file)) u
  join transcription_results r on r.video_id = u.video_id and r.segment_file = u.segment_file
  left join video_queue q on q.video_id = r.video_id
$$;

create or replace function lipika_drop_redo(p_id bigint) returns boolean
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Nobody goes on with it; who has it in hand hears of it at the next renewal. What was answered stays.
  with dropped as (
    update redos set state = 'dropped', ended_at = now() where id = p_id and state in ('queued', 'running') returning 1
  )
  select exists (select from dropped)
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
  relation regclass;
begin
  foreach thing in array array[
    'table redos', 'table redo_clips', 'table redo_turns', 'sequence redos_id_seq',
    'function lipika_order_redo(jsonb, text[], text[])', 'function lipika_redo_candidates(text[], text[])',
    'function lipika_drop_redo(bigint)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may read these; who may requeue may order. roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'transcription_results', 'select') then
    foreach relation in array array['redos'::regclass, 'redo_clips', 'redo_turns'] loop
      execute format('grant select on %s to lipika_reader', relation);
      if not exists (select from pg_policy where polrelid = relation and polname = 'lipika_reader') then
        execute format('create policy lipika_reader on %s for select to lipika_reader using (true)', relation);
      end if;
    end loop;
  end if;
  if exists (select from pg_roles where rolname = 'lipika_dashboard')
    and has_any_column_privilege('lipika_dashboard', 'video_queue', 'update') then
    grant execute on function lipika_order_redo(jsonb, text[], text[]), lipika_drop_redo(bigint) to lipika_dashboard;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130001000', 'redo') on conflict do nothing;
