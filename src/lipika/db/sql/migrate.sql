-- name: lock
-- Held until the end of the transaction: session locks would stay behind in a pooler's connection.
select pg_advisory_xact_lock(7809636419)

-- name: recorded
-- The record does not exist before the first migration.
select to_regclass('lipika_migrations') is not null

-- name: applied
select version from lipika_migrations

-- name: server
-- What unqualified names mean here is the schema that tables would be created in.
select
  split_part(current_setting('server_version'), ' ', 1) as server_version,
  coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
  to_regclass('lipika_migrations') is not null as recorded

-- name: rights
-- Rights of the public roles are read as the union over those that exist: a plain Postgres has none of them. Who may claim
-- may do all that a worker does, by functions; it writes no table by itself.
select
  c.relname::text as table_name,
  c.relrowsecurity as row_security,
  has_table_privilege(c.oid, 'insert, update')
  or c.relname in ('lipika_migrations', 'worker_keys', 'erasure_salt') and has_any_column_privilege(
    to_regclass('video_queue'), 'select'
  )
  or exists (
    select from pg_proc p
    where p.pronamespace = c.relnamespace and p.proname = 'lipika_claim' and has_function_privilege(p.oid, 'execute')
  ) as writable,
  coalesce(bool_or(
    has_table_privilege(r.oid, c.oid, 'select')
    or has_table_privilege(r.oid, c.oid, 'insert')
    or has_table_privilege(r.oid, c.oid, 'update')
    or has_table_privilege(r.oid, c.oid, 'delete')
  ), false) as public
from pg_class c
left join pg_roles r on r.rolname in ('anon', 'authenticated')
where c.oid in (
  select to_regclass(name) from unnest(array[
    'lipika_migrations', 'video_queue', 'workers', 'worker_errors', 'provider_budgets', 'transcription_results',
    'transcription_flags', 'transcription_batches', 'quality_rollup', 'provider_spend', 'queue_counts', 'clip_counts',
    'flag_counts', 'batch_hours', 'batch_minutes', 'worker_minutes', 'canary_runs', 'canary_clips', 'worker_keys', 'way_counts',
    'transcription_answers', 'transcription_voters', 'calibrations', 'calibration_turns', 'tier_counts', 'datasets',
    'token_counts', 'saved_filters', 'model_hours',
    'audits', 'audit_clips', 'audit_judgements',
    'comparisons', 'comparison_clips', 'comparison_votes',
    'transcription_edits', 'edited_clips',
    'notices',
    'redos', 'redo_clips', 'redo_turns',
    'erasures', 'erasure_targets', 'erasure_salt', 'erased_audio', 'erased_names'
  ]) as name
)
group by c.oid, c.relname, c.relrowsecurity
order by c.relname

-- name: video_tables
-- The catalogue rather than information_schema, which hides what one may not read; ours are left out by name.
select n.nspname::text as schema_name, c.relname::text as table_name, c.reltuples::bigint as row_estimate
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg\_%'
  and not exists (
    select from unnest(array[
      'video_queue', 'transcription_flags', 'canary_clips', 'transcription_voters', 'audit_clips', 'transcription_edits',
      'edited_clips', 'comparison_clips'
    ]) as ours (name)
    where c.oid = to_regclass(ours.name)
  )
  and 2 = (
    select count(*) from pg_attribute a
    where a.attrelid = c.oid and not a.attisdropped and a.attname in ('video_id', 'language')
  )
order by c.reltuples desc, 1, 2

-- name: index_outputs
select lipika_index_outputs()

-- name: shared_outputs
-- What was there before there was an index to forbid it; nothing to read where the index is.
select array_agg(video_id order by arrival) as video_ids, min(output_key) as output_key
from video_queue
where to_regclass('video_queue_output') is null
group by lipika_object(output_key)
having count(*) > 1
order by min(arrival)
limit 100

