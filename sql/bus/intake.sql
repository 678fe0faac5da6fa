-- Intake: events, as the channel translation made them from journal entries, become rows. Every event is one JSON object
-- with its journal entry (journal, n), type (contact, message, status, park), the address it came to, and raw.

create or replace function bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) returns void
language plpgsql
set search_path = ''
as $$
declare
  early jsonb;
begin
  -- Whoever stores a receipt without its message takes the same lock, so one of the two sees the other.
  perform pg_advisory_xact_lock(hashtextextended(p_address || ' ' || p_external_id, 0));
  delete from bus.orphans o
  where (o.organization_id, o.organization_address, o.external_id) = (p_organization, p_address, p_external_id)
  returning o.status into early;
  if early is not null then
    update public.messages m set status = early
    where (m.organization_id, m.organization_address, m.external_id) = (p_organization, p_address, p_external_id);
  end if;
end
$$;
comment on function bus.adopt_orphans(uuid, text, text) is 'Applies receipts that came before their message.';

create or replace function bus.store_contacts(p_events jsonb) returns void
language sql
set search_path = ''
as $$
  insert into public.contacts_addresses as a (organization_id, service, address, extra)
  select distinct on (e.organization_id, e.contact) e.organization_id, e.service, e.contact, e.extra
  from jsonb_to_recordset(p_events) as e (type text, organization_id uuid, service public.service, contact text, extra jsonb, n bigint)
  where e.type = 'contact'
  order by e.organization_id, e.contact, e.n desc
  on conflict (organization_id, service, address) do update set extra = excluded.extra
  where a.extra is null or not a.extra @> excluded.extra
$$;

create or replace function bus.store_messages(p_events jsonb) returns void
language sql
set search_path = ''
as $$
  insert into public.messages (organization_id, service, organization_address, contact_address, external_id, direction, content, "timestamp")
  select e.organization_id, e.service, e.address, e.contact, e.external_id, 'incoming', e.content, e."timestamp"
  from (
    select distinct on (x.organization_id, x.address, x.external_id) x.*
    from jsonb_to_recordset(p_events) as x (
      type text, organization_id uuid, service public.service, address text, contact text, external_id text,
      content jsonb, "timestamp" timestamptz, n bigint)
    where x.type = 'message'
    order by x.organization_id, x.address, x.external_id, x.n
  ) e
  -- Asked first: a repeated event must not even make a conversation.
  where not exists (
    select from public.messages m
    where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id))
  order by e.organization_id, e.contact, e."timestamp", e.n
  on conflict (organization_id, organization_address, external_id) where external_id is not null do nothing
$$;
comment on function bus.store_messages(jsonb) is 'Stores incoming messages, each once however often it is delivered.';

