-- The agent loop's side in the database: what a run needs to know, whether it should run at all, and storing its answer
-- only if the conversation has not moved on.

create or replace function bus.is_paused(p_extra jsonb) returns boolean
language plpgsql stable
set search_path = ''
as $$
begin
  -- What is no time still says that somebody wanted quiet.
  return p_extra ->> 'paused' is not null
    and coalesce(bus.as_time(p_extra ->> 'paused') > now() - interval '12 hours', true);
end
$$;
comment on function bus.is_paused(jsonb) is 'Whether a conversation''s extra.paused is in force: for 12 hours from its time.';

create or replace function bus.choose_agent(p_organization public.organizations, p_conversation public.conversations) returns public.agents
language sql stable
set search_path = ''
as $$
  -- The conversation's choice, then the number's, then the organization's, then the oldest. Drafts answer in local chats only; an inactive
  -- one only where a local chat names it.
  select a from public.agents a
  where a.organization_id = p_organization.id and a.ai
    and (coalesce(a.extra ->> 'mode', 'active') = 'active'
      or (p_conversation.service = 'local' and (a.extra ->> 'mode' = 'draft' or a.id::text = p_conversation.extra ->> 'default_agent_id')))
  order by a.id::text is not distinct from p_conversation.extra ->> 'default_agent_id' desc,
    a.id::text is not distinct from (
      select n.extra ->> 'default_agent_id' from public.organizations_addresses n
      where n.organization_id = p_organization.id and n.address = p_conversation.organization_address) desc,
    a.id::text is not distinct from p_organization.extra ->> 'default_agent_id' desc,
    coalesce(a.extra ->> 'mode', 'active') = 'active' desc, a.created_at, a.id
  limit 1
$$;
comment on function bus.choose_agent(public.organizations, public.conversations) is 'The AI agent that answers in a conversation, or null.';

create or replace function bus.agent_history(p_organization uuid, p_conversation uuid) returns jsonb
language sql stable
set search_path = ''
as $$
  -- In the order of arrival: providers' times are whole seconds, so by them a question that came right after an answer
  -- would stand before it. What was imported later keeps its own time.
  select coalesce(jsonb_agg(jsonb_build_object(
      'external_id', x.external_id, 'direction', x.direction, 'content', x.content, 'deleted', x.status ? 'deleted',
      'program', x.agent_id is null and x.status ? 'pending', 'timestamp', x."timestamp") order by x.arrived, x.id), '[]')
  from (
    select m.*, case when m.created_at < m."timestamp" + interval '10 minutes' then m.created_at else m."timestamp" end as arrived
    from public.messages m
    where m.organization_id = p_organization and m.conversation_id = p_conversation
      -- The provider's clock may be a little ahead of ours; what lies further ahead is scheduled.
      and m."timestamp" > now() - interval '7 days' and m."timestamp" <= now() + case when m.direction = 'incoming' then interval '1 hour' else '0' end
    order by m."timestamp" desc, m.id desc limit 50
  ) x
$$;
comment on function bus.agent_history(uuid, uuid) is 'The newest 50 messages of the last 7 days, in the order of arrival. program: sent by no agent and no person.';

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
  history jsonb;
  gate text;
begin
  select * into o from public.organizations where id = p_organization;
  select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
  select * into newest from public.messages where organization_id = p_organization and id = p_message;
  if c.id is null or newest.id is null then
    return jsonb_build_object('gate', 'the conversation or its message is gone');
  end if;
  if bus.waits_for_media(p_organization, p_conversation) > 0 then
    return jsonb_build_object('wait', bus.waits_for_media(p_organization, p_conversation));
  end if;
  select * into address from public.contacts_addresses
  where organization_id = p_organization and service = c.service and contacts_addresses.address = c.contact_address;
  select * into contact from public.contacts where organization_id = p_organization and id = address.contact_id;

  gate := case
    when bus.is_paused(c.extra) then 'paused: a person has taken over'
    when o.extra -> 'authorized_contacts_only' = 'true' and c.service <> 'local' and contact.id is null
      then 'authorized_contacts_only: not in the address book'
    when c.service <> 'local' and newest."timestamp" < now() - interval '24 hours' then 'the 24-hour window is closed'
  end;
  if gate is not null then
    return jsonb_build_object('gate', gate);
  end if;

  a := bus.choose_agent(o, c);
  -- A greeting for whoever writes for the first time; it does not stand in for the answer.
  if coalesce(o.extra ->> 'welcome_message', '') <> ''
    and not exists (select from public.messages m where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'outgoing') then
    perform bus.answer(c, null, jsonb_build_array(jsonb_build_object(
      'version', '1', 'type', 'text', 'kind', 'text', 'text', o.extra ->> 'welcome_message')), 'outgoing');
  end if;
  if a.id is null then
    return jsonb_build_object('gate', 'no active agent');
  end if;

  -- Blue ticks and "typing …" while it works.
  if newest.external_id is not null and c.service <> 'local' then
    update public.messages m set status = jsonb_build_object('read', clock_timestamp(), 'typing', clock_timestamp())
    where m.organization_id = p_organization and m.id = newest.id;
  end if;
  return jsonb_build_object(
    'organization', jsonb_build_object('id', o.id, 'name', o.name, 'extra', o.extra),
    'conversation', jsonb_build_object('id', c.id, 'service', c.service, 'organization_address', c.organization_address,
      'contact_address', c.contact_address, 'group_address', c.group_address, 'extra', c.extra),
    'contact', jsonb_build_object('id', contact.id, 'name', coalesce(contact.name, address.extra ->> 'name'), 'phone_number', address.extra ->> 'phone_number'),
    'agent', jsonb_build_object('id', a.id, 'name', a.name, 'extra', a.extra),
    'credential', secrets.get(p_organization, 'agents', a.id::text, 'api_key'),
    'messages', bus.agent_history(p_organization, p_conversation));
