-- organizations: sealing and merging of extra, and what every new organization gets.

create or replace function public.before_write_organizations() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.id, 'organizations', new.id::text, new.extra);
  end if;
  return new;
end
$$;

create or replace trigger seal before insert or update on public.organizations
  for each row execute function public.before_write_organizations();
create or replace trigger set_extra before update on public.organizations
  for each row execute function public.merge_extra();

create or replace function public.after_insert_on_organizations() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
  insert into public.organizations_addresses (organization_id, service, address) values (new.id, 'local', new.id::text);
  if claims ->> 'role' = 'authenticated' and claims ? 'sub' then
    insert into public.agents (organization_id, user_id, name, ai, extra)
    select new.id, u.id, coalesce(u.raw_user_meta_data ->> 'full_name', u.email, '?'), false, '{"role": "owner"}'
    from auth.users u where u.id = (claims ->> 'sub')::uuid;
  end if;
  return null;
end
$$;
comment on function public.after_insert_on_organizations() is
  'Every organization has a local address (its id) for chats inside it. A signed-in user who makes one owns it.';

create or replace trigger handle_new_organization after insert on public.organizations
  for each row execute function public.after_insert_on_organizations();

create or replace function public.after_delete_on_organizations() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  delete from bus.tasks where organization_id = old.id;
  delete from bus.dead where organization_id = old.id;
  delete from bus.pairs where organization_id = old.id;
  delete from bus.parked where organization_id = old.id;
  return null;
end
$$;
comment on function public.after_delete_on_organizations() is 'What the bus holds for an organization goes with it; the rest goes by foreign keys.';

create or replace trigger forget_work after delete on public.organizations
  for each row execute function public.after_delete_on_organizations();
