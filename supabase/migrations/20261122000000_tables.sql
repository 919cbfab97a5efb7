-- Tables of lipika. Idempotent: running it again, by whatever tool, changes nothing.
-- Needs Postgres 15 or newer and no extension.

-- A table of somebody else under one of our names is left alone, and so is everything else. Each of ours has the columns
-- named here since it was first made.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
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
      ('batch_hours', 'hour, provider, shard'),
      ('batch_minutes', 'minute, provider, latency_counts'),
      ('worker_minutes', 'minute, worker_id, rate_limited'),
      ('canary_runs', 'run_id, verdict, report'),
      ('canary_clips', 'run_id, arm, segment_file'),
      ('worker_keys', 'worker_id, key_digest'),
      ('fleet_live', 'worker_id, state, active_rpm'),
      ('queue_progress', 'language, videos, percent_done'),
      ('throughput_by_minute', 'minute, rate_limited, cached_tokens'),
      ('quality_by_language', 'language, percent_asr, hours'),
      ('spend_by_day', 'day, provider, usd_per_answer')
  ) as ours (name, columns)
  where to_regclass(name) is not null
  loop
    continue when foreign_table.missing = '{}';
    raise duplicate_table using
      message = format('%s is not a table of lipika: it lacks %s', foreign_table.table_name,
        array_to_string(foreign_table.missing, ', ')),
      hint = 'Give lipika a database of its own, or rename that table.';
  end loop;
end
$$;

create table if not exists lipika_migrations (
  version    text primary key,
  name       text not null,
  applied_at timestamptz not null default now()
);
comment on table lipika_migrations is
  'Each migration file enters itself here, so that lipika, psql and the Supabase CLI all leave the same record.';


-- ------------------------------------------------------------------------------------------------ queue

create table if not exists video_queue (
  video_id             text primary key check (video_id <> ''),
  arrival              bigint not null generated always as identity,
  status               text not null default 'pending'
                       check (status in ('pending', 'claimed', 'processing', 'done', 'failed')),
  held                 boolean not null default false,
  priority             integer not null default 0,
  language             text,
  source_key           text not null,
  source_bytes         bigint,
  output_key           text not null,
  output_bytes         bigint,
  output_digest        text,
  claimed_by           text,
  claimed_at           timestamptz,
  claim_token          uuid,
  lease_expires_at     timestamptz,
  attempts             integer not null default 0 check (attempts >= 0),
  max_attempts         integer not null default 3 check (max_attempts > 0),
  segment_count        integer,
  segments_polished    integer not null default 0,
  segments_discarded   integer not null default 0,
  parts_discarded      integer not null default 0,
  clip_count           integer not null default 0,
  segments_transcribed integer not null default 0,
  segments_no_speech   integer not null default 0,
  segments_failed      integer not null default 0,
  discard_reasons      jsonb not null default '{}',
  error_code           text,
  error_message        text,
  created_at           timestamptz not null default now(),
  completed_at         timestamptz,
  constraint video_queue_claim_is_owned check (
    status not in ('claimed', 'processing')
    or (claimed_by is not null and claim_token is not null and lease_expires_at is not null)
  ),
  constraint video_queue_done_adds_up check (
    status <> 'done'
    or (
      segment_count = segments_polished + segments_discarded
      and clip_count = segments_transcribed + segments_no_speech + segments_failed
    )
  )
) with (
  -- Leases and counters are updated in place; claims empty the front of the claim index all the time.
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_analyze_scale_factor = 0.02
);

