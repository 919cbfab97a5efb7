-- Canaries: small measured runs, apart from the queue and its results. Idempotent.

create table if not exists canary_runs (
  run_id      text primary key,
  started_at  timestamptz not null default now(),
  finished_at timestamptz,
  config      jsonb not null default '{}',
  verdict     text check (verdict in ('go', 'warn', 'no-go')),
  usd         double precision not null default 0,
  report      jsonb,
  output_url  text
);
comment on table canary_runs is 'One row per canary: how it was asked, its verdict and its whole report.';
comment on column canary_runs.config is 'Model, arms, seed, clips and caps.';
comment on column canary_runs.usd is 'US dollars it cost; they count against the budgets as well.';
comment on column canary_runs.output_url is 'Where report and rows lie in the store; null: nowhere.';

create table if not exists canary_clips (
  run_id        text not null references canary_runs on delete cascade,
  arm           text not null,
  video_id      text not null,
  segment_file  text not null,
  language      text not null,
  status        text not null check (status in ('transcribed', 'no_speech', 'failed')),
  requests      integer not null,
  cost_usd      double precision not null,
  quality_score real,
  transcription text not null,
  details       jsonb not null,
  primary key (run_id, arm, video_id, segment_file)
);
comment on table canary_clips is 'One row per clip and arm of a canary. They are no results: nothing else reads them.';
comment on column canary_clips.requests is 'Requests this clip took in this arm, refused ones included.';
comment on column canary_clips.details is 'Everything else that was measured: tokens, latencies, failures, findings, lanes.';

alter table canary_runs enable row level security;
alter table canary_clips enable row level security;

do $$
declare
  relation text;
  grantee text;
begin
  foreach relation in array array['canary_runs', 'canary_clips'] loop
    execute format('revoke all on table %I from public', relation);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on table %I from %I', relation, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261122000600', 'canary') on conflict do nothing;
