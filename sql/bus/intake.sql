-- Intake: events, as the channels' translations made them from journal entries, become rows. p_events is one object,
-- {type: [event, …]}; every event names its journal entry (journal, n), and the organization that the address it came to
-- belongs to, or none where that is not known.

create or replace function bus.store_messages(p_events jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  stored int;
begin
  -- What the trigger would find out for each row is found out here once for each thread. (Connectors name stored files:
  -- whose they are is for the trigger to see.)
  perform set_config('tidings.filed', case when p_events @? '$[*].content.file ? (@.uri starts with "internal:")' then '' else 'on' end, true);
  insert into public.messages (organization_id, id, service, organization_address, contact_address, group_address, thread_id, conversation_id,
                               external_id, direction, content, status, "timestamp")
  with told as materialized (
    -- Of one message told twice, the file and not its placeholder.
    select distinct on (x.organization_id, x.address, x.external_id) x.*
    from jsonb_to_recordset(p_events) as x (
      organization_id uuid, id uuid, service public.service, address text, contact text, phone text, user_id text, "group" text, thread text,
      external_id text, direction public.direction, content jsonb, status jsonb, "timestamp" timestamptz, n bigint)
    order by x.organization_id, x.address, x.external_id, x.content ->> 'kind' = 'media_placeholder', x.n
  ), fresh as materialized (
    -- Asked first: a repeated event must not even make a conversation.
    select t.* from told t
    where not exists (
      select from public.messages m
      where (m.organization_id, m.organization_address, m.external_id) = (t.organization_id, t.address, t.external_id))
  ), threads as materialized (
    select p.*, f.contact_address, f.conversation_id
    from (select distinct organization_id, service, address, contact, phone, user_id, "group" from fresh) p
    cross join lateral public.thread_of(p.organization_id, p.service, p.address, p.contact, p.phone, p.user_id, p."group") f
  )
  select f.organization_id, f.id, f.service, f.address, t.contact_address, f."group", f.thread, t.conversation_id,
    f.external_id, f.direction, f.content, coalesce(f.status, jsonb_build_object('pending', now())), f."timestamp"
  from fresh f
  join threads t on (t.organization_id, t.service, t.address) = (f.organization_id, f.service, f.address)
    and t.contact is not distinct from f.contact and t.phone is not distinct from f.phone and t.user_id is not distinct from f.user_id
    and t."group" is not distinct from f."group"
  order by f.organization_id, f.contact, f."timestamp", f.n
  on conflict (organization_id, organization_address, external_id) where external_id is not null do nothing;
  get diagnostics stored = row_count;
  perform set_config('tidings.filed', '', true);
  if stored < jsonb_array_length(p_events) and p_events @? '$[*] ? (@.status != null)' then
    perform bus.complete_messages(p_events);
  end if;
end
$$;
comment on function bus.store_messages(jsonb) is 'Stores messages that came in, each once however often it is delivered.';

create or replace function bus.complete_messages(p_events jsonb) returns void
language sql
set search_path = ''
as $$
  update public.messages m set status = e.status
  from (
    select x.organization_id, x.address, x.external_id, jsonb_object_agg(s.key, s.value) as status
    from jsonb_to_recordset(p_events) as x (organization_id uuid, address text, external_id text, status jsonb), jsonb_each(x.status) s
    group by 1, 2, 3) e
  where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id)
    and not m.status ? 'pending' and not m.status @> e.status;
  with came as (
    update public.messages m set content = e.content || '{"data": null}'
    from jsonb_to_recordset(p_events) as e (organization_id uuid, address text, external_id text, content jsonb)
    where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id)
      and m.content ->> 'kind' = 'media_placeholder' and e.content ->> 'type' = 'file'
    returning m.*
  )
  select bus.fetch_media(came.organization_id, came.id) from came
$$;
comment on function bus.complete_messages(jsonb) is
  'What was imported before and is told again: states add up, and files of a phone''s history take the place of the placeholders that came with their threads.';