comment on table video_queue is 'One row per video (one input archive): where it is, who works on it, what came out.';
comment on column video_queue.arrival is 'Order of entry; the second sort key of the queue, after priority.';
comment on column video_queue.held is 'True: not to be claimed until released by a person.';
comment on column video_queue.priority is 'Higher goes first.';
comment on column video_queue.language is 'Language hint, ISO 639-1; null: unknown.';
comment on column video_queue.source_key is 'URL of the input archive, or its key below STORE_URL.';
comment on column video_queue.source_bytes is 'Size of the input archive in bytes, where known.';
comment on column video_queue.output_key is 'URL of the result archive, or its key below OUTPUT_URL.';
comment on column video_queue.output_bytes is 'Size of the verified result archive in bytes.';
comment on column video_queue.output_digest is 'SHA-256 of the verified result archive, hexadecimal.';
comment on column video_queue.claimed_by is 'workers.worker_id of the owner, or of the last one.';
comment on column video_queue.claim_token is 'Fencing token: whoever does not hold it can write nothing for this video.';
comment on column video_queue.lease_expires_at is 'From then on any worker may take the video over.';
comment on column video_queue.attempts is 'Claims charged so far; a graceful release gives one back.';
comment on column video_queue.segment_count is 'Segments (members) in the input archive.';
comment on column video_queue.segments_polished is 'Segments that gave at least one clip.';
comment on column video_queue.segments_discarded is 'Segments that gave none; discard_reasons counts why.';
comment on column video_queue.parts_discarded is 'Parts left out of segments that gave other clips.';
comment on column video_queue.clip_count is 'Clips made of the segments: what is sent and transcribed.';
comment on column video_queue.segments_transcribed is 'Clips transcribed so far.';
comment on column video_queue.segments_no_speech is 'Clips found to hold no speech so far.';
comment on column video_queue.segments_failed is 'Clips that ended without an answer so far.';
comment on column video_queue.error_code is 'Stable short reason of the last failure.';

create index if not exists video_queue_claim on video_queue (priority desc, arrival)
  where status = 'pending' and not held;
-- lease_expires_at is left out of every index on purpose: renewing leases stays a heap-only update.
create index if not exists video_queue_active on video_queue (claimed_by)
  where status in ('claimed', 'processing');
-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000000') then
    return;
  end if;

create index if not exists video_queue_failed on video_queue (video_id)
  where status = 'failed';
end
$once$;

alter table video_queue enable row level security;


-- ------------------------------------------------------------------------------------------------ fleet

