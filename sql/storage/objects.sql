-- Files: which there are, who refers to them, and when they go.

create or replace function storage.name_of(p_uri text) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case when p_uri like 'internal://media/%' then substr(p_uri, 18) end
$$;
comment on function storage.name_of(text) is 'The object that a content''s file.uri names; null for links and for ids of a provider.';

create or replace function storage.upload_key(p_file jsonb) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case when storage.name_of(p_file ->> 'uri') is not null then md5(storage.name_of(p_file ->> 'uri') || ' ' || coalesce(p_file ->> 'mime_type', '')) end
$$;
comment on function storage.upload_key(jsonb) is 'What an upload is of: the object, and what it is said to be, as a short key. Null where there is nothing to upload.';

create or replace function storage.reserve(p_organization uuid, p_name text, p_size bigint, p_mime_type text, p_file_name text) returns text
language plpgsql
set search_path = ''
as $$
declare
  o storage.objects;
begin
  -- A file that is being collected must be gone before one of the same name may be written.
  if exists (select from bus.tasks t where (t.organization_id, t.queue, t.key) = ('00000000-0000-0000-0000-000000000000', 'sweep', p_name)) then
    return 'wait';
  end if;
  insert into storage.objects as x (organization_id, name, size, mime_type, file_name)
  values (p_organization, p_name, p_size, p_mime_type, p_file_name)
  on conflict (organization_id, bucket_id, name) do update set
    unused_since = case when x.unused_since is null then null else now() end,
    -- Of a write that broke off nothing holds any more.
    size = case when x.state = 'writing' then excluded.size else x.size end,
    mime_type = case when x.state = 'writing' then excluded.mime_type else x.mime_type end,
    file_name = case when x.state = 'writing' then excluded.file_name else x.file_name end
  returning * into o;
  -- Asked again after the row is there: a collection that was under way has ended by now.
  if exists (select from bus.tasks t where (t.organization_id, t.queue, t.key) = ('00000000-0000-0000-0000-000000000000', 'sweep', p_name)) then
    return 'wait';
  end if;
  return case when o.state = 'ready' then 'ready' else 'write' end;
end
$$;
comment on function storage.reserve(uuid, text, bigint, text, text) is
  'Before a file is written: write (do it), ready (it is there already), wait (an older one of this name is being removed).';

create or replace function storage.stored(p_organization uuid, p_name text) returns void
language sql
set search_path = ''
as $$
  update storage.objects set state = 'ready', updated_at = now() where organization_id = p_organization and bucket_id = 'media' and name = p_name
$$;
comment on function storage.stored(uuid, text) is 'The bytes of a reserved file are where they belong.';

