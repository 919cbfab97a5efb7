-- name: columns
select attname::text as name from pg_attribute
where attrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) and attnum > 0 and not attisdropped
order by attnum

-- name: first_keys
-- Archives of a few rows, whichever come first. The table and the key column are quoted identifiers.
select coalesce(nullif({key}, ''), replace(%(key_template)s, '{{video_id}}', t.video_id::text)) as source_key
from {table} t
where t.video_id::text <> ''
limit %(count)s

-- name: add_table
-- Inside the database: a million rows never leave it. The table and the key column are quoted identifiers. Language names
-- and codes in whatever spelling become codes of the registry. The outer select sees the queue as it was before.
with given as materialized (
  select distinct on (t.video_id::text)
    t.video_id::text as video_id,
    coalesce(nullif({key}, ''), replace(%(key_template)s, '{{video_id}}', t.video_id::text)) as source_key,
    %(output_prefix)s || t.video_id::text || %(output_suffix)s as output_key,
    coalesce(%(forced)s::text, exact.code, short.code, %(language)s::text) as language,
    case
      when %(forced)s::text is not null then 'forced'
      when coalesce(exact.code, short.code) is not null then 'row'
      when %(language)s::text is not null then 'default'
    end as language_from
  from {table} t
  left join lateral (select replace(lower(trim(t.language::text)), '_', '-') as name) spelt on true
  left join unnest(%(aliases)s::text[], %(codes)s::text[]) as exact (alias, code) on exact.alias = spelt.name
  left join unnest(%(aliases)s::text[], %(codes)s::text[]) as short (alias, code)
    on short.alias = split_part(spelt.name, '-', 1)
  where t.video_id::text <> ''
  order by t.video_id::text, t.language
), refused as materialized (
  -- What could not be stored, or would be stored over something else; what is in the queue already stays there.
  select g.video_id
  from given g
  left join (select distinct lipika_object(source_key) as reads from given) r
    on r.reads = lipika_object(g.output_key) and r.reads ~ '^/|://'
  where not exists (select from video_queue q where q.video_id = g.video_id)
    and (
      r.reads is not null
      or g.video_id in (select e.video_id from lipika_erased_videos(array(select video_id from given)) e)
      or greatest(octet_length(g.video_id), octet_length(regexp_replace(g.output_key, '^.*/', ''))) > 250
      or exists (select from video_queue o where lipika_object(o.output_key) = lipika_object(g.output_key))
      or lipika_object(g.output_key) ~ '^/|://' and exists (
        select from video_queue o where lipika_object(o.source_key) = lipika_object(g.output_key)
      )
      or lipika_object(g.source_key) ~ '^/|://' and exists (
        select from video_queue o where lipika_object(o.output_key) = lipika_object(g.source_key)
      )
    )
), added as (
  insert into video_queue (video_id, source_key, output_key, language, language_from, priority, max_attempts)
  select video_id, source_key, output_key, language, language_from, %(priority)s, %(max_attempts)s
  from given
  where not exists (select from refused r where r.video_id = given.video_id)
  on conflict do nothing
  returning video_id, language
)
select
  (select count(*) from given) as found,
  array(select video_id from refused order by video_id) as refused,
  (select count(*) from added) as added,
  (select count(*) from added where language is null) as without_language,
  array(
    select g.video_id from given g join video_queue q using (video_id)
    where (q.source_key, q.output_key) is distinct from (g.source_key, g.output_key)
    order by g.video_id
  ) as conflicts,
  array(
    select jsonb_build_object('video_id', video_id, 'source_key', source_key, 'language', language)
    from given where language_from = 'row' order by md5(video_id) limit %(looked_at)s
  ) as hinted