create or replace function bus.store_statuses(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  s record;
  m record;
begin
  -- One message's receipts together, in an order that is the same for everyone.
  for s in
    select g.organization_id, g.address, g.external_id, max(g.message_id)::uuid as message_id,
      jsonb_object_agg(g.state, g.at)
        || case when count(g.errors) = 0 then '{}' else jsonb_build_object('errors', (array_agg(g.errors) filter (where g.errors is not null))[1]) end as status
    from (
      select e.organization_id, e.address, e.external_id, e.state, min(e."timestamp") as at, max(e.message_id) as message_id,
        (array_agg(e.errors) filter (where e.errors is not null))[1] as errors
      from jsonb_to_recordset(p_events) as e (
        type text, organization_id uuid, address text, external_id text, message_id text, state text, "timestamp" timestamptz, errors jsonb)
      where e.type = 'status'
      group by e.organization_id, e.address, e.external_id, e.state
    ) g
    group by g.organization_id, g.address, g.external_id
    order by g.organization_id, g.address, g.external_id
  loop
    select x.id, x.external_id, x.status, x.direction into m from public.messages x
    where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
    if not found and s.message_id is not null then
      -- Our own id, which the send carried: settles an attempt whose answer was lost.
      select x.id, x.external_id, x.status, x.direction into m from public.messages x
      where x.organization_id = s.organization_id and x.id = s.message_id and x.organization_address = s.address
        and x.direction = 'outgoing' and x.external_id is null;
    end if;
    if not found then
      perform pg_advisory_xact_lock(hashtextextended(s.address || ' ' || s.external_id, 0));
      select x.id, x.external_id, x.status, x.direction into m from public.messages x
      where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
      if not found then
        insert into bus.orphans as o (organization_id, organization_address, external_id, status)
        values (s.organization_id, s.address, s.external_id, s.status)
        on conflict (organization_id, organization_address, external_id) do update
          set status = public.merge_status(o.status, excluded.status, 'outgoing');
        continue;
      end if;
    end if;
    if m.external_id is null then
      perform bus.settle_unknown(s.organization_id, m.id, s.external_id, s.status);
    elsif public.merge_status(m.status, s.status, 'outgoing') is distinct from m.status then
      update public.messages x set status = s.status where x.organization_id = s.organization_id and x.id = m.id;
    end if;
  end loop;
end
$$;
comment on function bus.store_statuses(jsonb) is
  'Applies receipts to their messages, found by the provider''s id or by ours; those without a message wait in bus.orphans. Repeating one changes nothing.';

create or replace function bus.settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  buried boolean;
begin
  delete from bus.dead d
  where d.organization_id = p_organization and d.queue = 'dispatch' and d.subject = p_message::text;
  buried := found;
  -- A task in somebody's hands is left to that worker, who will have the same answer from the provider itself.
  delete from bus.tasks t
  using public.messages m
  where m.organization_id = p_organization and m.id = p_message
    and t.organization_id = p_organization and t.queue = 'dispatch' and t.key = m.conversation_id::text
    and t.subject = p_message::text and t.worker is not null and (t.held_since is not null or t.run_at <= clock_timestamp());
  update public.messages m set
    external_id = p_external_id,
    status = case when found or buried then '{"errors": null}'::jsonb else '{}' end
      || case when buried then '{"failed": null}'::jsonb else '{}' end || p_status
  where m.organization_id = p_organization and m.id = p_message;
end
$$;
comment on function bus.settle_unknown(uuid, uuid, text, jsonb) is 'A receipt proves that a message went out: gives it its external_id and ends the wait, or the funeral.';

create or replace function bus.store_events(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform bus.store_contacts(p_events);
  perform bus.store_messages(p_events);
  perform bus.store_statuses(p_events);
end
$$;

create or replace function bus.park(p_event jsonb, p_reason text, p_detail text) returns void
language sql
set search_path = ''
as $$
  insert into bus.parked (journal_id, organization_id, address, reason, detail, raw)
  select (p_event ->> 'journal')::bigint, (p_event ->> 'organization_id')::uuid, p_event ->> 'address', p_reason, coalesce(p_detail, ''), p_event -> 'raw'
  where exists (select from bus.journal j where j.id = (p_event ->> 'journal')::bigint)
$$;

create or replace function bus.finish_intake(p_results jsonb, p_events jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  routed jsonb;
  e jsonb;
  problem text;
begin
  -- Whose number is it?
  select coalesce(jsonb_agg(x.event || jsonb_build_object('organization_id', n.organization_id) order by x.i), '[]') into routed
  from jsonb_array_elements(p_events) with ordinality as x (event, i)
  left join bus.numbers n on n.service = (x.event ->> 'service')::public.service and n.address = x.event ->> 'address';

  if exists (select from jsonb_array_elements(routed) x where x ->> 'type' in ('message', 'status') and x ->> 'organization_id' is null) then
    -- Nobody's, as it seems. Whoever registers a number takes the same lock: either we see the number now, or he sees
    -- what we park.
    perform pg_advisory_xact_lock_shared(h) from (
      select distinct hashtextextended('number ' || (x ->> 'address'), 0) as h from jsonb_array_elements(routed) x
      where x ->> 'organization_id' is null and x ->> 'address' is not null order by 1) locks;
    select coalesce(jsonb_agg(x.event || jsonb_build_object('organization_id', n.organization_id) order by x.i), '[]') into routed
    from jsonb_array_elements(p_events) with ordinality as x (event, i)
    left join bus.numbers n on n.service = (x.event ->> 'service')::public.service and n.address = x.event ->> 'address';
  end if;

  for e in select x from jsonb_array_elements(routed) x
           where x ->> 'type' = 'park' or (x ->> 'type' <> 'contact' and x ->> 'organization_id' is null) loop
    if e ->> 'type' = 'park' then
      perform bus.park(e, e ->> 'reason', e ->> 'detail');
    else
      perform bus.park(e, 'unknown_number', 'no organization has the address ' || coalesce(e ->> 'address', '(none)'));
    end if;
  end loop;
  select coalesce(jsonb_agg(x.event order by x.i), '[]') into routed
  from jsonb_array_elements(routed) with ordinality as x (event, i)
  where x.event ->> 'type' <> 'park' and x.event ->> 'organization_id' is not null;

  -- All at once; and if one of them cannot be stored, one by one, so that it does not hold up its neighbours.
  if jsonb_array_length(routed) > 0 then
    begin
      perform bus.store_events(routed);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        for e in select x from jsonb_array_elements(routed) x loop
          begin
            perform bus.store_events(jsonb_build_array(e));
          exception
            when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
              raise;
            when others then
              get stacked diagnostics problem = message_text;
              perform bus.park(e, 'refused', problem);
          end;
        end loop;
    end;
  end if;
  perform bus.finish(p_results);
end
$$;
comment on function bus.finish_intake(jsonb, jsonb) is
  'Stores the events of claimed journal entries and finishes their tasks, in one transaction. What cannot be stored is parked by itself.';
