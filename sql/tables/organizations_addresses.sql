-- organizations_addresses: sealing, the directory of numbers, lanes, and replay of what came before the number was known.

create or replace function public.before_write_organizations_addresses() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    if tg_op = 'UPDATE' and new.status = 'connected' and new.extra ->> 'access_token' <> '[sealed]' then
      -- With another token it may send again.
      update bus.lanes set resume_at = null, paused_reason = null, strikes = 0, updated_at = now()
      where organization_id = new.organization_id and lane = new.address;
      delete from storage.uploads u where u.organization_id = new.organization_id and u.organization_address = new.address;
      -- Files that could not be fetched without it, while Meta still has them.
      perform bus.replay_dead('media', array(
        select d.id from bus.dead d join public.messages m on m.organization_id = d.organization_id and m.id::text = d.subject
        where d.organization_id = new.organization_id and d.queue = 'media' and m.organization_address = new.address and m."timestamp" > now() - interval '7 days'));
      perform bus.ring('dispatch');
    end if;
    new.extra := secrets.take(new.organization_id, 'organizations_addresses', new.address, new.extra);
  end if;
  if tg_op = 'UPDATE' and new.status = 'connected' and old.status <> 'connected' then
    new.extra := coalesce(new.extra, '{}') || jsonb_build_object('connected_at', now());
    delete from storage.uploads u where u.organization_id = new.organization_id and u.organization_address = new.address;
  end if;
  return new;
end
$$;

create or replace trigger seal before insert or update on public.organizations_addresses
  for each row execute function public.before_write_organizations_addresses();
create or replace trigger set_extra before update on public.organizations_addresses
  for each row execute function public.merge_extra();
create or replace trigger forget_credentials after delete on public.organizations_addresses
  for each row execute function secrets.forget('address');

create or replace function bus.route(p_service public.service, p_address text) returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into bus.numbers as n (service, address, organization_id)
  select a.service, a.address, a.organization_id
  from public.organizations_addresses a
  where a.service = p_service and a.address = p_address and a.status = 'connected'
  order by a.updated_at desc limit 1
  on conflict (service, address) do update set organization_id = excluded.organization_id;
  if not found then
    delete from bus.numbers where service = p_service and address = p_address;
  end if;
end
$$;
comment on function bus.route(public.service, text) is
  'Points the directory at the organization that holds the address, for when the one it points at let go of it.';

create or replace function public.after_write_organizations_addresses() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  was text := case when tg_op = 'UPDATE' then old.status end;
begin
  if tg_op = 'DELETE' then
    -- During the deletion of the organization itself the directory row is gone by its own foreign key.
    perform bus.route(old.service, old.address)
    from bus.numbers n where n.service = old.service and n.address = old.address and n.organization_id = old.organization_id;
    delete from bus.lanes where organization_id = old.organization_id and lane = old.address;
    return null;
  end if;

  if new.status = 'connected' and was is distinct from 'connected' then
    -- Intake takes it, shared, before it parks something for a number that it does not know.
    perform pg_advisory_xact_lock(hashtextextended('number ' || new.address, 0));
    insert into bus.numbers (service, address, organization_id) values (new.service, new.address, new.organization_id)
    on conflict (service, address) do update set organization_id = excluded.organization_id;
    perform bus.replay_parked(p_address => new.address);
    if new.extra ->> 'waba_id' is not null then
      perform pg_advisory_xact_lock(hashtextextended('number ' || (new.extra ->> 'waba_id'), 0));
      perform bus.replay_parked(p_address => new.extra ->> 'waba_id');
    end if;
  elsif new.status <> 'connected' and was = 'connected' then
    perform bus.route(new.service, new.address)
    from bus.numbers n where n.service = new.service and n.address = new.address and n.organization_id = new.organization_id;
  end if;

  -- A number that was connected again, or got another token, may send again.
  insert into bus.lanes as l (organization_id, lane, resume_at, paused_reason)
  values (new.organization_id, new.address,
          case when new.status <> 'connected' then 'infinity'::timestamptz end,
          case when new.status <> 'connected' then 'the number is ' || new.status end)
  on conflict (organization_id, lane) do update
    set resume_at = excluded.resume_at, paused_reason = excluded.paused_reason, strikes = 0, updated_at = now();
  perform bus.ring('dispatch');
  return null;
end
$$;
comment on function public.after_write_organizations_addresses() is
  'Keeps the directory (the last to connect an address gets its traffic) and the lane, and replays what came in while nobody had the address.';

create or replace trigger keep_directory after insert or delete on public.organizations_addresses
  for each row execute function public.after_write_organizations_addresses();
create or replace trigger follow_status after update on public.organizations_addresses
  for each row when (new.status is distinct from old.status)
  execute function public.after_write_organizations_addresses();

create or replace function public.messages_a_second(p_extra jsonb) returns numeric
language sql immutable parallel safe
set search_path = ''
as $$
  select case
    when jsonb_typeof(p_extra -> 'messages_a_second') = 'number' and (p_extra ->> 'messages_a_second')::numeric > 0 then least(greatest((p_extra ->> 'messages_a_second')::numeric, 0.01), 10000)
    when p_extra -> 'is_on_biz_app' = 'true' or p_extra ->> 'flow_type' = 'existing_phone_number' then 20
    when p_extra #>> '{throughput,level}' = 'HIGH' then 1000
    else 80
  end
$$;
comment on function public.messages_a_second(jsonb) is
  'What a number may send by its throughput tier (20 with the app on a phone, 80, 1000), or what extra.messages_a_second says.';

create or replace function public.after_extra_on_organizations_addresses() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  update bus.lanes l set rate = public.messages_a_second(new.extra), updated_at = now()
  where l.organization_id = new.organization_id and l.lane = new.address and l.rate <> public.messages_a_second(new.extra);
  return null;
end
$$;
comment on function public.after_extra_on_organizations_addresses() is 'The pace of a number follows its throughput tier.';

create or replace trigger follow_tier after insert or update on public.organizations_addresses
  for each row execute function public.after_extra_on_organizations_addresses();

create or replace view public.numbers with (security_invoker) as
  select a.organization_id, a.service, a.address, a.extra ->> 'phone_number' as phone_number, a.extra ->> 'verified_name' as verified_name,
    coalesce(a.extra ->> 'environment', 'production') as environment,
    case when a.status = 'connected' and jsonb_typeof(a.extra -> 'attention') = 'object'
        and coalesce(bus.as_time(a.extra #>> '{attention,until}') > now(), true) then 'needs attention' else a.status end as state,
    case when a.status = 'connected' then a.extra #>> '{attention,reason}' else a.extra #>> '{disconnected,by}' end as reason,
    nullif(a.extra ->> 'default_agent_id', '') as agent_id,
    a.extra ->> 'quality_rating' as quality, public.messages_a_second(a.extra) as messages_a_second,
    coalesce(a.extra ->> 'whatsapp_business_manager_messaging_limit', a.extra ->> 'messaging_limit_tier') as messaging_limit,
    a.extra ->> 'name_status' as name_status, a.extra -> 'health_status' as health, a.extra -> 'profile' as profile,
    a.extra -> 'sync' as sync,
    bus.as_time(a.extra ->> 'refreshed_at') as refreshed_at, bus.as_time(a.extra ->> 'checked_at') as checked_at
  from public.organizations_addresses a
  where a.service <> 'local';
comment on view public.numbers is
  'The connected accounts at a glance: environment, state (pending, connected, disconnected, needs attention) with its reason, agent, quality, pace, and how far the import of a phone''s history and contacts is.';