create or replace function bus.arrival(p_address text, p_external_id text) returns bigint
language sql immutable parallel safe
set search_path = ''
as $$
  -- One of 1024 locks: however much one transaction stores, it stays within the server's table of locks.
  select 7700000000 + (hashtextextended(p_address || ' ' || p_external_id, 0) & 1023)
$$;
comment on function bus.arrival(text, text) is
  'The advisory lock under which a message gets its external_id, and under which it is found to have none yet. Several are taken in ascending order.';

create or replace function bus.orphan(
  p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb) returns boolean
language plpgsql
set search_path = ''
as $$
begin
  -- Whoever stores the message takes the same lock, so one of the two sees the other.
  perform pg_advisory_xact_lock(bus.arrival(p_address, p_external_id));
  if exists (select from public.messages x where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id)) then
    return false;
  end if;
  insert into bus.orphans as o (organization_id, organization_address, external_id, status, changes, extra)
  values (p_organization, p_address, p_external_id, coalesce(p_status, '{}'), case when p_change is not null then jsonb_build_array(p_change) end, p_extra)
  on conflict (organization_id, organization_address, external_id) do update set
    status = public.merge_status(o.status, excluded.status, 'outgoing'),
    changes = case when excluded.changes is null or o.changes @> excluded.changes then o.changes else coalesce(o.changes, '[]') || excluded.changes end,
    extra = case when excluded.extra is null then o.extra else public.merge_update_jsonb(coalesce(o.extra, '{}'), '{}', excluded.extra) end;
  return true;
end
$$;
comment on function bus.orphan(uuid, text, text, jsonb, jsonb, jsonb) is
  'Keeps what came before its message. False when the message has come meanwhile.';

create or replace function bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) returns void
language plpgsql
set search_path = ''
as $$
declare
  o bus.orphans;
  change jsonb;
begin
  delete from bus.orphans x
  where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id)
  returning * into o;
  if not found then
    return;
  end if;
  update public.messages m set status = o.status, extra = coalesce(o.extra, m.extra)
  where (m.organization_id, m.organization_address, m.external_id) = (p_organization, p_address, p_external_id);
  for change in select c from jsonb_array_elements(coalesce(o.changes, '[]')) c loop
    perform bus.apply_change(p_organization, p_address, p_external_id, change);
  end loop;
end
$$;
comment on function bus.adopt_orphans(uuid, text, text) is 'Applies receipts, edits and revocations that came before their message.';

create or replace function bus.apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb) returns boolean
language plpgsql
set search_path = ''
as $$
declare
  m public.messages;
  moment timestamptz := (p_change ->> 'timestamp')::timestamptz;
  later jsonb;
begin
  select * into m from public.messages x
  where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id) for no key update;
  if not found then
    return false;
  end if;
  if p_change -> 'patch' is null then
    update public.messages x set status = jsonb_build_object('deleted', moment)
    where x.organization_id = m.organization_id and x.id = m.id and not x.status ? 'deleted';
    return true;
  end if;
  select e into later from jsonb_array_elements(case when jsonb_typeof(m.extra -> 'edits') = 'array' then m.extra -> 'edits' else '[]' end) e
  where bus.as_time(e ->> 'at') >= moment order by bus.as_time(e ->> 'at') limit 1;
  if later is null then
    -- The earlier text stays, with the time at which it was replaced.
    update public.messages x set
      content = p_change -> 'patch',
      status = jsonb_build_object('edited', moment),
      extra = jsonb_build_object('edits', case when jsonb_typeof(m.extra -> 'edits') = 'array' then m.extra -> 'edits' else '[]' end || jsonb_build_object(
        'at', moment, 'before', (select coalesce(jsonb_object_agg(k, m.content -> k), '{}') from jsonb_object_keys(p_change -> 'patch') k)))
    where x.organization_id = m.organization_id and x.id = m.id;
  elsif bus.as_time(later ->> 'at') > moment then
    -- An older edit that comes after a newer one is only remembered: it is what the newer one replaced.
    update public.messages x set extra = jsonb_build_object('edits', (
      select jsonb_agg(e order by bus.as_time(e ->> 'at')) from (
        select case when e = later then e || jsonb_build_object('before', p_change -> 'patch') else e end as e
        from jsonb_array_elements(m.extra -> 'edits') e
        union all select jsonb_build_object('at', moment, 'before', later -> 'before')) all_edits))
    where x.organization_id = m.organization_id and x.id = m.id;
  end if;
  return true;
