-- What people look at first: serious flags before doubtful ones, and apart from audio that was left out; and videos that are
-- held, with who holds them. Idempotent.

-- Open flags of clips, the weightiest first and of these the newest. What was left out is counted by reason, and listed by
-- reason, for which transcription_flags_open is there.
create index if not exists transcription_flags_open_by_weight on transcription_flags (
  (case severity when 'fail' then 2 when 'warn' then 1 else 0 end), created_at, video_id, segment_file, flag_type, start_ms
) where not resolved and left(flag_type, 8) <> 'discard:';
create index if not exists transcription_flags_open_by_language_weight on transcription_flags (
  language, (case severity when 'fail' then 2 when 'warn' then 1 else 0 end), created_at, video_id, segment_file, flag_type,
  start_ms
) where not resolved and left(flag_type, 8) <> 'discard:';

create index if not exists video_queue_held on video_queue (video_id) where status = 'pending' and held;

-- The counter of the queue, under a name of its own: the file that made the first one may be run again alone.
create or replace function lipika_count_videos() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from queue_counts;
    return null;
  end if;
  execute format($sql$
    insert into queue_counts as c (
      language, state, reason, shard, videos, sized, segments, discarded, parts_discarded, clips, transcribed,
      no_speech, failed
    )
    select *
    from (
      select coalesce(language, 'unknown'),
        case when status = 'pending' and held then 'held' else status end,
        case
          when status = 'failed' then coalesce(error_code, '')
          when status = 'pending' and held and error_code = 'would_pay_again' then error_code
          else ''
        end,
        $1,
        sum(sign) as videos,
        coalesce(sum(sign) filter (where segment_count is not null), 0) as sized,
        coalesce(sum(sign * segment_count), 0) as segments,
        sum(sign * segments_discarded) as discarded,
        sum(sign * parts_discarded) as parts_discarded,
        sum(sign * clip_count) as clips,
        sum(sign * segments_transcribed) as transcribed,
        sum(sign * segments_no_speech) as no_speech,
        sum(sign * segments_failed) as failed
      from (%s) change
      group by 1, 2, 3
    ) moved
    where (videos, sized, segments, discarded, parts_discarded, clips, transcribed, no_speech, failed)
      <> (0, 0, 0, 0, 0, 0, 0, 0, 0)
    order by 1, 2, 3 -- beyond 32 writers two share a shard, and lock its sums in one order
    on conflict (language, state, reason, shard) do update set
      videos = c.videos + excluded.videos, sized = c.sized + excluded.sized,
      segments = c.segments + excluded.segments, discarded = c.discarded + excluded.discarded,
      parts_discarded = c.parts_discarded + excluded.parts_discarded, clips = c.clips + excluded.clips,
      transcribed = c.transcribed + excluded.transcribed, no_speech = c.no_speech + excluded.no_speech,
      failed = c.failed + excluded.failed
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  return null;
end
$$;

comment on function lipika_count_videos() is
  'Keeps queue_counts. Its reason is error_code of failed videos, and would_pay_again of those that a worker holds for that.';

-- Those that are held already, counted anew: the index finds them. Nobody writes in between: the block is one transaction.
do $$
declare
  columns text := 'language, status, held, error_code, segment_count, segments_discarded, parts_discarded, clip_count, '
    'segments_transcribed, segments_no_speech, segments_failed';
  grantee text;
begin
  revoke all on function lipika_count_videos() from public;
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on function lipika_count_videos() from %I', grantee);
  end loop;
  if exists (
    select from pg_trigger
    where tgrelid = 'video_queue'::regclass and tgname = 'count_insert' and tgfoid = 'lipika_count_videos()'::regprocedure
  ) then
    return;
  end if;
  lock table video_queue in share row exclusive mode;
  execute format('create or replace trigger count_insert after insert on video_queue referencing new table as rows_in '
    'for each statement execute function lipika_count_videos(%L)', columns);
  execute format('create or replace trigger count_update after update on video_queue referencing new table as rows_in '
    'old table as rows_out for each statement execute function lipika_count_videos(%L)', columns);
  execute format('create or replace trigger count_delete after delete on video_queue referencing old table as rows_out '
    'for each statement execute function lipika_count_videos(%L)', columns);
  create or replace trigger count_truncate after truncate on video_queue
    for each statement execute function lipika_count_videos();
  delete from queue_counts where state = 'held';
  insert into queue_counts (
    language, state, reason, shard, videos, sized, segments, discarded, parts_discarded, clips, transcribed, no_speech, failed
  )
  select coalesce(language, 'unknown'), 'held',
    case when error_code = 'would_pay_again' then error_code else '' end, 0, count(*),
    count(segment_count), coalesce(sum(segment_count), 0), sum(segments_discarded), sum(parts_discarded), sum(clip_count),
    sum(segments_transcribed), sum(segments_no_speech), sum(segments_failed)
  from video_queue
  where status = 'pending' and held
  group by 1, 3;
end
$$;

insert into lipika_migrations (version, name) values ('20261130001300', 'board') on conflict do nothing;
