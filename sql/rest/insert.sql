-- POST /rest/v1/messages for API keys: the rows of a body become rows of the table.

create or replace function rest.insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean) returns setof public.messages
language plpgsql
set search_path = ''
as $$
declare
  owner uuid;
  rows_in jsonb := case when jsonb_typeof(p_body) = 'array' then p_body else jsonb_build_array(p_body) end;
  e jsonb;
  unknown text;
begin
  select k.organization_id into owner from secrets.key_owner(p_key) k;
  if owner is null then
    raise exception 'the API key is unknown' using errcode = '28000';
  end if;
  for e in select x from jsonb_array_elements(rows_in) x loop
    if jsonb_typeof(e) <> 'object' then
      raise exception 'a row must be a JSON object' using errcode = '22023';
    end if;
    if (e ->> 'organization_id')::uuid is distinct from owner then
      raise exception 'messages.organization_id: the API key belongs to another organization' using errcode = '42501';
    end if;
    select k into unknown from jsonb_object_keys(e) k
    where k not in (select a.attname from pg_catalog.pg_attribute a where a.attrelid = 'public.messages'::regclass and a.attnum > 0) limit 1;
    if unknown is not null then
      raise exception 'Could not find the ''%'' column of ''messages''', unknown using errcode = 'PGRST';
    end if;
  end loop;
  return query
  insert into public.messages as m
  select r.* from jsonb_array_elements(rows_in) with ordinality as x (e, n),
    jsonb_populate_record(null::public.messages, jsonb_build_object(
      'id', public.uuid_v7(), 'status', jsonb_build_object('pending', now()),
      -- in the order of the array, whatever the ids
      'timestamp', now() + (x.n - 1) * interval '1 microsecond', 'created_at', now(), 'updated_at', now()) || x.e) r
  where not p_ignore_duplicates
    or not exists (select from public.messages o where o.organization_id = owner and o.id = r.id)
  order by x.n
  returning m.*;
end
$$;
comment on function rest.insert_messages(text, jsonb, boolean) is
  'Inserts one row or an array of rows for the organization of an API key. 28000: no such key; 42501: a row of another organization.';
