-- Second opinions beside the work: a worker keeps another model's answers, and writes down what others say of the clips of
-- its videos. It writes no table by itself: these are functions that check. Idempotent.

alter table transcription_answers add column if not exists worker_id text;
comment on column transcription_answers.worker_id is
  'The worker that asked for it beside its work; it alone may put a better answer in its place. Null: nobody''s.';

create or replace function lipika_keep_opinions(p_worker_id text, p_key text, p_rows jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Of another's answers none is replaced, but such as a simulator has made up.
declare
  kept integer;
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    raise insufficient_privilege using message = format('these answers are of worker %s', p_worker_id);
  end if;
  insert into transcription_answers as a (
    audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version, schema_version,
    language_hint, answer, usage, cost_usd, worker_id
  )
  select distinct on (r.audio_digest, w.way) r.audio_digest, w.way, r.provider, r.model_id, r.model_version, r.temperature,
    r.thinking_level, r.prompt_version, r.schema_version, r.language_hint, r.answer, r.usage, r.cost_usd, p_worker_id
  from jsonb_to_recordset(p_rows) as r (
    audio_digest text, provider text, model_id text, model_version text, temperature real, thinking_level text,
    prompt_version text, schema_version text, language_hint text, answer jsonb, usage jsonb, cost_usd double precision
  )
  cross join lateral (select lipika_way(
    r.model_id, r.temperature, r.thinking_level, r.prompt_version, r.schema_version, r.language_hint
  ) as way) w
  order by r.audio_digest, w.way
  on conflict (audio_digest, way_digest) do update set
    provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
    answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at,
    worker_id = excluded.worker_id
  where a.worker_id = excluded.worker_id or starts_with(a.model_version, 'simulated');
  get diagnostics kept = row_count;
  return kept;
end
$$;

create or replace function lipika_write_voters(p_video_id text, p_claim_token uuid, p_rows jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
-- As lipika_write_results, after it: under the claim's lock, and without the claim nothing. What others have said of the
-- same audio before stays beside it; rows whose audio or text is not the one that was weighed are passed over.
declare
  owned boolean;
begin
  with claim as materialized (
    select 1 from video_queue
    where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
    for key share
  ), fitting as materialized (
    select i.*
    from claim, jsonb_to_recordset(p_rows) as i (
      segment_file text, audio_digest text, text_digest text, voters jsonb, tier text, consensus jsonb
    )
    join transcription_results r on r.video_id = p_video_id and r.segment_file = i.segment_file
    where r.audio_digest = i.audio_digest
      and encode(sha256(convert_to(r.transcription, 'UTF8')), 'hex') = i.text_digest
    order by i.segment_file
  ), written as (
    insert into transcription_voters as v (video_id, segment_file, audio_digest, voters, tier, consensus)
    select p_video_id, segment_file, audio_digest, voters, tier, consensus from fitting
    on conflict (video_id, segment_file) do update set
      audio_digest = excluded.audio_digest, tier = excluded.tier, consensus = excluded.consensus, written_at = now(),
      voters = excluded.voters || (
        select coalesce(jsonb_agg(former), '[]')
        from jsonb_array_elements(case when v.audio_digest = excluded.audio_digest then v.voters else '[]' end) former
        where not exists (
          select from jsonb_array_elements(excluded.voters) fresh where fresh ->> 'digest' = former ->> 'digest'
        )
      )
    where (v.audio_digest, v.tier, v.consensus) is distinct from (excluded.audio_digest, excluded.tier, excluded.consensus)
      or not v.voters @> excluded.voters
  )
  select exists (select from claim) into owned;
  return owned;
end
$$;

do $$
declare
  written text;
  grantee text;
begin
  foreach written in array array['lipika_keep_opinions(text, text, jsonb)', 'lipika_write_voters(text, uuid, jsonb)'] loop
    execute format('revoke all on function %s from public', written);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on function %s from %I', written, grantee);
    end loop;
    -- Whose workers write results may write these; roles.sql need not be run again for it.
    if exists (select from pg_roles where rolname = 'lipika_worker') and has_function_privilege(
      'lipika_worker', 'lipika_write_results(text, uuid, jsonb, jsonb)', 'execute'
    ) then
      execute format('grant execute on function %s to lipika_worker', written);
      grant execute on function lipika_way(text, real, text, text, text, text) to lipika_worker;
    end if;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000500', 'second_opinions') on conflict do nothing;
