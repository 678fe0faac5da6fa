-- Who answers, and when nobody should: agents, rules, takeovers, hand-overs.

create or replace function bus.pause_of(p_organization_extra jsonb) returns interval
language sql immutable parallel safe
as $$
  select make_interval(secs => 3600 * greatest(0, least(8760, coalesce(bus.as_number(p_organization_extra ->> 'pause_hours'), 12)))::float8)
$$;
comment on function bus.pause_of(jsonb) is 'How long a takeover silences the agent: extra.pause_hours of the organization, or 12 hours.';

create or replace function bus.is_paused(p_extra jsonb, p_pause interval) returns boolean
language plpgsql stable
set search_path = ''
as $$
begin
  -- What is no time still says that somebody wanted quiet.
  return p_extra ->> 'paused' is not null and coalesce(bus.as_time(p_extra ->> 'paused') > now() - p_pause, true);
end
$$;
comment on function bus.is_paused(jsonb, interval) is 'Whether a conversation''s extra.paused is in force: for p_pause from its time.';

create or replace function bus.has_last_words(p_extra jsonb, p_newest timestamptz) returns boolean
language sql stable
as $$
  -- The agent handed over itself, and neither a person nor the contact has written since.
  select coalesce(p_extra #>> '{handoff,requested_at}' = p_extra ->> 'paused' and bus.as_time(p_extra ->> 'paused') >= p_newest, false)
$$;
comment on function bus.has_last_words(jsonb, timestamptz) is 'Whether a paused conversation''s agent may still tell the contact that it hands over.';

create or replace function bus.answers(a public.agents, c public.conversations) returns boolean
language sql immutable
as $$
  select a.ai and (coalesce(a.extra ->> 'mode', 'active') = 'active'
    or (c.service = 'local' and (a.extra ->> 'mode' = 'draft' or a.id::text = c.extra ->> 'default_agent_id')))
$$;
comment on function bus.answers(public.agents, public.conversations) is
  'Whether an agent may answer in a conversation. Drafts do in local chats only; an inactive one only where a local chat names it.';

create or replace function bus.choose_agent(o public.organizations, c public.conversations, m public.messages) returns public.agents
language plpgsql stable
set search_path = ''
as $$
declare
  a public.agents;
  b public.bindings;
begin
  -- Whom another agent passed the conversation to; a test chat has the one it was opened with.
  if c.extra ? 'assigned_agent_id' then
    select * into a from public.agents x where x.organization_id = o.id and x.id::text = c.extra ->> 'assigned_agent_id' and bus.answers(x, c);
    if found then
      return a;
    end if;
  end if;
  if not (c.service = 'local' and c.extra ? 'default_agent_id') then
    for b in select * from public.bindings x where x.organization_id = o.id order by x.position, x.id loop
      continue when not bus.binding_matches(b, c, m);
      select * into a from public.agents x where x.organization_id = o.id and x.id = b.agent_id and bus.answers(x, c);
      if found then
        return a;
      end if;
    end loop;
  end if;
  -- The conversation's choice, then the number's, then the organization's, then the oldest.
  select * into a from public.agents x
  where x.organization_id = o.id and bus.answers(x, c)
  order by x.id::text is not distinct from c.extra ->> 'default_agent_id' desc,
    x.id::text is not distinct from (
      select n.extra ->> 'default_agent_id' from public.organizations_addresses n
      where n.organization_id = o.id and n.address = c.organization_address) desc,
    x.id::text is not distinct from o.extra ->> 'default_agent_id' desc,
    coalesce(x.extra ->> 'mode', 'active') = 'active' desc, x.created_at, x.id
  limit 1;
  return a;
end
$$;
comment on function bus.choose_agent(public.organizations, public.conversations, public.messages) is
  'The AI agent that answers a message, or null: whom the conversation was passed to, the first rule that matches, then the defaults.';

create or replace function bus.hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean) returns timestamptz
language plpgsql
set search_path = ''
as $$
declare
  moment timestamptz := clock_timestamp();
begin
  update public.conversations x set extra = jsonb_strip_nulls(jsonb_build_object(
    'paused', case when p_pause then moment end,
    'handoff', jsonb_build_object('status', 'requested', 'requested_at', moment, 'requested_by_agent_id', p_agent, 'reason', left(p_reason, 1000), 'note', left(p_note, 4000))))
  where x.organization_id = c.organization_id and x.id = c.id;
  perform bus.answer(c, p_agent, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'data', 'kind', 'handoff', 'data', jsonb_strip_nulls(jsonb_build_object(
    'event', 'human_handoff_requested', 'reason', left(p_reason, 1000), 'note', left(p_note, 4000))))), 'internal');
  insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
  values (c.organization_id, c.organization_address, 'warning', 'handoff', c.service,
    'a person is asked for' || coalesce(': ' || left(p_reason, 900), ''), jsonb_build_object('conversation_id', c.id, 'agent_id', p_agent, 'note', left(p_note, 4000)));
  return moment;
end
$$;
comment on function bus.hand_over(public.conversations, uuid, text, text, boolean) is
  'Asks for a person: conversations.extra.handoff, an internal message and a log entry say why. With p_pause the agent is silent from now on.';

