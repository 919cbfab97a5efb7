-- Tier 1.5: what a second recogniser heard, and how the workers' listening goes.
alter table transcription_results add column if not exists alignment jsonb;
alter table workers add column if not exists alignment jsonb;

comment on column transcription_results.alignment is
  'What a second recogniser heard, its class of agreement, and the version; null where it has not listened.';
comment on column workers.alignment is 'How the worker''s comparison with a second recogniser goes; null where it is off.';

insert into lipika_migrations (version, name) values ('20261122000700', 'alignment') on conflict do nothing;
