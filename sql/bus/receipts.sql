-- Read receipts and typing indicators: what rows ask for by status.read and status.typing.

create or replace function bus.claim_receipts(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns setof bus.job
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('receipts', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, coalesce(m.organization_address, c.lane), c.attempt, c.version,
    jsonb_build_object(
      'external_id', m.external_id, 'service', m.service, 'contact_address', m.contact_address,
      'record', case when m.service not in ('whatsapp', 'instagram') then to_jsonb(m) end,
      -- An indicator is shown for 25 s at most: an old request for one is only a read receipt.
      'typing', coalesce(bus.as_time(m.status ->> 'typing') > now() - interval '25 s', false),
      'credential', secrets.get(c.organization_id, 'organizations_addresses', m.organization_address, 'access_token'))
  from unnest(claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    and m.external_id is not null and m."timestamp" > now() - interval '30 days';
end
$$;
comment on function bus.claim_receipts(uuid, int, uuid, boolean) is 'Claims read receipts to send. lane is the number; a payload without external_id has nothing to send.';
