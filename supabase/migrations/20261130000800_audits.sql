-- Audits: clips that were drawn by chance, and what people found when they heard them. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('audits', 'id, seed, strata, looks'),
      ('audit_clips', 'audit_id, place, stratum, look'),
      ('audit_judgements', 'audit_id, place, reviewer, usable')
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

create table if not exists audits (
  id             bigint generated always as identity primary key,
  seed           bigint not null,
  lane           text not null default '',
  per_language   integer not null check (per_language > 0),
  double_share   double precision not null check (double_share between 0 and 1),
  limit_cer      double precision not null check (limit_cer > 0),
  limit_unusable double precision not null check (limit_unusable between 0 and 1),
  strata         jsonb not null,
  looks          smallint not null default 1 check (looks > 0),
  drawn_by       text not null,
  drawn_at       timestamptz not null default now()
);
comment on table audits is 'One row per audit: what was drawn from, as it was then.';
comment on column audits.seed is 'Of the draw: the same seed over the same rows draws the same clips.';
comment on column audits.lane is 'Only clips in this lane were drawn from; empty: all transcribed ones.';
comment on column audits.per_language is 'Clips drawn of each language at first.';
comment on column audits.strata is
  'An array of language, lanes, tier, clips, and the second listener''s sums over those it heard: proxy_errors, proxy_letters.';
comment on column audits.looks is 'Draws so far; each later one spends half as much of the chance of a wrong verdict.';

create table if not exists audit_clips (
  audit_id      bigint not null references audits (id) on delete cascade,
  place         integer not null,
  stratum       smallint not null,
  look          smallint not null default 0,
  doubled       boolean not null default false,
  video_id      text not null,
  segment_file  text not null,
  audio_digest  text not null,
  duration_ms   integer not null,
  language      text not null,
  transcription text not null,
  proxy_errors  real not null,
  proxy_letters real not null,
  primary key (audit_id, place),
  unique (audit_id, video_id, segment_file)
);
comment on table audit_clips is 'One row per clip that is heard, or held in reserve, with its text as it was at the draw.';
comment on column audit_clips.place is 'Where it stands in a random order.';
comment on column audit_clips.stratum is 'Its place in audits.strata, from 0.';
comment on column audit_clips.look is 'The draw it came with; 0: in reserve.';
comment on column audit_clips.doubled is 'Two people hear it.';

create table if not exists audit_judgements (
  audit_id   bigint not null,
  place      integer not null,
  reviewer   text not null,
  usable     boolean,
  text       text,
  seconds    real,
  claimed_at timestamptz not null default now(),
  judged_at  timestamptz,
  primary key (audit_id, place, reviewer),
  foreign key (audit_id, place) references audit_clips (audit_id, place) on delete cascade
);
comment on table audit_judgements is 'One row per clip and person: what they found, or that they have it before them.';
comment on column audit_judgements.usable is 'Null: not judged yet; or, with judged_at, passed over.';
comment on column audit_judgements.text is 'What is said; null: as it was, or the clip is unusable.';
comment on column audit_judgements.seconds is 'That it took.';

alter table audits enable row level security;
alter table audit_clips enable row level security;
alter table audit_judgements enable row level security;

create or replace function lipika_take_audit_clips(p_audit bigint, p_reviewer text, p_languages text[], p_count integer)
returns setof integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Places of clips that a person is to hear next: first those they have before them, then others that nobody has, or one
-- other of two. One person at a time, so that no two are given the same clip. Who leaves loses theirs after a while.
declare
  given integer[];
begin
  if length(p_reviewer) not between 1 and 200 or p_count not between 1 and 10 then
    raise check_violation using message = 'a person takes 1 to 10 clips, under a name';
  end if;
  perform from audits where id = p_audit for update;
  select array_agg(place order by place) into given from (
    select c.place from audit_clips c
    join audit_judgements j on j.audit_id = c.audit_id and j.place = c.place and j.reviewer = p_reviewer
    where c.audit_id = p_audit and c.look > 0 and j.judged_at is null
      and (p_languages is null or c.language = any(p_languages))
    order by c.place
    limit p_count
  ) held;
  given := coalesce(given, '{}');
  if cardinality(given) < p_count then
    given := given || coalesce((select array_agg(place order by place) from (
      select c.place from audit_clips c
      where c.audit_id = p_audit and c.look > 0 and (p_languages is null or c.language = any(p_languages))
        and not exists (
          select from audit_judgements j
          where j.audit_id = c.audit_id and j.place = c.place and j.reviewer = p_reviewer
        )
        and (
          select count(*) from audit_judgements j
          where j.audit_id = c.audit_id and j.place = c.place
            and (j.usable is not null or j.judged_at is null and j.claimed_at > now() - interval '15 minutes')
        ) < 1 + c.doubled::int
      order by c.place
      limit p_count - cardinality(given)
    ) fresh), '{}');
  end if;
  insert into audit_judgements (audit_id, place, reviewer)
  select p_audit, place, p_reviewer from unnest(given) as place
  on conflict (audit_id, place, reviewer) do update set claimed_at = now();
  return query select unnest(given);
end
$$;

create or replace function lipika_judge_audit_clip(
  p_audit bigint, p_place integer, p_reviewer text, p_usable boolean, p_text text, p_seconds real
) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- What a person found; said again, the later word counts. False: there is no such clip among those that are heard. Where
-- others have heard as often as is wanted, a latecomer's word is not counted, and is not kept.
begin
  perform from audits where id = p_audit for update;
  if not exists (select from audit_clips c where c.audit_id = p_audit and c.place = p_place and c.look > 0) then
    return false;
  end if;
  if p_usable is not null and (
    select count(*) from audit_judgements j
    where j.audit_id = p_audit and j.place = p_place and j.usable is not null and j.reviewer <> p_reviewer
  ) >= (select 1 + c.doubled::int from audit_clips c where c.audit_id = p_audit and c.place = p_place) then
    return false;
  end if;
  insert into audit_judgements as j (audit_id, place, reviewer, usable, text, seconds, judged_at)
  values (p_audit, p_place, p_reviewer, p_usable, p_text, p_seconds, now())
  on conflict (audit_id, place, reviewer) do update set
    usable = excluded.usable, text = excluded.text, seconds = excluded.seconds, judged_at = excluded.judged_at;
  return true;
end
$$;

do $$
declare
  thing text;
  grantee text;
  relation regclass;
begin
  foreach thing in array array[
    'table audits', 'table audit_clips', 'table audit_judgements', 'sequence audits_id_seq',
    'function lipika_take_audit_clips(bigint, text, text[], integer)',
    'function lipika_judge_audit_clip(bigint, integer, text, boolean, text, real)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may read audits; who may resolve flags may hear clips. roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'transcription_results', 'select') then
    foreach relation in array array['audits'::regclass, 'audit_clips', 'audit_judgements'] loop
      execute format('grant select on %s to lipika_reader', relation);
      if not exists (select from pg_policy where polrelid = relation and polname = 'lipika_reader') then
        execute format('create policy lipika_reader on %s for select to lipika_reader using (true)', relation);
      end if;
    end loop;
  end if;
  if exists (select from pg_roles where rolname = 'lipika_dashboard')
    and has_any_column_privilege('lipika_dashboard', 'transcription_flags', 'update') then
    grant execute on function lipika_take_audit_clips(bigint, text, text[], integer),
      lipika_judge_audit_clip(bigint, integer, text, boolean, text, real) to lipika_dashboard;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000800', 'audits') on conflict do nothing;
