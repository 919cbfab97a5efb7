-- What people say of clips: a history that only grows, and for each clip that anybody has touched the word that is in force. A
-- person's word stands: whatever is written into the row of such a clip (a new answer, one of another model, a repeat by a
-- worker of an earlier release) goes aside, and the row keeps what the person said. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('transcription_edits', 'id, video_id, segment_file, kind, edited_by'),
      ('edited_clips', 'video_id, segment_file, edit_id, word, model')
    ) as ours (name, columns)
    where to_regclass(name) is not null and exists (
      select from unnest(string_to_array(columns, ', ')) as wanted
      where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(name) and a.attname = wanted and not a.attisdropped and a.attnum > 0
      )
    )
  loop
    raise duplicate_table using
      message = format('%s is not a table of lipika: it lacks some of %s', foreign_table.name, foreign_table.columns),
      hint = 'Give lipika a database of its own, or rename that table.';
  end loop;
end
$$;

create table if not exists transcription_edits (
  id            bigint generated always as identity primary key,
  video_id      text not null,
  segment_file  text not null,
  audio_digest  text not null,
  kind          text not null check (kind in ('text', 'accepted', 'unusable', 'undone', 'redone')),
  of_edit       bigint,
  transcription text,
  tagged        text,
  language      text,
  reason        text,
  note          text,
  model_text    text,
  made_against  text not null,
  refused       boolean not null default false,
  edited_by     text not null,
  edited_at     timestamptz not null default clock_timestamp(),
  request       text unique,
  constraint transcription_edits_of_edit check ((kind in ('undone', 'redone')) = (of_edit is not null))
);
comment on table transcription_edits is 'One row for everything that a person has said of a clip, in order. Rows are never changed.';
comment on column transcription_edits.audio_digest is 'SHA-256 of the audio that was heard: an edit belongs to that clip with that audio.';
comment on column transcription_edits.kind is
  'text | accepted (as it stands) | unusable (with its reason) | undone, redone (the edit of_edit).';
comment on column transcription_edits.transcription is 'The text that stands from then on; with accepted and unusable that which stood.';
comment on column transcription_edits.language is 'Code of the language that stands from then on.';
comment on column transcription_edits.model_text is 'What the model had said when the person said this; null: nothing, or the same.';
comment on column transcription_edits.made_against is 'Version of the clip that the person had before them.';
comment on column transcription_edits.refused is 'Somebody else had changed the clip meanwhile: kept here, and not in force.';
comment on column transcription_edits.request is 'Given by the caller, so that a repeat after a lost reply is no second edit.';
create index if not exists transcription_edits_of_clip on transcription_edits (video_id, segment_file, id);
create index if not exists transcription_edits_by_person on transcription_edits (edited_by, id);

create table if not exists edited_clips (
  video_id     text not null,
  segment_file text not null,
  audio_digest text not null,
  last_id      bigint not null,
  edit_id      bigint,
  word         jsonb,
  model        jsonb not null,
  edited_by    text not null,
  changed_at   timestamptz not null,
  packed_in    text,
  primary key (video_id, segment_file)
);
comment on table edited_clips is 'One row per clip that a person has edited: whose word is in force, and what the model says.';
comment on column edited_clips.last_id is 'The last of transcription_edits that changed the clip.';
comment on column edited_clips.edit_id is 'The edit in force; null: all have been undone.';
comment on column edited_clips.word is 'Columns of transcription_results that the edit in force decides; and tier, consensus.';
comment on column edited_clips.model is 'The same columns as the model''s newest answer has them: what an undo brings back.';
comment on column edited_clips.packed_in is 'SHA-256 of the result archive that is known to say so; null: none.';

alter table transcription_edits enable row level security;
alter table edited_clips enable row level security;

-- ------------------------------------------------------------------------------------------------ parts

