-- What a run needs to know, and whether it should run at all: the claim of the agent loop.

create or replace function bus.mime_of(p_uri text) returns text
language sql immutable parallel safe
as $$
  select case lower(substring(split_part(split_part(p_uri, '?', 1), '#', 1) from '\.([A-Za-z0-9]+)$'))
    when 'jpg' then 'image/jpeg' when 'jpeg' then 'image/jpeg' when 'png' then 'image/png' when 'webp' then 'image/webp'
    when 'mp4' then 'video/mp4' when '3gp' then 'video/3gpp' when 'mp3' then 'audio/mpeg' when 'ogg' then 'audio/ogg' when 'aac' then 'audio/aac'
    when 'amr' then 'audio/amr' when 'm4a' then 'audio/mp4' when 'pdf' then 'application/pdf' when 'csv' then 'text/csv' when 'txt' then 'text/plain'
    else 'application/octet-stream' end
$$;
comment on function bus.mime_of(text) is 'What a file elsewhere is, by the end of its address.';

create or replace function bus.complete_content(p_organization uuid, p_content jsonb) returns jsonb
language plpgsql stable
set search_path = ''
as $$
declare
  f storage.objects;
  v_name text := storage.name_of(p_content #>> '{file,uri}');
begin
  if p_content ->> 'type' <> 'file' then
    return p_content;
  elsif v_name is null then
    f.mime_type := coalesce(p_content #>> '{file,mime_type}', bus.mime_of(p_content #>> '{file,uri}'));
  else
    -- The organization's own files only, whatever a model writes.
    select * into f from storage.objects o
    where o.organization_id = p_organization and o.bucket_id = 'media' and o.name = v_name and o.state = 'ready';
    if f.name is null then
      raise exception 'there is no file %', p_content #>> '{file,uri}' using errcode = '23503';
    end if;
  end if;
  return p_content || jsonb_build_object(
    'kind', case when f.mime_type in ('image/jpeg', 'image/png') then 'image' when f.mime_type like 'audio/%' then 'audio'
                 when f.mime_type in ('video/mp4', 'video/3gpp') then 'video' else 'document' end,
    'file', (p_content -> 'file') || jsonb_strip_nulls(jsonb_build_object('mime_type', f.mime_type, 'size', f.size,
      'name', coalesce(p_content #>> '{file,name}', f.file_name))));
end
$$;
comment on function bus.complete_content(uuid, jsonb) is 'A file that an agent sends, with its type, size and kind. 23503 when it is said to be stored and the organization has no such file.';

create or replace function bus.answer(
  c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb default null) returns uuid
language plpgsql
set search_path = ''
as $$
declare
  v_first uuid;
  v_id uuid;
  v_content jsonb;
  v_thread text;
begin
  if c.service not in ('whatsapp', 'instagram', 'local') then
    -- Where channels have threads, the answer goes into that of the newest question.
    select m.thread_id into v_thread from public.messages m
    where m.organization_id = c.organization_id and m.conversation_id = c.id and m.direction = 'incoming' order by m."timestamp" desc, m.id desc limit 1;
  end if;
  for v_content in select x from jsonb_array_elements(p_contents) x loop
    -- The database's clock: each is a little later than the one before.
    insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                                 group_address, thread_id, content, extra, status, "timestamp")
    values (c.organization_id, c.id, p_direction, p_agent, c.contact_address, c.service, c.organization_address, c.group_address, v_thread,
      bus.complete_content(c.organization_id, v_content), p_extra, case when p_direction = 'outgoing' then jsonb_build_object('pending', now()) else '{}' end,
      clock_timestamp())
    returning id into v_id;
    v_first := coalesce(v_first, v_id);
  end loop;
  return v_first;
end
$$;
comment on function bus.answer(public.conversations, uuid, jsonb, public.direction, jsonb) is
  'Stores messages of an agent in their order; returns the first one''s id. p_extra: {answers: [the messages it had seen]}, or {tool} of a tool that wrote.';

create or replace function bus.agent_history(c public.conversations) returns jsonb
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    -- In the order of arrival: providers' times are whole seconds, so by them a question that came right after an answer
    -- would stand before it. What was imported later keeps its own time. What a summary covers is left to it.
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', x.id, 'external_id', x.external_id, 'direction', x.direction, 'content', x.content, 'deleted', x.status ? 'deleted',
        'agent_id', x.agent_id, 'program', x.agent_id is null and x.status ? 'pending', 'timestamp', x."timestamp", 'extra', case when x.direction = 'internal' or x.extra ?| '{answers,tool}' then x.extra end,
        'author', case when x.direction = 'incoming' then case when c.group_address is not null then (
            select coalesce(k.name, a.extra ->> 'name', x.contact_address) from public.contacts_addresses a
            left join public.contacts k on k.organization_id = a.organization_id and k.id = a.contact_id
            where a.organization_id = x.organization_id and a.service = x.service and a.address = x.contact_address) end
          else (select g.name from public.agents g where g.organization_id = x.organization_id and g.id = x.agent_id) end,
        'person', case when x.agent_id is not null then (select not g.ai from public.agents g where g.organization_id = x.organization_id and g.id = x.agent_id) end
      ) order by x.arrived, x.id), '[]')
    from (
      select m.*, case when m.created_at < m."timestamp" + interval '10 minutes' then m.created_at else m."timestamp" end as arrived
      from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id
        -- The provider's clock may be a little ahead of ours; what lies further ahead is scheduled.
        and m."timestamp" > greatest(now() - interval '30 days', coalesce(bus.as_time(c.extra #>> '{summary,until}'), '-infinity'), coalesce(bus.as_time(c.extra ->> 'fresh_since'), '-infinity'))
        and m."timestamp" <= clock_timestamp() + case when m.direction = 'incoming' then interval '1 hour' else '0' end
      order by m."timestamp" desc, m.id desc limit 200
    ) x);
end
$$;
comment on function bus.agent_history(public.conversations) is
  'The newest 200 messages of the last 30 days that no summary covers, in the order of arrival. program: sent by no agent and no person; author: who, where it is not the contact.';

create or replace function bus.agent_gate(
  o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean) returns text
language plpgsql
set search_path = ''
as $$
declare
  reached text;
begin
  if bus.is_paused(c.extra, bus.pause_of(o.extra)) and not p_last_words then
    perform bus.drop_calls(c, 'a person has taken over');
    return 'paused: a person has taken over';
  elsif o.extra -> 'authorized_contacts_only' = 'true' and c.service <> 'local' and not p_known then
    return 'authorized_contacts_only: not in the address book';
  elsif a.id is null then
    return 'no active agent';
  elsif newest."timestamp" < now() - interval '24 hours' and c.service <> 'local' and not exists (
    select from bus.calls k where k.organization_id = c.organization_id and k.conversation_id = c.id)
    and not exists (
      -- Something came of an approval, or of another agent's task, since.
      select from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id and m."timestamp" > now() - interval '10 minutes' and m.direction = 'internal') then
    return 'the 24-hour window is closed';
  end if;
  -- What has been decided is done; the limit is for what comes next.
  if not exists (select from bus.calls k where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state <> 'asked') then
    reached := bus.limit_reached(o, a, c.id, '{turns,tokens,cost}');
    if reached is null and not exists (
      -- Who has just called may still answer.
      select from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id and m."timestamp" >= newest.created_at and m.content #>> '{tool,event}' = 'result') then
      reached := bus.limit_reached(o, a, c.id, '{tool_calls}');
    end if;
  end if;
  if reached is not null then
    if coalesce(bus.as_time(c.extra #>> '{handoff,requested_at}'), '-infinity') < date_trunc('day', now() at time zone 'utc') at time zone 'utc' then
      perform bus.hand_over(c, a.id, 'a limit is reached: ' || reached, null, false);
    end if;
    return 'a limit is reached: ' || reached;
  end if;
  return null;
end
$$;
comment on function bus.agent_gate(public.organizations, public.conversations, public.agents, public.messages, boolean, boolean) is
  'Why the agent keeps quiet; null when it may answer. A limit that is reached is told to people.';

create or replace function bus.agent_context(p_organization uuid, p_conversation uuid, p_message uuid) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  o public.organizations;
  c public.conversations;
  a public.agents;
  address public.contacts_addresses;
  contact public.contacts;
  newest public.messages;
  v_wait float8;
  v_last_words boolean;
  v_gate text;
  v_todo jsonb;
begin
  select * into o from public.organizations where id = p_organization;
  select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
  select * into newest from public.messages where organization_id = p_organization and id = p_message;
  if newest.id is null then
    -- The message that asked is gone: the one before it counts.
    select * into newest from public.messages m
    where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'incoming'
    order by m."timestamp" desc, m.id desc limit 1;
  end if;
  if c.id is null or newest.id is null then
    delete from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation;
    return jsonb_build_object('gate', 'the conversation or its messages are gone');
  end if;
  v_wait := bus.waits_for_media(p_organization, p_conversation);
  if v_wait > 0 then
    -- Whoever brings the file locks the conversation as well: it cannot come unnoticed between the look and the wait.
    if not bus.lock_conversation(p_organization, p_conversation) then
      return jsonb_build_object('wait', 0.05);
    end if;
    v_wait := bus.waits_for_media(p_organization, p_conversation);
    if v_wait > 0 then
      return jsonb_build_object('wait', v_wait, 'for', 'media');
    end if;
  end if;
  select * into address from public.contacts_addresses
  where organization_id = p_organization and service = c.service and contacts_addresses.address = coalesce(c.contact_address, newest.contact_address);
  select * into contact from public.contacts where organization_id = p_organization and id = address.contact_id;
  a := bus.choose_agent(o, c, newest);
  v_last_words := bus.has_last_words(c.extra, newest.created_at);
  if (exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation)
      or coalesce(o.extra ? 'limits', false) or coalesce(a.extra ? 'limits', false))
    and not bus.lock_conversation(p_organization, p_conversation) then
    -- Somebody writes to it at this moment: a little later.
    return jsonb_build_object('wait', 0.05);
  end if;
  perform bus.expire_questions(c)
  where exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation and k.state = 'asked');
  v_gate := bus.agent_gate(o, c, a, newest, contact.id is not null, v_last_words);
  if v_gate is null or v_gate = 'no active agent' then
    -- A greeting for whoever writes for the first time; it does not stand in for the answer.
    if coalesce(o.extra ->> 'welcome_message', '') <> ''
      and not exists (select from public.messages m where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'outgoing') then
      perform bus.answer(c, null, jsonb_build_array(jsonb_build_object(
        'version', '1', 'type', 'text', 'kind', 'text', 'text', o.extra ->> 'welcome_message')), 'outgoing');
    end if;
  end if;
  if v_gate is not null then
    if exists (
      select from bus.calls k
      where k.organization_id = p_organization and k.conversation_id = p_conversation and k.approved and k.state = 'ready') then
      -- What a person has granted is made when the agent may act again.
      return jsonb_build_object('for', 'approval', 'wait', greatest(1, coalesce(
        extract(epoch from bus.as_time(c.extra ->> 'paused') + bus.pause_of(o.extra) - clock_timestamp()), 600))::float8);
    end if;
    return jsonb_build_object('gate', v_gate);
  end if;

  v_todo := '{}';
  if exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation) then
    v_todo := bus.settle_calls(c, a.id, newest.created_at);
    if v_todo ? 'wait' then
      return v_todo;
    end if;
    select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
    a := bus.choose_agent(o, c, newest);
    if v_todo ? 'calls' then
      -- A call is made with the settings of the agent that asked for it.
      select * into a from public.agents x where x.organization_id = p_organization and x.id = (v_todo ->> 'agent_id')::uuid;
    end if;
    v_last_words := bus.has_last_words(c.extra, newest.created_at);
  end if;

  -- Blue ticks and "typing …" while it works.
  if newest.external_id is not null and c.service <> 'local' and newest.created_at > now() - interval '1 hour' then
    update public.messages m set status = jsonb_build_object('read', clock_timestamp(), 'typing', clock_timestamp())
    where m.organization_id = p_organization and m.id = newest.id;
  end if;
  return v_todo || jsonb_build_object(
    'organization', jsonb_build_object('id', o.id, 'name', o.name, 'extra', o.extra),
    'conversation', jsonb_build_object('id', c.id, 'service', c.service, 'organization_address', c.organization_address,
      'contact_address', c.contact_address, 'group_address', c.group_address, 'extra', c.extra),
    'contact', jsonb_build_object('id', contact.id, 'name', coalesce(contact.name, address.extra ->> 'name'), 'phone_number', address.extra ->> 'phone_number'),
    'agent', jsonb_build_object('id', a.id, 'name', a.name, 'extra', a.extra),
    'credentials', (
      select jsonb_object_agg(k.path, secrets.as_json(k)) from secrets.credentials k
      where k.organization_id = p_organization and k.subject = 'agents' and k.subject_key = a.id::text))
    || case when v_todo ? 'calls' then '{}' else jsonb_build_object(
      'last_words', v_last_words, 'messages', bus.agent_history(c),
      'window', bus.agent_window(c), 'no_tools', bus.limit_reached(o, a, c.id, '{tool_calls}') is not null) end;
end
$$;
comment on function bus.agent_context(uuid, uuid, uuid) is
  'All a step of a run needs in one object: calls to make, or the history to put to the model; or {"gate": reason} when the agent should keep quiet, or {"wait": seconds, "for": what}. Sends the welcome message and asks for the read receipt.';

create or replace function bus.agent_window(c public.conversations) returns jsonb
language plpgsql stable
set search_path = ''
as $$
begin
  if c.service <> 'whatsapp' or c.group_address is not null
    or exists (
      -- The usual case: somebody has just written.
      select from bus.windows w
      where (w.organization_id, w.organization_address, w.contact_address) = (c.organization_id, c.organization_address, c.contact_address)
        and w.opened_at > now() - interval '23 hours')
    or not public.window_is_closed(c.organization_id, c.organization_address, c.contact_address)
  then
    return null;
  end if;
  return jsonb_build_object('templates', coalesce((
    select jsonb_agg(jsonb_build_object('name', t.name, 'language', t.language, 'components', t.components) order by t.name, t.language)
    from (
      select * from public.templates t
      where t.organization_id = c.organization_id and t.status = 'APPROVED'
        and t.waba_id = (select n.extra ->> 'waba_id' from public.organizations_addresses n where n.organization_id = c.organization_id and n.address = c.organization_address)
      order by t.name, t.language limit 30) t), '[]'));
end
$$;
comment on function bus.agent_window(public.conversations) is 'Null while free-form answers get through; otherwise the approved templates, which still do.';

create or replace function bus.claim_agent(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns setof bus.job
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  k bus.claimed;
  payload jsonb;
begin
  for k in select * from bus.claim('agent', p_worker, p_limit, p_after, p_awake) loop
    begin
      payload := bus.agent_context(k.organization_id, k.key::uuid, k.subject::uuid);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        -- One conversation's trouble must not stop the others.
        payload := jsonb_build_object('error', sqlerrm);
    end;
    if payload ? 'wait' then
      perform bus.set_aside(k.organization_id, k.key, k.id, payload ->> 'for', (payload ->> 'wait')::float8);
      continue;
    end if;
    return next row(k.queue, k.organization_id, k.key, k.id, k.lane, k.attempt, k.version, payload)::bus.job;
  end loop;
end
$$;
comment on function bus.claim_agent(uuid, int, uuid, boolean) is 'Claims conversations in which a step is due, each with its context.';

create or replace function bus.set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds float8) returns void
language sql
set search_path = ''
as $$
  -- A new task in the old one's place: waiting, or having come a step further, is no failed attempt.
  with gone as (
    delete from bus.tasks t where (t.organization_id, t.queue, t.key, t.id) = (p_organization, 'agent', p_key, p_id) returning *)
  insert into bus.tasks (queue, organization_id, key, lane, subject, priority, single, due_at, run_at, version, waits_for, created_at)
  select g.queue, g.organization_id, g.key, g.lane, g.subject, g.priority, g.single, g.due_at, clock_timestamp() + make_interval(secs => p_seconds), g.version, p_for, g.created_at
  from gone g
$$;
comment on function bus.set_aside(uuid, text, bigint, text, float8) is 'Ends a step of a run: the next is due after so many seconds, or when what it waits for comes.';
