-- organizations_addresses: sealing, the directory of numbers, lanes, and replay of what came before the number was known.

create or replace function public.before_write_organizations_addresses() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.organization_id, 'organizations_addresses', new.address, new.extra);
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

create or replace trigger keep_directory after insert or update or delete on public.organizations_addresses
  for each row execute function public.after_write_organizations_addresses();
