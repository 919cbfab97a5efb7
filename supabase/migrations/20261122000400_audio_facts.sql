-- What the samples of a clip say, so that its answer can be judged again without its audio.
alter table transcription_results add column if not exists audio_facts jsonb;
comment on column transcription_results.audio_facts is
  'speech_ms, rms_dbfs, peak_dbfs, snr_db, clipped_share, bandwidth_hz of the clip before its pads; null in rows of old.';

insert into lipika_migrations (version, name) values ('20261122000400', 'audio_facts') on conflict do nothing;