create or replace function lipika_clip_version(p_last_id bigint, p_transcription text, p_tagged text) returns text
language sql stable parallel safe set search_path = pg_catalog, public, pg_temp as $$
-- What a person has before them: the last edit, and the text that stands.
  select coalesce(p_last_id, 0) || '.' || left(encode(sha256(convert_to(
    jsonb_build_array(p_transcription, p_tagged)::text, 'UTF8'
  )), 'hex'), 12)
$$;

create or replace function lipika_decided(r transcription_results) returns jsonb
language sql stable set search_path = pg_catalog, public, pg_temp as $$
-- The columns that a person's word decides, as this row has them; and by which an answer is known again.
  select jsonb_build_object(
    'status', r.status, 'transcription', r.transcription, 'tagged', r.tagged, 'text_source', r.text_source,
    'detected_language', r.detected_language, 'lang_mismatch_flag', r.lang_mismatch_flag, 'num_unk', r.num_unk,
    'num_inaudible', r.num_inaudible, 'num_event_tags', r.num_event_tags, 'text_length_per_sec', r.text_length_per_sec,
    'overlap_suspected', r.overlap_suspected, 'quality_score', r.quality_score, 'score_parts', r.score_parts,
    'alignment_score', r.alignment_score, 'alignment', r.alignment, 'asr_eligible', r.asr_eligible,
    'tts_clean_eligible', r.tts_clean_eligible, 'tts_expressive_eligible', r.tts_expressive_eligible,
    'lane_reasons', r.lane_reasons, 'findings', r.findings, 'validator_version', r.validator_version,
    'failure_kind', r.failure_kind, 'failure_code', r.failure_code, 'failure_message', r.failure_message,
    'answered', jsonb_build_array(r.batch_id, r.latency_ms, r.attempts)
  )
$$;

create or replace function lipika_file_answer(r transcription_results) returns void
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- A model's answer that was paid for and is not what its row says: by audio and way of asking, as lipika_keep_replaced does.
begin
  if r.transcription is null or r.attempts <= 0 then
    return;
  end if;
  insert into transcription_answers as a (
    audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version,
    schema_version, language_hint, answer, usage, cost_usd, created_at, batch_id, attempts, latency_ms, service_tier
  )
  values (
    r.audio_digest, lipika_way(
      r.model_id, r.temperature, r.thinking_level, r.prompt_version, r.schema_version, r.expected_language_hint
    ), r.provider, r.model_id, r.model_version, r.temperature, r.thinking_level, r.prompt_version,
    r.schema_version, coalesce(r.expected_language_hint, ''),
    jsonb_build_object(
      'transcription', r.transcription, 'tagged', r.tagged, 'detected_language', r.detected_language,
      'speaker_emotion', r.speaker_emotion, 'speaker_style', r.speaker_style, 'speaker_pace', r.speaker_pace,
      'speaker_accent', r.speaker_accent
    ),
    r.token_usage_json, r.cost_usd, now(), r.batch_id, r.attempts, r.latency_ms, r.service_tier
  )
  on conflict (audio_digest, way_digest) do update set
    provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
    answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at,
    batch_id = excluded.batch_id, attempts = excluded.attempts, latency_ms = excluded.latency_ms,
    service_tier = excluded.service_tier
  where a.answer is distinct from excluded.answer;
end
$$;

create or replace function lipika_decide(r transcription_results, p_word jsonb) returns void
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- Write what was decided into the row that now is `r`, with its tier; quality_rollup moves by the difference.
declare
  n transcription_results := jsonb_populate_record(r, p_word - 'answered');
