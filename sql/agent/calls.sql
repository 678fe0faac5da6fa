-- Tool calls: each is an internal message, open until its result is another one.

create or replace function bus.store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb) returns boolean
language plpgsql
set search_path = ''
as $$
declare
  u public.messages;
  v_content jsonb;
  v_approved boolean;
begin
  delete from bus.calls k where k.organization_id = p_organization and k.message_id = p_message returning k.approved into v_approved;
  if not found then
    -- Answered already, or taken back.
    return false;
  end if;
  select * into u from public.messages m where m.organization_id = p_organization and m.id = p_message;
  v_content := jsonb_build_object('version', '1', 'task', u.content -> 'task',
    'tool', (u.content -> 'tool') || jsonb_build_object('event', 'result') || case when p_is_error then '{"is_error": true}'::jsonb else '{}' end
      || case when v_approved then '{"approved": true}'::jsonb else '{}' end)
    || case when jsonb_typeof(p_result) in ('object', 'array') then jsonb_build_object('type', 'data', 'kind', 'data', 'data', p_result)
            else jsonb_build_object('type', 'text', 'kind', 'text', 'text', coalesce(p_result #>> '{}', '')) end;
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, content, status, "timestamp")
  values (u.organization_id, u.conversation_id, 'internal', u.agent_id, u.contact_address, u.service, u.organization_address,
    u.group_address, v_content, '{}', clock_timestamp());
  return true;
end
$$;
comment on function bus.store_result(uuid, uuid, boolean, jsonb) is 'Stores what a call came to, once; false when the call is not open any more.';

create or replace function bus.make_call(c public.conversations, p_message uuid) returns void
language plpgsql
set search_path = ''
as $$
declare
  u public.messages;
  result jsonb;
begin
  select * into u from public.messages m where m.organization_id = c.organization_id and m.id = p_message;
  begin
    if jsonb_typeof(u.content -> 'data') is distinct from 'object' then
      raise exception 'the arguments are no JSON object';
    end if;
    result := bus.run_tool(c, u.agent_id, u.content #>> '{tool,name}', u.content -> 'data');
    perform bus.store_result(c.organization_id, p_message, false, result);
  exception
    when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
      raise;
    when others then
      -- All that the tool did is undone; the model learns why.
      perform bus.store_result(c.organization_id, p_message, true, to_jsonb(sqlerrm));
  end;
end
$$;
comment on function bus.make_call(public.conversations, uuid) is 'Makes a call of a tool that works in the database, and stores its result: all of it or nothing.';

create or replace function bus.store_calls(c public.conversations, p_agent uuid, p_turn jsonb) returns uuid
language plpgsql
set search_path = ''
as $$
declare
  v_task uuid := gen_random_uuid();
  v_first uuid;
  v_message uuid;
  k record;
  p public.policies;
begin
  for k in select x.value as call, x.ordinality as n from jsonb_array_elements(p_turn -> 'calls') with ordinality x loop
    insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                                 group_address, content, extra, status, "timestamp")
    values (c.organization_id, c.id, 'internal', p_agent, c.contact_address, c.service, c.organization_address, c.group_address,
      jsonb_build_object('version', '1', 'task', jsonb_build_object('id', v_task),
        'tool', (k.call -> 'tool') || jsonb_build_object('use_id', k.call ->> 'id', 'event', 'use', 'provider', 'local', 'offered', k.call ->> 'name', 'effect', k.call ->> 'effect'))
      || case when jsonb_typeof(k.call -> 'arguments') = 'object' then jsonb_build_object('type', 'data', 'kind', 'data', 'data', k.call -> 'arguments')
              else jsonb_build_object('type', 'text', 'kind', 'text', 'text', coalesce(k.call ->> 'arguments', '')) end,
      case when k.n = 1 then jsonb_build_object('model_state', p_turn -> 'state', 'said', nullif(p_turn ->> 'text', '')) end,
      '{}', clock_timestamp())
    returning id into v_message;
    v_first := coalesce(v_first, v_message);
    insert into bus.calls (organization_id, conversation_id, message_id, agent_id, effect, here, state)
    values (c.organization_id, c.id, v_message, p_agent, k.call ->> 'effect', coalesce((k.call ->> 'here')::boolean, false), 'ready');
    if k.call ? 'error' then
      perform bus.store_result(c.organization_id, v_message, true, k.call -> 'error');
      continue;
    end if;
    p := bus.judge(c.organization_id, c.service, p_agent, k.call ->> 'name', k.call ->> 'effect');
    if p.decision = 'deny' then
      perform bus.store_result(c.organization_id, v_message, true,
        to_jsonb('the organization''s policy does not allow this call' || coalesce(' (' || p.name || ')', '')));
    elsif p.decision = 'ask' then
      update bus.calls x set state = 'asked' where (x.organization_id, x.conversation_id, x.message_id) = (c.organization_id, c.id, v_message);
      insert into public.approvals (organization_id, conversation_id, message_id, agent_id, tool, effect, arguments, expires_at)
      values (c.organization_id, c.id, v_message, p_agent, k.call ->> 'name', k.call ->> 'effect', k.call -> 'arguments', clock_timestamp() + p.expires_after);
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      values (c.organization_id, c.organization_address, 'info', 'approval', c.service, format('%s waits for approval', k.call ->> 'name'),
        jsonb_build_object('conversation_id', c.id, 'agent_id', p_agent, 'message_id', v_message));
    elsif coalesce((k.call ->> 'here')::boolean, false) then
      perform bus.make_call(c, v_message);
    end if;
  end loop;
  return v_first;
end
$$;
comment on function bus.store_calls(public.conversations, uuid, jsonb) is
  'Stores the calls of a model''s turn ({calls, text, state}), asks the policies, and makes those that work in the database. Returns the first message.';

create or replace function bus.drop_calls(c public.conversations, p_reason text) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb('not called: ' || p_reason))
  from bus.calls k
  where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state = 'ready' and not k.approved;