create table if not exists workers (
  worker_id                text primary key,
  instance_id              text not null,
  status                   text not null default 'online' check (status in ('online', 'offline', 'error')),
  provider                 text not null,
  gpu_type                 text,
  current_video_id         text,
  segments_remaining       integer,
  total_segments_sent      bigint not null default 0,
  total_segments_completed bigint not null default 0,
  total_segments_failed    bigint not null default 0,
  total_segments_429       bigint not null default 0,
  total_cache_hits         bigint not null default 0,
  batches_completed        bigint not null default 0,
  avg_batch_latency_ms     double precision,
  spend_usd                double precision not null default 0,
  active_rpm               integer not null default 0,
  active_tpm               bigint not null default 0,
  requests_in_flight       integer not null default 0,
  last_error               text,
  last_error_at            timestamptz,
  last_heartbeat_at        timestamptz not null default now(),
  live_at                  timestamptz,
  started_at               timestamptz not null default now(),
  stopped_at               timestamptz,
  config_json              jsonb not null default '{}'
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

comment on table workers is 'One row per process life, kept up to date by its heartbeat.';
comment on column workers.worker_id is 'instance_id and a random suffix, so that a restart never revives a dead row.';
comment on column workers.segments_remaining is 'Clips left of the current video.';
comment on column workers.total_segments_sent is 'Requests sent in this process life, repeats included.';
comment on column workers.avg_batch_latency_ms is 'Mean latency of a request, milliseconds.';
comment on column workers.spend_usd is 'US dollars spent in this process life.';
comment on column workers.active_rpm is 'Requests started in the last 60 seconds.';
comment on column workers.active_tpm is 'Tokens (input and output) of the last 60 seconds.';
comment on column workers.last_heartbeat_at is 'Last heartbeat, every HEARTBEAT_SECONDS.';
comment on column workers.live_at is 'Last update of active_rpm and active_tpm, every LIVE_SECONDS.';

alter table workers enable row level security;

create table if not exists worker_errors (
  id             bigint primary key generated always as identity,
  occurred_at    timestamptz not null default now(),
  worker_id      text not null,
  video_id       text,
  exception_type text not null,
  message        text not null,
  traceback      text not null
);
comment on table worker_errors is 'Every exception of every worker, with its traceback, secrets removed.';
-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000000') then
    return;
  end if;

create index if not exists worker_errors_by_worker on worker_errors (worker_id, occurred_at);
end
$once$;
alter table worker_errors enable row level security;

create table if not exists provider_budgets (
  provider            text not null,
  project             text not null default '',
  requests_per_minute integer check (requests_per_minute >= 0),
  tokens_per_minute   bigint check (tokens_per_minute >= 0),
  spend_10min_usd     double precision check (spend_10min_usd >= 0),
  spend_day_usd       double precision check (spend_day_usd >= 0),
  spend_total_usd     double precision check (spend_total_usd >= 0),
  paused              boolean not null default false,
  pause_reason        text,
  paused_at           timestamptz,
  updated_at          timestamptz not null default now(),
  primary key (provider, project)
);
comment on table provider_budgets is 'What the whole fleet may use of a provider; null: no limit of that kind.';
comment on column provider_budgets.spend_10min_usd is 'US dollars per rolling ten minutes.';
comment on column provider_budgets.spend_day_usd is 'US dollars per day (UTC).';
comment on column provider_budgets.spend_total_usd is 'US dollars in all: at this sum the fleet stops sending.';
alter table provider_budgets enable row level security;


-- ------------------------------------------------------------------------------------------------ results

create table if not exists transcription_results (
  -- UUIDv7 layout (milliseconds first), so that the index of a table of 100 million rows grows at its edge only.
  id                     uuid primary key default (
                           lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
                           || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14)
                         )::uuid,
  video_id               text not null,
  segment_file           text not null,
  source_segment         text not null,
  speaker_id             text not null,
  status                 text not null check (status in ('transcribed', 'no_speech', 'failed')),
  original_start_ms      integer not null,
  original_end_ms        integer not null,
  trimmed_start_ms       integer not null,
  trimmed_end_ms         integer not null,
  leading_pad_ms         integer not null,
  trailing_pad_ms        integer not null,
  duration_ms            integer not null,
  flags                  text[] not null default '{}',
  boundary_score         real,
  audio_digest           text not null,
  expected_language_hint text,
  detected_language      text,
  lang_mismatch_flag     boolean,
  transcription          text,
  tagged                 text,
  speaker_emotion        text,
  speaker_style          text,
  speaker_pace           text,
  speaker_accent         text,
  num_unk                integer,
  num_inaudible          integer,
  num_event_tags         integer,
  text_length_per_sec    real,
  overlap_suspected      boolean,
  quality_score          real check (quality_score between 0 and 1),
  score_parts            jsonb,
  alignment_score        real,
  asr_eligible           boolean not null default false,
  tts_clean_eligible     boolean not null default false,
  tts_expressive_eligible boolean not null default false,
  lane_reasons           jsonb,
  findings               jsonb not null default '[]',
  failure_kind           text,
  failure_code           text,
  failure_message        text,
  prompt_version         text not null,
  schema_version         text not null,
  trimmer_version        text not null,
  validator_version      text,
  provider               text not null,
  model_id               text not null,
  model_version          text not null,
  temperature            real,
  thinking_level         text not null,
  worker_id              text not null,
  batch_id               text not null,
  attempts               integer not null,
  latency_ms             integer not null,
  cache_hit              boolean not null,
  token_usage_json       jsonb not null,
  cost_usd               double precision not null,
  created_at             timestamptz not null default now(),
  unique (video_id, segment_file)
) with (fillfactor = 95);

comment on table transcription_results is 'One row per clip: the answer, what validation says of it, how it came to be.';
comment on column transcription_results.segment_file is 'File name of the clip in the result archive.';
comment on column transcription_results.source_segment is 'File name of the segment of the input archive it was cut from.';
comment on column transcription_results.original_start_ms is 'Start as split from its segment, ms on the video''s clock.';
comment on column transcription_results.trimmed_start_ms is 'Start after trimming, ms on the video''s clock.';
comment on column transcription_results.leading_pad_ms is 'Digital silence added before the trimmed span, ms.';
comment on column transcription_results.duration_ms is 'Length of the clip with its pads, ms.';
comment on column transcription_results.boundary_score is '0 to 1; 1: both edges lie in silence.';
comment on column transcription_results.audio_digest is 'SHA-256 of the audio that was sent: what the answer belongs to.';
comment on column transcription_results.text_length_per_sec is 'Characters per second of audio.';
comment on column transcription_results.quality_score is '0 to 1, 1 is best.';
comment on column transcription_results.alignment_score is '0 to 1: agreement with a second recogniser, where one ran.';
comment on column transcription_results.lane_reasons is 'For each lane, why the clip is not eligible.';
comment on column transcription_results.attempts is 'Requests this clip took.';
comment on column transcription_results.latency_ms is 'Of the request that was answered, ms.';
comment on column transcription_results.token_usage_json is 'Tokens of all its attempts: prompt, prompt_text, prompt_audio, cached, output, thoughts.';
comment on column transcription_results.cost_usd is 'US dollars for all its attempts.';

