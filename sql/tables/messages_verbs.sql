-- What a client may ask of messages besides sending them. Each is an update of status that triggers understand, and a
-- function that says what came of it.

create or replace function public.before_verb_on_messages() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  if jsonb_typeof(new.status -> 'canceled') = 'string' and not old.status ? 'canceled' then
    -- Only what nobody has begun to send. A claim that runs at this moment has the task locked: it wins.
    delete from bus.tasks t
    where t.organization_id = old.organization_id and t.queue = 'dispatch' and t.key = old.conversation_id::text and t.subject = old.id::text
      and t.worker is null and t.held_since is null;
    if not found then
      raise exception 'messages.status.canceled: the message is no longer waiting to be sent' using errcode = '55000';
    end if;
  end if;
  if old.status ? 'failed' and jsonb_typeof(new.status -> 'failed') = 'null' and old.external_id is null and current_setting('tidings.replay', true) is distinct from 'on' then
    -- Sent again: a person has decided so.
    delete from bus.dead d where d.organization_id = old.organization_id and d.queue = 'dispatch' and d.subject = old.id::text;
    insert into bus.tasks (queue, organization_id, key, lane, subject, waits_for)
    select 'dispatch', old.organization_id, old.conversation_id::text, old.organization_address, old.id::text,
      case when old.service = 'whatsapp' and old.content ->> 'type' = 'file' then storage.upload_key(old.content -> 'file') end
    where not exists (
      select from bus.tasks t
      where t.organization_id = old.organization_id and t.queue = 'dispatch' and t.key = old.conversation_id::text and t.subject = old.id::text);
    perform bus.ring('dispatch');
  end if;
  return new;
end
$$;
comment on function public.before_verb_on_messages() is
  'Writing status.canceled takes a scheduled message back (55000 when it is too late); removing status.failed sends a failed one again.';

-- Its name sorts before merge: it must see what the client wrote.
create or replace trigger change_dispatch before update on public.messages
  for each row
  when (old.direction = 'outgoing' and new.status is distinct from old.status
    and (new.status ? 'canceled' or (old.status ? 'failed' and new.external_id is null)))
  execute function public.before_verb_on_messages();

create or replace function public.cancel_message(organization_id uuid, message_id uuid) returns public.messages
language sql
set search_path = ''
as $$
  update public.messages m set status = jsonb_build_object('canceled', now()) where m.organization_id = $1 and m.id = $2 returning m.*
$$;
comment on function public.cancel_message(uuid, uuid) is 'Takes a message back that has not been sent yet. 55000 when it has; no row when there is none.';

create or replace function public.retry_message(organization_id uuid, message_id uuid) returns public.messages
language plpgsql
set search_path = ''
as $$
declare
  m public.messages;
begin
  update public.messages x set status = '{"failed": null, "errors": null}'
  where x.organization_id = $1 and x.id = $2 and x.direction = 'outgoing' and x.external_id is null and x.status ? 'failed'
  returning x.* into m;
  if m.id is null and exists (select from public.messages x where x.organization_id = $1 and x.id = $2) then
    raise exception 'the message has not failed, or has reached the provider: only a copy of it can be sent' using errcode = '55000';
  end if;
  return m;
end
$$;
comment on function public.retry_message(uuid, uuid) is
  'Sends a message again that failed before the provider took it on. 55000 when it has not failed so; null when there is none.';

create or replace function public.mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean default false) returns int
language plpgsql
set search_path = ''
as $$
declare
  n int;
begin
  update public.messages m set status = jsonb_build_object('read', now()) || case when $3 then jsonb_build_object('typing', now()) else '{}' end
  where m.organization_id = $1 and m.conversation_id = $2 and m.direction = 'incoming'
    and m."timestamp" > now() - interval '30 days'
    and (not m.status ? 'read' or ($3 and m.id = (
      select x.id from public.messages x where x.organization_id = $1 and x.conversation_id = $2 and x.direction = 'incoming'
      order by x."timestamp" desc, x.id desc limit 1)));
  get diagnostics n = row_count;
  return n;
end
$$;
comment on function public.mark_conversation_read(uuid, uuid, boolean) is
  'Marks what came in as read, here and on the contact''s phone; with typing it also shows that an answer is being written. Returns how many messages.';