end
$$;
comment on function bus.drop_calls(public.conversations, text) is 'Calls that nobody has begun are taken back, and say why. Those that a person granted stay.';

create or replace function bus.expire_questions(c public.conversations) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('tidings.expiring', 'on', true);
  update public.approvals a set state = 'expired'
  where a.organization_id = c.organization_id and a.id in (
    select x.id from public.approvals x
    where x.organization_id = c.organization_id and x.conversation_id = c.id and x.state = 'pending' and x.expires_at <= clock_timestamp()
    -- Whoever decides at this very moment is first.
    for update skip locked);
  perform set_config('tidings.expiring', 'off', true);
end
$$;
comment on function bus.expire_questions(public.conversations) is 'Questions that nobody decided in time become results that say so.';

create or replace function bus.next_expiry(p_organization uuid, p_conversation uuid) returns float8
language plpgsql stable
set search_path = ''
as $$
declare
  v_first timestamptz;
begin
  if exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation and k.state = 'asked') then
    select min(a.expires_at) into v_first from public.approvals a
    where a.organization_id = p_organization and a.conversation_id = p_conversation and a.state = 'pending';
  end if;
  return case when v_first is not null then greatest(0.05, extract(epoch from v_first - clock_timestamp())) end;
end
$$;
comment on function bus.next_expiry(uuid, uuid) is 'In how many seconds the next open question of a conversation expires; null when there is none.';

create or replace function bus.settle_calls(c public.conversations, p_agent uuid, p_newest timestamptz) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  k bus.calls;
  v_reads uuid[] := '{}';
  v_write uuid;
  v_agent uuid;
  v_waits boolean := false;
begin
  for k in
    select * from bus.calls x where x.organization_id = c.organization_id and x.conversation_id = c.id order by x.created_at, x.message_id
  loop
    if k.state = 'asked' and not exists (
      select from public.approvals a where a.organization_id = k.organization_id and a.message_id = k.message_id and a.state = 'pending') then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb('not called: the question whether it may be was withdrawn'::text));
    elsif k.state = 'asked' then
      -- Nothing to say before it is decided, unless the contact has written meanwhile.
      v_waits := v_waits or k.created_at > p_newest;
    elsif k.state = 'started' and k.effect <> 'read' then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb(
        'outcome unknown: the call was interrupted and may have had its effect. Find out before calling it again.'::text));
    elsif not k.approved and (k.agent_id <> p_agent or k.created_at < p_newest) then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb(case k.state
        when 'started' then 'interrupted: the conversation moved on' else 'not called: the conversation moved on before it began' end));
    elsif k.here then
      perform bus.make_call(c, k.message_id);
    elsif k.agent_id <> coalesce(v_agent, k.agent_id) then
      -- Of an agent that the conversation was passed from: in the next step, with its own settings.
      continue;
    else
      v_agent := k.agent_id;
      if k.effect = 'read' then
        v_reads := v_reads || k.message_id;
      else
        v_write := coalesce(v_write, k.message_id);
      end if;
    end if;
  end loop;
  -- What only reads goes together; what may change something goes alone, so that a crash leaves one in doubt at most.
  if cardinality(v_reads) = 0 and v_write is not null then
    v_reads := array[v_write];
  end if;
  if cardinality(v_reads) > 0 then
    if v_write = any (v_reads) then
      -- That it may have been begun must be known for good before it is.
      perform set_config('synchronous_commit', 'on', true);
    end if;
    update bus.calls x set state = 'started'
    where x.organization_id = c.organization_id and x.conversation_id = c.id and x.message_id = any (v_reads);
    return jsonb_build_object('agent_id', v_agent, 'calls', (
      select jsonb_agg(jsonb_build_object('message_id', m.id, 'tool', m.content -> 'tool', 'arguments', coalesce(m.content -> 'data', m.content -> 'text')) order by m."timestamp", m.id)
      from public.messages m where m.organization_id = c.organization_id and m.id = any (v_reads)));
  elsif v_waits then
    return jsonb_build_object('wait', coalesce(bus.next_expiry(c.organization_id, c.id), 1), 'for', 'approval');
  end if;
  return '{}';
end
$$;
comment on function bus.settle_calls(public.conversations, uuid, timestamptz) is
  'What is to be done about open calls: {"calls": [...], "agent_id"} to make now (marked as started), {"wait": seconds, "for": "approval"}, or {} for nothing. Calls that a dead worker left, that expired or that the conversation left behind get their results.';