begin
  update transcription_results set
    status = n.status, transcription = n.transcription, tagged = n.tagged, text_source = n.text_source,
    detected_language = n.detected_language, lang_mismatch_flag = n.lang_mismatch_flag, num_unk = n.num_unk,
    num_inaudible = n.num_inaudible, num_event_tags = n.num_event_tags, text_length_per_sec = n.text_length_per_sec,
    overlap_suspected = n.overlap_suspected, quality_score = n.quality_score, score_parts = n.score_parts,
    alignment_score = n.alignment_score, alignment = n.alignment, asr_eligible = n.asr_eligible,
    tts_clean_eligible = n.tts_clean_eligible, tts_expressive_eligible = n.tts_expressive_eligible,
    lane_reasons = n.lane_reasons, findings = n.findings, validator_version = n.validator_version,
    failure_kind = n.failure_kind, failure_code = n.failure_code, failure_message = n.failure_message
  where video_id = r.video_id and segment_file = r.segment_file;
  insert into quality_rollup as q (
    hour, language, worker_id, clips, transcribed, no_speech, failed, asr_eligible, tts_clean, tts_expressive,
    lang_mismatch, scored, score_sum, duration_ms, cost_usd
  )
  select date_trunc('hour', r.created_at), coalesce(nullif(r.expected_language_hint, ''), heard, 'unknown'), r.worker_id,
    sum(sign), sum(sign * (status = 'transcribed')::int), sum(sign * (status = 'no_speech')::int),
    sum(sign * (status = 'failed')::int), sum(sign * asr::int), sum(sign * clean::int), sum(sign * expressive::int),
    sum(sign * coalesce(mismatch, false)::int), sum(sign * (score is not null)::int), sum(sign * coalesce(score, 0)),
    sum(sign * r.duration_ms), sum(sign * r.cost_usd)
  from (values
    (1, n.detected_language, n.status, n.asr_eligible, n.tts_clean_eligible, n.tts_expressive_eligible,
      n.lang_mismatch_flag, n.quality_score),
    (-1, r.detected_language, r.status, r.asr_eligible, r.tts_clean_eligible, r.tts_expressive_eligible,
      r.lang_mismatch_flag, r.quality_score)
  ) as change (sign, heard, status, asr, clean, expressive, mismatch, score)
  group by 1, 2, 3
  order by 1, 2, 3
  on conflict (hour, language, worker_id) do update set
    clips = q.clips + excluded.clips, transcribed = q.transcribed + excluded.transcribed,
    no_speech = q.no_speech + excluded.no_speech, failed = q.failed + excluded.failed,
    asr_eligible = q.asr_eligible + excluded.asr_eligible, tts_clean = q.tts_clean + excluded.tts_clean,
    tts_expressive = q.tts_expressive + excluded.tts_expressive,
    lang_mismatch = q.lang_mismatch + excluded.lang_mismatch, scored = q.scored + excluded.scored,
    score_sum = q.score_sum + excluded.score_sum, duration_ms = q.duration_ms + excluded.duration_ms,
    cost_usd = q.cost_usd + excluded.cost_usd;
  insert into transcription_voters as v (video_id, segment_file, audio_digest, tier, consensus, language)
  select r.video_id, r.segment_file, r.audio_digest, p_word ->> 'tier', nullif(p_word -> 'consensus', 'null'),
    coalesce(nullif(r.expected_language_hint, ''), n.detected_language, 'unknown')
  where p_word ->> 'tier' is not null or exists (
    select from transcription_voters old where old.video_id = r.video_id and old.segment_file = r.segment_file
  )
  on conflict (video_id, segment_file) do update set
    tier = excluded.tier, consensus = excluded.consensus, language = excluded.language, written_at = now(),
    alignment = case when v.audio_digest = excluded.audio_digest then v.alignment end,
    voters = case when v.audio_digest = excluded.audio_digest then v.voters else '[]' end,
    audio_digest = excluded.audio_digest
  where (v.audio_digest, v.tier, v.consensus, v.language)
    is distinct from (excluded.audio_digest, excluded.tier, excluded.consensus, excluded.language);
end
$$;

create or replace function lipika_close_flags(p_video_id text, p_segment_file text, p_edit bigint, p_by text) returns void
language sql set search_path = pg_catalog, public, pg_temp as $$
-- A person has decided; flags of discards are of other audio.
  update transcription_flags set resolved = true, resolved_at = now(), resolved_by = p_by, note = 'edit ' || p_edit
  where video_id = p_video_id and segment_file = p_segment_file and not resolved and flag_type not like 'discard:%'
$$;

-- ------------------------------------------------------------------------------------------------ people

