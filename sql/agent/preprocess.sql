-- Media understanding: files become text that agents and people can read, in content.artifacts.

create or replace function bus.reader_of(p_kind text, p_mime_type text) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case
    when p_mime_type ~ '^text/|^application/(json|xml|xhtml\+xml|javascript|x-javascript|sql|x-sql|rtf)|^application/vnd\.openxmlformats-officedocument\.|^application/vnd\.oasis\.opendocument\.'
      then 'here'
    when p_mime_type ~ '^(audio|image|video)/|^application/pdf' and p_mime_type <> 'image/svg+xml' then 'model'
  end
$$;
comment on function bus.reader_of(text, text) is 'Who reads a file: here (its text is read by the process), model, or null for nobody.';

create or replace function bus.preprocess(p_organization uuid, p_message uuid) returns void
language plpgsql
set search_path = ''
as $$
begin
  if exists (
    select from public.messages m
    join public.organizations o on o.id = m.organization_id
    where m.organization_id = p_organization and m.id = p_message and m.content ->> 'type' = 'file' and m.direction <> 'internal'
      -- Nothing is asked about what was imported.
      and m.status ?| '{pending,standby}' and not m.content ? 'artifacts' and not m.status ? 'preprocessed' and not m.status ? 'deleted'
      and storage.name_of(m.content #>> '{file,uri}') is not null
      and case o.extra #>> '{media_preprocessing,mode}'
        when 'active' then bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}') is not null
        when 'inactive' then false
        -- What costs nothing is done without being asked for.
        else bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}') = 'here' end) then
    perform bus.enqueue('preprocess', p_organization, p_message::text, p_message::text);
  end if;
end
$$;
comment on function bus.preprocess(uuid, uuid) is 'Asks for a stored file to be read, where organizations.extra.media_preprocessing wants it and somebody can.';

create or replace function bus.claim_preprocess(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = ''
as $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select k::bus.claimed from bus.claim('preprocess', p_worker, p_limit, p_after, p_awake) k);
  update public.messages m set status = jsonb_build_object('preprocessing', clock_timestamp())
  from unnest(claimed) k
  where m.organization_id = k.organization_id and m.id = k.subject::uuid and not m.status ? 'preprocessing';
  return query
  select k.queue, k.organization_id, k.key, k.id, k.lane, k.attempt, k.version, case when m.id is not null then jsonb_build_object(
    'message_id', m.id, 'kind', m.content ->> 'kind', 'file', m.content -> 'file', 'size', f.size, 'name', f.name,
    'reader', bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}'),
    'settings', o.extra -> 'media_preprocessing',
    'credential', secrets.get(k.organization_id, 'organizations', k.organization_id::text, 'media_preprocessing.api_key')) end
  from unnest(claimed) k
  left join public.messages m on m.organization_id = k.organization_id and m.id = k.subject::uuid and not m.status ? 'deleted'
  left join public.organizations o on o.id = k.organization_id
  left join storage.objects f on f.organization_id = k.organization_id and f.bucket_id = 'media' and f.state = 'ready'
    and f.name = storage.name_of(m.content #>> '{file,uri}');
end
$$;
comment on function bus.claim_preprocess(uuid, int, uuid, boolean) is 'Claims files to read.';

create or replace function bus.finish_preprocess(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  r record;
  v_conversation uuid;
begin
  for r in
    -- Conversations in one order, as all do who lock several.
    select x.*, m.conversation_id from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      message_id uuid, was text, artifacts jsonb, usage jsonb)
    left join public.messages m on m.organization_id = x.organization_id and m.id = x.key::uuid
    order by x.organization_id, m.conversation_id, x.key
  loop
    v_conversation := r.conversation_id;
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = v_conversation for no key update;
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error))) = 0;
    if r.usage is not null then
      perform bus.spend(r.organization_id, null, r.message_id, null, 'media', r.usage, 0);
    end if;
    continue when r.outcome = 'retry'
      and not exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    update public.messages m set
      content = case when jsonb_array_length(coalesce(r.artifacts, '[]')) > 0 then jsonb_build_object('artifacts', r.artifacts) else m.content end,
      status = jsonb_build_object('preprocessed', clock_timestamp())
    where m.organization_id = r.organization_id and m.id = r.key::uuid and (r.was is null or m.content #>> '{file,uri}' = r.was);
    if r.error is not null then
      perform bus.log_message(r.organization_id, r.key::uuid, 'warning', 'preprocess', 'a file could not be read: ' || left(r.error, 500), null);
    end if;
    perform bus.wake_for_media(r.organization_id, v_conversation);
  end loop;
end
$$;
comment on function bus.finish_preprocess(jsonb) is 'Writes what was found in files into their messages, and lets the agents that waited for it go on.';

create or replace function storage.derive(p_organization uuid, p_name text, p_message uuid) returns void
language sql
set search_path = ''
as $$
  update storage.objects o set state = 'ready', unused_since = null, message_id = p_message, updated_at = now()
  where o.organization_id = p_organization and o.bucket_id = 'media' and o.name = p_name
$$;
comment on function storage.derive(uuid, text, uuid) is 'The bytes of a reserved file are where they belong; it was made from a message, and goes with it.';
