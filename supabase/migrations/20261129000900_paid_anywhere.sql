-- What was paid for is found again by its audio, whatever video it was paid for in. Idempotent.

alter table transcription_answers add column if not exists batch_id text not null default '';
alter table transcription_answers add column if not exists attempts integer not null default 1;
alter table transcription_answers add column if not exists latency_ms integer not null default 0;
alter table transcription_answers add column if not exists service_tier text;
comment on column transcription_answers.batch_id is 'Of the request that was answered; empty: nobody knows.';
comment on column transcription_answers.attempts is 'Requests it took.';
comment on column transcription_answers.latency_ms is 'Of the request that was answered, ms.';
comment on column transcription_answers.service_tier is 'That it was served and billed at; null: the standard one.';

create or replace function lipika_keep_replaced() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- What was paid under one way of asking stays paid. Of two answers of one way the later one is kept; one that is handed in
-- again, such as under a hint that was mended, is not replaced. What a person has written is nobody's answer, and silence that
-- nobody was asked for was not paid.
declare
  way constant text := lipika_way(
    old.model_id, old.temperature, old.thinking_level, old.prompt_version, old.schema_version, old.expected_language_hint
  );
begin
  if old.transcription is not null and old.text_source = 'model' and old.attempts > 0 and (
    old.batch_id, old.latency_ms, old.attempts, old.transcription
  ) is distinct from (
    new.batch_id, new.latency_ms, new.attempts, new.transcription
  ) and (
    old.audio_digest <> new.audio_digest or new.transcription is null or new.text_source <> 'model' or way <> lipika_way(
      new.model_id, new.temperature, new.thinking_level, new.prompt_version, new.schema_version, new.expected_language_hint
    )
  ) then
    insert into transcription_answers as a (
      audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version,
      schema_version, language_hint, answer, usage, cost_usd, created_at, batch_id, attempts, latency_ms,
      service_tier
    )
    values (
      old.audio_digest, way, old.provider, old.model_id, old.model_version, old.temperature, old.thinking_level,
      old.prompt_version, old.schema_version, coalesce(old.expected_language_hint, ''),
      jsonb_build_object(
        'transcription', old.transcription, 'tagged', old.tagged, 'detected_language', old.detected_language,
        'speaker_emotion', old.speaker_emotion, 'speaker_style', old.speaker_style, 'speaker_pace', old.speaker_pace,
        'speaker_accent', old.speaker_accent
      ),
      old.token_usage_json, old.cost_usd, old.created_at, old.batch_id, old.attempts,
      old.latency_ms, old.service_tier
    )
    on conflict (audio_digest, way_digest) do update set
      provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
      answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at,
      batch_id = excluded.batch_id, attempts = excluded.attempts, latency_ms = excluded.latency_ms,
      service_tier = excluded.service_tier
    where a.answer is distinct from excluded.answer;
  end if;
  -- A tier was of the text that is gone, unless it came with the new one; what others said of other audio is of no use.
  delete from transcription_voters v
  where v.video_id = new.video_id and v.segment_file = new.segment_file and v.audio_digest <> new.audio_digest;
  update transcription_voters v set tier = null, consensus = null
  where v.video_id = new.video_id and v.segment_file = new.segment_file and v.consensus is not null
    and v.written_at <> now();
  return null;
end
$$;

-- By audio, for a table of any size: eight bytes of hash a row, of which a B-tree folds those that are alike (silence is).
-- A large table is not locked for it: `lipika db migrate` makes the index beside the work; until then answers of other
-- videos are looked for among those that were replaced alone.
do $$
begin
  if to_regclass('transcription_results_audio') is null and pg_table_size('transcription_results') < 256 * 1024 * 1024 then
    create index transcription_results_audio on transcription_results (hashtextextended(audio_digest, 0));
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000900', 'paid_anywhere') on conflict do nothing;
