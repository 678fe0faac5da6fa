-- Files on their way: in from the provider (media), out to it (upload).

create or replace function bus.fetch_media(p_organization uuid, p_message uuid) returns void
language sql
set search_path = ''
as $$
  select bus.enqueue('media', p_organization, p_message::text, p_message::text)
$$;
comment on function bus.fetch_media(uuid, uuid) is 'Asks for the file of a message that came in.';

create or replace function bus.claim_media(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('media', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, coalesce(m.organization_address, c.lane), c.attempt, c.version,
    jsonb_build_object('message_id', m.id, 'service', m.service, 'kind', m.content ->> 'kind', 'file', m.content -> 'file',
      -- Meta keeps what came in for seven days.
      'expired', coalesce(m."timestamp" < now() - interval '7 days' and m.created_at < now() - interval '1 day', false),
      'credential', secrets.get(c.organization_id, 'organizations_addresses', m.organization_address, 'access_token'))
  from unnest(claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    and m.content ->> 'type' = 'file' and m.content #>> '{file,uri}' not like 'internal://%' and not m.status ? 'deleted';
end
$$;
comment on function bus.claim_media(uuid, int, uuid, boolean) is 'Claims files to fetch. lane is the number; a payload without a message has nothing to fetch.';

create or replace function bus.finish_media(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  r record;
  conversation uuid;
begin
  for r in
    -- Conversations in one order, as all do who lock several.
    select x.*, m.conversation_id from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      message_id uuid, was text, file jsonb)
    left join public.messages m on m.organization_id = x.organization_id and m.id = x.message_id
    order by x.organization_id, m.conversation_id, x.message_id
  loop
    conversation := r.conversation_id;
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = conversation for no key update;
    perform 1 from bus.tasks t
    where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt);
    continue when not found;
    if r.file is not null then
      perform storage.stored(r.organization_id, storage.name_of(r.file ->> 'uri'));
      update public.messages m set content = jsonb_build_object('file', r.file)
      where m.organization_id = r.organization_id and m.id = r.message_id and m.content #>> '{file,uri}' = r.was;
      perform bus.preprocess(r.organization_id, r.message_id);
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error)));
    if r.message_id is not null and exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id)) then
      update public.messages m set status = jsonb_build_object('errors', jsonb_build_array(jsonb_build_object(
        'code', 'media', 'title', 'The file could not be fetched', 'message', left(r.error, 500))))
      where m.organization_id = r.organization_id and m.id = r.message_id;
      perform bus.log_message(r.organization_id, r.message_id, 'error', 'media', 'the file of a message could not be fetched: ' || left(r.error, 500), null);
    end if;
    if r.message_id is not null and coalesce(r.outcome, 'done') <> 'retry' then
      -- Whoever waits to answer looks whether there is more to wait for.
      perform bus.wake_for_media(r.organization_id, conversation);
    end if;
  end loop;
end
$$;
comment on function bus.finish_media(jsonb) is 'Writes fetched files into their messages, or says on the message and in the log why there is none.';

create or replace function bus.waits_for_media(p_organization uuid, p_conversation uuid) returns float8
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    -- Half a minute from its arrival a file has to come, and to be read within a minute; then the answer goes without it.
    select extract(epoch from max(case when w.queue = 'media' then w.created_at + interval '30 s' else w.created_at + interval '60 s' end) - clock_timestamp())::float8
    from (
      select m.created_at, (
        select t.queue from bus.tasks t
        where t.organization_id = p_organization and t.queue in ('media', 'preprocess') and t.key = m.id::text order by t.queue desc limit 1) as queue
      from (
        select x.* from public.messages x
        where x.organization_id = p_organization and x.conversation_id = p_conversation and x."timestamp" > now() - interval '1 hour'
        order by x."timestamp" desc limit 20) m
      where m.direction = 'incoming' and m.content ->> 'type' = 'file' and m.created_at > clock_timestamp() - interval '60 s') w
    where w.queue is not null);
end
$$;
comment on function bus.waits_for_media(uuid, uuid) is 'For how many seconds an agent should still wait for files that are being fetched or read; null, or none, for not at all.';

