-- name: candidates
-- One narrow row a candidate; the wide ones stay in the file. Hashes of 64 bits stand for digests and sentences: among
-- 100 million of them two differ and meet with a chance of 1 in 4,000.
create table clips as
select file_row_number as row, video_id, clip, language, start_ms, duration_ms::bigint as duration_ms,
  coalesce(bytes, duration_ms * 12)::bigint as bytes, text_changes, speaker,
  md5_number_lower(audio_digest) as sound,
  md5_number_lower(nullif(trim(regexp_replace(regexp_replace(lower(text), '\p{Cf}', '', 'g'), '[^\p{L}\p{M}\p{N}]+', ' ', 'g')), '')) as said,
  md5_number_lower($seed || ':' || video_id || '/' || clip) as draw,
  {reason} as reason, {skip} as skip, written_at
from known

-- name: groups
-- What must stay together: all clips of a video, and videos of one value of the user's column.
create table groups as
select v.video_id, coalesce(nullif(g.value, ''), v.video_id) as name
from (select distinct video_id from clips) v left join ({values}) g using (video_id)

-- name: values_per_video
select video_id, list_sort(list(distinct value)) as value from ({values}) where value <> '' group by all

-- name: same_clip
-- A clip that two archives hold: one that can be used, of the first archive by name. Few videos have two.
update clips set reason = 'duplicate_clip' where row in (
  select row from (
    select row, row_number() over (
      partition by c.video_id, c.clip order by c.skip <> '', k.archive, row
    ) as place
    from clips c join known k on k.file_row_number = c.row
    where c.reason = '' and c.draw in (select draw from clips where reason = '' group by draw having count(*) > 1)
  ) where place > 1
)

-- name: same_audio
update clips set {mark} = 'duplicate_audio' where row in (
  select row from (
    select row, row_number() over (
      partition by sound order by md5_number_lower($seed || ':' || video_id), video_id, clip
    ) as place
    from clips where reason = '' and skip = '' and sound is not null
  ) where place > 1
)

-- name: splits
-- The place of a group between 0 and 1 is a hash of its name alone: it stays where it is, whatever comes to the corpus.
create table splits as
select name, md5_number_lower($seed || '|' || name) / 18446744073709551616.0 as place, ''::varchar as split, false as held,
  sum(duration_ms)::bigint as duration_ms, count(*) as clips
from clips join groups using (video_id) where reason = '' group by name

-- name: keep_splits
-- What an earlier export has decided stands. Where it has a group in several splits it goes to the first, such as train:
-- what was trained on never becomes a test.
update splits set split = e.split, held = true from (
  select name, arg_min(split, list_position($splits, split)) as split from earlier join groups using (video_id) group by name
) e where e.name = splits.name

-- name: apart
select count(*) from (
  select name from earlier join groups using (video_id) join splits using (name) group by name
  having count(distinct earlier.split) > 1
)

-- name: sentences
-- A sentence stays in the first split that holds it, such as train; later ones lose it.
update clips set {mark} = 'text_in_earlier_split' where row in (
  select c.row from in_split c where c.split = $split and c.skip = ''
    and c.said in (select said from in_split where skip = '' and split in (select unnest($before)))
)

-- name: sounds
-- So does audio that may come twice.
update clips set {mark} = 'duplicate_audio' where row in (
  select c.row from in_split c where c.split = $split and c.skip = ''
    and c.sound in (select sound from in_split where skip = '' and split in (select unnest($before)))
)

-- name: in_split
create or replace view in_split as
select c.*, s.split from clips c join groups using (video_id) join splits s using (name) where c.reason = ''

-- name: same_text
update clips set {mark} = 'same_text' where row in (
  select row from (
    select row, row_number() over (partition by split, said order by draw, row) as place
    from in_split where skip = '' and said is not null
  ) where place > $most
)

-- name: videos
-- Videos by split and the language that most of their time is in, in the order of a hash; a job is a run of them.
create table videos as
with spoken as (
  select split, video_id, language, sum(duration_ms)::bigint as duration_ms, count(*) as clips, sum(bytes)::bigint as bytes
  from in_split group by all
), whole as (
  select split, video_id, arg_min(language, row(-duration_ms, language)) as language,
    sum(clips)::bigint as clips, sum(bytes)::bigint as bytes
  from spoken group by all
), laid as (
  select *, sum(greatest(clips / $clips::double, bytes / $bytes::double)) over (
      partition by language, split order by md5_number_lower($seed || ':' || video_id), video_id
      rows between unbounded preceding and current row
    ) - greatest(clips / $clips::double, bytes / $bytes::double) as before,
    row_number() over (partition by language, split order by md5_number_lower($seed || ':' || video_id), video_id) as place
  from whole
)
select video_id, split, place, (dense_rank() over (order by language, split, floor(before / $shards)) - 1)::int as job from laid

