-- name: order
-- A function that settles which clips: the board's role writes no table by itself.
select id, clips from lipika_order_redo(%(order)s::jsonb, %(videos)s::text[], %(clips)s::text[])

-- name: candidates
select video_id, segment_file, audio_digest, duration_ms, language_hint, state
from lipika_redo_candidates(%(videos)s::text[], %(clips)s::text[])

-- name: drop
select lipika_drop_redo(%(id)s::bigint) as done

-- name: unfinished
-- The same order, given before and not carried out to its end: it goes on instead of a second one.
select id from redos
where query = %(query)s and most is not distinct from %(most)s::integer and asked = %(asked)s::jsonb
  and keep_both = %(keep_both)s and state in ('queued', 'running')
order by id
limit 1

-- name: claim
-- One that waits, or whose process has been silent for longer than its lease: what that was asking for is anybody's again.
with free as materialized (
  select id, holder from redos
  where (state = 'queued' or state = 'running' and lease_expires_at < now())
    and (%(id)s::bigint is null or id = %(id)s::bigint) and id <> all (%(passed)s::bigint[])
  order by id
  limit 1
  for update skip locked
), turns as (
  delete from redo_turns t using free where t.holder = free.holder
)
update redos r
set state = 'running', holder = %(holder)s, lease_expires_at = now() + make_interval(secs => %(lease_s)s),
  started_at = coalesce(r.started_at, now()), note = ''
from free
where r.id = free.id
returning r.id, r.query, r.most, r.asked, r.keep_both, r.ordered_by

-- name: held
-- Who has it in hand, and for how long it is theirs if nothing more is heard.
select holder, greatest(extract(epoch from lease_expires_at - now()), 0)::double precision as seconds
from redos where id = %(id)s and state = 'running'

-- name: renew
with renewed as (
  update redos set lease_expires_at = now() + make_interval(secs => %(lease_s)s)
  where id = %(id)s and holder = %(holder)s and state = 'running'
  returning 1
), turns as (
  update redo_turns set expires_at = now() + make_interval(secs => %(lease_s)s) where holder = %(holder)s
)
select exists (select from renewed) as done

-- name: end
-- Turns that were left go back in the same statement.
with ended as (
  update redos
  set state = %(state)s, note = %(note)s, holder = null, lease_expires_at = null,
    ended_at = case when %(state)s = 'queued' then ended_at else now() end
  where id = %(id)s and holder = %(holder)s and state = 'running'
  returning 1
), turns as (
  delete from redo_turns where holder = %(holder)s
)
select exists (select from ended) as done

-- name: videos
-- What is left to do, by video.
select video_id, count(*)::int as clips from redo_clips
where redo_id = %(id)s and state in ('waiting', 'answered')
group by video_id
order by video_id

-- name: clips_of
select segment_file, audio_digest, state from redo_clips
where redo_id = %(id)s and video_id = %(video_id)s and state in ('waiting', 'answered')
order by segment_file

-- name: mark
update redo_clips c
set state = m.state, usd = c.usd + m.usd, note = m.note
from jsonb_to_recordset(%(marks)s::jsonb) as m (segment_file text, state text, usd double precision, note text)
where c.redo_id = %(id)s and c.video_id = %(video_id)s and c.segment_file = m.segment_file

-- name: keep
-- An answer that was paid for, and that its clip has one: in one statement, so that neither is known without the other. Of two
-- answers to one audio, asked for in one way, the later one is kept; but never a simulator's instead of one that was paid for.
with kept as (
  insert into transcription_answers as a (
    audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version, schema_version,
    language_hint, answer, usage, cost_usd, batch_id, attempts, latency_ms, service_tier, worker_id
  )
  select r.audio_digest, lipika_way(
      r.model_id, r.temperature, r.thinking_level, r.prompt_version, r.schema_version, r.language_hint
    ), r.provider, r.model_id, r.model_version, r.temperature, r.thinking_level, r.prompt_version, r.schema_version,
    r.language_hint, r.answer, r.usage, r.cost_usd, r.batch_id, r.attempts, r.latency_ms, r.service_tier, r.worker_id
  from jsonb_to_record(%(answer)s::jsonb) as r (
    audio_digest text, provider text, model_id text, model_version text, temperature real, thinking_level text,
    prompt_version text, schema_version text, language_hint text, answer jsonb, usage jsonb, cost_usd double precision,
    batch_id text, attempts integer, latency_ms integer, service_tier text, worker_id text
  )
  on conflict (audio_digest, way_digest) do update set
    provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
    answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at,
    batch_id = excluded.batch_id, attempts = excluded.attempts, latency_ms = excluded.latency_ms,
    service_tier = excluded.service_tier,
    worker_id = coalesce(nullif(excluded.worker_id, ''), a.worker_id)
  where starts_with(a.model_version, %(simulated)s) or not starts_with(excluded.model_version, %(simulated)s)
)
update redo_clips
set state = case when %(final)s then 'answered' else state end, usd = usd + %(paid)s
where redo_id = %(id)s and video_id = %(video_id)s and segment_file = %(segment_file)s

-- name: take_turns
-- Of these audios those whose turn it is ours to ask for, for as long as the lease is renewed. Not those that we ask for already.
insert into redo_turns as t (audio_digest, way, holder, expires_at)
select w.audio_digest, w.way, %(holder)s, now() + make_interval(secs => %(lease_s)s)
from (select distinct * from unnest(%(digests)s::text[], %(ways)s::text[]) as u (audio_digest, way)) w
order by 1, 2
on conflict (audio_digest, way) do update set holder = excluded.holder, expires_at = excluded.expires_at
where t.expires_at < now()
returning audio_digest, way

-- name: give_turns
delete from redo_turns t
using unnest(%(digests)s::text[], %(ways)s::text[]) as u (audio_digest, way)
where t.audio_digest = u.audio_digest and t.way = u.way and t.holder = %(holder)s

-- name: way_name
select lipika_way_name(
  %(model_id)s::text, %(temperature)s::real, %(thinking_level)s::text, %(prompt_version)s::text, %(schema_version)s::text
) as name

-- name: progress
-- The newest orders with how far they are: some thousand rows each, by key.
select o.id, o.query, o.most, o.asked, o.keep_both,
  case when o.state = 'running' and o.lease_expires_at < now() then 'queued' else o.state end as state, o.note,
  o.ordered_by, o.ordered_at, o.started_at, o.ended_at, coalesce(c.states, '{}') as states,
  coalesce(c.usd, 0)::double precision as usd, coalesce(c.audio_ms, 0)::bigint as audio_ms
from (
  select * from redos where %(id)s::bigint is null or id = %(id)s::bigint order by id desc limit %(limit)s
) o
cross join lateral (
  select jsonb_object_agg(state, clips) as states, sum(usd) as usd, sum(audio_ms) as audio_ms
  from (
    select state, count(*) as clips, sum(usd) as usd, sum(duration_ms) as audio_ms
    from redo_clips where redo_id = o.id group by state
  ) s
) c
order by o.id desc

-- name: problems
-- Clips of an order without a new answer, and why; some of them.
select video_id, segment_file, state, note from redo_clips
where redo_id = %(id)s and state in ('failed', 'no_audio', 'gone')
order by video_id, segment_file
limit %(limit)s
