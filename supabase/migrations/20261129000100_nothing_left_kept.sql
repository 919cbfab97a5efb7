-- Whether nothing was left of a done video, as a column of its own. The index had the counters in its predicate before:
-- an update stays heap-only if no column changes that an index names, and so every progress of a video at work wrote all
-- indexes. Not a generated column: adding one writes the whole table anew behind a lock (32 s for a million videos, where
-- this takes one). A trigger keeps it just as true. Idempotent.

create or replace function lipika_mark_nothing_left() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  new.nothing_left := new.status = 'done' and new.segments_transcribed + new.segments_no_speech = 0;
  return new;
end
$$;

-- Column, trigger, and once the few rows that have nothing left, by the old index. Nobody writes in between: the block is
-- one transaction. The index keeps its name, so that the file which made the old one finds it there and makes none.
do $$
begin
  if not exists (
    select from pg_attribute
    where attrelid = 'video_queue'::regclass and attname = 'nothing_left' and not attisdropped
  ) then
    alter table video_queue add column nothing_left boolean not null default false;
    create trigger mark_nothing_left before insert or update on video_queue for each row
      when (new.nothing_left is distinct from (
        new.status = 'done' and new.segments_transcribed + new.segments_no_speech = 0
      ))
      execute function lipika_mark_nothing_left();
    update video_queue set nothing_left = true
    where status = 'done' and segments_transcribed + segments_no_speech = 0;
  end if;
  if (
    select pg_get_expr(indpred, indrelid) from pg_index where indexrelid = to_regclass('video_queue_nothing_left')
  ) is distinct from 'nothing_left' then
    drop index if exists video_queue_nothing_left;
    create index video_queue_nothing_left on video_queue (video_id) where nothing_left;
  end if;
end
$$;
comment on column video_queue.nothing_left is
  'Done, and no clip of it was answered, be it as without speech. Kept by a trigger, whatever is written.';

do $$
declare
  grantee text;
begin
  revoke all on function lipika_mark_nothing_left() from public;
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on function lipika_mark_nothing_left() from %I', grantee);
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000100', 'nothing_left_kept') on conflict do nothing;
