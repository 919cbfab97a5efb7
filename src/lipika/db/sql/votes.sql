-- name: pairs
-- One page of audios with an answer of either way kept aside, by digest, whose order is one of chance; of each the answers of
-- both ways, be they kept or a clip's result, where a clip that can be heard has both. An answer under another hint counts
-- where it was heard in the clip's language, as for those that are taken over.
with page as materialized (
  select audio_digest from (
    (
      select distinct audio_digest from transcription_answers
      where way = %(first)s and audio_digest > %(after)s
      order by audio_digest limit %(limit)s
    ) union (
      select distinct audio_digest from transcription_answers
      where way = %(second)s and audio_digest > %(after)s
      order by audio_digest limit %(limit)s
    )
  ) kept
  order by audio_digest
  limit %(limit)s
)
select p.audio_digest, found.*
from page p
left join lateral (
  select r.video_id, r.segment_file, r.duration_ms,
    coalesce(nullif(r.expected_language_hint, ''), r.detected_language, 'unknown') as language,
    answers.first_text, answers.second_text, answers.first_usd, answers.second_usd
  from (
    select * from transcription_results k
    where hashtextextended(k.audio_digest, 0) = hashtextextended(p.audio_digest, 0) limit 8
  ) r
  join video_queue q on q.video_id = r.video_id and q.status = 'done' and q.output_key is not null
  cross join lateral (
    select max(said) filter (where side = 'first') as first_text, max(said) filter (where side = 'second') as second_text,
      max(usd) filter (where side = 'first') as first_usd, max(usd) filter (where side = 'second') as second_usd
    from (
      select distinct on (w.side) w.side, given.said, given.usd
      from jsonb_to_recordset(%(ways)s::jsonb) as w (
        side text, way text, model_id text, temperature real, thinking_level text, prompt_version text, schema_version text
      )
      cross join lateral (
        select r.transcription as said, r.cost_usd as usd, 0 as far
        where r.text_source = 'model' and r.attempts > 0
          and regexp_replace(r.model_id, '^(google|models)/', '') = w.model_id
          and round(r.temperature::numeric, 4) is not distinct from round(w.temperature::numeric, 4)
          and (r.thinking_level, r.prompt_version, r.schema_version)
            = (w.thinking_level, w.prompt_version, w.schema_version)
        union all
        select a.answer ->> 'transcription', a.cost_usd,
          1 + (a.language_hint <> coalesce(r.expected_language_hint, ''))::int
        from transcription_answers a
        where a.audio_digest = p.audio_digest and a.way = w.way and (
          a.language_hint = coalesce(r.expected_language_hint, '') or a.answer ->> 'transcription' = 'NO_SPEECH'
          or a.answer ->> 'detected_language' = coalesce(nullif(r.expected_language_hint, ''), a.language_hint)
        )
      ) given
      where given.said <> ''
      order by w.side, given.far
    ) sides
  ) answers
  where r.audio_digest = p.audio_digest and answers.first_text is not null and answers.second_text is not null
  order by r.video_id, r.segment_file
  limit 1
) found on true
order by p.audio_digest

-- name: comparisons
-- Newest first.
select id, first_way, second_way, first_words, second_words, seed, started_by, started_at
from comparisons where %(id)s::bigint is null or id = %(id)s
order by id desc
limit %(limit)s

-- name: of_ways
-- The comparison of two ways, in whichever order it was begun.
select id, first_way, second_way, first_words, second_words, seed, started_by, started_at
from comparisons
where least(first_way, second_way) = least(%(first)s, %(second)s)
  and greatest(first_way, second_way) = greatest(%(first)s, %(second)s)

-- name: start
select lipika_start_comparison(
  %(first)s::text, %(second)s::text, %(first_words)s::text, %(second_words)s::text, %(seed)s::bigint, %(by)s::text
) as id

-- name: add
select lipika_add_comparison_clips(%(id)s, %(clips)s::jsonb, %(by)s::text) as added

-- name: drawn
-- What is there already, so that a further draw goes on behind it.
select audio_digest from comparison_clips where comparison_id = %(id)s
order by place

-- name: progress
-- Votes wanted and made, of each language; and one person's. A clip that only passed by is not voted on.
select c.language, count(*)::int as clips, sum(1 + c.doubled::int)::int as wanted,
  sum(least(v.made, 1 + c.doubled::int))::int as made, sum(v.mine)::int as mine
from comparison_clips c
cross join lateral (
  select count(*) as made, count(*) filter (where voter = %(voter)s) as mine
  from comparison_votes v
  where v.comparison_id = c.comparison_id and v.place = c.place and v.choice <> 'skip'
) v
where c.comparison_id = %(id)s
group by c.language
order by c.language

-- name: take
-- In the order in which they are to be heard. What the function writes is not seen by the statement that calls it.
select place from lipika_take_comparison_clips(%(id)s, %(voter)s, %(languages)s::text[], %(count)s::int) as place

-- name: blind
-- Clips that this person has before them, in the order given. The ways are nowhere in it, nor which text is whose.
select c.place, c.video_id, c.segment_file, c.duration_ms, c.language,
  case when v.first_left then c.first_text else c.second_text end as left_text,
  case when v.first_left then c.second_text else c.first_text end as right_text
from unnest(%(places)s::int[]) with ordinality as wanted (place, number)
join comparison_clips c on c.comparison_id = %(id)s and c.place = wanted.place
join comparison_votes v on v.comparison_id = c.comparison_id and v.place = c.place and v.voter = %(voter)s
order by wanted.number

-- name: vote
select lipika_vote(%(id)s, %(place)s::int, %(voter)s::text, %(choice)s::text) as kept

-- name: take_back
select lipika_take_vote_back(%(id)s, %(voter)s::text) as place

-- name: clips
-- All clips of a comparison with what people said of them, the first word first; some thousands at most.
select c.place, c.video_id, c.language, c.duration_ms, c.first_text = c.second_text as same, c.differing::float8, c.letters,
  c.first_usd, c.second_usd, coalesce((
    select jsonb_agg(jsonb_build_object('voter', v.voter, 'choice', v.choice, 'first_left', v.first_left)
      order by v.voted_at, v.voter)
    from comparison_votes v
    where v.comparison_id = c.comparison_id and v.place = c.place and v.choice is not null
  ), '[]') as votes
from comparison_clips c
where c.comparison_id = %(id)s
order by c.place