create or replace function bus.await_uploads(p_claimed bus.claimed[]) returns bus.claimed[]
language plpgsql
set search_path = ''
as $$
declare
  c bus.claimed;
  ready bus.claimed[] := '{}';
  asked boolean := false;
begin
  foreach c in array p_claimed loop
    if c.waits_for is null or c.suspect or exists (
      select from storage.uploads u
      where (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, c.lane, c.waits_for)
        and u.expires_at > now() + interval '1 minute' * (u.error is null)::int)
    then
      ready := ready || c;
      continue;
    end if;
    update bus.tasks t set worker = null, waiting = true, run_at = clock_timestamp() + interval '10 minutes'
    where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id);
    insert into bus.tasks as t (queue, organization_id, key, subject, single)
    select 'upload', c.organization_id, c.waits_for || ' ' || md5(c.lane), jsonb_build_object(
      'lane', c.lane, 'upload_key', c.waits_for, 'name', storage.name_of(m.content #>> '{file,uri}'), 'mime_type', m.content #>> '{file,mime_type}')::text, true
    from public.messages m where m.organization_id = c.organization_id and m.id = c.subject::uuid
    -- One that is about to end runs once more, so that it sees us.
    on conflict (organization_id, queue, key) where single do update set version = t.version + 1;
    asked := true;
  end loop;
  if asked then
    perform bus.ring('upload');
  end if;
  return ready;
end
$$;
comment on function bus.await_uploads(bus.claimed[]) is
  'Of claimed sends, those whose file the provider has. The others ask for the upload and wait for its end, keeping their place.';

create or replace function bus.claim_upload(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = ''
as $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select c::bus.claimed from bus.claim('upload', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, w.what ->> 'lane', c.attempt, c.version,
    jsonb_build_object('upload_key', w.what ->> 'upload_key', 'name', o.name, 'size', o.size, 'file_name', o.file_name,
      'mime_type', coalesce(nullif(w.what ->> 'mime_type', ''), o.mime_type), 'media_id', u.media_id,
      'credential', secrets.get(c.organization_id, 'organizations_addresses', w.what ->> 'lane', 'access_token'))
  from unnest(claimed) c
  cross join lateral (select c.subject::jsonb as what) w
  left join storage.objects o on o.organization_id = c.organization_id and o.bucket_id = 'media' and o.name = w.what ->> 'name' and o.state = 'ready'
  left join storage.uploads u on (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, w.what ->> 'lane', w.what ->> 'upload_key')
    and u.expires_at > now() + interval '1 minute' and u.error is null;
end
$$;
comment on function bus.claim_upload(uuid, int, uuid, boolean) is 'Claims files to give to the provider. lane is the number.';

create or replace function bus.finish_upload(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, lane text, outcome text, after float8, error text,
      media_id text, refusal jsonb) order by x.organization_id, x.key
  loop
    -- An outdated outcome must not replace a good one.
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error))) = 0;
    continue when r.outcome = 'retry'
      and not exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    insert into storage.uploads as u (organization_id, organization_address, upload_key, media_id, expires_at, error)
    values (r.organization_id, r.lane, split_part(r.key, ' ', 1), r.media_id,
      -- Graph keeps files for 30 days. A refusal is remembered for as long as those that wait need to learn of it.
      now() + case when r.media_id is not null then interval '29 days' else interval '2 minutes' end,
      case when r.media_id is null then coalesce(r.refusal, jsonb_build_object('code', 'media', 'title', 'Not sent', 'message', left(r.error, 500))) end)
    on conflict (organization_id, organization_address, upload_key) do update
      set media_id = excluded.media_id, expires_at = excluded.expires_at, error = excluded.error, updated_at = now();
    update bus.tasks t set waiting = false, run_at = greatest(t.due_at, clock_timestamp())
    where t.queue = 'dispatch' and t.organization_id = r.organization_id and t.lane = r.lane
      and t.waits_for = split_part(r.key, ' ', 1) and t.waiting and t.worker is null;
    perform bus.ring('dispatch');
  end loop;
end
$$;
comment on function bus.finish_upload(jsonb) is 'Remembers by which id the provider knows a file, or why it does not take it, and lets those that waited go on.';