-- One thing that a person says of a clip. `p_expected` is the version that they had before them; null: whatever stands.
-- `p_word` is what is decided by it, null: nobody's word any more; `p_in_force` the edit whose word that is, null: this one.
-- Whoever comes second gets the version, and by whom, and is in the history all the same.
create or replace function lipika_edit_clip(
  p_video_id text, p_segment_file text, p_expected text, p_entry jsonb, p_in_force bigint, p_word jsonb
) returns table (saved boolean, edit_id bigint, version text, changed_by text, changed_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
  r transcription_results;
  known edited_clips;
  entry transcription_edits := jsonb_populate_record(null::transcription_edits, p_entry);
  now_version text;
  own jsonb;
  word jsonb;
  in_force bigint;
begin
  -- The row's lock is the clip's: whoever writes results takes it first, too.
  select * into r from transcription_results t
  where t.video_id = p_video_id and t.segment_file = p_segment_file for update;
  if not found then
    return;
  end if;
  select * into known from edited_clips e where e.video_id = p_video_id and e.segment_file = p_segment_file for update;
  now_version := lipika_clip_version(known.last_id, r.transcription, r.tagged);
  select t.id, t.refused, t.edited_by, t.edited_at into entry.id, entry.refused, entry.edited_by, entry.edited_at
  from transcription_edits t where t.request = p_entry ->> 'request';
  if found then
    return query select not entry.refused, entry.id, now_version, known.edited_by, known.changed_at;
    return;
  end if;
  entry.edited_by := p_entry ->> 'edited_by';
  entry.refused := coalesce(p_expected <> now_version, false);
  own := case when known.edit_id is not null and known.audio_digest = r.audio_digest then known.model
    else lipika_decided(r) || coalesce((
      select jsonb_build_object('tier', v.tier, 'consensus', v.consensus) from transcription_voters v
      where v.video_id = p_video_id and v.segment_file = p_segment_file and v.audio_digest = r.audio_digest
    ), '{}') end;
  insert into transcription_edits (
    video_id, segment_file, audio_digest, kind, of_edit, transcription, tagged, language, reason, note, model_text,
    made_against, refused, edited_by, request
  )
  values (
    p_video_id, p_segment_file, r.audio_digest, entry.kind, entry.of_edit, entry.transcription, entry.tagged, entry.language,
    entry.reason, entry.note, nullif(own ->> 'transcription', entry.transcription), coalesce(p_expected, now_version),
    entry.refused, entry.edited_by, entry.request
  )
  returning transcription_edits.id, transcription_edits.edited_at into entry.id, entry.edited_at;
  if entry.refused then
    return query select false, entry.id, now_version, known.edited_by, known.changed_at;
    return;
  end if;
  if r.text_source = 'model' and (known.edit_id is null or known.audio_digest <> r.audio_digest) then
    perform lipika_file_answer(r);
  end if;
  word := coalesce(p_word, own);
  in_force := case when p_word is not null then coalesce(p_in_force, entry.id) end;
  if p_word is not null then -- a recogniser was held against a text
    word := word || case
      when word ->> 'transcription' = r.transcription then
        jsonb_build_object('alignment', r.alignment, 'alignment_score', r.alignment_score)
      when word ->> 'transcription' = own ->> 'transcription' then
        jsonb_build_object('alignment', own -> 'alignment', 'alignment_score', own -> 'alignment_score')
      else jsonb_build_object('alignment', null, 'alignment_score', null) end;
    -- As the row will have it, to the last digit.
    word := lipika_decided(jsonb_populate_record(r, word)) || jsonb_build_object(
      'tier', word -> 'tier', 'consensus', word -> 'consensus'
    );
  end if;
  insert into edited_clips as e (
    video_id, segment_file, audio_digest, last_id, edit_id, word, model, edited_by, changed_at, packed_in
  )
  values (
    p_video_id, p_segment_file, r.audio_digest, entry.id, in_force, case when p_word is not null then word end, own,
    entry.edited_by, entry.edited_at, null
  )
  on conflict (video_id, segment_file) do update set
    audio_digest = excluded.audio_digest, last_id = excluded.last_id, edit_id = excluded.edit_id, word = excluded.word,
    model = excluded.model, edited_by = excluded.edited_by, changed_at = excluded.changed_at, packed_in = null;
  perform lipika_decide(r, word);
  if in_force is not null then
    perform lipika_close_flags(p_video_id, p_segment_file, in_force, entry.edited_by);
  else -- what edits had closed, and the model's own answer still shows
    update transcription_flags f set resolved = false, resolved_at = null, resolved_by = null, note = null
    where f.video_id = p_video_id and f.segment_file = p_segment_file and f.resolved and f.note ~ '^edit [0-9]+$'
      and (f.flag_type = 'failed:' || (own ->> 'failure_kind') or exists (
        select from jsonb_array_elements(own -> 'findings') found where found ->> 'code' = f.flag_type
      ));
  end if;
  return query select true, entry.id, lipika_clip_version(entry.id, word ->> 'transcription', word ->> 'tagged'),
    entry.edited_by, entry.edited_at;
end
$$;

-- ------------------------------------------------------------------------------------------------ everybody else

create or replace function lipika_keep_words() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- After any statement that writes results: rows of edited clips say again what the person said, and what was written goes
-- aside, a model's answer as the answer of its way. It belongs to a clip with that audio: another one has nobody's word.
declare
  written record;
  r transcription_results;
  word jsonb;
begin
  if pg_trigger_depth() > 1 or not exists (select from edited_clips) then
    return null;
  end if;
  for written in
    select e.video_id, e.segment_file, e.audio_digest = i.audio_digest as same_audio
    from rows_in i
    join edited_clips e on e.video_id = i.video_id and e.segment_file = i.segment_file
    cross join lateral jsonb_populate_record(null::transcription_results, e.word - 'answered') w
    where e.edit_id is not null and case
      when e.audio_digest <> i.audio_digest then i.text_source = 'person'
      else (
        i.status, i.transcription, i.tagged, i.text_source, i.detected_language, i.lang_mismatch_flag, i.num_unk,
        i.num_inaudible, i.num_event_tags, i.text_length_per_sec, i.overlap_suspected, i.quality_score, i.score_parts,
        i.asr_eligible, i.tts_clean_eligible, i.tts_expressive_eligible, i.lane_reasons, i.findings, i.validator_version,
        i.failure_kind, i.failure_code, i.failure_message
      ) is distinct from (
        w.status, w.transcription, w.tagged, w.text_source, w.detected_language, w.lang_mismatch_flag, w.num_unk,
        w.num_inaudible, w.num_event_tags, w.text_length_per_sec, w.overlap_suspected, w.quality_score, w.score_parts,
        w.asr_eligible, w.tts_clean_eligible, w.tts_expressive_eligible, w.lane_reasons, w.findings, w.validator_version,
        w.failure_kind, w.failure_code, w.failure_message
      ) or e.model -> 'answered' is distinct from jsonb_build_array(i.batch_id, i.latency_ms, i.attempts)
    end
    order by e.video_id, e.segment_file
  loop
    select * into r from transcription_results t
    where t.video_id = written.video_id and t.segment_file = written.segment_file;
    continue when not found;
    if not written.same_audio then -- left there by a worker that knows nothing of it
      update transcription_results set text_source = 'model'
      where video_id = r.video_id and segment_file = r.segment_file;
      continue;
    end if;
    select e.word into word from edited_clips e
    where e.video_id = written.video_id and e.segment_file = written.segment_file for update;
    -- What repeats the person's own text is nobody's answer.
    if (r.transcription, r.tagged) is distinct from (word ->> 'transcription', word ->> 'tagged') or exists (
      select from edited_clips e
      where e.video_id = written.video_id and e.segment_file = written.segment_file
        and e.model -> 'answered' is distinct from jsonb_build_array(r.batch_id, r.latency_ms, r.attempts)
    ) then
      r.text_source := 'model';
      perform lipika_file_answer(r);
      update edited_clips e set model = lipika_decided(r) || coalesce((
        select jsonb_build_object('tier', v.tier, 'consensus', v.consensus) from transcription_voters v
        where v.video_id = r.video_id and v.segment_file = r.segment_file and v.audio_digest = r.audio_digest
          and v.consensus ->> 'version' is distinct from 'person'
      ), '{}')
      where e.video_id = written.video_id and e.segment_file = written.segment_file;
    end if;
    perform lipika_decide(r, word);
    perform lipika_close_flags(e.video_id, e.segment_file, e.edit_id, e.edited_by)
    from edited_clips e where e.video_id = written.video_id and e.segment_file = written.segment_file;
  end loop;
  return null;
end
$$;

create or replace function lipika_keep_tiers() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- The tier of an edited clip is the person's, whoever weighs the others.
declare
  word jsonb;
begin
  select e.word into word from edited_clips e
  where e.video_id = new.video_id and e.segment_file = new.segment_file and e.audio_digest = new.audio_digest
    and e.edit_id is not null;
  if found then
    new.tier := word ->> 'tier';
    new.consensus := nullif(word -> 'consensus', 'null');
  end if;
  return new;
end
$$;

-- By name after the triggers that count what answers took: those look for answers that have been filed before.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('words_kept_insert', 'transcription_results',
        'after insert on transcription_results referencing new table as rows_in for each statement '
        'execute function lipika_keep_words()'),
      ('words_kept_update', 'transcription_results',
        'after update on transcription_results referencing new table as rows_in for each statement '
        'execute function lipika_keep_words()'),
      ('keep_tiers', 'transcription_voters',
        'before insert or update of tier, consensus on transcription_voters for each row '
        'execute function lipika_keep_tiers()')
    ) as w (name, relation, definition)
    where not exists (select from pg_trigger t where t.tgrelid = relation::regclass and t.tgname = name)
  loop
    execute format('create trigger %I %s', wanted.name, wanted.definition);
  end loop;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
  relation regclass;