create or replace function bus.wake_for_media(p_organization uuid, p_conversation uuid) returns void
language plpgsql
set search_path = ''
as $$
begin
  update bus.tasks t set run_at = clock_timestamp(), waits_for = null
  where t.organization_id = p_organization and t.queue = 'agent' and t.key = p_conversation::text and t.waits_for = 'media' and t.worker is null;
  if found then
    perform bus.ring('agent');
  end if;
end
$$;
comment on function bus.wake_for_media(uuid, uuid) is
  'A file is there, or will not come: who waits for it looks. The caller has the conversation locked, as whoever decides to wait has.';

create or replace function bus.lock_conversation(p_organization uuid, p_conversation uuid) returns boolean
language plpgsql
set search_path = ''
as $$
begin
  perform 1 from public.conversations c where c.organization_id = p_organization and c.id = p_conversation for no key update skip locked;
  return found;
end
$$;
comment on function bus.lock_conversation(uuid, uuid) is
  'Locks a conversation, without waiting. Everybody locks the conversation before its task; a claim, which has the task already, must not wait for it.';

create or replace function bus.resume_run(p_organization uuid, p_conversation uuid) returns void
language plpgsql
set search_path = ''
as $$
declare
  newest uuid;
begin
  select m.id into newest from public.messages m
  where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'incoming'
  order by m."timestamp" desc, m.id desc limit 1;
  if newest is null then
    return;
  end if;
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('agent', p_organization, p_conversation::text, newest::text, true)
  on conflict (organization_id, queue, key) where single do update set
    -- A running one learns from the version that there is more to do; a waiting one goes on now.
    version = t.version + case when t.worker is not null then 1 else 0 end,
    run_at = case when t.worker is not null then t.run_at else clock_timestamp() end, waits_for = null;
  perform bus.ring('agent');
end
$$;
comment on function bus.resume_run(uuid, uuid) is 'Lets a conversation''s run go on: an approval, a file, another agent''s task, or its hand-back has come.';

create or replace function bus.resume_remote(p_organization uuid, p_conversation uuid) returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Behind a step that is just ending: its successor is another row, which only a later look finds.
  perform 1 from public.conversations c where c.organization_id = p_organization and c.id = p_conversation for no key update;
  update bus.tasks t set
    run_at = case when t.worker is null then clock_timestamp() else t.run_at end,
    -- Whoever is asking at this moment asks once more.
    waits_for = case when t.worker is null then t.waits_for else 'recall' end
  where t.organization_id = p_organization and t.queue = 'agent' and t.key = p_conversation::text and (t.waits_for = 'remote' or t.worker is not null);
  if found then
    perform bus.ring('agent');
  end if;
end
$$;
comment on function bus.resume_remote(uuid, uuid) is 'Another agent says that its task has come further: the run asks it now.';

create or replace function public.after_pause_on_conversations() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  newest public.messages;
begin
  if new.extra ->> 'paused' is not null then
    -- Whoever thinks at this moment is outdated.
    update bus.tasks t set version = t.version + 1
    where t.organization_id = new.organization_id and t.queue = 'agent' and t.key = new.id::text and t.worker is not null
      and new.extra #>> '{handoff,requested_at}' is distinct from new.extra ->> 'paused';
    if found then
      perform bus.ring('agent');
    end if;
    return null;
  end if;
  -- Handed back on request: a question that nobody answered meanwhile is answered now. The run finds out whether there is one.
  select * into newest from public.messages m
  where m.organization_id = new.organization_id and m.conversation_id = new.id and m.direction = 'incoming'
  order by m."timestamp" desc, m.id desc limit 1;
  if (newest.status ? 'pending' and newest."timestamp" > now() - interval '24 hours')
    or exists (select from bus.calls k where k.organization_id = new.organization_id and k.conversation_id = new.id) then
    perform bus.resume_run(new.organization_id, new.id);
  end if;
  return null;
end
$$;
comment on function public.after_pause_on_conversations() is 'A pause interrupts the run; taking it back lets the agent answer what is still open.';

create or replace trigger apply_pause after update on public.conversations
  for each row when (new.extra ->> 'paused' is distinct from old.extra ->> 'paused')
  execute function public.after_pause_on_conversations();

create or replace function public.pause_agent(organization_id uuid, conversation_id uuid) returns public.conversations
language sql
set search_path = ''
as $$
  update public.conversations c set extra = jsonb_build_object('paused', clock_timestamp()) where c.organization_id = $1 and c.id = $2 returning c.*
$$;
comment on function public.pause_agent(uuid, uuid) is 'A person takes over: the agent is silent in this conversation for the organization''s pause_hours, or until resume_agent.';

create or replace function public.resume_agent(organization_id uuid, conversation_id uuid) returns public.conversations
language sql
set search_path = ''
as $$
  update public.conversations c set extra = '{"paused": null, "handoff": null}' where c.organization_id = $1 and c.id = $2 returning c.*
$$;
comment on function public.resume_agent(uuid, uuid) is 'Hands a conversation back to the agent, which answers what is still open.';
