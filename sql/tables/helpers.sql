-- Helpers that the triggers of several tables share.

create or replace function public.merge_update_jsonb(target jsonb, path text[], object jsonb) returns jsonb
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  base jsonb := target #> path;
  k text;
  v jsonb;
begin
  if jsonb_typeof(object) <> 'object' then
    return case when path = '{}' then target else jsonb_set(target, path, object) end;
  end if;
  if base is null or jsonb_typeof(base) <> 'object' then
    base := '{}';
  end if;
  for k, v in select * from jsonb_each(object) loop
    if jsonb_typeof(v) = 'null' then
      base := base - k;
    elsif jsonb_typeof(v) = 'object' then
      base := jsonb_set(base, array[k], public.merge_update_jsonb(coalesce(base -> k, '{}'), '{}', v));
    else
      base := jsonb_set(base, array[k], v);
    end if;
  end loop;
  return case when path = '{}' then base else jsonb_set(target, path, base) end;
end
$$;
comment on function public.merge_update_jsonb(jsonb, text[], jsonb) is
  'target with object merged in at path: objects merge key by key, a JSON null removes the key, everything else replaces. What updates of extra and content do.';

create or replace function public.set_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;
comment on function public.set_updated_at() is 'Before-update trigger of tables without extra.';

create or replace function public.merge_extra() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- An update that says nothing of extra comes with the old value: merging it again would be work for nothing.
  if new.extra is distinct from old.extra and new.extra is not null and old.extra is not null then
    new.extra := public.merge_update_jsonb(old.extra, '{}', new.extra);
  end if;
  new.updated_at := now();
  return new;
end
$$;
comment on function public.merge_extra() is 'Before-update trigger: merges the new extra into the old one. SQL null clears the column.';

create or replace function bus.as_number(p_text text) returns numeric
language sql immutable parallel safe
set search_path = ''
as $$
  select case when p_text ~ '^-?[0-9]{1,15}([.][0-9]{1,9})?$' then p_text::numeric end
$$;
comment on function bus.as_number(text) is 'A number that somebody wrote into JSON; null when it is none.';

create or replace function bus.as_time(p_text text) returns timestamptz
language plpgsql stable
set search_path = ''
as $$
begin
  return p_text::timestamptz;
exception when data_exception then
  return null;
end
$$;
comment on function bus.as_time(text) is 'A time that a client wrote into JSON; null when it is none. One row''s nonsense must not stop a loop.';
