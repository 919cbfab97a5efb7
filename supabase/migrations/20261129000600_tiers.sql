-- Clips by language and tier, kept by a trigger in the transaction that changes a row, as all that boards read. Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('tier_counts', 'language, tier, shard')
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

create table if not exists tier_counts (
  language text not null,
  tier     text not null,
  shard    smallint not null,
  clips    bigint not null,
  primary key (language, tier, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table tier_counts is 'Clips by tier, kept by a trigger on transcription_voters. Add up the shards.';
comment on column tier_counts.language is 'The hint, else the language detected, else unknown.';
alter table tier_counts enable row level security;

alter table transcription_voters add column if not exists language text;
comment on column transcription_voters.language is 'Of the clip: the hint, else the language detected.';

create or replace function lipika_voters_language() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- For those who do not say it. By key.
begin
  select coalesce(nullif(r.expected_language_hint, ''), r.detected_language) into new.language
  from transcription_results r
  where r.video_id = new.video_id and r.segment_file = new.segment_file;
  return new;
end
$$;

create or replace function lipika_put_alignment_aside() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- The row keeps what it is searched by. A tier comes along where the recogniser is the only other voter. The result's own
-- row is not there yet: its language is told.
begin
  insert into transcription_voters as v (video_id, segment_file, audio_digest, alignment, tier, consensus, language)
  values (
    new.video_id, new.segment_file, new.audio_digest, new.alignment - 'consensus',
    new.alignment #>> '{consensus,tier}', nullif(new.alignment -> 'consensus', 'null'),
    coalesce(nullif(new.expected_language_hint, ''), new.detected_language, 'unknown')
  )
  on conflict (video_id, segment_file) do update set
    alignment = excluded.alignment, audio_digest = excluded.audio_digest, written_at = now(),
    voters = case when v.audio_digest = excluded.audio_digest then v.voters else '[]' end,
    tier = excluded.tier, consensus = excluded.consensus, language = excluded.language
  where (v.audio_digest, v.alignment) is distinct from (excluded.audio_digest, excluded.alignment);
  new.alignment := jsonb_build_object(
    'agreement', new.alignment -> 'agreement', 'score', new.alignment -> 'score', 'version', new.alignment -> 'version'
  );
  return new;
end
$$;

create or replace function lipika_count_tiers() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from tier_counts;
    return null;
  end if;
  execute format($sql$
    insert into tier_counts as c (language, tier, shard, clips)
    select coalesce(language, 'unknown'), tier, $1, sum(sign)
    from (%s) change
    where tier is not null
    group by 1, 2
    having sum(sign) <> 0
    on conflict (language, tier, shard) do update set clips = c.clips + excluded.clips
  $sql$, lipika_changes(tg_op, 'language, tier')) using lipika_shard();
  return null;
end
$$;

-- Triggers, and once the count of what is there already. Nobody writes in between: the block is one transaction.
do $$
begin
  if exists (
    select from pg_trigger where tgrelid = 'transcription_voters'::regclass and tgname = 'count_truncate'
  ) then
    return;
  end if;
  lock table transcription_voters in share row exclusive mode;
  update transcription_voters v set language = coalesce(nullif(r.expected_language_hint, ''), r.detected_language)
  from transcription_results r
  where v.language is null and r.video_id = v.video_id and r.segment_file = v.segment_file;
  create trigger find_language before insert or update on transcription_voters for each row
    when (new.language is null) execute function lipika_voters_language();
  create trigger count_insert after insert on transcription_voters referencing new table as rows_in
    for each statement execute function lipika_count_tiers();
  create trigger count_update after update on transcription_voters referencing new table as rows_in old table as rows_out
    for each statement execute function lipika_count_tiers();
  create trigger count_delete after delete on transcription_voters referencing old table as rows_out
    for each statement execute function lipika_count_tiers();
  create trigger count_truncate after truncate on transcription_voters
    for each statement execute function lipika_count_tiers();
  delete from tier_counts;
  insert into tier_counts (language, tier, shard, clips)
  select coalesce(language, 'unknown'), tier, 0, count(*) from transcription_voters where tier is not null group by 1, 2;
end
$$;

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table tier_counts', 'function lipika_voters_language()', 'function lipika_put_alignment_aside()',
    'function lipika_count_tiers()'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may read how many there are of each tier; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'clip_counts', 'select') then
    grant select on tier_counts to lipika_reader;
    if not exists (
      select from pg_policy where polrelid = 'tier_counts'::regclass and polname = 'lipika_reader'
    ) then
      create policy lipika_reader on tier_counts for select to lipika_reader using (true);
    end if;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000600', 'tiers') on conflict do nothing;