begin
  foreach thing in array array[
    'table transcription_edits', 'sequence transcription_edits_id_seq', 'table edited_clips',
    'function lipika_clip_version(bigint, text, text)',
    'function lipika_decided(transcription_results)', 'function lipika_file_answer(transcription_results)',
    'function lipika_decide(transcription_results, jsonb)', 'function lipika_close_flags(text, text, bigint, text)',
    'function lipika_edit_clip(text, text, text, jsonb, bigint, jsonb)', 'function lipika_keep_words()',
    'function lipika_keep_tiers()'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- A worker reads what the model had said of an edited clip; who may read results may read these. roles.sql need not be run
  -- again for it.
  for grantee in select rolname from pg_roles where rolname in ('lipika_worker', 'lipika_reader') loop
    continue when not has_table_privilege(grantee, 'transcription_results', 'select');
    foreach relation in array array['edited_clips'::regclass, 'transcription_edits'::regclass] loop
      continue when grantee = 'lipika_worker' and relation = 'transcription_edits'::regclass;
      -- Who the people are is no business of a machine for rent.
      execute format('grant select%s on %s to %I', case when grantee = 'lipika_worker'
        then ' (video_id, segment_file, audio_digest, edit_id, word, model)' else '' end, relation, grantee);
      if not exists (select from pg_policy where polrelid = relation and polname = grantee) then
        execute format('create policy %I on %s for select to %I using (true)', grantee, relation, grantee);
      end if;
    end loop;
    if grantee = 'lipika_reader' then
      grant execute on function lipika_clip_version(bigint, text, text) to lipika_reader;
    end if;
  end loop;
  -- Who may resolve flags may say what is to stand; lipika_dashboard is a reader, too.
  if exists (select from pg_roles where rolname = 'lipika_dashboard')
    and has_any_column_privilege('lipika_dashboard', 'transcription_flags', 'update') then
    grant execute on function lipika_edit_clip(text, text, text, jsonb, bigint, jsonb) to lipika_dashboard;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000600', 'edits') on conflict do nothing;