end
$$;
comment on function bus.agent_context(uuid, uuid, uuid) is
  'All a run needs in one object, or {"gate": reason} when the agent should keep quiet. Sends the welcome message and asks for the read receipt.';

create or replace function bus.claim_agent(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns setof bus.job
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  c bus.claimed;
  payload jsonb;
begin
  for c in select * from bus.claim('agent', p_worker, p_limit, p_after, p_awake) loop
    begin
      payload := bus.agent_context(c.organization_id, c.key::uuid, c.subject::uuid);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        -- One conversation's trouble must not stop the others.
        payload := jsonb_build_object('error', sqlerrm);
    end;
    if payload ? 'wait' then
      update bus.tasks t set worker = null, waits_for = 'media', run_at = clock_timestamp() + make_interval(secs => (payload ->> 'wait')::float8)
      where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id);
      continue;
    end if;
    return next row(c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version, payload)::bus.job;
  end loop;
end
$$;
comment on function bus.claim_agent(uuid, int, uuid, boolean) is 'Claims conversations that wait for an answer, each with its context.';

create or replace function bus.answer(
  p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction) returns void
language sql
set search_path = ''
as $$
  -- The database's clock, and a microsecond apart: order without a wait.
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, content, status, "timestamp")
  select p_conversation.organization_id, p_conversation.id, p_direction, p_agent, p_conversation.contact_address, p_conversation.service,
    p_conversation.organization_address, p_conversation.group_address, x.content,
    case when p_direction = 'outgoing' then jsonb_build_object('pending', now()) else '{}' end,
    clock_timestamp() + x.n * interval '1 microsecond'
  from jsonb_array_elements(p_contents) with ordinality x (content, n)
  order by x.n
$$;
comment on function bus.answer(public.conversations, uuid, jsonb, public.direction) is 'Stores messages of an agent in their order.';

create or replace function bus.finish_agent(p_results jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  r record;
  t bus.tasks;
  c public.conversations;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      agent_id uuid, answer jsonb, apology jsonb, forget boolean)
    order by x.organization_id, x.key
  loop
    -- Locked before looking: a message that arrives now waits for us, or we for it.
    select * into t from bus.tasks x
    where (x.organization_id, x.queue, x.key, x.id, x.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    if t.version = r.version and (r.answer is not null or r.apology is not null) then
      select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid for no key update;
      if not bus.is_paused(c.extra) then
        if r.forget then
          update public.conversations x set extra = '{"memory": null}' where x.organization_id = c.organization_id and x.id = c.id and x.extra ? 'memory';
        end if;
        if r.answer is not null then
          perform bus.answer(c, r.agent_id, r.answer, 'outgoing');
        end if;
        if r.apology is not null then
          perform bus.answer(c, r.agent_id, r.apology, 'outgoing');
        end if;
      end if;
    end if;
    if r.error is not null and r.outcome = 'dead' then
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      select x.organization_id, x.organization_address, 'error', 'agent', x.service, left(r.error, 1000),
        jsonb_build_object('conversation_id', x.id, 'agent_id', r.agent_id)
      from public.conversations x where x.organization_id = r.organization_id and x.id = r.key::uuid;
      select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid;
      perform bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object(
        'version', '1', 'type', 'text', 'kind', 'error', 'text', left(r.error, 1000))), 'internal');
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', case when t.version <> r.version then 'done' else r.outcome end, 'after', r.after, 'error', r.error)));
  end loop;
end
$$;
comment on function bus.finish_agent(jsonb) is
  'Stores the answers of runs whose conversation has not moved on: no newer message, no person, no pause. Otherwise the answer is dropped, and the task runs again if there is something newer.';
