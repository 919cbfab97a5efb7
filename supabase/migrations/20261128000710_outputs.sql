-- No two videos write one object, and none writes what another reads. Idempotent.

create or replace function lipika_object(p_key text) returns text
language sql immutable parallel safe as $$
  -- One name for one object: `file://` and a path, `a//b` and `a/./b` are the same.
  select case
    when p_key ~ '^file:|^\.?/\.?/|^\./|[^:/]/\.?/' then regexp_replace(
      regexp_replace(regexp_replace(p_key, '^file:/+', '/'), '^(\./+)+', ''), '([^:/]|^)/(\.?/)+', '\1/', 'g'
    )
    else p_key
  end
$$;

create index if not exists video_queue_source on video_queue (lipika_object(source_key));

create or replace function lipika_index_outputs() returns boolean
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- Whether outputs are unique by now. Where rows from before share one, a plain index stands in until a person has
-- chosen which may stay; `lipika db migrate` asks again each time.
begin
  if to_regclass('video_queue_output') is not null then
    return true;
  end if;
  if exists (select from video_queue group by lipika_object(output_key) having count(*) > 1) then
    create index if not exists video_queue_output_shared on video_queue (lipika_object(output_key));
    return false;
  end if;
  create unique index video_queue_output on video_queue (lipika_object(output_key));
  drop index if exists video_queue_output_shared;
  return true;
end
$$;

select lipika_index_outputs();

-- Which of these videos would write over what another one reads or has written. Roots are those of keys that are no full
-- names, where they are known; a row of the queue may name its object in full or by its key. Look-ups by the two indexes
-- of names, one row each.
create or replace function lipika_clashes(
  p_video_ids text[], p_source_keys text[], p_output_keys text[], p_source_root text, p_output_root text
) returns table (video_id text, output_key text, other text, what text)
language plpgsql set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan
set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
  with named as materialized (
    select video_id, place, output_key,
      case when source_key ~ '^/|://' or p_source_root is null then lipika_object(source_key)
        else lipika_object(concat(p_source_root, '/', source_key)) end as reads,
      case when output_key ~ '^/|://' or p_output_root is null then lipika_object(output_key)
        else lipika_object(concat(p_output_root, '/', output_key)) end as writes
    from unnest(p_video_ids, p_source_keys, p_output_keys)
      with ordinality as g (video_id, source_key, output_key, place)
  ), given as materialized (
    select *, first_value(video_id) over (partition by writes order by place) as first_writer,
      -- The same object by its key below a root, as rows may name it.
      array_remove(array[
        writes,
        case when starts_with(writes, concat(rtrim(lipika_object(p_output_root), '/'), '/'))
          then substr(writes, length(rtrim(lipika_object(p_output_root), '/')) + 2) end
      ], null) as as_output,
      array_remove(array[
        case when writes ~ '^/|://' then writes end,
        case when starts_with(writes, concat(rtrim(lipika_object(p_source_root), '/'), '/'))
          then substr(writes, length(rtrim(lipika_object(p_source_root), '/')) + 2) end
      ], null) as as_source,
      array_remove(array[
        case when reads ~ '^/|://' then reads end,
        case when starts_with(reads, concat(rtrim(lipika_object(p_output_root), '/'), '/'))
          then substr(reads, length(rtrim(lipika_object(p_output_root), '/')) + 2) end
      ], null) as read_as_output
    from named
  )
  select distinct on (g.place) g.video_id, g.output_key, found.other, found.what
  from given g
  left join (select reads, min(video_id) as reader from given where reads ~ '^/|://' group by reads) r on r.reads = g.writes
    and not exists (
      select from video_queue o where o.video_id = g.video_id and lipika_object(o.output_key) = any(g.as_output)
    )
  left join lateral (
    select o.video_id from video_queue o
    where lipika_object(o.output_key) = any(g.as_output) and o.video_id <> g.video_id limit 1
  ) w on true
  left join lateral (
    select o.video_id from video_queue o
    where lipika_object(o.source_key) = any(g.as_source) and o.video_id <> g.video_id limit 1
  ) i on true
  left join lateral (
    select o.video_id from video_queue o
    where lipika_object(o.output_key) = any(g.read_as_output) and o.video_id <> g.video_id limit 1
  ) u on true
  cross join lateral (
    values
      (w.video_id, 'output_taken'), (nullif(g.first_writer, g.video_id), 'output_taken'),
      (r.reader, 'output_is_input'), (i.video_id, 'output_is_input'), (u.video_id, 'input_is_output')
  ) as found (other, what)
  where found.other is not null
  order by g.place;
end
$$;

do $$
declare
  function regprocedure;
  grantee text;
begin
  for function in
    select oid::regprocedure from pg_proc
    where pronamespace = 'public'::regnamespace and proname in ('lipika_object', 'lipika_index_outputs', 'lipika_clashes')
  loop
    execute format('revoke all on function %s from public', function);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on function %s from %I', function, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261128000710', 'outputs') on conflict do nothing;