-- name: foreign
-- Tables and views of somebody else under our names: the lists at the heads of the migrations that make them, which a test
-- holds this one to.
select table_name, missing
from (
  select name::text as table_name, array(
    select wanted from unnest(string_to_array(columns, ', ')) as wanted
    where not exists (
      select from pg_attribute a
      where a.attrelid = to_regclass(name) and a.attname = wanted and not a.attisdropped and a.attnum > 0
    )
  ) as missing
  from (
    values
      ('lipika_migrations', 'version, applied_at'),
      ('video_queue', 'video_id, source_key, output_key, lease_expires_at'),
      ('workers', 'worker_id, instance_id, last_heartbeat_at'),
      ('worker_errors', 'worker_id, exception_type, traceback'),
      ('provider_budgets', 'provider, requests_per_minute, spend_total_usd'),
      ('transcription_results', 'video_id, segment_file, audio_digest'),
      ('transcription_flags', 'video_id, segment_file, flag_type'),
      ('transcription_batches', 'batch_id, worker_id, segments_429'),
      ('quality_rollup', 'hour, language, score_sum'),
      ('provider_spend', 'provider, worker_id, reserved_usd'),
      ('queue_counts', 'language, state, shard'),
      ('clip_counts', 'language, kind, shard'),
      ('flag_counts', 'flag_type, resolved, shard'),
      ('tier_counts', 'language, tier, shard'),
      ('token_counts', 'language, schema_version, shard'),
      ('batch_hours', 'hour, provider, shard'),
      ('model_hours', 'hour, model_id, shard'),
      ('batch_minutes', 'minute, provider, latency_counts'),
      ('worker_minutes', 'minute, worker_id, rate_limited'),
      ('canary_runs', 'run_id, verdict, report'),
      ('canary_clips', 'run_id, arm, segment_file'),
      ('worker_keys', 'worker_id, key_digest'),
      ('transcription_answers', 'audio_digest, way_digest, answer'),
      ('transcription_voters', 'video_id, segment_file, voters'),
      ('calibrations', 'id, simulated, version, content'),
      ('calibration_turns', 'simulated, token, looks'),
      ('way_counts', 'way, place, shard'),
      ('datasets', 'id, dest, plan_digest, verification'),
      ('saved_filters', 'name, page, query, saved_by'),
      ('audits', 'id, seed, strata, looks'),
      ('audit_clips', 'audit_id, place, stratum, look'),
      ('audit_judgements', 'audit_id, place, reviewer, usable'),
      ('redos', 'id, query, asked, keep_both, holder'),
      ('redo_clips', 'redo_id, video_id, segment_file, usd'),
      ('redo_turns', 'audio_digest, way, holder'),
      ('transcription_edits', 'id, video_id, segment_file, kind, edited_by'),
      ('edited_clips', 'video_id, segment_file, edit_id, word, model'),
      ('notices', 'event, message, claimed_at, told_at'),
      ('comparisons', 'id, first_way, second_way, seed'),
      ('comparison_clips', 'comparison_id, place, first_text, second_text'),
      ('comparison_votes', 'comparison_id, place, voter, first_left, choice'),
      ('erasures', 'id, state, scope, certificate'),
      ('erasure_targets', 'erasure_id, video_id, segment_file'),
      ('erasure_salt', 'one, salt'),
      ('erased_audio', 'audio_digest, erasure_id'),
      ('erased_names', 'video_key, speaker_key, start_ms, erasure_id'),
      ('fleet_live', 'worker_id, state, active_rpm'),
      ('queue_progress', 'language, videos, percent_done'),
      ('throughput_by_minute', 'minute, rate_limited, cached_tokens'),
      ('quality_by_language', 'language, percent_asr, hours'),
      ('spend_by_day', 'day, provider, usd_per_answer')
  ) as ours (name, columns)
  where to_regclass(name) is not null
) found
where missing <> '{}'
order by table_name

-- name: late_indexes
-- Whether what a large table was not locked for is there. One that nobody is making any more and that is not valid was
-- interrupted.
select name::text, i.indexrelid is null as missing,
  coalesce(not indisvalid and not exists (
    select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid
  ), false) as interrupted
from (values ('transcription_results_audio'), ('transcription_results_marks')) as late (name)
left join pg_index i on i.indexrelid = to_regclass(name)

-- name: drop_transcription_results_audio
drop index concurrently if exists transcription_results_audio

-- name: make_transcription_results_audio
-- Beside the work: nobody who writes results waits for it. As the migration paid_anywhere makes it of a small table.
create index concurrently if not exists transcription_results_audio
on transcription_results (hashtextextended(audio_digest, 0))

-- name: drop_transcription_results_marks
drop index concurrently if exists transcription_results_marks

-- name: make_transcription_results_marks
-- The same, as the migration clip_marks makes it.
create index concurrently if not exists transcription_results_marks on transcription_results using gin (lipika_clip_marks(
  id, status, expected_language_hint, detected_language, quality_score, asr_eligible, tts_clean_eligible,
  tts_expressive_eligible, findings, failure_kind, model_id, speaker_id, text_source
)) with (gin_pending_list_limit = 256)
