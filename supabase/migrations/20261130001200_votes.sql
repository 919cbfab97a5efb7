-- Blind votes: two ways of asking beside each other on clips that have answers of both, and which of the two people prefer
-- without knowing which is which. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('comparisons', 'id, first_way, second_way, seed'),
      ('comparison_clips', 'comparison_id, place, first_text, second_text'),
      ('comparison_votes', 'comparison_id, place, voter, first_left, choice')
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

create table if not exists comparisons (
  id           bigint generated always as identity primary key,
  first_way    text not null,
  second_way   text not null,
  first_words  text not null,
  second_words text not null,
  seed         bigint not null,
  started_by   text not null,
  started_at   timestamptz not null default now(),
  check (first_way <> second_way)
);
create unique index if not exists comparisons_ways on comparisons (
  least(first_way, second_way), greatest(first_way, second_way)
);
comment on table comparisons is 'One row per two ways of asking that people compare.';
comment on column comparisons.first_way is 'Name of the way, as way_counts has it.';
comment on column comparisons.first_words is 'Its settings, in words.';
comment on column comparisons.seed is 'Of the draws: the same seed over the same answers draws the same clips.';

create table if not exists comparison_clips (
  comparison_id bigint not null references comparisons (id) on delete cascade,
  place         integer not null,
  doubled       boolean not null,
  video_id      text not null,
  segment_file  text not null,
  audio_digest  text not null,
  duration_ms   integer not null,
  language      text not null,
  first_text    text not null,
  second_text   text not null,
  differing     real not null check (differing between 0 and 1),
  letters       integer not null,
  first_usd     double precision not null,
  second_usd    double precision not null,
  drawn_by      text not null,
  drawn_at      timestamptz not null default now(),
  primary key (comparison_id, place),
  unique (comparison_id, audio_digest)
);
comment on table comparison_clips is 'One row per clip that was drawn to be voted on, with both texts as they were at the draw.';
comment on column comparison_clips.place is 'Where it stands in the order in which clips are given out.';
comment on column comparison_clips.doubled is 'Two people vote on it.';
comment on column comparison_clips.differing is 'Share of the letters that differ between the two, 0 to 1.';
comment on column comparison_clips.letters is 'Letters of the longer text.';
comment on column comparison_clips.first_usd is 'US dollars that the first way''s answer cost.';

create table if not exists comparison_votes (
  comparison_id bigint not null,
  place         integer not null,
  voter         text not null,
  first_left    boolean not null default random() < 0.5,
  choice        text check (choice in ('first', 'second', 'equal', 'bad', 'skip')),
  shown_at      timestamptz not null default now(),
  voted_at      timestamptz,
  primary key (comparison_id, place, voter),
  foreign key (comparison_id, place) references comparison_clips (comparison_id, place) on delete cascade,
  check ((choice is null) = (voted_at is null))
);
comment on table comparison_votes is 'One row per clip and person: which side the first way''s text stood on, and what they chose.';
comment on column comparison_votes.first_left is 'The first way''s text stood on the left. By chance, and never told to who votes.';
comment on column comparison_votes.choice is
  'The better one; equal: both equally good; bad: both are bad; skip: passed over; null: they have it before them.';

alter table comparisons enable row level security;
alter table comparison_clips enable row level security;
alter table comparison_votes enable row level security;

-- ------------------------------------------------------------------------------------------------ functions

create or replace function lipika_start_comparison(
  p_first text, p_second text, p_first_words text, p_second_words text, p_seed bigint, p_by text
) returns bigint
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- The comparison of these two, in whichever order it was begun; a new one where there is none.
begin
  insert into comparisons (first_way, second_way, first_words, second_words, seed, started_by)
  values (p_first, p_second, p_first_words, p_second_words, p_seed, p_by)
  on conflict do nothing;
  return (
    select id from comparisons
    where least(first_way, second_way) = least(p_first, p_second)
      and greatest(first_way, second_way) = greatest(p_first, p_second)
  );
end
$$;

create or replace function lipika_add_comparison_clips(p_comparison bigint, p_clips jsonb, p_by text) returns integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Clips after those that are there, in the order given; whose audio is there already are passed over.
declare
  added integer;
begin
  perform from comparisons where id = p_comparison for update;
  if jsonb_array_length(p_clips) > 2000 then
    raise check_violation using message = 'a draw has 2,000 clips at most';
  end if;
  insert into comparison_clips (
    comparison_id, place, doubled, video_id, segment_file, audio_digest, duration_ms, language, first_text, second_text,
    differing, letters, first_usd, second_usd, drawn_by
  )
  select p_comparison,
    (select coalesce(max(place), 0) from comparison_clips where comparison_id = p_comparison)
      + row_number() over (order by c.place),
    c.doubled, c.video_id, c.segment_file, c.audio_digest, c.duration_ms, c.language, c.first_text, c.second_text,
    c.differing, c.letters, c.first_usd, c.second_usd, p_by
  from jsonb_to_recordset(p_clips) as c (
    place integer, doubled boolean, video_id text, segment_file text, audio_digest text, duration_ms integer, language text,
    first_text text, second_text text, differing real, letters integer, first_usd double precision, second_usd double precision
  )
  on conflict (comparison_id, audio_digest) do nothing;
  get diagnostics added = row_count;
  return added;
