-- name: claim
select event, message from lipika_claim_notices(%(worker_id)s::text, %(key)s::text)

-- name: end_claimed
select lipika_end_notices(%(worker_id)s::text, %(key)s::text, %(events)s::text[], %(told)s::boolean)::text as ended
