-- Tools that work in the database. Each is made in the transaction that stores its call, so it happens exactly once.
-- They see and change rows of the conversation's own organization only.

create or replace function bus.run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return case p_name
    when 'transfer_to_human_agent' then bus.tool_transfer(c, p_agent, p)
    when 'pass_to_agent' then bus.tool_pass(c, p_agent, p)
    when 'remember' then bus.tool_remember(c, p)
    when 'attach_file' then bus.tool_attach(c, p_agent, p)
    when 'search_contacts' then bus.tool_contacts(c, p)
    when 'get_conversation' then bus.tool_conversation(c, p)
    when 'send_message' then bus.tool_send(c, p_agent, p)
    when 'get_status' then bus.tool_status(c, p)
  end;
end
$$;
comment on function bus.run_tool(public.conversations, uuid, text, jsonb) is 'Calls a tool that works in the database, with the model''s arguments. What it raises is for the model to read.';

create or replace function bus.tool_transfer(c public.conversations, p_agent uuid, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return jsonb_build_object('status', 'requested', 'conversation_id', c.id,
    'requested_at', bus.hand_over(c, p_agent, p ->> 'reason', p ->> 'note', true),
    'next', 'A person will answer from here on. You may tell the customer so now; it is the last you can say.');
end
$$;
comment on function bus.tool_transfer(public.conversations, uuid, jsonb) is 'transfer_to_human_agent {reason, note}: asks for a person and silences the agent.';

create or replace function bus.tool_pass(c public.conversations, p_agent uuid, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  a public.agents;
begin
  select * into a from public.agents x
  where x.organization_id = c.organization_id and (x.id::text = p ->> 'agent' or lower(x.name) = lower(p ->> 'agent')) and bus.answers(x, c)
  order by x.id::text = p ->> 'agent' desc, x.created_at limit 1;
  if a.id is null then
    raise exception 'there is no such agent; there are: %', coalesce((
      select string_agg(x.name || coalesce(' (' || left(x.extra ->> 'description', 200) || ')', ''), ', ' order by x.created_at)
      from public.agents x where x.organization_id = c.organization_id and x.id <> p_agent and bus.answers(x, c)), 'none');
  elsif a.id = p_agent then
    raise exception 'that is you';
  end if;
  if coalesce(p ->> 'note', '') <> '' then
    perform bus.answer(c, p_agent, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'text', 'kind', 'note', 'text', left(p ->> 'note', 4000))), 'internal');
  end if;
  update public.conversations x set extra = jsonb_build_object('assigned_agent_id', a.id) where x.organization_id = c.organization_id and x.id = c.id;
  return jsonb_strip_nulls(jsonb_build_object('passed_to', a.name, 'note', left(p ->> 'note', 4000)));
end
$$;
comment on function bus.tool_pass(public.conversations, uuid, jsonb) is 'pass_to_agent {agent, note}: another agent of the organization answers from here on.';

create or replace function bus.tool_remember(c public.conversations, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_key text := nullif(left(btrim(p ->> 'key'), 100), '');
  v_memory jsonb;
begin
  if v_key is null then
    raise exception 'key: say in a word or two what the fact is about';
  end if;
  select x.extra -> 'memory' into v_memory from public.conversations x where x.organization_id = c.organization_id and x.id = c.id;
  if p ->> 'value' is not null and not coalesce(v_memory ? v_key, false)
    and (select count(*) from jsonb_object_keys(case when jsonb_typeof(v_memory) = 'object' then v_memory else '{}' end)) >= 50 then
    raise exception 'fifty facts are the limit: forget one first (its key with a null value)';
  end if;
  update public.conversations x
  set extra = jsonb_build_object('memory', jsonb_build_object(v_key, left(p ->> 'value', 1000)))
  where x.organization_id = c.organization_id and x.id = c.id;
  return jsonb_build_object(case when p ->> 'value' is null then 'forgotten' else 'remembered' end, v_key);
end
$$;
comment on function bus.tool_remember(public.conversations, jsonb) is 'remember {key, value}: a fact about the contact, kept in conversations.extra.memory; a null value forgets it.';

create or replace function bus.tool_attach(c public.conversations, p_agent uuid, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform bus.answer(c, p_agent, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'version', '1', 'type', 'file', 'kind', 'document', 'file', jsonb_build_object('uri', p ->> 'file_uri', 'name', p ->> 'name'), 'text', p ->> 'caption'))), 'outgoing', '{"tool": "attach_file"}');
  return jsonb_build_object('sent', p ->> 'file_uri');
end
$$;
comment on function bus.tool_attach(public.conversations, uuid, jsonb) is 'attach_file {file_uri, name, caption}: sends a stored file of the organization to the contact.';

create or replace function bus.tool_contacts(c public.conversations, p jsonb) returns jsonb
language plpgsql stable
set search_path = ''
as $$
declare
  v_what text := btrim(coalesce(p ->> 'query', ''));
