-- name: videos
-- Videos that were worked on, of the language or of none that is known beforehand, in the order of an index that knows
-- nothing of what they are. So many are looked at, at most, and so many taken.
select video_id from (
  select video_id, language, left(md5(video_id), 8) as place from video_queue
  where claimed_by is not null
  order by left(md5(video_id), 8)
  limit %(looked_at)s
) worked_on
where language = %(language)s or language is null
order by language nulls last, place
limit %(limit)s

-- name: clips
-- Some of each video's clips, spread over all of it. An archive of 100,000 clips is not sorted for that.
select sample.*
from unnest(%(video_ids)s::text[]) as v (video_id)
cross join lateral (
  select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}
  from (select * from transcription_results where video_id = v.video_id order by segment_file limit 2000) r
  where r.status = 'transcribed' and r.audio_facts is not null
    and coalesce(nullif(r.expected_language_hint, ''), r.detected_language) = %(language)s
    and starts_with(r.model_version, %(made_up)s) = %(simulated)s
  order by md5(r.segment_file)
  limit %(each)s
) sample