-- name: shards
-- Clips of a job are dealt to its shards by hash, equally many to each; shards of a tarset are numbered without gaps.
create table shards as
with sized as (
  select c.row, c.language, c.split, v.job, v.place, c.video_id, c.start_ms, c.clip,
    row_number() over (partition by v.job, c.language, c.split order by c.draw, c.row) - 1 as drawn,
    count(*) over (partition by v.job, c.language, c.split) as clips,
    sum(c.bytes) over (partition by v.job, c.language, c.split) as bytes
  from in_split c join videos v using (video_id, split)
), dealt as (
  select *, floor(drawn * ceil(greatest(clips / $clips::double, bytes / $bytes::double)) / clips)::bigint as part from sized
)
select row, job, place, language, split, video_id, start_ms, clip,
  (dense_rank() over (partition by language, split order by job, part) - 1)::int as shard
from dealt

-- name: plan
-- The order in which a job reads: archive by archive, front to back.
select case when t.id is null then n.id else concat(n.id, '-', substr(md5(concat(k.video_id, '/', k.clip)), 1, 8)) end as id,
  k.video_id, k.clip, s.job, s.language, s.split, s.shard, k.text,
  coalesce(k.transcription, '') as verbatim, coalesce(k.tagged, '') as tagged,
  coalesce(k.detected_language, '') as detected_language, coalesce(k.language_hint, '') as language_hint,
  safe(k.speaker) as speaker, k.duration_ms, coalesce(k.start_ms, 0) as start_ms, coalesce(k.end_ms, 0) as end_ms,
  round(coalesce(k.quality_score, 0), 6) as quality_score,
  concat_ws(' ', case when k.asr then 'asr' end, case when k.tts_clean then 'tts_clean' end,
    case when k.tts_expressive then 'tts_expressive' end) as lanes,
  coalesce(k.findings, '') as findings, coalesce(k.flags, '') as flags, coalesce(k.tier, '') as tier, k.snr_db, k.speech_ms,
  k.bandwidth_hz, round(k.alignment_score, 6) as alignment_score, coalesce(k.emotion, '') as emotion,
  coalesce(k.style, '') as style, coalesce(k.pace, '') as pace, coalesce(k.accent, '') as accent,
  coalesce(nullif(k.model_version, ''), k.model_id, '') as model, coalesce(k.provider, '') as provider,
  coalesce(k.prompt_version, '') as prompt_version, coalesce(k.validator_version, '') as validator_version,
  coalesce(k.text_source, 'model') as text_source, k.audio_digest, c.skip, coalesce(k.words, '') as words, k.archive, c.bytes,
  h.row is not null as sample{more}
from shards s join clips c using (row) join known k on k.file_row_number = s.row,
  lateral (select safe(concat(k.video_id, '_', k.clip)) as id) n left join twins t on t.id = n.id left join heard h on h.row = s.row
order by s.job, s.place, s.video_id, k.archive, s.start_ms, s.clip

-- name: of_packed
-- More columns of the plan: the segment of each clip, and whether it is the only one of it among all candidates.
, coalesce(k.source_segment, '') as source_segment, (
    select count(*) from known o
    where o.archive = k.archive and o.video_id = k.video_id and o.source_segment = k.source_segment
  ) = 1 as alone

-- name: dropped
select video_id, clip, reason from clips where reason <> '' order by video_id, clip

-- name: reasons
select reason, count(*) as clips, sum(duration_ms)::bigint as duration_ms from clips group by reason order by reason

-- name: tarsets
select s.language, s.split, max(s.shard) + 1 as shards, count(*) as clips, sum(c.duration_ms)::bigint as duration_ms,
  sum(c.bytes)::bigint as bytes
from shards s join clips c using (row) group by all order by s.language, s.split

-- name: whole
select count(*) as candidates, count(distinct video_id) as videos, max(written_at) as newest from clips

-- name: changes
select change, count(*) as clips
from (select unnest(string_split(c.text_changes, ' ')) as change from clips c join shards using (row))
where change <> '' group by change order by change

-- name: twins
-- Ids that two clips would have, such as a_b of c and b of a_c: both get a mark of their own.
create table twins as
select id from (select safe(concat(video_id, '_', clip)) as id from shards) group by id having count(*) > 1

-- name: settings
-- A name that is safe in files, tars and lists: letters of ASCII, digits, `_` and `-`, a letter or digit first (`datasets`
-- passes over files that begin with `__`), and with two marks and an ending within the 100 bytes of a tar's plain header.
-- What had to be changed or is too long gets a mark made of the whole, so that no two names become one.
create or replace macro cleaned(x) as
  regexp_replace(regexp_replace(x, '[^A-Za-z0-9_-]', '_', 'g'), '^([_-])', 'v\1');
create or replace macro safe(x) as case
  when cleaned(x) = x and strlen(x) <= 76 then x
  when strlen(x) <= 76 then concat(cleaned(x), '-', substr(md5(x), 1, 8))
  else concat(left(cleaned(x), 40), '-', substr(md5(x), 1, 16))
end

-- name: heard
-- The clips that people can listen to on the card: some of each language, by lot.
create table heard as
select unnest(arg_min(c.row, c.draw, $most)) as row from shards s join clips c using (row) group by s.language
