-- What becomes of messages that were not sent: failed, tried again, held, split; and of their numbers.

create or replace function bus.finish_unsent(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, lane text, attempt int, message_id uuid,
      outcome text, status jsonb, after float8, error text, age float8, holds boolean, lane_after float8, lane_reason text, parts jsonb)
    where x.outcome <> 'accepted' order by x.organization_id, x.lane, x.id
  loop
    if r.outcome = 'failed' then
      -- If it was the file, the next one to send it uploads it anew.
      delete from storage.uploads u using public.messages m
      where m.organization_id = r.organization_id and m.id = r.message_id and m.content ->> 'type' = 'file' and u.error is null
        and (u.organization_id, u.organization_address, u.upload_key) = (m.organization_id, m.organization_address, storage.upload_key(m.content -> 'file'));
      if r.status #>> '{errors,0,code}' like '132%' then
        -- What is known of the template here may say more than Meta does.
        update public.messages m set status = jsonb_build_object('errors', jsonb_set(r.status -> 'errors', '{0,hint}', to_jsonb(h)))
        from public.messages x, public.template_hint(x.organization_id, x.organization_address, x.content -> 'data') h
        where x.organization_id = r.organization_id and x.id = r.message_id and h is not null
          and m.organization_id = x.organization_id and m.id = x.id;
      end if;
      perform bus.log_message(r.organization_id, r.message_id, 'error', 'dispatch', r.error, null);
      continue;
    end if;
    perform from bus.tasks t
    where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    if r.outcome = 'unknown' then
      update bus.tasks t set held_since = clock_timestamp(), run_at = clock_timestamp() + q.hold, errors = bus.note(t.errors, r.error)
      from bus.queues q
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id) and q.queue = t.queue;
      perform bus.mark_unknown(r.organization_id, r.message_id);
    elsif r.outcome = 'split' then
      perform bus.split_message(r.organization_id, r.message_id, r.parts);
      update bus.tasks t set worker = null, run_at = clock_timestamp(),
        due_at = t.due_at - jsonb_array_length(r.parts) * interval '1 microsecond'
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id);
    elsif r.outcome = 'wait' then
      -- It concerns the number: the message keeps its place, however often. (Attempts only ever grow, or an old one could
      -- pass for the present one.)
      update bus.tasks t set worker = null, run_at = clock_timestamp(), errors = bus.note(t.errors, r.error)
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id);
      update public.messages m set status = r.status where m.organization_id = r.organization_id and m.id = r.message_id;
    else
      update public.messages m set status = r.status where m.organization_id = r.organization_id and m.id = r.message_id;
      perform bus.finish(jsonb_build_array(jsonb_build_object(
        'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt,
        'outcome', 'retry', 'after', r.after, 'error', r.error)));
      update public.messages m set status = jsonb_build_object('failed', now())
      where m.organization_id = r.organization_id and m.id = r.message_id
        and exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    end if;
    if r.holds then
      perform bus.hold_lane(r.organization_id, r.lane, r.lane_reason, r.lane_after, r.age, r.error);
    end if;
  end loop;
end
$$;
comment on function bus.finish_unsent(jsonb) is
  'The outcomes other than accepted: failed, retry, unknown (held for a receipt), wait (for the number), split (into several rows).';

create or replace function bus.hold_lane(
  p_organization uuid, p_lane text, p_reason text, p_after float8, p_age float8, p_error text) returns void
language plpgsql
set search_path = ''
as $$
declare
  l bus.lanes;
begin
  select * into l from bus.lanes where organization_id = p_organization and lane = p_lane for update;
  -- Many sends in flight fail together: those that began before the last strike are the same strike.
  if not found or l.resume_at = 'infinity'
    or (l.strikes > 0 and clock_timestamp() - make_interval(secs => coalesce(p_age, 0)) <= l.updated_at) then
    return;
  end if;
  update bus.lanes set
    strikes = l.strikes + 1,
    resume_at = clock_timestamp() + make_interval(secs => coalesce(
      p_after,
      -- a paused number is tried again after 1, 2, 4 … minutes up to an hour; one that cannot be reached after seconds
      (0.5 + random() / 2) * case when p_reason is null then least(30, power(2, least(l.strikes, 10)))
                                  else least(3600, 60 * power(2, least(l.strikes, 10))) end)),
    paused_reason = p_reason,
    updated_at = clock_timestamp()
  where organization_id = p_organization and lane = p_lane;
  if p_reason is not null and l.paused_reason is distinct from p_reason then
    insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
    select a.organization_id, a.address, 'error', 'number', a.service, 'sending is paused: ' || p_reason, jsonb_build_object('error', p_error)
    from public.organizations_addresses a where a.organization_id = p_organization and a.address = p_lane;
    update public.organizations_addresses a set extra = jsonb_build_object('attention', jsonb_build_object('by', 'sending', 'at', now(), 'reason', p_reason))
    where a.organization_id = p_organization and a.address = p_lane;
  end if;
end
$$;
comment on function bus.hold_lane(uuid, text, text, float8, float8, text) is
  'Stops a number for a while: with a reason it is paused and the organization is told, without one it is only waited for.';

create or replace function bus.split_message(p_organization uuid, p_message uuid, p_parts jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  count int := jsonb_array_length(p_parts);
begin
  -- The parts take the microseconds before the row's time: a row that was inserted together with it, and has the same
  -- time, stays behind all of them.
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, thread_id, content, "timestamp")
  select m.organization_id, m.conversation_id, m.direction, m.agent_id, m.contact_address, m.service, m.organization_address,
    m.group_address, m.thread_id, case when p.part ? 'type' then p.part else (m.content - 're_message_id') || p.part end,
    m."timestamp" - (count - p.n + 1) * interval '1 microsecond'
  from public.messages m, jsonb_array_elements(p_parts) with ordinality p (part, n)
  where m.organization_id = p_organization and m.id = p_message and p.n > 1
  order by p.n;
  update public.messages m set
    content = p_parts -> 0,
    "timestamp" = m."timestamp" - count * interval '1 microsecond'
  where m.organization_id = p_organization and m.id = p_message;
end
$$;
comment on function bus.split_message(uuid, uuid, jsonb) is
  'A text longer than the channel takes becomes several rows, one for each message on the phone; the row itself keeps the first part.';
