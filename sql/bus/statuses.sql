-- Receipts: what became of messages.

create or replace function bus.merge_all(p_old jsonb, p_new jsonb[]) returns jsonb
language plpgsql immutable
set search_path = ''
as $$
declare
  result jsonb := coalesce(p_old, '{}');
  v jsonb;
begin
  foreach v in array p_new loop
    result := public.merge_update_jsonb(result, '{}', v);
  end loop;
  return result;
end
$$;

create or replace function bus.store_statuses(p_events jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  strays jsonb;
begin
  -- One message's receipts together, and all messages in one statement, in an order that is the same for everyone.
  with receipts as materialized (
    select e.organization_id, e.address, e.external_id,
      jsonb_object_agg(e.state, e."timestamp" order by e."timestamp" desc) filter (where e.state is not null) as status,
      (array_agg(e.errors order by e.n desc) filter (where e.errors is not null))[1] as errors,
      max(e.message_id) as message_id, array_agg(e.extra order by e.n) filter (where e.extra is not null) as extras
    from jsonb_to_recordset(p_events) as e (
      organization_id uuid, address text, external_id text, message_id text, state text, "timestamp" timestamptz, errors jsonb, extra jsonb, n bigint)
    group by e.organization_id, e.address, e.external_id
  ), told as materialized (
    select r.*, coalesce(r.status, '{}') || case when r.errors is null then '{}' else jsonb_build_object('errors', r.errors) end as news
    from receipts r order by r.organization_id, r.address, r.external_id
  ), found as materialized (
    select t.*, m.id, m.status as old_status, m.extra as old_extra
    from told t
    left join public.messages m on (m.organization_id, m.organization_address, m.external_id) = (t.organization_id, t.address, t.external_id)
  ), applied as (
    update public.messages m set
      status = f.news,
      extra = case when f.extras is null then m.extra else bus.merge_all('{}', f.extras) end
    from found f
    where m.organization_id = f.organization_id and m.id = f.id
      -- Repeating one changes nothing, and costs no row version.
      and (case
             when f.old_status @> f.news then false
             when f.old_status ?| array(select jsonb_object_keys(f.news)) then public.merge_status(f.old_status, f.news, 'outgoing') is distinct from f.old_status
             else true
           end
        or (f.extras is not null and (f.old_extra is null or not f.old_extra @> bus.merge_all('{}', f.extras))))
  )
  select jsonb_agg(to_jsonb(f)) into strays from found f where f.id is null;
  if strays is not null then
    perform bus.store_strays(strays);
  end if;
end
$$;
comment on function bus.store_statuses(jsonb) is
  'Applies receipts to their messages, found by the provider''s id or by ours; those without a message wait in bus.orphans. Repeating one changes nothing.';

create or replace function bus.store_strays(p_strays jsonb) returns void
language plpgsql
set search_path = ''
as $$
declare
  s record;
  m record;
begin
  perform pg_advisory_xact_lock(h) from (
    select distinct bus.arrival(x.address, x.external_id) as h
    from jsonb_to_recordset(p_strays) as x (address text, external_id text) order by 1) locks;
  for s in
    select x.*, case when x.extras is not null then bus.merge_all('{}', x.extras) end as extra
    from jsonb_to_recordset(p_strays) as x (organization_id uuid, address text, external_id text, message_id text, news jsonb, extras jsonb[])
  loop
    m := null;
    if s.message_id is not null then
      -- Our own id, which the send carried: settles an attempt whose answer was lost.
      select x.id into m from public.messages x
      where x.organization_id = s.organization_id and x.id = s.message_id::uuid and x.organization_address = s.address
        and x.direction = 'outgoing' and x.external_id is null;
      if found then
        perform bus.settle_unknown(s.organization_id, m.id, s.external_id, s.news);
        update public.messages x set extra = s.extra where x.organization_id = s.organization_id and x.id = m.id and s.extra is not null;
        continue;
      end if;
      -- Somebody else's word, for whoever it was sent by.
      s.extra := coalesce(s.extra, '{}') || jsonb_build_object('callback_data', s.message_id);
    end if;
    if not bus.orphan(s.organization_id, s.address, s.external_id, s.news, null, s.extra) then
      update public.messages x set status = s.news, extra = coalesce(s.extra, x.extra)
      where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
    end if;
  end loop;
end
$$;
comment on function bus.store_strays(jsonb) is 'Receipts whose message has no such id yet.';

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