begin
  if length(v_what) < 2 then
    raise exception 'query: give at least two characters of a name, or the digits of a phone number';
  end if;
  return jsonb_build_object('contacts', coalesce((
    select jsonb_agg(to_jsonb(x)) from (
      select coalesce(k.name, a.extra ->> 'name') as name, a.address as contact_address, a.extra ->> 'phone_number' as phone_number
      -- A look through an address book, not through a telephone directory: others wait behind us.
      from (
        select * from public.contacts_addresses b where b.organization_id = c.organization_id and b.service = c.service limit 50000) a
      left join public.contacts k on k.organization_id = a.organization_id and k.id = a.contact_id
      where (strpos(lower(coalesce(k.name, '')), lower(v_what)) > 0 or strpos(lower(coalesce(a.extra ->> 'name', '')), lower(v_what)) > 0
          or (bus.digits(v_what) ~ '^[0-9]{3,}$' and (strpos(a.address, bus.digits(v_what)) > 0 or strpos(coalesce(a.extra ->> 'phone_number', ''), bus.digits(v_what)) > 0)))
      order by 1, 2 limit 20) x), '[]'));
end
$$;
comment on function bus.tool_contacts(public.conversations, jsonb) is 'search_contacts {query}: people of the organization by name or phone number.';

create or replace function bus.conversation_with(c public.conversations, p_contact text) returns public.conversations
language plpgsql stable
set search_path = ''
as $$
declare
  x public.conversations;
  v_addresses text[] := array[bus.digits(p_contact)];
begin
  if c.service = 'whatsapp' then
    v_addresses := v_addresses || array(
      select a.address from public.contacts_addresses a
      where a.organization_id = c.organization_id and a.service = 'whatsapp' and a.extra ->> 'phone_number' = bus.digits(p_contact) limit 10);
  end if;
  select * into x from public.conversations y
  where y.organization_id = c.organization_id and y.service = c.service and y.status = 'active' and y.group_address is null
    and y.contact_address = any (v_addresses)
  order by y.organization_address = c.organization_address desc, y.updated_at desc limit 1;
  return x;
end
$$;
comment on function bus.conversation_with(public.conversations, text) is 'The active conversation of the same organization and service with a contact, by address or phone number.';

create or replace function bus.tool_conversation(c public.conversations, p jsonb) returns jsonb
language plpgsql stable
set search_path = ''
as $$
declare
  x public.conversations;
begin
  x := bus.conversation_with(c, p ->> 'contact');
  if x.id is null then
    raise exception 'there is no conversation with %', coalesce(p ->> 'contact', 'nobody: give contact, a phone number or contact_address');
  end if;
  return jsonb_build_object('conversation_id', x.id, 'contact_address', x.contact_address,
    'service_window', (select w.state from public.conversations_windows w where w.organization_id = x.organization_id and w.conversation_id = x.id),
    'unread', (
      select count(*) from (
        select m.status from public.messages m
        where m.organization_id = x.organization_id and m.conversation_id = x.id and m.direction = 'incoming' order by m."timestamp" desc limit 100) m
      where not m.status ? 'read'),
    'messages', coalesce((
      select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('message_id', m.id, 'direction', m.direction, 'at', m."timestamp", 'kind', m.content ->> 'kind',
        'text', left(m.content ->> 'text', 1000))) order by m."timestamp", m.id)
      from (
        select * from public.messages m
        where m.organization_id = x.organization_id and m.conversation_id = x.id and m.direction <> 'internal'
        order by m."timestamp" desc, m.id desc limit greatest(1, least(50, coalesce(bus.as_number(p ->> 'limit'), 10)))::int) m), '[]'));
end
$$;
comment on function bus.tool_conversation(public.conversations, jsonb) is 'get_conversation {contact, limit}: what was said with a contact, its 24-hour window, and how much is unread.';

create or replace function bus.tool_send(c public.conversations, p_agent uuid, p jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  x public.conversations := bus.conversation_with(c, p ->> 'contact');
  v_contact text := coalesce(x.contact_address, bus.digits(p ->> 'contact'));
  v_address text := coalesce(x.organization_address, c.organization_address);
  v_content jsonb;
  m public.messages;
begin
  if coalesce(v_contact, '') = '' then
    raise exception 'contact: give a phone number or a contact_address';
  elsif x.id = c.id then
    raise exception 'that is the conversation you are in: answer there instead';
  end if;
  if jsonb_typeof(p -> 'template') = 'object' then
    v_content := jsonb_build_object('version', '1', 'type', 'data', 'kind', 'template', 'data', p -> 'template');
  elsif coalesce(p ->> 'text', '') <> '' then
    if c.service = 'whatsapp' and public.window_is_closed(c.organization_id, v_address, v_contact) then
      raise exception 'the 24-hour window of this contact is closed: only a template can be sent';
    end if;
    v_content := jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', p ->> 'text');
  else
    raise exception 'give text, or template {name, language: {code}, components}';
  end if;
  insert into public.messages (organization_id, organization_address, contact_address, service, direction, agent_id, content)
  values (c.organization_id, v_address, v_contact, c.service, 'outgoing', p_agent, v_content) returning * into m;
  return jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id, 'next', 'get_status tells whether it has arrived');
end
$$;
comment on function bus.tool_send(public.conversations, uuid, jsonb) is 'send_message {contact, text | template}: writes to another contact of the organization.';

create or replace function bus.tool_status(c public.conversations, p jsonb) returns jsonb
language plpgsql stable
set search_path = ''
as $$
declare
  m public.messages;
begin
  select * into m from public.messages x where x.organization_id = c.organization_id and x.id = case when p ->> 'message_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (p ->> 'message_id')::uuid end and x.direction = 'outgoing';
  if m.id is null then
    raise exception 'there is no message % that was sent', p ->> 'message_id';
  end if;
  return jsonb_build_object('message_id', m.id, 'status', m.status);
end
$$;
comment on function bus.tool_status(public.conversations, jsonb) is 'get_status {message_id}: what became of a message that was sent.';
