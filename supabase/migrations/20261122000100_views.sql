-- Views for the Supabase dashboard and plain SQL. Idempotent. None of them reads transcription_results.

-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000100') then
    return;
  end if;

create or replace view fleet_live with (security_invoker = true) as
select
  worker_id,
  case
    when status <> 'online' then status
    when greatest(last_heartbeat_at, live_at) > now() - interval '30 seconds' then 'live'
    else 'silent'
  end as state,
  provider,
  gpu_type,
  active_rpm,
  active_tpm,
  requests_in_flight,
  current_video_id,
  segments_remaining,
  total_segments_sent,
  total_segments_completed,
  total_segments_failed,
  total_segments_429,
  round((100.0 * total_segments_429 / nullif(total_segments_sent, 0)), 2) as percent_429,
  total_cache_hits,
  batches_completed,
  avg_batch_latency_ms,
  spend_usd,
  last_error,
  last_error_at,
  started_at,
  round(extract(epoch from now() - greatest(last_heartbeat_at, live_at))) as seconds_since_heartbeat
from workers
where status = 'online' or greatest(last_heartbeat_at, live_at) > now() - interval '1 hour'
order by state, worker_id;
comment on view fleet_live is 'Workers that are online or were in the last hour; silent: online, but no heartbeat for 30 s.';

create or replace view queue_progress with (security_invoker = true) as
select
  coalesce(language, 'unknown') as language,
  count(*) as videos,
  count(*) filter (where status = 'pending' and not held) as pending,
  count(*) filter (where held and status = 'pending') as held,
  count(*) filter (where status in ('claimed', 'processing')) as active,
  count(*) filter (where status in ('claimed', 'processing') and lease_expires_at < now()) as expired,
  count(*) filter (where status = 'done') as done,
  count(*) filter (where status = 'failed') as failed,
  round(100.0 * count(*) filter (where status = 'done') / count(*), 2) as percent_done,
  sum(segment_count) as segments,
  sum(clip_count) as clips,
  sum(segments_transcribed) as transcribed,
  sum(segments_no_speech) as no_speech,
  sum(segments_failed) as failed_clips,
  sum(segments_discarded) as discarded
from video_queue
group by 1
order by 1;
comment on view queue_progress is 'The queue by language; expired: claimed, but free for the next worker to take over.';

create or replace view throughput_by_minute with (security_invoker = true) as
select
  date_trunc('minute', started_at) as minute,
  count(distinct worker_id) as workers,
  sum(segments_sent) as sent,
  sum(segments_returned) as returned,
  sum(segments_429) as rate_limited,
  sum(segments_error) as errors,
  sum(segments_retried) as retried,
  sum(prompt_tokens + output_tokens) as tokens,
  sum(cached_tokens) as cached_tokens,
  sum(cost_usd) as cost_usd,
  sum(avg_latency_ms * segments_sent) / nullif(sum(segments_sent), 0) as avg_latency_ms,
  max(p95_latency_ms) as worst_p95_latency_ms
from transcription_batches
group by 1
order by 1 desc;
comment on view throughput_by_minute is 'The fleet minute by minute, each request counted in the minute its window began.';

create or replace view quality_by_language with (security_invoker = true) as
select
  language,
  sum(clips) as clips,
  sum(transcribed) as transcribed,
  sum(no_speech) as no_speech,
  sum(failed) as failed,
  round((sum(score_sum) / nullif(sum(scored), 0))::numeric, 4) as mean_quality,
  round(100.0 * sum(asr_eligible) / nullif(sum(clips), 0), 2) as percent_asr,
  round(100.0 * sum(tts_clean) / nullif(sum(clips), 0), 2) as percent_tts_clean,
  round(100.0 * sum(tts_expressive) / nullif(sum(clips), 0), 2) as percent_tts_expressive,
  round(100.0 * sum(lang_mismatch) / nullif(sum(clips), 0), 2) as percent_lang_mismatch,
  round(sum(duration_ms) / 3600000.0, 3) as hours,
  sum(cost_usd) as cost_usd
from quality_rollup
group by language
having sum(clips) > 0
order by language;
comment on view quality_by_language is 'Score and lanes by language, from the sums the workers keep.';

create or replace view spend_by_day with (security_invoker = true) as
select
  (started_at at time zone 'UTC')::date as day,
  provider_used as provider,
  sum(segments_sent) as requests,
  sum(segments_returned) as answers,
  sum(prompt_tokens) as prompt_tokens,
  sum(cached_tokens) as cached_tokens,
  sum(output_tokens) as output_tokens,
  sum(cost_usd) as cost_usd,
  sum(cost_usd) / nullif(sum(segments_returned), 0) as usd_per_answer
from transcription_batches
group by 1, 2
order by 1 desc, 2;
comment on view spend_by_day is 'US dollars and tokens by day (UTC) and provider; mixed: windows that used both.';
end
$once$;

do $$
declare
  relation text;
  grantee text;
begin
  foreach relation in array array[
    'fleet_live', 'queue_progress', 'throughput_by_minute', 'quality_by_language', 'spend_by_day'
  ] loop
    execute format('revoke all on table %I from public', relation);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on table %I from %I', relation, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261122000100', 'views') on conflict do nothing;