end
$$;
comment on function bus.apply_change(uuid, text, text, jsonb) is
  'An edit ({patch, timestamp}) or a revocation ({timestamp}) of a message. False when there is no such message. An older edit never replaces a newer.';

create or replace function bus.store_changes(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  c record;
  change jsonb;
begin
  for c in
    select * from jsonb_to_recordset(p_events) as e (organization_id uuid, address text, external_id text, patch jsonb, "timestamp" timestamptz, n bigint)
    order by e."timestamp", e.n
  loop
    change := jsonb_strip_nulls(jsonb_build_object('timestamp', c."timestamp")) || case when c.patch is null then '{}' else jsonb_build_object('patch', c.patch) end;
    if not bus.apply_change(c.organization_id, c.address, c.external_id, change)
      and not bus.orphan(c.organization_id, c.address, c.external_id, null, change, null) then
      perform bus.apply_change(c.organization_id, c.address, c.external_id, change);
    end if;
  end loop;
end
$$;
comment on function bus.store_changes(jsonb) is 'Edits and revocations; those whose message has not come yet wait for it.';

create or replace function bus.park(p_event jsonb, p_reason text, p_detail text) returns void
language sql
set search_path = ''
as $$
  insert into bus.parked (journal_id, organization_id, address, reason, detail, raw)
  select (p_event ->> 'journal')::bigint, (p_event ->> 'organization_id')::uuid, coalesce(p_event ->> 'address', p_event ->> 'waba'), p_reason,
    coalesce(p_detail, ''), coalesce(p_event -> 'raw', p_event - '{journal,n,organization_id}'::text[])
  where exists (select from bus.journal j where j.id = (p_event ->> 'journal')::bigint)
$$;
comment on function bus.park(jsonb, text, text) is 'Keeps an event that cannot be stored, with the reason.';

create or replace function bus.event_types() returns text[]
language sql immutable parallel safe
set search_path = ''
as $$
  -- People before what they said, what was said before what became of it.
  select array['contact', 'sync', 'message', 'status', 'edit', 'revoke', 'rename', 'group', 'progress', 'number', 'account', 'template', 'log']
$$;
comment on function bus.event_types() is 'The types of events, in the order in which they are stored.';

create or replace function bus.store_events(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  kind text;
begin
  foreach kind in array bus.event_types() loop
    continue when not p_events ? kind;
    case kind
      when 'contact' then perform bus.store_contacts(p_events -> kind);
      when 'message' then perform bus.store_messages(p_events -> kind);
      when 'status' then perform bus.store_statuses(p_events -> kind);
      when 'edit', 'revoke' then perform bus.store_changes(p_events -> kind);
      when 'rename' then perform bus.store_renames(p_events -> kind);
      when 'sync' then perform bus.store_sync(p_events -> kind);
      when 'group' then perform bus.store_groups(p_events -> kind);
      when 'progress' then perform bus.store_progress(p_events -> kind);
      when 'number' then perform bus.store_numbers(p_events -> kind);
      when 'account' then perform bus.store_accounts(p_events -> kind);
      when 'template' then perform bus.store_templates(p_events -> kind);
      when 'log' then perform bus.store_logs(p_events -> kind);
    end case;
  end loop;
end
$$;
comment on function bus.store_events(jsonb) is 'Stores events, {type: [event, …]}, in the order that they depend on each other.';

create or replace function bus.settle(p_events jsonb) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  e record;
  home uuid;
  rest jsonb := '{}';
begin
  -- Nobody's, as it seems. Whoever registers a number takes the same lock: either we see the number now, or he sees what
  -- we park.
  perform pg_advisory_xact_lock_shared(h) from (
    select distinct hashtextextended('number ' || coalesce(x ->> 'address', x ->> 'waba'), 0) as h
    from jsonb_each(p_events) k, jsonb_array_elements(k.value) x
    where k.key <> 'park' and coalesce(x ->> 'address', x ->> 'waba') is not null order by 1) locks;
  for e in select k.key as kind, x as event from jsonb_each(p_events) k, jsonb_array_elements(k.value) with ordinality r (x, n) order by k.key, n loop
    if e.kind = 'park' then
      perform bus.park(e.event, e.event ->> 'reason', e.event ->> 'detail');
      continue;
    end if;
    select n.organization_id into home from bus.numbers n
    where n.service = (e.event ->> 'service')::public.service and n.address = e.event ->> 'address';
    if home is not null or (e.event ->> 'address' is null and exists (
      select from public.organizations_addresses a where a.service = 'whatsapp' and a.extra ->> 'waba_id' = e.event ->> 'waba'))
    then
      rest := jsonb_set(rest, array[e.kind], coalesce(rest -> e.kind, '[]') || (e.event || case when home is null then '{}' else jsonb_build_object('organization_id', home) end));
    elsif e.kind <> 'contact' then
      perform bus.park(e.event, 'unknown_number', 'no organization has the address ' || coalesce(e.event ->> 'address', e.event ->> 'waba', '(none)'));
    end if;
  end loop;
  return rest;
end
$$;
comment on function bus.settle(jsonb) is
  'Of events whose organization is not known: those of an account of which somebody has a number, and those whose number has appeared meanwhile. The others, and what is not understood, are parked.';

create or replace function bus.store_apart(p_kind text, p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  n int := jsonb_array_length(p_events);
  problem text;
begin
  perform bus.store_events(jsonb_build_object(p_kind, p_events));
exception
  when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
    raise;
  when others then
    get stacked diagnostics problem = message_text;
    if n = 1 then
      perform bus.park(p_events -> 0, 'refused', problem);
      return;
    end if;
    perform bus.store_apart(p_kind, (select jsonb_agg(e order by i) from jsonb_array_elements(p_events) with ordinality x (e, i) where i <= n / 2));
    perform bus.store_apart(p_kind, (select jsonb_agg(e order by i) from jsonb_array_elements(p_events) with ordinality x (e, i) where i > n / 2));
end
$$;
comment on function bus.store_apart(text, jsonb) is
  'Stores events of one type; those that cannot be stored are found by halves and parked, so that one among thousands costs a few attempts more.';

create or replace function bus.finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  rest jsonb := p_events;
  found_home jsonb;
  kind text;
begin
  if p_adrift <> '{}' then
    found_home := bus.settle(p_adrift);
    select p_events || coalesce(jsonb_object_agg(k.key, coalesce(p_events -> k.key, '[]') || k.value), '{}') into rest from jsonb_each(found_home) k;
  end if;
  -- All at once; and if one of them cannot be stored, in parts, so that it does not hold up its neighbours.
  begin
    perform bus.store_events(rest);
  exception
    when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
      raise;
    when others then
      foreach kind in array bus.event_types() loop
        if rest ? kind then
          perform bus.store_apart(kind, rest -> kind);
        end if;
      end loop;
  end;
  perform bus.finish(p_results);
end
$$;
comment on function bus.finish_intake(jsonb, jsonb, jsonb) is
  'Stores the events of claimed journal entries and finishes their tasks, in one transaction. p_adrift: those whose organization is not known. What cannot be stored is parked by itself.';
