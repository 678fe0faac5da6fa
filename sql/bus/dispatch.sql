-- Dispatch: what the loop needs to send a message, and what becomes of the row afterwards.

create or replace function bus.claim_dispatch(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns setof bus.job
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  claimed bus.claimed[];
  given int;
begin
  claimed := array(select c::bus.claimed from bus.claim('dispatch', p_worker, p_limit, p_after, p_awake) c);
  if cardinality(claimed) = 0 then
    return;
  end if;
  if exists (select from unnest(claimed) c where c.waits_for is not null) then
    claimed := bus.await_uploads(claimed);
  end if;
  if exists (select from unnest(claimed) c where c.suspect) then
    perform bus.hold_suspects(array(select c::bus.claimed from unnest(claimed) c where c.suspect));
  end if;
  return query
  select c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version,
    jsonb_build_object(
      'message_id', m.id, 'content', m.content, 'contact_address', m.contact_address, 'group_address', m.group_address,
      'phone_number', a.extra ->> 'phone_number', 'bsuid', a.extra ->> 'bsuid', 'service', m.service,
      'record', case when m.service not in ('whatsapp', 'instagram') then to_jsonb(m) end,
      'media_id', u.media_id, 'media_error', u.error,
      'window_closed', case when m.service = 'whatsapp' and m.content ->> 'kind' <> 'template' and m.group_address is null
        -- public.window_is_closed, written out: it is asked for every message.
        then case when w.opened_at is not null then w.opened_at < now() - interval '23 hours 59 minutes'
                  else coalesce(n.extra ->> 'environment', 'production') <> 'development'
                    and case when n.extra ? 'connected_at' then coalesce(bus.as_time(n.extra ->> 'connected_at'), n.created_at) else n.created_at end
                      < now() - interval '24 hours' end end,
      'credential', case when k.path is not null then secrets.as_json(k) end)
  from unnest(claimed) c
  join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
  left join secrets.credentials k
    on (k.organization_id, k.subject, k.subject_key, k.path) = (m.organization_id, 'organizations_addresses', m.organization_address, 'access_token')
  left join public.contacts_addresses a
    on a.organization_id = m.organization_id and a.service = m.service and a.address = m.contact_address
  left join public.organizations_addresses n on n.organization_id = m.organization_id and n.address = m.organization_address
  left join bus.windows w
    on (w.organization_id, w.organization_address, w.contact_address) = (m.organization_id, m.organization_address, m.contact_address)
  left join storage.uploads u
    on c.waits_for is not null and (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, c.lane, c.waits_for)
  where not c.suspect and m.external_id is null and not m.status ? 'failed';
  get diagnostics given = row_count;
  if given < cardinality(claimed) then
    -- Sent, given up or deleted meanwhile: nothing to do.
    delete from bus.tasks t
    using unnest(claimed) c
    left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
      and not c.suspect and (m.id is null or m.external_id is not null or m.status ? 'failed');
  end if;
end
$$;
comment on function bus.claim_dispatch(uuid, int, uuid, boolean) is
  'Claims messages to send with all that sending needs. A message whose last attempt ended without a word is never among them: it waits for its receipt.';

create or replace function bus.hold_suspects(p_claimed bus.claimed[]) returns void
language plpgsql
set search_path = ''
as $$
begin
  -- A receipt has settled it, or the row is gone.
  delete from bus.tasks t
  using unnest(p_claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
  where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
    and (m.id is null or m.external_id is not null or m.status ? 'failed');

  -- Waited long enough: a person decides.
  perform bus.fail_unknown(t.organization_id, t.id, t.subject::uuid)
  from bus.tasks t
  join unnest(p_claimed) c on (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
  join bus.queues q on q.queue = t.queue
  where t.held_since <= clock_timestamp() - q.hold;

  update bus.tasks t set
    held_since = coalesce(t.held_since, clock_timestamp()),
    run_at = coalesce(t.held_since, clock_timestamp()) + q.hold,
    errors = bus.note(t.errors, 'outcome unknown: the attempt ended without an answer; waiting for a receipt')
  from unnest(p_claimed) c, bus.queues q
  where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id) and q.queue = t.queue;
  perform bus.mark_unknown(c.organization_id, c.subject::uuid) from unnest(p_claimed) c;
end
$$;
comment on function bus.hold_suspects(bus.claimed[]) is
  'Sends that may have happened are not repeated: they wait for a receipt that carries our id, and are given up after the queue''s hold.';

create or replace function bus.mark_unknown(p_organization uuid, p_message uuid) returns void
language sql
set search_path = ''
as $$
  update public.messages m set status = jsonb_build_object('errors', jsonb_build_array(jsonb_build_object(
    'code', 'unknown_outcome', 'title', 'Outcome unknown',
    'message', 'The message was handed to WhatsApp, but no answer came. It is not sent again by itself; a receipt will settle it.')))
  where m.organization_id = p_organization and m.id = p_message and m.external_id is null
$$;

create or replace function bus.fail_unknown(p_organization uuid, p_task bigint, p_message uuid) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform bus.bury(array[p_task], (
    select jsonb_agg(to_jsonb(t) || '{"error": "outcome unknown: no receipt came in time"}')
    from bus.tasks t where t.organization_id = p_organization and t.queue = 'dispatch' and t.id = p_task));
  update public.messages m set status = jsonb_build_object('failed', now())
  where m.organization_id = p_organization and m.id = p_message;
  perform bus.log_message(p_organization, p_message, 'error', 'dispatch', 'outcome of a send unknown: no answer and no receipt', null);
end
$$;

create or replace function bus.log_message(
  p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb) returns void
language sql
set search_path = ''
as $$
  insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
  select m.organization_id, m.organization_address, p_level, p_category, m.service, p_text,
    jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id) || coalesce(p_metadata, '{}')
  from public.messages m where m.organization_id = p_organization and m.id = p_message
$$;
comment on function bus.log_message(uuid, uuid, public.log_level, text, text, jsonb) is 'Tells the organization of something about a message.';

create or replace function bus.accept(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.messages m set external_id = coalesce(m.external_id, p_external_id), status = p_status
  where m.organization_id = p_organization and m.id = p_message;
exception when unique_violation then
  -- An echo of this very send was faster than its answer: it gives way, with what it knows.
  delete from public.messages e
  using public.messages m
  where m.organization_id = p_organization and m.id = p_message
    and e.organization_id = m.organization_id and e.organization_address = m.organization_address and e.external_id = p_external_id
    and e.direction = 'outgoing' and e.agent_id is null and not e.status ? 'pending' and e.conversation_id = m.conversation_id;
  if found then
    update public.messages m set external_id = p_external_id, status = p_status
    where m.organization_id = p_organization and m.id = p_message;
    return;
  end if;
  -- The provider gave out an id twice. The message has gone out all the same.
  update public.messages m set status = p_status where m.organization_id = p_organization and m.id = p_message;
  perform bus.log_message(p_organization, p_message, 'warning', 'dispatch', 'the provider answered with an id that another message has',
    jsonb_build_object('external_id', p_external_id));
end
$$;

create or replace function bus.finish_dispatch(p_results jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  results bus.sent[] := array(select r from jsonb_populate_recordset(null::bus.sent, p_results) r);
  r bus.sent;
  mine bigint[];
begin
  -- First the locks that keep receipts and messages from missing each other, in one order for everyone.
  perform pg_advisory_xact_lock(h) from (
    select distinct bus.arrival(x.lane, x.external_id) as h
    from unnest(results) x where x.outcome = 'accepted' order by 1) locks;

  with gone as (
    delete from bus.tasks t
    using unnest(results) x
    where (t.organization_id, t.queue, t.key, t.id) = (x.organization_id, x.queue, x.key, x.id)
      -- An answer that comes late, when the task is already held for it, is as good as a receipt.
      and (t.attempt = x.attempt or (x.outcome = 'accepted' and t.held_since is not null))
      and x.outcome in ('accepted', 'failed')
    returning t.id
  )
  select coalesce(array_agg(id), '{}') into mine from gone;

  begin
    update public.messages m set external_id = coalesce(m.external_id, x.external_id), status = x.status
    from unnest(results) x
    where m.organization_id = x.organization_id and m.id = x.message_id
      and (x.outcome = 'accepted' or (x.outcome = 'failed' and x.id = any (mine)));
  exception when unique_violation then
    foreach r in array results loop
      if r.outcome = 'accepted' or (r.outcome = 'failed' and r.id = any (mine)) then
        perform bus.accept(r.organization_id, r.message_id, r.external_id, r.status);
      end if;
    end loop;
  end;

  if p_results @? '$[*].learned' then
    perform bus.try_learn(r2.organization_id, r2.learned) from jsonb_to_recordset(p_results) as r2 (organization_id uuid, learned jsonb)
    where r2.learned is not null;
  end if;

  -- The usual case is that no receipt was early.
  if exists (select from bus.orphans) then
    delete from bus.orphans o
    using unnest(results) x
    where x.outcome = 'accepted' and (o.organization_id, o.organization_address, o.external_id) = (x.organization_id, x.lane, x.external_id)
      and bus.apply_early(o);
  end if;

  -- The number answers: whatever was wrong with it is over.
  with well as (
    update bus.lanes l set strikes = 0, resume_at = null, paused_reason = null, updated_at = now()
    from (select distinct x.organization_id, x.lane from unnest(results) x where not coalesce(x.holds, false)) x
    where l.organization_id = x.organization_id and l.lane = x.lane
      and (l.strikes > 0 or l.paused_reason is not null) and l.resume_at is distinct from 'infinity'
    returning l.organization_id, l.lane
  )
  update public.organizations_addresses a set extra = '{"attention": null}'
  from well where (a.organization_id, a.address) = (well.organization_id, well.lane) and a.extra #>> '{attention,by}' = 'sending';

  if exists (select from unnest(results) x where x.outcome <> 'accepted') then
    perform bus.finish_unsent(p_results);
  end if;
end
$$;
comment on function bus.finish_dispatch(jsonb) is
  'Writes the outcome of sends back: tasks, messages, receipts that were early, and the health of the number. One statement for a batch.';

create or replace function bus.try_learn(p_organization uuid, p_learned jsonb) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform bus.learn(p_organization, p_learned);
exception
  when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
    raise;
  when others then
    -- The message has gone out, whatever is wrong with the address book.
    insert into public.logs (organization_id, level, category, service, message, metadata)
    values (p_organization, 'warning', 'contacts', 'whatsapp', 'what the provider said of a recipient could not be stored: ' || sqlerrm, p_learned);
end
$$;

create or replace function bus.learn(p_organization uuid, p_learned jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  dialled text := p_learned ->> 'contact';
  phone text := p_learned ->> 'phone';
  filed text;
begin
  filed := bus.meet(p_organization, 'whatsapp', dialled, phone, p_learned ->> 'user_id',
    jsonb_strip_nulls(jsonb_build_object('phone_number', phone, 'bsuid', p_learned ->> 'user_id')), false);
  if filed is null then
    -- A spelling that no rule knows: what was dialled stays as it is, and leads to what it is.
    update public.contacts_addresses a set extra = jsonb_strip_nulls(jsonb_build_object('phone_number', phone, 'bsuid', p_learned ->> 'user_id'))
    where (a.organization_id, a.service, a.address) = (p_organization, 'whatsapp', dialled);
  elsif filed <> dialled and exists (
    select from public.contacts_addresses a
    where (a.organization_id, a.service, a.address) = (p_organization, 'whatsapp', dialled) and a.status = 'active') then
    -- He has written under the right one before: one thread from now on.
    perform public.merge_addresses(p_organization, 'whatsapp', dialled, filed);
  end if;
end
$$;
comment on function bus.learn(uuid, jsonb) is 'What Graph says of a recipient: the phone he really has, and his user id.';

create or replace function bus.apply_early(o bus.orphans) returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update public.messages m set status = o.status, extra = coalesce(o.extra, m.extra)
  where (m.organization_id, m.organization_address, m.external_id) = (o.organization_id, o.organization_address, o.external_id);
  perform bus.apply_change(o.organization_id, o.organization_address, o.external_id, c) from jsonb_array_elements(coalesce(o.changes, '[]')) c;
  return true;
end
$$;
