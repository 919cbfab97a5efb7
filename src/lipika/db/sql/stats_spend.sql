-- name: days
-- From the hourly counters. Cached tokens are part of the prompt's, thoughts of the output's.
select (hour at time zone 'UTC')::date as day, provider,
  sum(sent)::bigint as requests, sum(returned)::bigint as answers, sum(rate_limited)::bigint as rate_limited,
  sum(errors)::bigint as errors, sum(retried)::bigint as retried, sum(cache_hits)::bigint as cache_hits,
  sum(prompt_tokens)::bigint as prompt_tokens, sum(audio_tokens)::bigint as audio_tokens,
  sum(cached_tokens)::bigint as cached_tokens, sum(output_tokens)::bigint as output_tokens,
  sum(thought_tokens)::bigint as thought_tokens, sum(cost_usd)::double precision as cost_usd,
  sum(flex_answers)::bigint as flex_answers, sum(flex_usd)::double precision as flex_usd
from batch_hours
where hour >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - make_interval(days => %(days)s - 1)
group by 1, 2
order by 1 desc, 2

-- name: hours
select hour, sum(cost_usd)::double precision as cost_usd, sum(returned)::bigint as answers
from batch_hours
where hour >= date_trunc('hour', now()) - make_interval(hours => %(hours)s - 1)
group by 1
order by 1

-- name: models
-- Of cascades, each model that was asked: the hours of all time.
select model_id, sum(answers)::bigint as answers, sum(usd)::double precision as usd, sum(went_up)::bigint as went_up
from model_hours
where hour >= now() - make_interval(days => %(days)s)
group by 1
having sum(answers) > 0 or sum(went_up) > 0
order by sum(went_up) desc, 1

-- name: summary
-- Dollars are those that workers say of themselves, the same that caps are held against; clips come from the counters.
-- A canary's dollars bought no clip of the queue, and answers that their model calls made up cost nothing: what a clip
-- costs is told without them, and with second opinions, which more clips call for.
with dollars as (
  select s.usd, s.day, s.worker_id ~ '^canary-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}-[0-9]+$' as canary,
    s.worker_id ~ '^second-opinion-[0-9a-f]{15,17}$|/second-opinions$' as opinion,
    s.provider = 'simulator' or coalesce(s.provider = any(string_to_array(w.config_json ->> 'made_up_by', ' ')), false)
      or coalesce((r.report ->> 'simulated')::boolean, false) as made_up
  from provider_spend s
  left join workers w on w.worker_id = regexp_replace(s.worker_id, '/(second-opinions|model-[0-9]+)$', '')
  left join canary_runs r on r.run_id = substring(s.worker_id from '^canary-([0-9]{8}-[0-9]{6}-[0-9a-f]{4})-[0-9]+$')
), sums as (
  select coalesce(sum(usd), 0)::double precision as usd_total,
    coalesce(sum(usd) filter (where day = (now() at time zone 'utc')::date), 0)::double precision as usd_today,
    coalesce(sum(usd) filter (where made_up), 0)::double precision as usd_simulated,
    coalesce(sum(usd) filter (where canary), 0)::double precision as usd_canary,
    coalesce(sum(usd) filter (where canary and day = (now() at time zone 'utc')::date), 0)::double precision
      as usd_canary_today,
    coalesce(sum(usd) filter (where opinion), 0)::double precision as usd_opinions,
    coalesce(sum(usd) filter (where not canary and not made_up), 0)::double precision as usd_charged,
    coalesce(sum(usd) filter (where not canary and made_up), 0)::double precision as usd_rehearsed
  from dollars
)
select sums.*,
  coalesce((select sum(flex_usd) from batch_hours), 0)::double precision as usd_flex,
  coalesce((select sum(clips) from clip_counts where kind = 'status' and key = 'transcribed'), 0)::bigint as transcribed,
  coalesce((select sum(clips) from clip_counts where kind = 'status'), 0)::bigint as clips,
  coalesce((select sum(clips) from clip_counts where kind = 'lane' and key = 'asr'), 0)::bigint as accepted
from sums

-- name: metered
-- Answers as metered: some hundred counters. Those that a simulator made up count apart.
select language, model_id, schema_version, thinking_level, made_up, sum(answers)::bigint as answers,
  sum(characters)::bigint as characters, sum(answer_tokens)::bigint as answer_tokens,
  sum(thought_tokens)::bigint as thought_tokens, sum(prompt_tokens)::bigint as prompt_tokens,
  sum(audio_tokens)::bigint as audio_tokens, sum(duration_ms)::bigint as duration_ms
from token_counts
group by 1, 2, 3, 4, 5
having sum(answers) > 0
order by sum(answers) desc, 1, 2, 3, 4, 5
