-- name: list_of
-- By functions: a worker reads no tombstone by itself.
select video_key, speaker_key, start_ms, end_ms from lipika_erased_of(%(video_id)s::text)

-- name: videos
select video_id, erasure_id from lipika_erased_videos(%(video_ids)s::text[])

-- name: audio
select audio_digest from lipika_erased_audio(%(digests)s::text[])

-- name: since
select erasure_id, beginning from lipika_erased_since(%(erasure)s::bigint)
