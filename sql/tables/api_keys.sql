-- api_keys: a view over the hashes, so that the key itself is never stored, while clients insert and list it as a table.

create or replace view public.api_keys with (security_barrier) as
  select k.organization_id, k.id, k.role, k.name, k.prefix || '…' as key, k.created_at, k.updated_at
  from secrets.api_keys k;
alter view public.api_keys alter column id set default public.uuid_v7();
alter view public.api_keys alter column role set default 'member';
comment on view public.api_keys is
  'API keys. Insert one with your own key, or without to have one made: the insert''s answer shows it, nothing else ever does.';

create or replace function public.write_api_keys() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    delete from secrets.api_keys where organization_id = old.organization_id and id = old.id;
    return old;
  end if;
  if tg_op = 'UPDATE' then
    if new.key <> old.key or new.organization_id <> old.organization_id or new.id <> old.id then
      raise exception 'api_keys.key cannot be changed; delete it and make another' using errcode = '22023';
    end if;
    update secrets.api_keys set name = new.name, role = new.role, updated_at = now()
    where organization_id = old.organization_id and id = old.id;
    return new;
  end if;
  new.id := coalesce(new.id, public.uuid_v7());
  new.key := coalesce(new.key, 'sk_' || replace(gen_random_uuid()::text, '-', ''));
  if length(new.key) < 20 then
    raise exception 'api_keys.key is too short: 20 characters or more, or leave it out to have one made' using errcode = '23514';
  end if;
  insert into secrets.api_keys (organization_id, id, role, name, prefix, hash)
  values (new.organization_id, new.id, coalesce(new.role, 'member'), new.name, left(new.key, 7), sha256(convert_to(new.key, 'UTF8')))
  returning created_at, updated_at into new.created_at, new.updated_at;
  insert into secrets.api_key_owners (hash, organization_id, id)
  values (sha256(convert_to(new.key, 'UTF8')), new.organization_id, new.id);
  return new;
end
$$;
comment on function public.write_api_keys() is 'Stores the hash of a new key and hands the key back in the row the insert returns.';

create or replace trigger write instead of insert or update or delete on public.api_keys
  for each row execute function public.write_api_keys();

create or replace function secrets.key_owner(p_key text) returns table (organization_id uuid, id uuid, role public.role)
language sql stable
set search_path = ''
as $$
  select k.organization_id, k.id, k.role
  from secrets.api_key_owners o
  join secrets.api_keys k on k.organization_id = o.organization_id and k.id = o.id
  where o.hash = sha256(convert_to(p_key, 'UTF8'))
$$;
comment on function secrets.key_owner(text) is 'Whose key it is: no row when it is nobody''s.';
