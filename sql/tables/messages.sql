-- messages: what is checked and filled in before a row is stored, how updates merge, and the tasks that rows ask for.

create or replace function public.refuse_content(p_field text, p_problem text) returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  raise exception 'messages.% %', p_field, p_problem
    using errcode = '23514', schema = 'public', table = 'messages', constraint = 'messages_content_schema';
end
$$;
comment on function public.refuse_content(text, text) is 'Refuses a message row, naming the field. SQLSTATE 23514.';

create or replace function public.require_string(p_content jsonb, p_path text[], p_empty boolean default false) returns void
language plpgsql immutable
set search_path = ''
as $$
declare
  field text := 'content.' || array_to_string(p_path, '.');
begin
  if p_content #> p_path is null then
    perform public.refuse_content(field, 'is missing');
  elsif jsonb_typeof(p_content #> p_path) <> 'string' then
    perform public.refuse_content(field, 'must be a string');
  elsif not p_empty and p_content #>> p_path = '' then
    perform public.refuse_content(field, 'must not be empty');
  end if;
end
$$;

create or replace function public.check_content(p_content jsonb, p_direction public.direction) returns void
language plpgsql immutable
set search_path = ''
as $$
declare
  kind text := p_content ->> 'kind';
begin
  if p_content is null or jsonb_typeof(p_content) <> 'object' then
    perform public.refuse_content('content', 'must be a JSON object');
  end if;
  perform public.require_string(p_content, '{version}');
  if p_content ->> 'version' <> '1' then
    perform public.refuse_content('content.version', 'must be "1"');
  end if;
  perform public.require_string(p_content, '{type}');
  perform public.require_string(p_content, '{kind}');
  if p_content ? 're_message_id' and jsonb_typeof(p_content -> 're_message_id') <> 'null' then
    perform public.require_string(p_content, '{re_message_id}');
  end if;

  case p_content ->> 'type'
    when 'text' then
      perform public.require_string(p_content, '{text}', p_empty => p_direction <> 'outgoing' or kind = 'reaction');
      if p_direction = 'outgoing' and kind = 'reaction' then
        perform public.require_string(p_content, '{re_message_id}');
      end if;
    when 'file' then
      perform public.require_string(p_content, '{file,uri}');
      perform public.require_string(p_content, '{file,mime_type}');
    when 'data' then
      if p_content -> 'data' is null then
        perform public.refuse_content('content.data', 'is missing');
      end if;
      if p_direction = 'outgoing' and kind = 'template' then
        perform public.require_string(p_content, '{data,name}');
        perform public.require_string(p_content, '{data,language,code}');
      elsif p_direction = 'outgoing' and kind = 'location' then
        if p_content #> '{data,latitude}' is null then
          perform public.refuse_content('content.data.latitude', 'is missing');
        elsif p_content #> '{data,longitude}' is null then
          perform public.refuse_content('content.data.longitude', 'is missing');
        end if;
      elsif p_direction = 'outgoing' and kind = 'contacts' and jsonb_typeof(p_content -> 'data') <> 'array' then
        perform public.refuse_content('content.data', 'must be an array of contacts');
      end if;
    else
      perform public.refuse_content('content.type', 'must be "text", "file" or "data"');
  end case;
end
$$;
comment on function public.check_content(jsonb, public.direction) is
  'Refuses (23514) content that breaks the model, or that WhatsApp would surely refuse, with a message that names the field.';

create or replace function public.before_insert_on_messages() returns trigger
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  c public.conversations;
begin
  perform public.check_content(new.content, new.direction);
  if new.conversation_id is null then
    if new.service <> 'local' and new.contact_address is null and new.group_address is null then
      perform public.refuse_content('contact_address', 'is missing (or give group_address or conversation_id)');
    end if;
    new.conversation_id := public.conversation_for(
      new.organization_id, new.service, new.organization_address, new.contact_address, new.group_address);
  else
    -- The foreign key keeps the row within its organization; these keep its copies of the conversation's columns true.
    select * into c from public.conversations where organization_id = new.organization_id and id = new.conversation_id;
    if not found then
      raise exception 'messages.conversation_id: organization % has no conversation %', new.organization_id, new.conversation_id
        using errcode = '23503';
    end if;
    if new.organization_address <> c.organization_address then
      perform public.refuse_content('organization_address', 'is not the conversation''s');
    elsif new.service <> c.service then
      perform public.refuse_content('service', 'is not the conversation''s');
    end if;
    if c.group_address is null then
      new.contact_address := coalesce(new.contact_address, c.contact_address);
      if new.contact_address is distinct from c.contact_address and c.contact_address is not null then
        perform public.refuse_content('contact_address', 'is not the conversation''s');
      end if;
    end if;
    new.group_address := coalesce(new.group_address, c.group_address);
    if new.group_address is distinct from c.group_address then
      perform public.refuse_content('group_address', 'is not the conversation''s');
    end if;
  end if;
  if new.service = 'local' and new.direction = 'outgoing' and new.status ? 'pending' then
    new.status := new.status || jsonb_build_object('delivered', now());
  end if;
  return new;
end
$$;
comment on function public.before_insert_on_messages() is
  'Checks the content, finds or makes the conversation, and delivers local messages on the spot.';

create or replace trigger handle_new_message before insert on public.messages
  for each row execute function public.before_insert_on_messages();

create or replace function public.merge_status(p_old jsonb, p_new jsonb, p_direction public.direction) returns jsonb
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  result jsonb := p_old;
  k text;
  v jsonb;
begin
  for k, v in select * from jsonb_each(p_new) loop
    if jsonb_typeof(v) = 'null' then
      result := result - k;
    elsif p_direction = 'outgoing' and jsonb_typeof(v) = 'string' and jsonb_typeof(result -> k) = 'string'
      and (result ->> k)::timestamptz <= (v #>> '{}')::timestamptz then
      continue;
    else
      result := result || jsonb_build_object(k, v);
    end if;
  end loop;
  return result;
exception when data_exception then
  return p_old || p_new;
end
$$;
comment on function public.merge_status(jsonb, jsonb, public.direction) is
  'The new states added to the old: an outgoing message keeps the earliest time of a state, an incoming one (read, typing: requests) the latest; null removes.';

create or replace function public.before_update_on_messages() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.direction := old.direction;
  if new.content is distinct from old.content then
    if new.content is null or jsonb_typeof(new.content) <> 'object' then
      new.content := old.content;
    else
      new.content := public.merge_update_jsonb(old.content, '{}', new.content);
    end if;
  end if;
  if new.status is distinct from old.status then
    if new.status is null or jsonb_typeof(new.status) <> 'object' then
      new.status := old.status;
    elsif not jsonb_path_exists(new.status, '$.* ? (@ == null)') and not old.status ?| array(select jsonb_object_keys(new.status)) then
      new.status := old.status || new.status;
    else
      new.status := public.merge_status(old.status, new.status, old.direction);
    end if;
  end if;
  new.updated_at := now();
  return new;
end
$$;
comment on function public.before_update_on_messages() is
  'Direction never changes; content and status merge. What is no object is ignored.';

create or replace trigger merge before update on public.messages
  for each row execute function public.before_update_on_messages();

create or replace function public.after_insert_on_messages() returns trigger
language plpgsql security definer
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  moment timestamptz := clock_timestamp();
begin
  -- Outgoing rows go to dispatch. Templates and whatever comes by the dozen are broadcasts: they let answers pass.
  insert into bus.tasks (queue, organization_id, key, lane, subject, priority, due_at, run_at)
  select 'dispatch', n.organization_id, n.conversation_id::text, n.organization_address, n.id::text,
    case when n.content ->> 'kind' = 'template' or count(*) over (partition by n.organization_id) > 10 then 1 else 0 end,
    n."timestamp", greatest(n."timestamp", moment)
  from inserted n
  where n.direction = 'outgoing' and n.service <> 'local' and n.status ? 'pending' and n.external_id is null
  order by n."timestamp", n.id;
  if found then
    perform bus.ring('dispatch');
  end if;

  -- Incoming rows ask for an answer: one task for each conversation, moved by each further message.
  insert into bus.tasks as t (queue, organization_id, key, subject, single, due_at, run_at)
  select distinct on (n.organization_id, n.conversation_id)
    'agent', n.organization_id, n.conversation_id::text, n.id::text, true, moment + d.delay, moment + d.delay
  from inserted n
  join public.organizations o on o.id = n.organization_id
  cross join lateral (
    select make_interval(secs => case when jsonb_typeof(o.extra -> 'response_delay_seconds') = 'number'
      then greatest(0, least(3600, (o.extra ->> 'response_delay_seconds')::numeric)) else 3 end::float8) as delay) d
  where n.direction = 'incoming' and n.status ? 'pending'
  order by n.organization_id, n.conversation_id, n."timestamp" desc, n.id desc
  on conflict (organization_id, queue, key) where single do update set
    version = t.version + 1,
    subject = excluded.subject,
    due_at = excluded.due_at,
    -- A running one keeps its lease and learns from the version. A waiting one waits for the burst to end, but not for ever.
    run_at = case when t.worker is not null and t.run_at > moment then t.run_at
                  else greatest(moment, least(excluded.run_at, t.created_at + interval '30 s' + 2 * (excluded.run_at - moment))) end;
  if found then
    perform bus.ring('agent');
  end if;

  -- A person has taken over: a human agent wrote, or the business did on its phone (an echo comes without pending).
  update public.conversations c set extra = jsonb_build_object('paused', moment)
  from (
    select distinct n.organization_id, n.conversation_id
    from inserted n
    left join public.agents a on a.organization_id = n.organization_id and a.id = n.agent_id
    where n.direction = 'outgoing' and n.service <> 'local' and n."timestamp" <= moment + interval '1 minute'
      and ((a.ai = false and n.status ? 'pending')
        or (n.agent_id is null and not n.status ? 'pending' and n."timestamp" > moment - interval '1 minute'))
  ) n
  where c.organization_id = n.organization_id and c.id = n.conversation_id;

  -- Receipts that were here first.
  perform bus.adopt_orphans(n.organization_id, n.organization_address, n.external_id)
  from inserted n
  where n.direction = 'outgoing' and n.external_id is not null;
  return null;
end
$$;
comment on function public.after_insert_on_messages() is
  'Once per statement: tasks for dispatch and agent in the same transaction, the pause when a person takes over, receipts that came early.';

create or replace trigger request_work after insert on public.messages
  referencing new table as inserted
  for each statement execute function public.after_insert_on_messages();

create or replace function public.after_read_on_messages() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('receipts', new.organization_id, new.id::text, new.id::text, true)
  on conflict (organization_id, queue, key) where single do update
    set version = t.version + 1, run_at = case when t.worker is not null then t.run_at else clock_timestamp() end;
  perform bus.ring('receipts');
  return null;
end
$$;
comment on function public.after_read_on_messages() is 'Writing read or typing into an incoming row asks for a read receipt or a typing indicator.';

create or replace trigger request_receipt after update on public.messages
  for each row
  when (new.direction = 'incoming' and new.service <> 'local' and new.external_id is not null
    and new.status is distinct from old.status
    and (new.status ->> 'read' is distinct from old.status ->> 'read'
      or new.status ->> 'typing' is distinct from old.status ->> 'typing'))
  execute function public.after_read_on_messages();