end
$$;

create or replace function lipika_take_comparison_clips(
  p_comparison bigint, p_voter text, p_languages text[], p_count integer
) returns setof integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Places of clips that a person is to vote on next: first those they have before them, then others that nobody has, or one
-- other of two. One person at a time, so that no two are given the same clip. Who leaves loses theirs after a while. Clips
-- whose audio has become another since the draw are given to nobody.
declare
  given integer[];
begin
  if length(p_voter) not between 1 and 200 or p_count not between 1 and 10 then
    raise check_violation using message = 'a person takes 1 to 10 clips, under a name';
  end if;
  perform from comparisons where id = p_comparison for update;
  select array_agg(place order by fresh, place) into given from (
    select c.place, v.place is null as fresh
    from comparison_clips c
    left join comparison_votes v
      on v.comparison_id = c.comparison_id and v.place = c.place and v.voter = p_voter
    where c.comparison_id = p_comparison and v.choice is null
      and (p_languages is null or c.language = any(p_languages))
      and (v.place is not null or (
        select count(*) from comparison_votes o
        where o.comparison_id = c.comparison_id and o.place = c.place
          and (o.choice <> 'skip' or o.choice is null and o.shown_at > now() - interval '15 minutes')
      ) < 1 + c.doubled::int)
      and exists (
        select from transcription_results r
        where r.video_id = c.video_id and r.segment_file = c.segment_file and r.audio_digest = c.audio_digest
      )
    order by fresh, c.place
    limit p_count
  ) found;
  insert into comparison_votes (comparison_id, place, voter)
  select p_comparison, place, p_voter from unnest(given) as place
  on conflict (comparison_id, place, voter) do update set shown_at = now();
  return query select unnest(given);
end
$$;

create or replace function lipika_vote(p_comparison bigint, p_place integer, p_voter text, p_choice text) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- A person's word on a clip that they have before them: left, right, equal, bad or skip. False: they have not got it, or
-- have said another thing of it already; or a side is preferred where both say the same.
declare
  chosen text;
begin
  select case p_choice
    when 'left' then case when v.first_left then 'first' else 'second' end
    when 'right' then case when v.first_left then 'second' else 'first' end
    else p_choice
  end into chosen
  from comparison_votes v
  join comparison_clips c on c.comparison_id = v.comparison_id and c.place = v.place
  where v.comparison_id = p_comparison and v.place = p_place and v.voter = p_voter
    and not (p_choice in ('left', 'right') and c.first_text = c.second_text);
  update comparison_votes set choice = chosen, voted_at = now()
  where comparison_id = p_comparison and place = p_place and voter = p_voter and choice is null and chosen is not null;
  return found or exists (
    select from comparison_votes
    where comparison_id = p_comparison and place = p_place and voter = p_voter and choice = chosen
  );
end
$$;

create or replace function lipika_take_vote_back(p_comparison bigint, p_voter text) returns integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- A person's last word in a comparison, unsaid: they have the clip before them again, each text on the side it was. Null:
-- they have said nothing.
declare
  taken integer;
begin
  select place into taken from comparison_votes
  where comparison_id = p_comparison and voter = p_voter and choice is not null
  order by voted_at desc, place desc
  limit 1
  for update;
  update comparison_votes set choice = null, voted_at = null, shown_at = now()
  where comparison_id = p_comparison and voter = p_voter and place = taken;
  return taken;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
  relation regclass;
begin
  foreach thing in array array[
    'table comparisons', 'table comparison_clips', 'table comparison_votes', 'sequence comparisons_id_seq',
    'function lipika_start_comparison(text, text, text, text, bigint, text)',
    'function lipika_add_comparison_clips(bigint, jsonb, text)',
    'function lipika_take_comparison_clips(bigint, text, text[], integer)',
    'function lipika_vote(bigint, integer, text, text)', 'function lipika_take_vote_back(bigint, text)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may read votes; who may resolve flags may vote. roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'transcription_results', 'select') then
    foreach relation in array array['comparisons'::regclass, 'comparison_clips', 'comparison_votes'] loop
      execute format('grant select on %s to lipika_reader', relation);
      if not exists (select from pg_policy where polrelid = relation and polname = 'lipika_reader') then
        execute format('create policy lipika_reader on %s for select to lipika_reader using (true)', relation);
      end if;
    end loop;
  end if;
  if exists (select from pg_roles where rolname = 'lipika_dashboard')
    and has_any_column_privilege('lipika_dashboard', 'transcription_flags', 'update') then
    grant execute on function lipika_start_comparison(text, text, text, text, bigint, text),
      lipika_add_comparison_clips(bigint, jsonb, text), lipika_take_comparison_clips(bigint, text, text[], integer),
      lipika_vote(bigint, integer, text, text), lipika_take_vote_back(bigint, text) to lipika_dashboard;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130001200', 'votes') on conflict do nothing;