create or replace function storage.check_file(m public.messages) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_name text := storage.name_of(m.content #>> '{file,uri}');
  o storage.objects;
  most bigint;
begin
  if v_name is null then
    return;
  end if;
  if v_name not like 'organizations/' || m.organization_id || '/attachments/%' then
    perform public.refuse_content('content.file.uri', 'is not a file of this organization');
  end if;
  if m.direction <> 'outgoing' or not m.status ? 'pending' or m.service = 'local' then
    return;
  end if;
  select * into o from storage.objects x where x.organization_id = m.organization_id and x.bucket_id = 'media' and x.name = v_name for key share;
  if o.name is null or o.state <> 'ready' then
    perform public.refuse_content('content.file.uri', 'names a file that is not stored: upload it first');
  end if;
  most := storage.most_bytes(m.content ->> 'kind');
  if m.service = 'whatsapp' and o.size > most then
    perform public.refuse_content('content.file', format('has %s bytes; WhatsApp takes at most %s for kind %s', o.size, most, m.content ->> 'kind'));
  end if;
end
$$;
comment on function storage.check_file(public.messages) is 'Refuses a file of another organization, and on what is to be sent one that is missing or too large.';

create or replace function storage.most_bytes(p_kind text) returns bigint
language sql immutable parallel safe
set search_path = ''
as $$
  select case p_kind when 'audio' then 16000000 when 'image' then 5000000 when 'sticker' then 500000 when 'video' then 16000000 else 100000000 end
$$;
comment on function storage.most_bytes(text) is 'The most bytes that WhatsApp takes for a kind of file (Cloud API, media).';

create or replace function storage.use_files(p_organizations uuid[], p_names text[]) returns void
language sql
set search_path = ''
as $$
  update storage.objects o set unused_since = null
  from unnest(p_organizations, p_names) x (organization_id, name)
  where o.organization_id = x.organization_id and o.bucket_id = 'media' and o.name = x.name and o.unused_since is not null
$$;
comment on function storage.use_files(uuid[], text[]) is 'Files that messages refer to are in use.';

create or replace function storage.after_file_on_messages() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  update storage.objects o set unused_since = null
  where o.organization_id = new.organization_id and o.bucket_id = 'media' and o.name = storage.name_of(new.content #>> '{file,uri}')
    and o.unused_since is not null;
  if new.direction = 'outgoing' and new.service = 'whatsapp' and new.external_id is null then
    update bus.tasks t set waits_for = storage.upload_key(new.content -> 'file')
    where t.organization_id = new.organization_id and t.queue = 'dispatch' and t.key = new.conversation_id::text and t.subject = new.id::text;
  end if;
  return null;
end
$$;

create or replace trigger use_file after update on public.messages
  for each row
  when (new.content ->> 'type' = 'file' and new.content #>> '{file,uri}' is distinct from old.content #>> '{file,uri}')
  execute function storage.after_file_on_messages();

create or replace function storage.after_delete_on_messages() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  update storage.objects o set unused_since = now()
  from removed r
  where r.content ->> 'type' = 'file' and o.organization_id = r.organization_id and o.bucket_id = 'media'
    and o.name = storage.name_of(r.content #>> '{file,uri}') and o.unused_since is null;
  return null;
end
$$;
comment on function storage.after_delete_on_messages() is 'Files of deleted messages may have no use any more; storage.collect looks closely.';

create or replace trigger release_files after delete on public.messages
  referencing old table as removed
  for each statement execute function storage.after_delete_on_messages();

create or replace function storage.after_delete_on_objects() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('sweep', '00000000-0000-0000-0000-000000000000', old.name, old.name, true)
  on conflict (organization_id, queue, key) where single do nothing;
  perform bus.ring('sweep');
  return null;
end
$$;
comment on function storage.after_delete_on_objects() is 'A row that goes, by whatever road, takes its file with it.';

create or replace trigger sweep after delete on storage.objects
  for each row execute function storage.after_delete_on_objects();

create or replace function storage.collect(p_age interval default '1 day') returns int
language plpgsql
set search_path = ''
as $$
declare
  o storage.objects;
  n int := 0;
begin
  for o in
    select * from storage.objects x where x.unused_since < now() - p_age order by x.unused_since limit 1000 for update skip locked
  loop
    -- Looked at after the lock: a message that refers to it from now on waits for us, and is refused.
    if exists (
      select from public.messages m
      where m.organization_id = o.organization_id and m.content ->> 'type' = 'file' and m.content #>> '{file,uri}' like 'internal://%'
        and m.content #>> '{file,uri}' = 'internal://media/' || o.name
    ) or exists (
      -- The example of a template that has yet to be submitted.
      select from public.templates t where t.organization_id = o.organization_id and strpos(t.components::text, o.name) > 0
    ) then
      update storage.objects x set unused_since = null where (x.organization_id, x.bucket_id, x.name) = (o.organization_id, o.bucket_id, o.name);
    else
      delete from storage.objects x where (x.organization_id, x.bucket_id, x.name) = (o.organization_id, o.bucket_id, o.name);
      n := n + 1;
    end if;
  end loop;
  return n;
end
$$;
comment on function storage.collect(interval) is 'Removes files that no message has referred to for this long. Called once a minute; returns how many.';

create or replace function bus.claim_sweep(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = ''
as $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select c::bus.claimed from bus.claim('sweep', p_worker, p_limit, p_after, p_awake) c);
  return query
  select t.queue, t.organization_id, t.key, t.id, t.lane, t.attempt, t.version,
    -- Stored again meanwhile: it stays.
    jsonb_build_object('name', case when not exists (
      select from storage.objects o where o.organization_id = split_part(t.subject, '/', 2)::uuid and o.name = t.subject) then t.subject end)
  from unnest(claimed) t;
end
$$;
comment on function bus.claim_sweep(uuid, int, uuid, boolean) is 'Claims files to remove from the store.';