create index if not exists transcription_results_created on transcription_results using brin (created_at);
alter table transcription_results enable row level security;

create table if not exists transcription_flags (
  video_id     text not null,
  segment_file text not null,
  flag_type    text not null,
  start_ms     integer not null default 0,
  end_ms       integer,
  severity     text not null check (severity in ('info', 'warn', 'fail')),
  details      text not null default '',
  resolved     boolean not null default false,
  resolved_at  timestamptz,
  resolved_by  text,
  note         text,
  created_at   timestamptz not null default now(),
  primary key (video_id, segment_file, flag_type, start_ms)
);
comment on table transcription_flags is 'One row per finding that needs attention; discards are flagged as discard:<reason>.';
comment on column transcription_flags.segment_file is 'A clip of the result archive, or for discards a member of the input archive.';
comment on column transcription_flags.start_ms is 'Start of what is flagged, ms on the video''s clock.';
comment on column transcription_flags.resolved_by is 'Who closed it; lipika, where a later answer no longer shows it.';
create index if not exists transcription_flags_open on transcription_flags (flag_type, created_at) where not resolved;
alter table transcription_flags enable row level security;

create table if not exists transcription_batches (
  batch_id                  text primary key,
  worker_id                 text not null,
  video_ids                 text[] not null,
  started_at                timestamptz not null,
  segments_sent             integer not null,
  segments_returned         integer not null,
  segments_429              integer not null,
  segments_error            integer not null,
  segments_retried          integer not null,
  provider_used             text not null,
  cache_hits                integer not null,
  cached_tokens             bigint not null,
  prompt_tokens             bigint not null,
  output_tokens             bigint not null,
  thought_tokens            bigint not null,
  cost_usd                  double precision not null,
  avg_latency_ms            double precision not null,
  p95_latency_ms            double precision not null,
  batch_duration_ms         integer not null,
  failure_kinds             jsonb not null default '{}',
  validation_scores_summary jsonb not null default '{}'
);
comment on table transcription_batches is 'One row per accounting window of one worker. Boards read these, never the results.';
comment on column transcription_batches.segments_sent is 'Attempts launched in this window, first and repeated.';
comment on column transcription_batches.segments_returned is 'Attempts of this window that brought an accepted answer.';
comment on column transcription_batches.output_tokens is 'Everything billed as output, thoughts included.';
comment on column transcription_batches.batch_duration_ms is 'First launch to last answer, ms.';
create index if not exists transcription_batches_started on transcription_batches (started_at);
alter table transcription_batches enable row level security;

create table if not exists quality_rollup (
  hour             timestamptz not null,
  language         text not null,
  worker_id        text not null,
  clips            bigint not null,
  transcribed      bigint not null,
  no_speech        bigint not null,
  failed           bigint not null,
  asr_eligible     bigint not null,
  tts_clean        bigint not null,
  tts_expressive   bigint not null,
  lang_mismatch    bigint not null,
  scored           bigint not null,
  score_sum        double precision not null,
  duration_ms      bigint not null,
  cost_usd         double precision not null,
  primary key (hour, language, worker_id)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.05);
comment on table quality_rollup is
  'Sums over transcription_results, kept by the statement that writes them. One row per worker, so that no two wait.';
comment on column quality_rollup.language is 'The hint, else the language detected, else unknown.';
alter table quality_rollup enable row level security;
alter table lipika_migrations enable row level security;


-- ------------------------------------------------------------------------------------------------ rights

-- Row level security without a policy already shows nothing to the public keys of Supabase; this takes the rights too.
do $$
declare
  relation text;
  grantee text;
begin
  foreach relation in array array[
    'lipika_migrations', 'video_queue', 'workers', 'worker_errors', 'provider_budgets', 'transcription_results',
    'transcription_flags', 'transcription_batches', 'quality_rollup'
  ] loop
    execute format('revoke all on table %I from public', relation);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on table %I from %I', relation, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261122000000', 'tables') on conflict do nothing;
