-- Done videos without a transcript: few, unless a whole delivery was named or cut otherwise than it should be, and
-- then they are what is looked for.
create index if not exists video_queue_nothing_left on video_queue (video_id)
  where status = 'done' and segments_transcribed + segments_no_speech = 0;

insert into lipika_migrations (version, name) values ('20261128000300', 'nothing_left') on conflict do nothing;
